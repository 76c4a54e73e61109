/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Rings of io_uring. A new ring is brought to the position of the old one by requests that do nothing, and gets the old
 * memory written over: entries, unread completions, heads and tails. What IORING_SETUP_ flags it had, what was
 * registered and what is in flight is read from the kernel's memory (fd/uring_kernel.c). Where that cannot be, a ring
 * comes back only if nothing is in flight or registered, and as a plain one: what flags like COOP_TASKRUN do to speed
 * is lost, and a program that works with them works without.
 *
 * No socket passes rings (Linux 6.7), so the task makes its own, in place of a descriptor that held the number; other
 * tables that have it get it by pidfd_getfd(2).
 */
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "agent/agent.h"
#include "arch_page.h"
#include "fd/uring_parts.h"
#include "files/files.h"
#include "lib/fd_flags.h"
#include "lib/log.h"
#include "tree/pid_numbers.h"
#include "tree/subsys.h"
#include "proc/fdinfo.h"
#include "uapi/io_uring_more.h"

extern const struct fd_kind uring_kind;
extern const struct subsys uring_subsys;

#define RING_HEAD   64U /* before completions and the array: heads, tails, flags */
#define WITHOUT_BPF " where criu cannot read what the kernel keeps of it (bpf(2), /sys/kernel/btf/vmlinux)"

/* ---- dump ---- */

/* A ring that was dumped. */
struct dumped_ring {
	const struct task *task;
	int number;
	uint64_t dev, ino;
	uint32_t id, submitted, completed, in_flight;
	struct dumped_ring *next;
};

struct uring_dump_state {
	struct dumped_ring *rings;
};

static bool uring_match(const struct fd_info *info)
{
	return !strcmp(info->link, URING_LINK);
}

static int refuse_ring(const struct fd_info *info, const char *why)
{
	log_refusal(-EOPNOTSUPP, "%s: io_uring %s%s", fd_name(info), why,
	            strchr(why, ';') ? "" : "; let the program close it, or use one without that, before the dump");
	return DUMP_REFUSED;
}

static int ring_register(int fd, unsigned op, const void *arg, unsigned n)
{
	return syscall(SYS_io_uring_register, fd, op, arg, n) ? -errno : 0;
}

/* A group of buffers that were handed to the ring, of which fdinfo says nothing. */
static bool has_provided_buffers(int fd)
{
	struct uring_buf_status status = { 0 };
	unsigned old = 0, unknown = 0;

	for (unsigned i = 0; i <= UINT16_MAX; i++) {
		int err;

		status.group = i;
		err = ring_register(fd, URING_REGISTER_PBUF_STATUS, &status, 1);
		if (!err)
			return true;
		old += err == -EINVAL; /* of IORING_OP_PROVIDE_BUFFERS; all: a kernel before 6.8 */
		unknown += err == -ENOENT;
		if (old && !unknown && i > 1)
			return false;
	}
	return old;
}

/* What would be lost in silence, or cannot be made again, as far as the kernel shows it. */
static const char *why_not_seen(struct dump *d, const struct fd_info *info, const struct uring_numbers *n)
{
	const struct uring_told *told = uring_told(d, info->task, info->number);
	static const int no_fd = -1;
	int err;

	if (n->has_thread)
		return "with a polling thread (IORING_SETUP_SQPOLL) is not supported" WITHOUT_BPF;
	if (n->files || n->buffers)
		return "with registered files or buffers is not supported" WITHOUT_BPF
		       "; unregister them before the dump";
	if (syscall(SYS_io_uring_enter, info->fd, 0, 0, 0, NULL, 0) < 0 && errno == EBADFD)
		return "was set up disabled (IORING_SETUP_R_DISABLED) and not enabled; not supported" WITHOUT_BPF;
	err = ring_register(info->fd, IORING_REGISTER_EVENTFD, &no_fd, 1);
	if (err == -EEXIST && !told)
		return "of a single thread (IORING_SETUP_SINGLE_ISSUER), which is not there, is not supported";
	if (told ? told->has_eventfd : err == -EBUSY)
		return "with a registered eventfd is not supported" WITHOUT_BPF "; unregister it before the dump";
	if (told ? told->has_buffers : has_provided_buffers(info->fd))
		return "with buffers provided to it is not supported; remove them before the dump";
	return NULL;
}

