/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Requests in flight in a ring of io_uring: those that only wait are submitted again at restore, each by its own
 * thread, when all that they may wait for is there. The entry takes the place that it had among those that were
 * submitted; what else lies there now, and may be the program's next entry, is put back.
 */
#include <inttypes.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "agent/agent.h"
#include "fd/uring_parts.h"
#include "lib/io.h"
#include "lib/log.h"

extern const struct task_part uring_flight_part;

#define VECTOR_CHANGED "its description (msghdr, iovec) has changed in the memory of the program"

/* ---- dump ---- */

const struct thread *uring_again_thread(struct dump *d, pid_t tid)
{
	for (size_t i = 0; tid && i < d->tree.n_tasks; i++) {
		const struct task *t = d->tree.tasks[i];

		for (size_t k = 0; k < t->n_threads; k++)
			if (t->threads[k].tid == tid)
				return &t->threads[k];
	}
	return NULL;
}

/* Under which number its file is there now: the program may have closed the one that it named. */
static bool find_file(struct uring_kernel *k, const struct uring_state *s, struct uring_flying *f)
{
	struct uring_place p;
	int number;

	if (f->sqe.flags & IOSQE_FIXED_FILE)
		return f->sqe.fd >= 0 && (uint32_t)f->sqe.fd < s->n_files &&
		       !uring_kernel_file(k, s, (uint32_t)f->sqe.fd, &p) && p.file == f->file;
	if (f->sqe.fd >= 0 && uring_kernel_descriptor(k, f->task, (uint32_t)f->sqe.fd, false) == f->file)
		return true;
	number = uring_kernel_find(k, f->task, f->file, false);
	f->sqe.fd = number;
	return number >= 0;
}

/* The number of the file in the task; of a registered one too. */
static int number_of(struct uring_kernel *k, const struct uring_flying *f)
{
	return f->sqe.flags & IOSQE_FIXED_FILE ? uring_kernel_find(k, f->task, f->file, false) : f->sqe.fd;
}

static bool is_tcp(int fd)
{
	int protocol = 0;
	socklen_t len = sizeof(protocol);

	return !getsockopt(fd, SOL_SOCKET, SO_PROTOCOL, &protocol, &len) && protocol == IPPROTO_TCP;
}

/* Such a poll would tell once more what it has told. */
static bool is_ready(int fd, const struct uring_flying *f)
{
	struct pollfd p = { .fd = fd, .events = (short)f->sqe.poll32_events };

	return poll(&p, 1, 0) != 0;
}

/*
 * At restore a connection is still in repair then, where to read is EPERM, but a request that waits first does not: so
 * what reads receives. And there is room in it that will be taken by what had not been sent.
 */
static const char *mind_sockets(struct uring_kernel *k, const struct thread *th, struct uring_flying *f)
{
	int number = number_of(k, f);
	_cleanup_close_ int fd = number < 0 ? -1 : (int)syscall(SYS_pidfd_getfd, th->task->dump->pidfd, number, 0);
	struct stat st;

	if (fd < 0 || fstat(fd, &st))
		return "its file cannot be looked at";
	if (f->opcode == IORING_OP_POLL_ADD && f->sqe.len & IORING_POLL_ADD_MULTI && is_ready(fd, f))
		return "a poll for many events (IORING_POLL_ADD_MULTI) of a file that is ready";
	if (!S_ISSOCK(st.st_mode))
		return NULL;
	if (f->opcode == IORING_OP_POLL_ADD && f->sqe.poll32_events & (EPOLLOUT | EPOLLWRNORM) && is_tcp(fd))
		return "a poll for room in a TCP connection";
	if ((f->opcode == IORING_OP_READ_FIXED || f->opcode == IORING_OP_READV) && is_tcp(fd))
		return "a read of a TCP connection that is no receive";
	if (f->is_read) {
		f->sqe.opcode = IORING_OP_RECV;
		f->sqe.off = 0;
		f->sqe.rw_flags = 0;
		f->sqe.ioprio = IORING_RECVSEND_POLL_FIRST;
	}
	return NULL;
}

