/* SPDX-License-Identifier: GPL-2.0-only */
/* Pipes: made once with pipe2(2); an end that was opened by its path in /proc is opened in that way again. */
#include <fcntl.h>
#include <string.h>

#include "options/external.h"
#include "lib/fd_flags.h"
#include "lib/log.h"
#include "fd/pipe_queue.h"
#include "fd/pipe_table.h"
#include "pipe.pb-c.h"
#include "uapi/fcntl_bits.h"

extern const struct fd_kind pipe_kind;

static bool pipe_match(const struct fd_info *info)
{
	return S_ISFIFO(info->st.st_mode) && !strncmp(info->link, "pipe:[", 6);
}

struct dumped_pipes {
	struct pipe_table *queues;
	PipeEntry **entries;
	size_t n;
};

static struct dumped_pipes *dumped_pipes_of(struct dump *d)
{
	return dump_state(d, &pipe_kind);
}

/* An O_PATH descriptor (of /proc/PID/fd/N) is neither end, and does not show the queue. */
static int add_to_table(struct dump *d, const struct fd_info *info, struct pipe_table **queues, uint32_t *id)
{
	_cleanup_close_ int fd = -1;
	struct fd_info readable = *info;

	if (!(info->flags & O_PATH))
		return pipe_table_add(d, info, IMG_PIPES_DATA, queues, id);
	readable.fd = fd = fd_flags_reopen(info->fd, O_RDONLY | O_NONBLOCK);
	if (fd < 0)
		return log_errno(fd, "%s: open of this pipe, which it has with O_PATH", fd_name(info));
	return pipe_table_add(d, &readable, IMG_PIPES_DATA, queues, id);
}

static int pipe_dump(struct dump *d, const struct fd_info *info, void *msg)
{
	struct dumped_pipes *all = dumped_pipes_of(d);
	PipeEntry *m = msg;
	int err;

	if (external_named(d->opts, info->link)) {
		m->pipe_id = (uint32_t)info->st.st_ino;
		m->has_external = m->external = true;
		return 0;
	}
	err = add_to_table(d, info, &all->queues, &m->pipe_id);
	if (err)
		return err;
	m->uid = info->st.st_uid;
	m->has_uid = m->uid != 0;
	m->gid = info->st.st_gid;
	m->has_gid = m->gid != 0;
	arena_push(d->arena, &all->entries, &all->n, m);
	return DUMP_LATER;
}

static int pipe_collected(struct dump *d)
{
	struct dumped_pipes *all = dumped_pipes_of(d);
	int err = 0;

	pipe_table_find_outside(d, all->queues);
	for (size_t i = 0; i < all->n && !err; i++) {
		all->entries[i]->lost_to = pipe_table_lost_to(all->queues, all->entries[i]->pipe_id);
		err = files_write_entry(d, &pipe_kind, all->entries[i]->id, all->entries[i]);
	}
	return err;
}

static int pipe_write_images(struct dump *d)
{
	return pipe_table_finish(dumped_pipes_of(d)->queues);
}

static struct pipe_queue **pipe_queues_of(struct restore *r)
{
	return restore_state(r, &pipe_kind);
}

static int count_end(struct restore *r, const void *msg, void *arg)
{
	const PipeEntry *m = msg;

	pipe_queue_of(r, pipe_queues_of(r), m->pipe_id)->left++;
	return 0;
}

static int pipe_read_images(struct restore *r)
{
	int err = pipe_queues_read(r, IMG_PIPES_DATA, pipe_queues_of(r));

	return err ?: files_each(r, &pipe_kind, count_end, NULL);
}

static int make_pipe(struct pipe_queue *q)
{
	char what[40];
	int err;

	snprintf(what, sizeof(what), "pipe %u", q->id);
	if (pipe2(q->fd, O_CLOEXEC | (int)pipe_queue_flags(q)))
		return log_errno(-errno, "%s: pipe2", what);
	err = pipe_queue_fill(q, q->fd[1], what);
	q->filled = !err;
	return err;
}

