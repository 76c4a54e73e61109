/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Rings of io_uring with nothing in flight. A new ring is brought to the position of the old one by requests that do
 * nothing, and gets the old memory written over: entries, unread completions, heads and tails. It is a plain ring: what
 * IORING_SETUP_ flags like COOP_TASKRUN and IOPOLL do to speed is not shown by the kernel, and not brought back; a
 * program that works with them works without.
 *
 * No socket passes rings (Linux 6.7), so the task makes its own, in place of a descriptor that held the number.
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
#include "fd/uring.h"
#include "files/files.h"
#include "lib/fd_flags.h"
#include "lib/log.h"
#include "proc/fdinfo.h"
#include "uapi/io_uring_more.h"

extern const struct fd_kind uring_kind;

/* ---- dump ---- */

/* A ring that was dumped. */
struct dumped_ring {
	const struct task *task;
	uint64_t dev, ino;
	uint32_t id;
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
	log_refusal(-EOPNOTSUPP, "%s: io_uring %s", fd_name(info), why);
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

/* What would be lost in silence, or cannot be made again. */
static const char *why_not(struct dump *d, const struct fd_info *info, const struct uring_numbers *n)
{
	const struct uring_told *told = uring_told(d, info->task, info->number);
	static const int no_fd = -1;
	int err;

	if (n->has_thread)
		return "with a polling thread (IORING_SETUP_SQPOLL) is not supported yet";
	if (n->files || n->buffers)
		return "with registered files or buffers is not supported yet; unregister them before the dump";
	if (n->has_overflow)
		return "has completions for which there was no place; read them before the dump";
	if (n->submitted > UINT32_MAX || n->sq_mask >= 1U << 15 || n->cq_mask >= 1U << 16)
		return "shows impossible numbers in its fdinfo";
	if (syscall(SYS_io_uring_enter, info->fd, 0, 0, 0, NULL, 0) < 0 && errno == EBADFD)
		return "was set up disabled (IORING_SETUP_R_DISABLED) and not enabled; not supported yet";
	err = ring_register(info->fd, IORING_REGISTER_EVENTFD, &no_fd, 1);
	if (err == -EEXIST && !told)
		return "of a single thread (IORING_SETUP_SINGLE_ISSUER), which is not there, is not supported";
	if (told ? told->has_eventfd : err == -EBUSY)
		return "with a registered eventfd is not supported yet; unregister it before the dump";
	if (told ? told->has_buffers : has_provided_buffers(info->fd))
		return "with buffers provided to it is not supported yet; remove them before the dump";
	return NULL;
}

static int check_in_flight(const struct fd_info *info, const struct uring_numbers *n)
{
	if (!uring_in_flight(n))
		return 0;
	log_refusal(-EBUSY,
	            "%s: io_uring: %" PRIu32 " requests are in flight (or had IOSQE_CQE_SKIP_SUCCESS, or several "
	            "completions)%s%s: let them end, or cancel them, before the dump",
	            fd_name(info), (uint32_t)(n->submitted - n->completed), *n->polls ? ", of these wait opcodes " : "",
	            n->polls);
	return DUMP_REFUSED;
}

static int copy_memory(struct dump *d, const struct fd_info *info, UringFileEntry *m)
{
	struct uring_view v = { .fd = info->fd };
	int err = uring_layout(m->sq_entries, m->cq_entries, &v.p);

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

static int uring_dump(struct dump *d, const struct fd_info *info, void *msg)
{
	struct uring_dump_state *s = dump_state(d, &uring_kind);
	struct dumped_ring *k = arena_new_of(d->arena, struct dumped_ring);
	struct uring_numbers n = { 0 };
	UringFileEntry *m = msg;
	const char *why;
	int err;

	*k = (struct dumped_ring) {
		.task = info->task, .dev = info->st.st_dev, .ino = info->st.st_ino, .id = m->id, .next = s->rings
	};
	s->rings = k;
	if (info->number < 0)
		return refuse_ring(info, "in flight is not supported");
	if (uring_read_numbers(info->info, &n))
		return log_errno(-EINVAL, "%s: no numbers of a ring in its fdinfo", fd_name(info));
	why = why_not(d, info, &n);
	if (why)
		return refuse_ring(info, why);
	err = check_in_flight(info, &n);
	if (err)
		return err;
	m->sq_entries = (uint32_t)n.sq_mask + 1;
	m->cq_entries = (uint32_t)n.cq_mask + 1;
	m->position = (uint32_t)n.submitted;
	m->inode = info->st.st_ino;
	return copy_memory(d, info, m);
}

/* Other tasks that have it too: each table would need the ring itself, which nothing passes on. */
static int check_tables(struct dump *d, const struct dumped_ring *k)
{
	const struct task *table = tree_first_files(&d->tree, k->task);

	for (const struct file_at *p = files_at(d, k->dev, k->ino); p; p = p->next) {
		if (p->id == k->id && tree_first_files(&d->tree, p->task) == table)
			continue;
		return log_refusal(
		    -EOPNOTSUPP, "%s: fd %d: an io_uring that %s has too is not supported yet; close it in one of them",
		    task_name(p->task), p->number, task_name(k->task));
	}
	return 0;
}

/* A mapping without the descriptor through which it can be made again: inherited by fork(2), or closed. */
static int check_mapping(struct dump *d, const struct uring_mapping *u)
{
	const struct uring_dump_state *s = dump_state(d, &uring_kind);
	const struct dumped_ring *found = NULL;

	for (const struct dumped_ring *k = s->rings; k; k = k->next) {
		if (k->ino != u->ino)
			continue;
		if (found)
			return log_refusal(-EOPNOTSUPP,
			                   "%s: this kernel does not show of which io_uring mapping %" PRIx64 " is",
			                   task_name(u->task), u->start);
		found = k;
	}
	if (found && tree_first_vm(&d->tree, found->task) == u->task)
		return 0;
	return log_refusal(-EOPNOTSUPP,
	                   "%s: mapping %" PRIx64 "-%" PRIx64
	                   ": an io_uring of which this process has no descriptor (it was closed, or the mapping was "
	                   "inherited by fork) is not supported; munmap() it before the dump",
	                   task_name(u->task), u->start, u->end);
}

static int uring_collected(struct dump *d)
{
	const struct uring_dump_state *s = dump_state(d, &uring_kind);
	int err = 0, part;

	for (const struct dumped_ring *k = s->rings; k; k = k->next) {
		part = check_tables(d, k);
		err = err ?: part;
	}
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

static int uring_check(struct restore *r, const void *msg, const char **why)
{
	const UringFileEntry *m = msg;
	struct io_uring_params p;
	int err;

	if (!m->sq_entries || m->sq_entries > 1U << 15 || !m->cq_entries || m->cq_entries > 1U << 16)
		return say_why(-EBADMSG, why, "its sizes are damaged");
	err = uring_layout(m->sq_entries, m->cq_entries, &p);
	if (err)
		return say_why(err, why, "io_uring_setup() fails here (kernel.io_uring_disabled, seccomp)");
	if (p.sq_off.array != m->array_offset || p.cq_off.cqes != m->cqes_offset)
		return say_why(-EOPNOTSUPP, why, "this kernel lays out an io_uring in another way");
	if (m->rings.len < p.cq_off.cqes + m->cq_entries * sizeof(struct io_uring_cqe) ||
	    m->sqes.len < m->sq_entries * sizeof(struct io_uring_sqe) || m->rings.len % PAGE_SIZE ||
	    m->sqes.len % PAGE_SIZE)
		return say_why(-EBADMSG, why, "its memory is damaged");
	return 0;
}

/* It holds the number until uring_post_open(). */
static int uring_open(struct restore *r, const void *msg)
{
	int fd = eventfd(0, EFD_CLOEXEC);

	return fd < 0 ? log_errno(-errno, "eventfd, in place of an io_uring") : fd;
}

/* The first task of the one table that has the ring. */
static struct task *owner_of(struct restore *r, uint32_t id)
{
	for (size_t i = 0; i < r->tree.n_tasks; i++) {
		struct task *t = r->tree.tasks[i];

		for (size_t k = 0; t->state != TASK_DEAD && k < t->n_fds; k++)
			if (t->fds[k]->id == id)
				return t;
	}
	return NULL;
}

/* Where the rings are shorter without it, mappings of them have to be. */
static uint32_t no_array(const UringFileEntry *m)
{
	return m->rings.len < m->array_offset + m->sq_entries * sizeof(uint32_t) ? URING_SETUP_NO_SQARRAY : 0;
}

/* Makes it in the task, and puts it in the place of the descriptors that held its numbers; *fdp: one of these. */
static int make_ring(struct task *t, const UringFileEntry *m, int *fdp)
{
	struct batch *b = agent_batch(t->restore->agent, "making an io_uring");
	struct io_uring_params p = { .flags = IORING_SETUP_CQSIZE | no_array(m), .cq_entries = m->cq_entries };
	raddr_t at = batch_data(b, &p, sizeof(p));
	int made = batch_call(b, SYS_io_uring_setup, m->sq_entries, at), err = batch_run(b), fd;

	if (err)
		return err;
	fd = (int)batch_ret(b, made);
	for (size_t i = 0; i < t->n_fds; i++) {
		const FdinfoEntry *e = t->fds[i];

		if (e->id != m->id)
			continue;
		batch_call(b, SYS_dup3, (uint64_t)fd, e->fd, e->flags & FD_CLOEXEC ? O_CLOEXEC : 0);
		*fdp = (int)e->fd;
	}
	batch_call(b, SYS_close, (uint64_t)fd);
	return batch_run(b);
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

static int fill_ring(const UringFileEntry *m, int fd)
{
	struct uring_view v = { .fd = fd };
	int err = uring_layout(m->sq_entries, m->cq_entries, &v.p);

	if (!err)
		err = uring_view_map(&v);
	if (!err)
		err = uring_advance(&v, m->position);
	if (!err) {
		memcpy(v.rings, m->rings.data, MIN(v.rings_len, m->rings.len));
		memcpy(v.sqes, m->sqes.data, MIN(v.sqes_len, m->sqes.len));
		if (!v.no_array)
			write_array(&v);
	}
	uring_view_unmap(&v);
	return err;
}

static int uring_post_open(struct restore *r, const void *msg, int placeholder)
{
	const UringFileEntry *m = msg;
	struct task *t = owner_of(r, m->id);
	_cleanup_close_ int fd = -1;
	int number = -1, err;

	if (!t)
		return 0;
	err = make_ring(t, m, &number);
	if (err)
		return err;
	fd = take_ring(t, number);
	if (fd < 0)
		return fd;
	err = fill_ring(m, fd);
	if (err)
		log_errno(err, "%s: fd %d: bringing an io_uring to position %u", task_name(t), number, m->position);
	if (!err)
		err = fd_flags_restore(fd, m->flags);
	if (!err)
		err = uring_map_all(r, t, m->inode, number);
	return err;
}

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