/* The same, of what the kernel keeps. */
static const char *why_not_kept(const struct uring_state *s)
{
	if (s->flags & (URING_SETUP_NO_MMAP | URING_SETUP_REGISTERED))
		return "in the program's own memory (IORING_SETUP_NO_MMAP) is not supported";
	if (s->flags & IORING_SETUP_SQPOLL && s->sq_users != 1)
		return "whose polling thread serves another one too (IORING_SETUP_ATTACH_WQ) is not supported";
	if (s->restricted)
		return "with restrictions (IORING_REGISTER_RESTRICTIONS) is not supported";
	if (s->has_personalities)
		return "with personalities (IORING_REGISTER_PERSONALITY) is not supported; unregister them before the "
		       "dump";
	if (s->has_receive_queues)
		return "that receives without copying (IORING_REGISTER_ZCRX_IFQ) is not supported";
	return NULL;
}

static const char *why_not(struct dump *d, const struct fd_info *info, const struct uring_numbers *n,
                           const struct uring_state *s)
{
	if (n->has_overflow || (s && s->has_overflow))
		return "has completions for which there was no place; read them before the dump";
	if (n->submitted > UINT32_MAX || n->sq_mask >= 1U << 15 || n->cq_mask >= 1U << 16)
		return "shows impossible numbers in its fdinfo";
	return s ? why_not_kept(s) : why_not_seen(d, info, n);
}

static int check_in_flight(struct dump *d, const struct fd_info *info, const struct uring_numbers *n,
                           const struct uring_state *s)
{
	uint32_t count = s ? s->in_flight : (uint32_t)(n->submitted - n->completed);
	char why[512] = "";

	if (s ? uring_again_all(d, info->task, s, why, sizeof(why)) : !uring_in_flight(n))
		return 0;
	log_refusal(
	    -EBUSY,
	    "%s: io_uring: %" PRIu32 " requests are in flight%s%s%s%s%s: let them end, or cancel them, before the dump",
	    fd_name(info), count, s ? "" : " (or had IOSQE_CQE_SKIP_SUCCESS, or several completions)",
	    *n->polls ? ", of these wait opcodes " : "", n->polls, *why ? "; not to be submitted again: " : "", why);
	return DUMP_REFUSED;
}

static int copy_memory(struct dump *d, const struct fd_info *info, UringFileEntry *m)
{
	struct uring_view v = { .fd = info->fd, .flags_known = m->has_setup_flags };
	int err = uring_layout(m->sq_entries, m->cq_entries, m->setup_flags & URING_LAYOUT_FLAGS, &v.p);

	if (err)
		return log_errno(err, "%s: io_uring_setup of one like it", fd_name(info));
	err = uring_view_map(&v);
	if (!err) {
		m->array_offset = v.p.sq_off.array;
		m->cqes_offset = v.p.cq_off.cqes;
		m->rings.data = arena_memdup(d->arena, v.rings, v.rings_len);
		m->rings.len = v.rings_len;
		m->sqes.data = arena_memdup(d->arena, v.sqes, v.sqes_len);
		m->sqes.len = v.sqes_len;
	}
	uring_view_unmap(&v);
	if (err == -EOPNOTSUPP)
		return refuse_ring(info, "with large entries (IORING_SETUP_SQE128, CQE32) is not supported yet");
	return err ? log_errno(err, "%s: mmap of its io_uring", fd_name(info)) : 0;
}

/* What only the kernel keeps. */
static int dump_kept(struct dump *d, const struct fd_info *info, const struct uring_state *s, UringFileEntry *m)
{
	struct uring_kernel *k = uring_kernel(d);
	const char *why = uring_register_dump(d, info->task, s, m) ?: uring_buffers_dump(d, info->task, s, m);

	if (why)
		return refuse_ring(info, why);
	m->has_setup_flags = true;
	m->setup_flags = s->flags & ~(uint32_t)(IORING_SETUP_ATTACH_WQ | IORING_SETUP_CLAMP);
	m->has_completed = true;
	m->completed = s->completed;
	if (s->flags & IORING_SETUP_SQPOLL) {
		m->has_idle = true;
		m->idle = uring_kernel_idle(d, k, s->idle);
		m->has_cpu = s->flags & IORING_SETUP_SQ_AFF;
		m->cpu = s->cpu;
	} else if (s->flags & IORING_SETUP_SINGLE_ISSUER && s->submitter) {
		const struct thread *th = uring_again_thread(d, uring_kernel_tid(k, s->submitter));

		if (!th)
			return refuse_ring(info, "of a single thread (IORING_SETUP_SINGLE_ISSUER), which is not there, "
			                         "is not supported");
		m->has_thread = true;
		m->thread = (uint32_t)th->vtid.v;
	}
	uring_again_dump(d, info->task, s, m);
	return 0;
}