/* Who may open it by its path in /proc, as a shell's <(...) does. */
static void set_owner(const struct pipe_queue *q, const PipeEntry *m)
{
	struct stat st;

	if (!(m->has_uid || m->has_gid) || fstat(q->fd[0], &st) || (st.st_uid == m->uid && st.st_gid == m->gid))
		return;
	if (fchown(q->fd[0], m->uid, m->gid))
		log_warn("pipe %u: fchown to user %u, group %u: %s", q->id, m->uid, m->gid, strerror(errno));
}

static void close_ends(struct pipe_queue *q)
{
	for (int i = 0; i < 2; i++) {
		if (q->fd[i] >= 0)
			close(q->fd[i]);
		q->fd[i] = -1;
	}
}

/* The end itself, where nothing else is to be opened from the pipe, or the other end stays for that; else a duplicate.
 */
static int end_itself(struct pipe_queue *q, int end)
{
	int fd = q->fd[end];

	if (q->left > 1 && q->fd[!end] < 0)
		return fcntl(fd, F_DUPFD_CLOEXEC, 0);
	q->fd[end] = -1;
	return fd;
}

/* The first that wants an end gets it as pipe2() made it; all others open it anew. */
static int take_end(struct pipe_queue *q, const PipeEntry *m)
{
	int end = (m->flags & O_ACCMODE) == O_WRONLY, fd;
	uint32_t flags = m->flags & ~(uint32_t)(O_ACCMODE | O_ASYNC | O_CLOEXEC);

	if ((m->flags & O_PATH) || (m->flags & O_ACCMODE) == O_RDWR || (m->flags & KERNEL_O_LARGEFILE) || q->taken[end])
		return fd_flags_reopen(q->fd[0] >= 0 ? q->fd[0] : q->fd[1], m->flags);
	fd = end_itself(q, end);
	if (fd < 0)
		return -errno;
	q->taken[end] = true;
	if (flags != pipe_queue_flags(q) && fcntl(fd, F_SETFL, flags)) {
		int err = -errno;

		close(fd);
		return err;
	}
	return fd;
}

static int pipe_open(struct restore *r, const void *msg)
{
	const PipeEntry *m = msg;
	struct pipe_queue *q = pipe_queue_of(r, pipe_queues_of(r), m->pipe_id);
	bool made = q->fd[0] < 0 && q->fd[1] < 0;
	int fd, err = made ? make_pipe(q) : 0;

	if (err)
		return err;
	if (made)
		set_owner(q, m);
	if (m->lost_to && !q->warned)
		log_warn("pipe %u: its %s end was held by %s, outside of the tree: it is closed now", q->id,
		         (m->flags & O_ACCMODE) == O_WRONLY ? "reading" : "writing", m->lost_to);
	q->warned = true;
	fd = take_end(q, m);
	/* The ends as they were made are needed until the last description is open. */
	if (q->left <= 1)
		close_ends(q);
	else
		q->left--;
	return fd < 0 ? log_errno(fd, "pipe %u: open of an end with flags 0%o", m->pipe_id, m->flags) : fd;
}

static void pipe_resource(struct restore *r, const void *msg, char *buf, size_t size, bool *is_external)
{
	const PipeEntry *m = msg;

	snprintf(buf, size, "pipe:[%u]", m->pipe_id);
	*is_external = m->has_external && m->external;
}

/* A FIFO that has a name will do too. */
static bool pipe_accepts(struct restore *r, const void *msg, const struct fd_info *ours)
{
	return S_ISFIFO(ours->st.st_mode) && !(ours->flags & O_PATH);
}

const struct fd_kind pipe_kind = {
	.name = "pipe",
	.state = { .dump = sizeof(struct dumped_pipes), .restore = sizeof(struct pipe_queue *) },
	.type = FD_TYPES__PIPE,
	.field = 18,
	.pb = &pipe_entry__descriptor,
	.match = pipe_match,
	.dump = pipe_dump,
	.all_collected = pipe_collected,
	.resource = pipe_resource,
	.accepts_inherited = pipe_accepts,
	.open = pipe_open,
	.read_images = pipe_read_images,
	.write_images = pipe_write_images,
};