/* What lies there is what it waits for, whatever it was when the request was made. */
static const char *mind_futex(const struct thread *th, struct uring_flying *f)
{
	struct iovec there = { (void *)(uintptr_t)f->sqe.addr, sizeof(uint32_t) };
	uint32_t value;

	if (io_read_process(th->task->pid, &value, &there, 1))
		return "its futex is not mapped any more";
	f->sqe.off = value;
	return NULL;
}

#define VECTOR_MAX 1024U /* IOV_MAX */

/* The description that the program has in its memory is still the one that was submitted. */
static const char *mind_vector(const struct thread *th, struct uring_kernel *k, const struct uring_flying *f)
{
	bool is_message = f->opcode == IORING_OP_RECVMSG;
	struct iovec there = { (void *)(uintptr_t)f->sqe.addr, sizeof(struct msghdr) }, v[VECTOR_MAX];
	struct msghdr h = { .msg_iov = (void *)(uintptr_t)f->sqe.addr, .msg_iovlen = f->sqe.len };
	bool same = true;

	if (is_message)
		same = !io_read_process(th->task->pid, &h, &there, 1) && (uintptr_t)h.msg_name == f->name &&
		       (uintptr_t)h.msg_control == f->control && h.msg_controllen == f->control_len;
	if (!same || !h.msg_iovlen || h.msg_iovlen > VECTOR_MAX)
		return VECTOR_CHANGED;
	there = (struct iovec) { h.msg_iov, h.msg_iovlen * sizeof(struct iovec) };
	if (io_read_process(th->task->pid, v, &there, 1) || !uring_kernel_same_vector(k, f->vector, v, h.msg_iovlen))
		return VECTOR_CHANGED;
	return NULL;
}

/* A request that a timeout is linked to, which is the only one: the two are submitted together. */
static struct uring_flying *linked_timeout(const struct uring_state *s, const struct uring_flying *f)
{
	for (size_t i = 0; f->link && i < s->n_flying; i++) {
		struct uring_flying *l = &s->flying[i];

		if (l->at == f->link && l->opcode == IORING_OP_LINK_TIMEOUT && l->head == f->at && !l->link &&
		    !(l->sqe.flags & (IOSQE_IO_LINK | IOSQE_IO_HARDLINK)) && !l->why)
			return l;
	}
	return NULL;
}

static const char *mind_link(const struct uring_state *s, struct uring_flying *f)
{
	if (f->opcode == IORING_OP_LINK_TIMEOUT) {
		for (size_t i = 0; i < s->n_flying; i++)
			if (s->flying[i].at == f->head && linked_timeout(s, &s->flying[i]))
				return NULL;
		return "is linked to another (IOSQE_IO_LINK)";
	}
	if (f->link && !linked_timeout(s, f))
		return "is linked to another (IOSQE_IO_LINK)";
	if (!f->link && f->sqe.flags & (IOSQE_IO_LINK | IOSQE_IO_HARDLINK))
		return "was linked to another (IOSQE_IO_LINK)";
	if (f->link)
		f->sqe.flags = (uint8_t)((f->sqe.flags & ~IOSQE_IO_HARDLINK) | IOSQE_IO_LINK);
	return NULL;
}

const char *uring_again_why(struct dump *d, const struct task *t, const struct uring_state *s, struct uring_flying *f,
                            const struct thread **by)
{
	struct uring_kernel *k = uring_kernel(d);
	const struct thread *th = uring_again_thread(d, uring_kernel_tid(k, f->task));
	const char *why;

	*by = th;
	why = mind_link(s, f) ?: f->why;
	if (why)
		return why;
	if (!th && !(s->flags & IORING_SETUP_SQPOLL))
		return "of a thread that is not there";
	th = th ?: t->threads;
	if (f->file && !find_file(k, s, f))
		return "of a file that is closed";
	if (f->sqe.opcode == URING_OP_FUTEX_WAIT)
		return mind_futex(th, f);
	why = f->vector ? mind_vector(th, k, f) : NULL;
	return why || !f->file ? why : mind_sockets(k, th, f);
}