static int read_state(struct dump *d, const struct fd_info *info, struct uring_state *s)
{
	struct uring_kernel *k = uring_kernel(d);
	int err = -EAGAIN;

	for (int i = 0; err == -EAGAIN && i < 100; i++)
		err = uring_kernel_read(d, k, info->fd, s);
	return err ? log_errno(err, "%s: reading what the kernel keeps of it", fd_name(info)) : 0;
}

static int dump_ring(struct dump *d, const struct fd_info *info, struct dumped_ring *k, UringFileEntry *m)
{
	struct uring_state kept, *s = uring_kernel(d) ? &kept : NULL;
	struct uring_numbers n = { 0 };
	const char *why;
	int err;

	if (uring_read_numbers(info->info, &n))
		return log_errno(-EINVAL, "%s: no numbers of a ring in its fdinfo", fd_name(info));
	err = s ? read_state(d, info, s) : 0;
	if (err)
		return err;
	why = why_not(d, info, &n, s);
	if (why)
		return refuse_ring(info, why);
	err = check_in_flight(d, info, &n, s);
	if (err)
		return err;
	m->sq_entries = (uint32_t)n.sq_mask + 1;
	m->cq_entries = (uint32_t)n.cq_mask + 1;
	m->position = k->submitted = s ? s->submitted : (uint32_t)n.submitted;
	k->completed = s ? s->completed : (uint32_t)n.completed;
	k->in_flight = s ? s->in_flight : 0;
	m->inode = info->st.st_ino;
	err = s ? dump_kept(d, info, s, m) : 0;
	return err ?: copy_memory(d, info, m);
}

static int uring_dump(struct dump *d, const struct fd_info *info, void *msg)
{
	struct uring_dump_state *s = dump_state(d, &uring_kind);
	struct dumped_ring *k = arena_new_of(d->arena, struct dumped_ring);
	UringFileEntry *m = msg;

	*k = (struct dumped_ring) { .task = info->task,
		                    .number = info->number,
		                    .dev = info->st.st_dev,
		                    .ino = info->st.st_ino,
		                    .id = m->id,
		                    .next = s->rings };
	s->rings = k;
	if (info->number < 0)
		return refuse_ring(info, "in flight is not supported");
	return dump_ring(d, info, k, m);
}

/*
 * Workers of the kernel and threads that poll go on while the tree stands still: what they have ended since the ring
 * was read would be lost.
 */
static int check_again(struct dump *d, const struct dumped_ring *k)
{
	struct uring_kernel *kernel = uring_kernel(d);
	_cleanup_close_ int fd = (int)syscall(SYS_pidfd_getfd, k->task->dump->pidfd, k->number, 0);
	struct uring_numbers n = { 0 };
	struct text_buf buf = { 0 };
	struct uring_state now;
	const char *text;
	char path[32], why[2];
	bool same;

	snprintf(path, sizeof(path), "fdinfo/%d", k->number);
	text = proc_read_text(k->task->dump->proc_fd, path, d->arena, &buf);
	if (fd < 0 || !text || uring_read_numbers(text, &n))
		return log_errno(-ESTALE, "%s: fd %d: its io_uring is not there any more", task_name(k->task),
		                 k->number);
	same = (uint32_t)n.submitted == k->submitted && (uint32_t)n.completed == k->completed;
	if (same && kernel && k->in_flight)
		same = !uring_kernel_read(d, kernel, fd, &now) && now.in_flight == k->in_flight &&
		       uring_again_all(d, k->task, &now, why, sizeof(why));
	if (same)
		return 0;
	return log_errno(-EAGAIN, "%s: fd %d: io_uring: a request has ended during the dump; try again",
	                 task_name(k->task), k->number);
}

static int uring_before_commit(struct dump *d)
{
	const struct uring_dump_state *s = dump_state(d, &uring_kind);
	int err = 0;

	for (const struct dumped_ring *k = s->rings; !err && k; k = k->next)
		err = check_again(d, k);
	return err;
}

