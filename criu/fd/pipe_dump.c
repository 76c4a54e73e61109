/* SPDX-License-Identifier: GPL-2.0-only */
#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>

#include "lib/fd_flags.h"
#include "lib/log.h"
#include "fd/pipe_data.h"

/* A pipe of the tree. */
struct pipe_seen {
	struct {
		uint64_t dev, ino;
	} key;
	uint32_t id;
	bool end[2];     /* whether the tree has the reading and the writing end */
	const char *who; /* the descriptor that was seen first */
	char *lost_to;   /* who has the other end, outside of the tree */
	UT_hash_handle hh, hh_id;
};

struct pipe_table {
	struct image *img;
	struct pipe_seen *by_inode, *by_id;
};

/* ---- the queue ---- */

/*
 * Copies the queue into a pipe of our own and adds one byte, which shows afterwards whether the last piece was a
 * packet. Returns the number of bytes copied, the added one not counted.
 */
static ssize_t copy_queue(const struct fd_info *info, int src, int size, const int ours[2], bool *marked)
{
	ssize_t n;
	int left;

	/* One page more for the byte, where we may have it. */
	if (fcntl(ours[1], F_SETPIPE_SZ, size + 1) < 0 && fcntl(ours[1], F_SETPIPE_SZ, size) < 0)
		return log_errno(-errno,
		                 "%s: a copy of its queue needs a pipe of %d bytes (see /proc/sys/fs/pipe-max-size)",
		                 fd_name(info), size);
	n = tee(src, ours[1], INT32_MAX, SPLICE_F_NONBLOCK);
	if (n < 0 && errno == EAGAIN)
		n = 0; /* somebody outside of the tree has just read it */
	if (n < 0)
		return log_errno(-errno, "%s: copying its queue (tee)", fd_name(info));
	/* More in there than was copied: our pipe has fewer places (or somebody outside writes: then they would match
	 * soon). */
	if (!ioctl(info->fd, FIONREAD, &left) && left > n && n + 4096 < left)
		return log_errno(-ENOBUFS, "%s: only %zd of %d bytes of its queue could be copied", fd_name(info), n,
		                 left);
	*marked = write(ours[1], "", 1) == 1;
	return n;
}

/* Reads it piece by piece: a read ends where a packet does. */
static int read_pieces(struct dump *d, const struct fd_info *info, int fd, char *buf, size_t n, bool marked,
                       PipeDataEntry *e)
{
	size_t total = n + marked, at = 0, count = 0;
	uint32_t *sizes = NULL;

	while (at < total) {
		ssize_t got = read(fd, buf + at, total - at);

		if (got <= 0)
			return log_errno(got ? -errno : -EIO, "%s: reading the copy of its queue", fd_name(info));
		at += got;
		if (marked && at == total)
			got--;
		if (got)
			arena_push(d->arena, &sizes, &count, (uint32_t)got);
		if (marked && at == total && got && count == 1)
			return 0; /* one piece, and the byte in it: no packet */
	}
	if (count > 1 || (count && marked)) {
		e->n_packets = count;
		e->packets = sizes;
	}
	return 0;
}

static int write_queue(struct dump *d, const struct fd_info *info, struct pipe_table *table, uint32_t id)
{
	_cleanup_close_ int reader = -1, out = -1, in = -1;
	PipeDataEntry e = PIPE_DATA_ENTRY__INIT;
	int size = fcntl(info->fd, F_GETPIPE_SZ), pending, ours[2], err = 0;
	_cleanup_free_ char *buf = NULL;
	bool marked = false;
	ssize_t n = 0;

	if (size < 0 || ioctl(info->fd, FIONREAD, &pending))
		return log_errno(-errno, "%s: the size of its queue", fd_name(info));
	if (pending) {
		if ((info->flags & O_ACCMODE) == O_WRONLY) {
			reader = fd_flags_reopen(info->fd, O_RDONLY | O_NONBLOCK);
			if (reader < 0)
				return log_errno(reader, "%s: opening it for reading", fd_name(info));
		}
		if (pipe2(ours, O_CLOEXEC | O_NONBLOCK))
			return log_errno(-errno, "%s: a pipe for a copy of its queue", fd_name(info));
		out = ours[0];
		in = ours[1];
		n = copy_queue(info, reader >= 0 ? reader : info->fd, size, ours, &marked);
		if (n < 0)
			return (int)n;
		buf = malloc((size_t)n + 1);
		if (!buf)
			return log_errno(-ENOMEM, "%s: %zd bytes for its queue", fd_name(info), n);
		err = read_pieces(d, info, out, buf, (size_t)n, marked, &e);
	}
	e.pipe_id = id;
	e.bytes = (uint32_t)n;
	e.has_size = true;
	e.size = (uint32_t)size;
	if (!err)
		err = image_write(table->img, &e);
	return err ?: n ? image_write_raw(table->img, buf, (size_t)n) : 0;
}

