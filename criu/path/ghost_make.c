/* SPDX-License-Identifier: GPL-2.0-only */
/* Making ghosts: regular files here, all others in ghost_nodes.c. */
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include "path/ghost_make.h"
#include "lib/fault.h"
#include "lib/log.h"
#include "path/pathfile.h"

#define PIECE   (1UL << 20)
#define PROC_FD 32

static const char *proc_fd(int fd, char path[PROC_FD])
{
	snprintf(path, PROC_FD, "/proc/self/fd/%d", fd);
	return path;
}

/* ---- a file without a name ---- */

static int open_maker(const struct ghost *g, const char *dir)
{
	uint32_t how = O_RDWR;

	if (g->has_maker) /* without O_EXCL: it can be given a name, as it could be; that flag is shown nowhere */
		how = g->maker_flags & ~(uint32_t)(O_CREAT | O_EXCL | O_TRUNC | O_ASYNC);
	return open(dir, (int)(how | O_TMPFILE | O_CLOEXEC), 0600);
}

static bool no_tmpfile(int err)
{
	return err == EOPNOTSUPP || err == EISDIR || err == ENOENT || err == EINVAL || err == ENOSYS;
}

/* ---- its name, as /proc shows it ---- */

/* The undo of a name: it is taken away if it is (still) that of our file. */
static int unlink_ours(const struct undo *u)
{
	const struct stat *ours = u->data;
	struct stat st;

	if (lstat(u->path, &st) || st.st_dev != ours->st_dev || st.st_ino != ours->st_ino)
		return -ENOENT;
	return unlink(u->path) ? -errno : 0;
}

/* "/tmp/#1234": never had a name, so that a program can give it one; with a name before, it could no more. */
static bool was_tmpfile(const struct ghost *g)
{
	const char *base = strrchr(g->name, '/');
	char own[32];

	snprintf(own, sizeof(own), "/#%llu", (unsigned long long)g->entry->ino);
	return g->has_maker || (g->entry->has_ino && base && !strcmp(base, own));
}