/* A mapping of a ring of which no process has a descriptor, through which it could be made again. */
static int check_mapping(struct dump *d, const struct uring_mapping *u)
{
	const struct uring_dump_state *s = dump_state(d, &uring_kind);
	const struct dumped_ring *found = NULL;

	for (const struct dumped_ring *k = s->rings; k; k = k->next) {
		if (k->ino != u->ino)
			continue;
		if (found)
			return log_refusal(-EOPNOTSUPP,
			                   "%s: this kernel does not show of which io_uring mapping %" PRIx64
			                   " is; have one of "
			                   "them unmapped before the dump",
			                   task_name(u->task), u->start);
		found = k;
	}
	if (found)
		return 0;
	return log_refusal(-EOPNOTSUPP,
	                   "%s: mapping %" PRIx64 "-%" PRIx64
	                   ": an io_uring of which no process has a descriptor (it was closed) is not supported; "
	                   "munmap() it before the dump",
	                   task_name(u->task), u->start, u->end);
}

static int uring_collected(struct dump *d)
{
	int err = 0, part;

	for (const struct uring_mapping *u = uring_mappings(d); u; u = u->next) {
		part = check_mapping(d, u);
		err = err ?: part;
	}
	return err;
}

/* ---- restore ---- */

static int say_why(int err, const char **why, const char *text)
{
	*why = text;
	return err;
}

static struct io_uring_params params_of(const UringFileEntry *m)
{
	return (struct io_uring_params) { .flags = m->setup_flags | IORING_SETUP_CQSIZE,
		                          .cq_entries = m->cq_entries,
		                          .sq_thread_idle = m->idle,
		                          .sq_thread_cpu = m->cpu };
}

static int try_flags(const UringFileEntry *m)
{
	struct io_uring_params p = params_of(m);
	_cleanup_close_ int fd = (int)syscall(SYS_io_uring_setup, m->sq_entries, &p);

	return fd < 0 ? -errno : 0;
}

static int uring_check(struct restore *r, const void *msg, const char **why)
{
	const UringFileEntry *m = msg;
	uint32_t flags = m->setup_flags & URING_LAYOUT_FLAGS;
	struct io_uring_params p;
	int err;

	if (!m->sq_entries || m->sq_entries > 1U << 15 || !m->cq_entries || m->cq_entries > 1U << 16)
		return say_why(-EBADMSG, why, "its sizes are damaged");
	if (!uring_again_check(m) || !uring_register_check(m) || !uring_buffers_check(m))
		return say_why(-EBADMSG, why, "its requests, or what was registered with it, are damaged");
	err = uring_layout(m->sq_entries, m->cq_entries, flags, &p) ?: try_flags(m);
	if (err)
		return say_why(err, why, "io_uring_setup() fails here (kernel.io_uring_disabled, seccomp)");
	if (p.sq_off.array != m->array_offset || p.cq_off.cqes != m->cqes_offset)
		return say_why(-EOPNOTSUPP, why, "this kernel lays out an io_uring in another way");
	if (m->rings.len < p.cq_off.cqes + m->cq_entries * sizeof(struct io_uring_cqe) ||
	    m->sqes.len < m->sq_entries * sizeof(struct io_uring_sqe) || m->rings.len % PAGE_SIZE ||
	    m->rings.len < RING_HEAD || m->sqes.len % PAGE_SIZE)
		return say_why(-EBADMSG, why, "its memory is damaged");
	return 0;
}

/* It holds the number until uring_post_open(). */
static int uring_open(struct restore *r, const void *msg)
{
	int fd = eventfd(0, EFD_CLOEXEC);

	return fd < 0 ? log_errno(-errno, "eventfd, in place of an io_uring") : fd;
}

static const FdinfoEntry *entry_of(const struct task *t, uint32_t id)
{
	for (size_t k = 0; t->state != TASK_DEAD && k < t->n_fds; k++)
		if (t->fds[k]->id == id)
			return t->fds[k];
	return NULL;
}

/* The thread that makes it: the only one that may use it, or the first that has it. */
static struct thread *maker_of(struct restore *r, const UringFileEntry *m)
{
	struct thread *first = NULL;

	for (size_t i = 0; i < r->tree.n_tasks; i++) {
		struct task *t = r->tree.tasks[i];

		if (!entry_of(t, m->id))
			continue;
		first = first ?: t->threads;
		for (size_t k = 0; m->has_thread && k < t->n_threads; k++)
			if ((uint32_t)t->threads[k].vtid.v == m->thread)
				return &t->threads[k];
	}
	return first;
}