bool uring_again_all(struct dump *d, const struct task *t, const struct uring_state *s, char *text, size_t size)
{
	const struct thread *by;
	size_t len = 0, n = 0;

	*text = 0;
	for (size_t i = 0; i < s->n_flying; i++) {
		struct uring_flying f = s->flying[i];
		const char *why = uring_again_why(d, t, s, &f, &by);

		n += !why;
		if (why && len < size)
			len +=
			    (size_t)snprintf(text + len, size - len, "%sopcode %u: %s", len ? ", " : "", f.opcode, why);
	}
	if (s->n_flying < s->in_flight && len < size)
		snprintf(
		    text + len, size - len,
		    "%s%zu that do not wait for an event: for others before them (IOSQE_IO_DRAIN), in a thread of the "
		    "kernel's, for a device",
		    len ? ", " : "", s->in_flight - s->n_flying);
	return n == s->in_flight;
}

static UringRequest *write_request(struct dump *d, const struct task *t, const struct uring_state *s,
                                   struct uring_flying f)
{
	UringRequest *q = arena_msg(d->arena, UringRequest, uring_request);
	const struct thread *by = NULL;

	uring_again_why(d, t, s, &f, &by);
	q->has_thread = by != NULL;
	q->thread = by ? (uint32_t)by->vtid.v : 0;
	q->sqe.data = arena_memdup(d->arena, &f.sqe, sizeof(f.sqe));
	q->sqe.len = sizeof(f.sqe);
	q->has_sec = q->has_nsec = f.has_time;
	q->sec = f.time.tv_sec;
	q->nsec = f.time.tv_nsec;
	return q;
}

/* In the order in which they were submitted, as far as anything tells: timeouts are in the order of their ends. */
void uring_again_dump(struct dump *d, const struct task *t, const struct uring_state *s, UringFileEntry *m)
{
	for (size_t i = 0; i < s->n_flying; i++) {
		const struct uring_flying *l = linked_timeout(s, &s->flying[i]);
		UringRequest *q;

		if (s->flying[i].opcode == IORING_OP_LINK_TIMEOUT)
			continue;
		q = write_request(d, t, s, s->flying[i]);
		q->has_linked = q->linked = l != NULL;
		arena_push(d->arena, &m->requests, &m->n_requests, q);
		if (l)
			arena_push(d->arena, &m->requests, &m->n_requests, write_request(d, t, s, *l));
	}
}

/* ---- restore ---- */

/* A ring that is to get its requests. */
struct again_ring {
	const UringFileEntry *m;
	struct task *task;
	struct uring_view view;
	uint32_t at; /* how many were submitted */
	struct again_ring *next;
};

bool uring_again_check(const UringFileEntry *m)
{
	for (size_t i = 0; i < m->n_requests; i++) {
		const UringRequest *q = m->requests[i];

		if (q->sqe.len != sizeof(struct io_uring_sqe) || q->has_sec != q->has_nsec)
			return false;
		if (q->linked && (i + 1 == m->n_requests || m->requests[i + 1]->linked || m->sq_entries < 2))
			return false;
	}
	return true;
}

/* The view is taken over: its descriptor and its mappings stay until criu ends. */
void uring_again_later(struct restore *r, struct task *t, const UringFileEntry *m, const struct uring_view *v)
{
	struct uring_again_state *s = restore_state(r, &uring_flight_part);
	struct again_ring *g = arena_new_of(r->arena, struct again_ring);

	*g = (struct again_ring) {
		.m = m, .task = t, .view = *v, .at = m->position - (uint32_t)m->n_requests, .next = s->rings
	};
	s->rings = g;
}

static size_t entry_size(const struct uring_view *v)
{
	return sizeof(struct io_uring_sqe) * (v->p.flags & IORING_SETUP_SQE128 ? 2 : 1);
}

/* What lay in a place of the ring that a request is put into for a moment. */
struct kept_entry {
	uint8_t entry[2 * sizeof(struct io_uring_sqe)];
	uint32_t place;
};

static void put_request(const struct again_ring *g, uint32_t at, const UringRequest *q, struct batch *b,
                        struct kept_entry *kept)
{
	const struct uring_view *v = &g->view;
	uint32_t place = at & (v->p.sq_entries - 1), *array = v->no_array ? NULL : uring_word(v, v->p.sq_off.array);
	uint8_t *entry = v->sqes + place * entry_size(v);
	struct timespec time = { .tv_sec = q->sec, .tv_nsec = q->nsec };
	struct io_uring_sqe e;