int ghost_open_by_name(struct restore *r, const struct ghost *g, int fd)
{
	struct undo u = { .type = UNDO_CALL, .call = unlink_ours, .fd = -1, .path = g->name };
	int number, named = -1;
	struct stat st, got;
	char path[32];

	if (fstat(fd, &st))
		return -errno;
	u.data = &st;
	u.data_len = sizeof(st);
	number = guardian_note(r->guardian, &u);
	if (number < 0)
		return number;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	if (!linkat(AT_FDCWD, path, AT_FDCWD, g->name, AT_SYMLINK_FOLLOW)) {
		fault_point("ghost has its name");
		named = open(g->name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
		unlink_ours(&u);
	} else {
		log_info("%s (deleted): it is shown by another name now: %s", g->name, strerror(errno));
	}
	guardian_drop(r->guardian, number);
	if (named >= 0 && !fstat(named, &got) && got.st_dev == st.st_dev && got.st_ino == st.st_ino)
		return named;
	cleanup_close(&named);
	return -ENOENT;
}

static int open_base(struct restore *r, const struct ghost *g, int fd)
{
	int base = was_tmpfile(g) ? -1 : ghost_open_by_name(r, g, fd);
	char path[32];

	if (base >= 0)
		return base;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	base = open(path, O_PATH | O_CLOEXEC);
	return base < 0 ? log_errno(-errno, "%s (deleted): opening it again", g->name) : base;
}

/* Where O_TMPFILE is not to be had: a name of our own, which is gone when it has been opened by its old one. */
static int open_named(struct restore *r, const struct ghost *g, const char *dir, int *base)
{
	struct undo u = { .type = UNDO_UNLINK, .fd = -1 };
	int fd, number, err;

	u.path = arena_printf(r->arena, "%s/.criu-ghost-%d-%x", dir, (int)getpid(), g->id);
	number = guardian_note(r->guardian, &u);
	if (number < 0)
		return number;
	fd = open(u.path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	err = fd < 0 ? -errno : 0;
	fault_point("ghost has a name of ours");
	*base = err ? err : open_base(r, g, fd);
	if (!err && unlink(u.path))
		err = -errno;
	guardian_drop(r->guardian, number);
	if (!err)
		return fd;
	if (fd >= 0)
		close(fd);
	return log_errno(err, "%s (deleted): making it as %s", g->name, u.path);
}

/* ---- what is in it ---- */

static int copy(const struct ghost *g, struct image *img, char *buffer, int fd, uint64_t at, uint64_t len)
{
	int err = 0;

	while (!err && len) {
		size_t n = MIN(len, PIECE);
		ssize_t done;

		err = image_read_raw(img, buffer, n);
		if (err)
			return err;
		done = pwrite(fd, buffer, n, (off_t)at);
		if (done != (ssize_t)n)
			return log_errno(done < 0 ? -errno : -ENOSPC, "%s (deleted): writing %zu bytes at %llu",
			                 g->name, n, (unsigned long long)at);
		at += n;
		len -= n;
	}
	return err;
}

static int copy_chunks(struct restore *r, const struct ghost *g, struct image *img, char *buffer, int fd)
{
	uint64_t size = g->entry->size;
	GhostChunkEntry *c;
	int err;

	while ((err = image_read(img, &ghost_chunk_entry__descriptor, r->arena, &c)) > 0) {
		if (c->off > size || c->len > size - c->off || c->len > image_left(img))
			return log_errno(-EINVAL, "%s: a chunk of %llu bytes at %llu, outside of the file or the image",
			                 image_name(img), (unsigned long long)c->len, (unsigned long long)c->off);
		err = copy(g, img, buffer, fd, c->off, c->len);
		if (err)
			return err;
	}
	return err;
}

static int fill(struct restore *r, const struct ghost *g, int fd)
{
	_cleanup_image_ struct image *img = NULL;
	_cleanup_free_ char *buffer = malloc(PIECE);
	GhostFileEntry *again;
	int err = buffer ? image_open(r->dir, IMG_GHOST_FILE, g->id, &img) : -ENOMEM;

	if (err)
		return log_errno(err, "%s (deleted): opening ghost-file-%x.img", g->name, g->id);
	err = image_read(img, &ghost_file_entry__descriptor, r->arena, &again);
	if (err <= 0)
		return err ?: log_errno(-ENODATA, "%s is empty", image_name(img));
	if (!g->entry->chunks)
		return copy(g, img, buffer, fd, 0, image_left(img));
	if (ftruncate(fd, (off_t)g->entry->size))
		return log_errno(-errno, "%s (deleted): setting its size to %llu", g->name,
		                 (unsigned long long)g->entry->size);
	return copy_chunks(r, g, img, buffer, fd);
}

/* ---- whose it is ---- */

/* The directory in which it is made may give it lists of its own. */
static void drop_lists(const struct ghost *g, int fd)
{
	static const char *const lists[] = { "system.posix_acl_access", "system.posix_acl_default" };
	char path[PROC_FD];

	proc_fd(fd, path);
	for (size_t i = 0; i < ARRAY_SIZE(lists); i++) {
		bool had = false;

		for (size_t k = 0; k < g->entry->n_xattrs; k++)
			had = had || !strcmp(g->entry->xattrs[k]->name, lists[i]);
		if (!had && getxattr(path, lists[i], NULL, 0) >= 0 && removexattr(path, lists[i]))
			log_warn("%s (deleted): taking %s from it, which its directory gave it: %s", g->name, lists[i],
			         strerror(errno));
	}
}

static int set_xattrs(const struct ghost *g, int fd)
{
	char path[PROC_FD];

	for (size_t i = 0; i < g->entry->n_xattrs; i++) {
		const GhostXattr *x = g->entry->xattrs[i];

		/* By the path: what is no regular file or directory is there as O_PATH. */
		if (!setxattr(proc_fd(fd, path), x->name, x->value.data, x->value.len, 0))
			continue;
		if (strncmp(x->name, "security.", 9)) /* labels are the system's to give */
			return log_errno(-errno, "%s (deleted): setting its attribute %s", g->name, x->name);
		log_warn("%s (deleted): setting its attribute %s: %s", g->name, x->name, strerror(errno));
	}
	return 0;
}

static struct timespec time_of(const Timeval *t, bool has_nsec, uint32_t nsec)
{
	if (!t)
		return (struct timespec) { .tv_nsec = UTIME_OMIT };
	if (!has_nsec || nsec >= 1000000000)
		nsec = (uint32_t)(t->tv_usec % 1000000) * 1000;
	return (struct timespec) { .tv_sec = (time_t)t->tv_sec, .tv_nsec = nsec };
}

int ghost_set_attributes(const struct ghost *g, int fd)
{
	const GhostFileEntry *e = g->entry;
	struct timespec times[2] = { time_of(e->atim, e->has_atim_nsec, e->atim_nsec),
		                     time_of(e->mtim, e->has_mtim_nsec, e->mtim_nsec) };
	char path[PROC_FD];
	int err;

	if (fchownat(fd, "", e->uid, e->gid, AT_EMPTY_PATH))
		return log_errno(-errno, "%s (deleted): giving it to user %u, group %u", g->name, e->uid, e->gid);
	if (!S_ISLNK(e->mode))
		drop_lists(g, fd); /* before chmod(), which would set the mask of one instead of the group's bits */
	/* After fchownat(), which takes set-user-ID away. */
	if (!S_ISLNK(e->mode) && chmod(proc_fd(fd, path), e->mode & 07777))
		return log_errno(-errno, "%s (deleted): setting its mode to 0%o", g->name, e->mode & 07777);
	err = set_xattrs(g, fd);
	if (!err && utimensat(fd, "", times, AT_EMPTY_PATH))
		err = log_errno(-errno, "%s (deleted): setting its times", g->name);
	return err;
}

/* ---- all of it ---- */

/* What made it may be open for appending, or past any cache: it is filled through another. */
static int open_to_fill(const struct ghost *g, int fd)
{
	char path[32];
	int again;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	again = open(path, O_RDWR | O_CLOEXEC);
	return again < 0 ? log_errno(-errno, "%s (deleted): opening it to fill it", g->name) : again;
}

static int make_empty(struct restore *r, struct ghost *g, int *base)
{
	const char *dir = ghost_dir(r, g);
	int fd = open_maker(g, dir);

	if (fd >= 0) {
		*base = open_base(r, g, fd);
		return fd;
	}
	if (!no_tmpfile(errno))
		return log_errno(-errno, "%s (deleted): making it again in %s", g->name, dir);
	g->has_maker = false;
	return open_named(r, g, dir, base);
}

/* What has a name still, ours. */
static int open_link(struct restore *r, struct ghost *g)
{
	_cleanup_close_ int fd = open(g->link->name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	struct stat st, named;

	if (fd < 0 || fstat(fd, &st))
		return log_errno(-errno, "%s: opening the link to it, %s", g->name, g->link->name);
	if (g->link->has_mode && (st.st_mode & S_IFMT) != (g->link->mode & S_IFMT))
		return log_errno(-ESTALE, "%s: the link to it, %s, is %s now", g->name, g->link->name,
		                 pathfile_type_name(st.st_mode));
	/* Not if somebody gave it its name back: that would be taken away. */
	if (!lstat(g->name, &named) && named.st_dev == st.st_dev && named.st_ino == st.st_ino)
		g->base = open(g->name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	else
		g->base = ghost_open_by_name(r, g, fd);
	if (g->base < 0)
		g->base = move_fd(&fd);
	return 0;
}

static int make_file(struct restore *r, struct ghost *g)
{
	_cleanup_close_ int base = -1, filled = -1;
	_cleanup_close_ int fd = make_empty(r, g, &base);
	int err = fd < 0 ? fd : MIN(base, 0);

	if (!err) {
		filled = open_to_fill(g, fd);
		err = filled < 0 ? filled : fill(r, g, filled);
	}
	if (!err)
		err = ghost_set_attributes(g, filled);
	if (err)
		return err;
	if (g->has_maker)
		g->first = move_fd(&fd);
	g->base = move_fd(&base);
	return 0;
}

int ghost_make(struct restore *r, struct ghost *g, struct ghost *list)
{
	if (g->link)
		return open_link(r, g);
	if (S_ISREG(g->entry->mode))
		return make_file(r, g);
	return S_ISDIR(g->entry->mode) ? ghost_make_dirs(r, list) : ghost_make_node(r, g);
}