/* Where the rings are shorter without it, mappings of them have to be. */
static uint32_t no_array(const UringFileEntry *m)
{
	return m->rings.len < m->array_offset + m->sq_entries * sizeof(uint32_t) ? URING_SETUP_NO_SQARRAY : 0;
}

/* Puts descriptor fd of the task in the place of those that held its numbers; *numberp: one of these. */
static int place_ring(struct task *t, struct agent *agent, const UringFileEntry *m, int fd, int *numberp)
{
	struct batch *b = agent_batch(agent, "placing an io_uring");

	for (size_t i = 0; i < t->n_fds; i++) {
		const FdinfoEntry *e = t->fds[i];

		if (e->id != m->id)
			continue;
		batch_call(b, SYS_dup3, (uint64_t)fd, e->fd, e->flags & FD_CLOEXEC ? O_CLOEXEC : 0);
		*numberp = (int)e->fd;
	}
	batch_call(b, SYS_close, (uint64_t)fd);
	return batch_run(b);
}

static int make_ring(struct thread *th, const UringFileEntry *m, int *numberp)
{
	struct batch *b = agent_batch(th->restore->agent, "making an io_uring");
	struct io_uring_params p = params_of(m);
	int made, err;

	if (!m->has_setup_flags)
		p.flags |= no_array(m);
	made = batch_call(b, SYS_io_uring_setup, m->sq_entries, batch_data(b, &p, sizeof(p)));
	err = batch_run(b);
	return err ?: place_ring(th->task, th->restore->agent, m, (int)batch_ret(b, made), numberp);
}

/* A copy of another task's descriptor: *fdp. */
static int fetch_ring(struct restore *r, struct task *t, const struct task *from, int number, int *fdp)
{
	struct batch *b = agent_batch(t->restore->agent, "fetching an io_uring");
	int pidfd, got, err;

	batch_reserve(b, 3, 0);
	pidfd = batch_call(b, SYS_pidfd_open, (uint64_t)pid_number_for(&r->tree, t, from->vpid), 0);
	got = batch_call(b, SYS_pidfd_getfd, 0, (uint64_t)number, 0);
	batch_ref(b, 0, pidfd);
	batch_call(b, SYS_close, 0);
	batch_ref(b, 0, pidfd);
	err = batch_run(b);
	*fdp = err ? -1 : (int)batch_ret(b, got);
	return err;
}

/* The mappings of a task that has inherited them, and maybe the descriptor. */
static int share_ring(struct restore *r, struct task *t, const struct task *from, const UringFileEntry *m, int number)
{
	bool wanted = tree_first_files(&r->tree, t) == t && entry_of(t, m->id) &&
	              tree_first_files(&r->tree, t) != tree_first_files(&r->tree, from);
	bool mapped =
	    tree_first_vm(&r->tree, t) == t && tree_first_vm(&r->tree, from) != t && uring_is_mapped(t, m->inode);
	int fd = -1, err;

	if (t->state == TASK_DEAD || (!wanted && !mapped))
		return 0;
	err = fetch_ring(r, t, from, number, &fd);
	if (!err && mapped)
		err = uring_map_all(r, t, m->inode, fd);
	if (err)
		return err;
	if (wanted)
		return place_ring(t, t->restore->agent, m, fd, &number);
	batch_call(agent_batch(t->restore->agent, "closing an io_uring"), SYS_close, (uint64_t)fd);
	return batch_run(&t->restore->agent->batch);
}

static int take_ring(const struct task *t, int number)
{
	_cleanup_close_ int pidfd = (int)syscall(SYS_pidfd_open, t->pid, 0);
	int fd = pidfd < 0 ? -1 : (int)syscall(SYS_pidfd_getfd, pidfd, number, 0);

	return fd < 0 ? log_errno(-errno, "%s: fd %d: pidfd_open, or pidfd_getfd", task_name(t), number) : fd;
}

/*
 * The array of a ring without one (NO_SQARRAY), and of one that was never used, is all zeros: then entries are taken in
 * their order, which is what such a ring does.
 */
static void write_array(struct uring_view *v)
{
	uint32_t *array = uring_word(v, v->p.sq_off.array);
	bool used = false;

	for (uint32_t i = 0; i < v->p.sq_entries && !used; i++)
		used = array[i];
	for (uint32_t i = 0; i < v->p.sq_entries && !used; i++)
		array[i] = i;
}