static struct pipe_seen *pipe_of(struct dump *d, struct pipe_table *table, const struct fd_info *info, bool *is_new)
{
	struct pipe_seen *p, *same, key = { .key = { info->st.st_dev, info->st.st_ino } };

	HASH_FIND(hh, table->by_inode, &key.key, sizeof(key.key), p);
	*is_new = !p;
	if (p)
		return p;
	p = arena_new_of(d->arena, struct pipe_seen);
	p->key = key.key;
	p->id = (uint32_t)info->st.st_ino;
	p->who = arena_strdup(d->arena, fd_name(info));
	for (;;) {
		HASH_FIND(hh_id, table->by_id, &p->id, sizeof(p->id), same);
		if (!same)
			break;
		p->id++;
	}
	HASH_ADD_IN(d->arena, hh, table->by_inode, key, sizeof(p->key), p);
	HASH_ADD_IN(d->arena, hh_id, table->by_id, id, sizeof(p->id), p);
	return p;
}

int pipe_dump_queue(struct dump *d, const struct fd_info *info, enum image_type image, struct pipe_table **tablep,
                    uint32_t *pipe_id)
{
	int mode = info->flags & O_ACCMODE, err = 0;
	struct pipe_seen *p;
	bool is_new;

	if (!*tablep) {
		*tablep = arena_new_of(d->arena, struct pipe_table);
		err = image_create(d->dir, image, 0, &(*tablep)->img);
		if (err)
			return err;
	}
	p = pipe_of(d, *tablep, info, &is_new);
	p->end[0] |= mode != O_WRONLY && !(info->flags & O_PATH);
	p->end[1] |= mode != O_RDONLY && !(info->flags & O_PATH);
	*pipe_id = p->id;
	return is_new ? write_queue(d, info, *tablep, p->id) : 0;
}

/* ---- ends outside ---- */

static void tell_holder(struct dump *d, struct pipe_seen *p, const char *pid, bool writer)
{
	char path[64], comm[32] = "?";
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%.20s/comm", pid);
	f = fopen(path, "re");
	if (f && fscanf(f, "%31[^\n]", comm) != 1)
		comm[0] = '?';
	if (f)
		fclose(f);
	p->lost_to = arena_printf(d->arena, "pid %s (%s)", pid, comm);
	log_warn("%s: the %s end of this pipe is held by %s, outside of the tree; in a restored tree it is closed",
	         p->who, writer ? "writing" : "reading", p->lost_to);
}

static void look_at_task(struct dump *d, struct pipe_table *table, const char *pid, size_t *open_ends)
{
	char path[64], link[64];
	struct dirent *e;
	struct stat st;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%.20s/fd", pid);
	dir = opendir(path);
	while (dir && *open_ends && (e = readdir(dir))) {
		ssize_t n = readlinkat(dirfd(dir), e->d_name, link, sizeof(link) - 1);
		struct pipe_seen *p, key = { .key.dev = table->by_inode->key.dev }; /* there is one pipefs */

		link[n < 0 ? 0 : n] = 0;
		if (strncmp(link, "pipe:[", 6) || fstatat(dirfd(dir), e->d_name, &st, AT_SYMLINK_NOFOLLOW))
			continue;
		key.key.ino = strtoull(link + 6, NULL, 10);
		HASH_FIND(hh, table->by_inode, &key.key, sizeof(key.key), p);
		/* The link's own mode says how the file is open. */
		for (int end = 0; p && end < 2; end++) {
			if (p->end[end] || !(st.st_mode & (end ? S_IWUSR : S_IRUSR)))
				continue;
			tell_holder(d, p, pid, end);
			p->end[end] = true;
			--*open_ends;
		}
	}
	if (dir)
		closedir(dir);
}

void pipe_tell_outside(struct dump *d, struct pipe_table *table)
{
	size_t open_ends = 0;
	struct dirent *e;
	DIR *proc;

	for (struct pipe_seen *p = table ? table->by_inode : NULL; p; p = p->hh.next)
		open_ends += !p->end[0] + !p->end[1];
	proc = open_ends ? opendir("/proc") : NULL;
	while (proc && open_ends && (e = readdir(proc)))
		if (isdigit((unsigned char)e->d_name[0]) && atoi(e->d_name) != getpid())
			look_at_task(d, table, e->d_name, &open_ends);
	if (proc)
		closedir(proc);
}

char *pipe_lost_to(struct pipe_table *table, uint32_t id)
{
	struct pipe_seen *p = NULL;

	if (table)
		HASH_FIND(hh_id, table->by_id, &id, sizeof(id), p);
	return p ? p->lost_to : NULL;
}

int pipe_dump_finish(struct pipe_table *table)
{
	return table ? image_close(move_ptr(table->img)) : 0;
}