	memcpy(&e, q->sqe.data, sizeof(e));
	if (q->has_sec)
		e.addr = batch_data(b, &time, sizeof(time));
	memcpy(kept->entry, entry, entry_size(v));
	memset(entry, 0, entry_size(v));
	memcpy(entry, &e, sizeof(e));
	if (array) {
		kept->place = array[place];
		array[place] = place;
	}
}

static void put_back(const struct again_ring *g, uint32_t at, const struct kept_entry *kept)
{
	const struct uring_view *v = &g->view;
	uint32_t place = at & (v->p.sq_entries - 1);

	memcpy(v->sqes + place * entry_size(v), kept->entry, entry_size(v));
	if (!v->no_array)
		uring_word(v, v->p.sq_off.array)[place] = kept->place;
}

/* The number that a thread knows the ring by. */
static int number_in(const struct again_ring *g, const struct task *t)
{
	for (size_t i = 0; i < t->n_fds; i++)
		if (t->fds[i]->id == g->m->id)
			return (int)t->fds[i]->fd;
	return g->view.number;
}

/* One, or it and the timeout that it is linked to. */
static int submit_some(struct again_ring *g, const struct thread *th, UringRequest *const *q, uint32_t n)
{
	const struct uring_view *v = &g->view;
	struct batch *b = agent_batch(th->restore->agent, "submitting requests of an io_uring again");
	struct kept_entry kept[2];
	int err;

	batch_reserve(b, 1, 2 * sizeof(struct timespec));
	for (uint32_t i = 0; i < n; i++)
		put_request(g, g->at + i, q[i], b, &kept[i]);
	__atomic_store_n(uring_word(v, v->p.sq_off.tail), g->at + n, __ATOMIC_RELEASE);
	if (!(v->p.flags & IORING_SETUP_SQPOLL))
		batch_call(b, SYS_io_uring_enter, (uint64_t)number_in(g, th->task), n, 0, 0);
	err = batch_run(b);
	if (!err && v->p.flags & IORING_SETUP_SQPOLL)
		err = uring_view_submit(v, g->at, n);
	if (!err && __atomic_load_n(uring_word(v, v->p.sq_off.head), __ATOMIC_ACQUIRE) != g->at + n)
		err = -EPROTO;
	for (uint32_t i = n; i-- > 0;)
		put_back(g, g->at + i, &kept[i]);
	g->at += n;
	return err ? log_errno(err, "%s: io_uring_enter of a request that was in flight (opcode %u)",
	                       task_name(g->task), q[0]->sqe.data[0])
	           : 0;
}

static uint32_t image_tail(const struct again_ring *g)
{
	uint32_t tail;

	memcpy(&tail, g->m->rings.data + g->view.p.sq_off.tail, sizeof(tail));
	return tail;
}

/* The thread that polls goes on when it is waked, from here on with what the program had left in the ring. */
static int wake_thread(struct again_ring *g)
{
	int err = syscall(SYS_io_uring_enter, g->view.fd, 0, 0, IORING_ENTER_SQ_WAKEUP, NULL, 0) < 0 ? -errno : 0;

	return err ? log_errno(err, "%s: io_uring_enter(IORING_ENTER_SQ_WAKEUP)", task_name(g->task)) : 0;
}

int uring_again_submit(struct restore *r, struct thread *th, struct batch *b)
{
	struct uring_again_state *s = restore_state(r, &uring_flight_part);
	int err = s->rings ? batch_run(b) : 0;

	for (struct again_ring *g = s->rings; !err && g; g = g->next) {
		bool leader = th == g->task->threads;

		for (size_t i = 0; !err && i < g->m->n_requests; i++) {
			const UringRequest *q = g->m->requests[i];

			if (q->has_thread ? q->thread == (uint32_t)th->vtid.v : leader)
				err = submit_some(g, th, &g->m->requests[i], q->linked ? 2 : 1);
			i += q->linked;
		}
		if (err || g->at != g->m->position)
			continue;
		__atomic_store_n(uring_word(&g->view, g->view.p.sq_off.tail), image_tail(g), __ATOMIC_RELEASE);
		if (leader && g->view.p.flags & IORING_SETUP_SQPOLL)
			err = wake_thread(g);
	}
	if (s->rings)
		agent_batch(th->restore->agent, ""); /* what has been run is not run again */
	return err;
}