/* All but what the kernel says of the new ring (whether its thread sleeps). */
static void write_rings(struct uring_view *v, const UringFileEntry *m)
{
	size_t flags = v->p.sq_off.flags, after = flags + sizeof(uint32_t), len = MIN(v->rings_len, m->rings.len);

	memcpy(v->rings, m->rings.data, flags);
	memcpy(v->rings + after, m->rings.data + after, len - after);
	memcpy(v->sqes, m->sqes.data, MIN(v->sqes_len, m->sqes.len));
}

static int fill_ring(const UringFileEntry *m, const struct thread *th, struct uring_view *v)
{
	uint32_t submitted = m->position - (uint32_t)m->n_requests, before = submitted - uring_buffers_requests(m);
	int err = uring_layout(m->sq_entries, m->cq_entries, m->setup_flags & URING_LAYOUT_FLAGS, &v->p);

	v->p.flags = m->setup_flags;
	if (!err)
		err = uring_view_map(v);
	if (!err)
		err = uring_advance(v, before, m->has_completed ? m->completed : m->position);
	if (!err)
		err = uring_buffers_restore(v, th->restore->agent, th->task->pid, m, before);
	if (err)
		return err;
	write_rings(v, m);
	if (v->p.flags & IORING_SETUP_SQPOLL) /* its thread takes nothing yet */
		__atomic_store_n(uring_word(v, v->p.sq_off.tail), submitted, __ATOMIC_RELEASE);
	if (!v->flags_known && !v->no_array)
		write_array(v);
	return 0;
}

static int share_with_all(struct restore *r, const struct task *from, const UringFileEntry *m, int number)
{
	int err = 0;

	for (size_t i = 0; !err && i < r->tree.n_tasks; i++)
		if (r->tree.tasks[i] != from)
			err = share_ring(r, r->tree.tasks[i], from, m, number);
	return err;
}

static int register_with_all(struct restore *r, const UringFileEntry *m)
{
	int err = 0;

	for (size_t i = 0; m->n_registered && !err && i < r->tree.n_tasks; i++) {
		struct task *t = r->tree.tasks[i];
		const FdinfoEntry *e = entry_of(t, m->id);

		for (size_t k = 0; e && !err && k < t->n_threads; k++)
			err = uring_register_with(&t->threads[k], m, e->fd);
	}
	return err;
}

static int uring_post_open(struct restore *r, const void *msg, int placeholder)
{
	const UringFileEntry *m = msg;
	struct thread *th = maker_of(r, m);
	struct uring_view v = { .flags_known = m->has_setup_flags, .fd = -1, .number = -1 };
	int err;

	if (!th)
		return 0;
	err = make_ring(th, m, &v.number);
	if (err)
		return err;
	if (m->has_thread)
		v.agent = th->restore->agent;
	v.fd = take_ring(th->task, v.number);
	if (v.fd < 0)
		return v.fd;
	err = uring_buffers_register(th->restore->agent, m, v.number);
	if (!err && uring_is_mapped(th->task, m->inode))
		err = uring_map_all(r, th->task, m->inode, v.number);
	if (err)
		return err;
	err = fill_ring(m, th, &v);
	if (err)
		log_errno(err, "%s: fd %d: bringing an io_uring to position %u", task_name(th->task), v.number,
		          m->position);
	if (!err)
		err = fd_flags_restore(v.fd, m->flags);
	if (!err)
		err = share_with_all(r, th->task, m, v.number);
	if (!err)
		err = uring_register_restore(th->restore->agent, m, v.number);
	if (!err)
		err = register_with_all(r, m);
	if (!err && (m->n_requests || v.p.flags & IORING_SETUP_SQPOLL)) {
		uring_again_later(r, th->task, m, &v);
		return 0;
	}
	uring_view_unmap(&v);
	close(v.fd);
	return err;
}

const struct subsys uring_subsys = {
	.name = "io_uring",
	.before_commit = uring_before_commit,
};

const struct fd_kind uring_kind = {
	.name = "io_uring",
	.state = { .dump = sizeof(struct uring_dump_state) },
	.type = FD_TYPES__URING,
	.field = 1001,
	.pb = &uring_file_entry__descriptor,
	.match = uring_match,
	.dump = uring_dump,
	.all_collected = uring_collected,
	.check = uring_check,
	.open = uring_open,
	.post_open = uring_post_open,
};
