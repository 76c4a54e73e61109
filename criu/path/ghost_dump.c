/* SPDX-License-Identifier: GPL-2.0-only */
/* Ghosts at dump: which files are, and saving them. */
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>

#include "files/foreign_files.h"
#include "path/file_names.h"
#include "path/foreign_content.h"
#include "path/ghost.h"
#include "path/ghost_attrs.h"
#include "path/ghost_data.h"
#include "lib/fd_flags.h"
#include "lib/log.h"
#include "path/remap.h"
#include "lib/arena_hash.h"
#include "tree/subsys.h"

struct kept_ghost {
	struct {
		uint64_t dev, ino;
	} key;
	uint32_t id;
	struct stat st;
	const char *who, *dir;
	char source[64];              /* a path by which it can be opened as long as the tree is frozen */
	int copy;                     /* of a foreign file: its data in a file of ours; -1: it is a local one */
	struct foreign_xattrs xattrs; /* of a foreign file */
	bool mounted;                 /* no task has it open */
	UT_hash_handle hh;
};

struct kept_ghosts {
	struct kept_ghost *by_inode;
	uint32_t n;
	char *buffer;
};

const struct subsys ghost_dump_subsys = { .name = "ghosts", .state = { .dump = sizeof(struct kept_ghosts) } };

static struct kept_ghosts *kept_ghosts_of(struct dump *d)
{
	return dump_state(d, &ghost_dump_subsys);
}

/* ---- which ones ---- */

/* File systems in which a user cannot make files. The list need not be complete: a restore would notice. */
static bool is_of_kernel(int fd)
{
	static const long magics[] = { PROC_SUPER_MAGIC,   SYSFS_MAGIC,         DEBUGFS_MAGIC,    TRACEFS_MAGIC,
		                       CGROUP_SUPER_MAGIC, CGROUP2_SUPER_MAGIC, SECURITYFS_MAGIC, PSTOREFS_MAGIC };
	struct statfs fs;

	if (fstatfs(fd, &fs))
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(magics); i++)
		if (fs.f_type == magics[i])
			return true;
	return false;
}

static int refuse_ghost(struct dump *d, const struct fd_info *info, const char *dir)
{
	uint64_t bytes = (uint64_t)info->st.st_blocks * 512, limit = d->opts->ghost_limit;

	if (limit && bytes > limit)
		log_refusal(-EFBIG,
		            "%s: %s: a deleted file with %" PRIu64 " bytes, more than --ghost-limit %" PRIu64
		            " allows; give a higher one, or none",
		            fd_name(info), info->link, bytes, limit);
	else if (!info->foreign && is_of_kernel(info->fd))
		log_refusal(-ENOTSUP,
		            "%s: %s: a file of the kernel that is gone, and cannot be made again; close it before "
		            "the dump",
		            fd_name(info), info->link);
	else if (info->foreign && !S_ISREG(info->st.st_mode) && !S_ISDIR(info->st.st_mode))
		log_refusal(
		    -ENOTSUP,
		    "%s: %s: deleted, and neither a regular file nor a directory, on a file system that may stop "
		    "to answer (%s); close it before the dump",
		    fd_name(info), info->link, info->foreign->type);
	else if (S_ISSOCK(info->st.st_mode))
		log_refusal(-ENOTSUP,
		            "%s: %s: the file of a socket, opened by its path and deleted, which cannot be made again; "
		            "close it before the dump",
		            fd_name(info), info->link);
	else if (!dir)
		log_refusal(-ENOTSUP,
		            "%s: %s: deleted, and no directory of its file system (%u:%u) was found along its old "
		            "path in which it could be made again; run criu where that is mounted",
		            fd_name(info), info->link, major(info->st.st_dev), minor(info->st.st_dev));
	else if (strstr(info->info, " LEASE ")) /* opening it for reading would break the lease */
		log_refusal(-ENOTSUP,
		            "%s: %s: a lease is held on it, a deleted file; give the lease up (F_UNLCK) to dump",
		            fd_name(info), info->link);
	else
		return 0;
	return DUMP_REFUSED;
}

static int copy_foreign(struct dump *d, const struct fd_info *info, struct kept_ghost *g)
{
	int err;

	g->copy = foreign_content_copy(d, info);
	err = g->copy < 0 ? g->copy : foreign_content_xattrs(d, info, &g->xattrs);
	if (err == -ETIMEDOUT)
		return foreign_files_refuse(d, info);
	return err ? log_errno(err, "%s: %s: a helper's copy of it", fd_name(info), info->link) : 0;
}

/*
 * A path that is valid as long as the tree is frozen. A file that is neither a descriptor nor a mapping of the task is
 * kept open by criu.
 */
static int keep_source(struct dump *d, const struct fd_info *info, struct kept_ghost *g)
{
	char path[32];
	int fd;

	g->copy = -1;
	if (info->foreign)
		return copy_foreign(d, info, g);
	if (info->number >= 0) {
		snprintf(g->source, sizeof(g->source), "/proc/%d/fd/%d", info->task->pid, info->number);
		return 0;
	}
	if (info->path && strlen(info->path) < sizeof(g->source)) {
		snprintf(g->source, sizeof(g->source), "%s", info->path);
		return 0;
	}
	snprintf(path, sizeof(path), "/proc/self/fd/%d", info->fd);
	fd = open(path, O_PATH | O_CLOEXEC);
	if (fd < 0)
		return log_errno(-errno, "%s: %s: open(O_PATH)", fd_name(info), info->link);
	snprintf(g->source, sizeof(g->source), "/proc/self/fd/%d", fd);
	return 0;
}

static struct kept_ghost *new_ghost(struct dump *d, const struct stat *st, const char *who)
{
	struct kept_ghost *g = arena_new_of(d->arena, struct kept_ghost);

	g->key.dev = st->st_dev;
	g->key.ino = st->st_ino;
	g->st = *st;
	g->who = who;
	g->copy = -1;
	return g;
}

static struct kept_ghost *find_ghost(struct dump *d, const struct stat *st)
{
	struct kept_ghosts *all = kept_ghosts_of(d);
	struct kept_ghost *g, key = { .key.dev = st->st_dev, .key.ino = st->st_ino };

	HASH_FIND(hh, all->by_inode, &key.key, sizeof(key.key), g);
	return g;
}

static void note_ghost(struct dump *d, struct kept_ghost *g)
{
	struct kept_ghosts *all = kept_ghosts_of(d);

	g->id = ++all->n;
	HASH_ADD_IN(d->arena, hh, all->by_inode, key, sizeof(g->key), g);
}

static int add_ghost(struct dump *d, const struct fd_info *info, const char *name, struct kept_ghost **gp)
{
	const char *dir = file_names_near_dir(d, info, name);
	struct kept_ghost *g;
	int err = refuse_ghost(d, info, dir);

	if (err)
		return err;
	g = new_ghost(d, &info->st, arena_printf(d->arena, "%s: %s", fd_name(info), info->link));
	g->dir = dir;
	err = keep_source(d, info, g);
	if (err)
		return err;
	note_ghost(d, g);
	*gp = g;
	return 0;
}

int ghost_dump(struct dump *d, const struct fd_info *info, RegFileEntry *m)
{
	struct kept_ghost *g = find_ghost(d, &info->st);
	const char *name = file_names_unmark(d->arena, info->link);
	int err = g ? 0 : add_ghost(d, info, name, &g);

	if (err)
		return err;
	m->name = (char *)name;
	m->has_mode = true;
	m->mode = info->st.st_mode;
	m->has_size = S_ISREG(m->mode);
	m->size = (uint64_t)info->st.st_size;
	remap_note(d, m->id, g->id, REMAP_TYPE__GHOST);
	return 0;
}

/* What cannot be made again, or is too large. */
static int refuse_kept(struct dump *d, const char *who, int fd, const struct stat *st)
{
	uint64_t bytes = (uint64_t)st->st_blocks * 512, limit = d->opts->ghost_limit;

	if (limit && bytes > limit)
		log_refusal(-EFBIG,
		            "%s: %" PRIu64 " bytes, more than --ghost-limit %" PRIu64
		            " allows; give a higher one, or none",
		            who, bytes, limit);
	else if (is_of_kernel(fd))
		log_refusal(-ENOTSUP, "%s: of the kernel, and gone: unmount it for the dump", who);
	else if (S_ISSOCK(st->st_mode))
		log_refusal(-ENOTSUP, "%s: the file of a socket, which cannot be made again: unmount it for the dump",
		            who);
	else
		return 0;
	return DUMP_REFUSED;
}

int ghost_keep(struct dump *d, const char *who, int fd, uint32_t *id)
{
	struct kept_ghost *g;
	struct stat st;
	int err, own;

	if (fstat(fd, &st))
		return log_errno(-errno, "%s: fstat", who);
	g = find_ghost(d, &st);
	if (g && !g->mounted)
		log_refusal(-ENOTSUP, "%s: and %s, by a path in another mount namespace; close it before the dump", who,
		            g->who);
	if (g) {
		*id = g->id;
		return g->mounted ? 0 : DUMP_REFUSED;
	}
	err = refuse_kept(d, who, fd, &st);
	if (err)
		return err;
	own = fd_flags_reopen(fd, O_PATH);
	if (own < 0)
		return log_errno(own, "%s: open(O_PATH)", who);
	g = new_ghost(d, &st, who);
	g->mounted = true;
	snprintf(g->source, sizeof(g->source), "/proc/self/fd/%d", own);
	note_ghost(d, g);
	*id = g->id;
	return 0;
}

uint64_t ghost_count(struct dump *d, dev_t dev)
{
	uint64_t n = 0;

	for (const struct kept_ghost *g = kept_ghosts_of(d)->by_inode; g; g = g->hh.next)
		n += g->key.dev == dev;
	return n;
}

int ghost_collected(struct dump *d)
{
	struct kept_ghosts *all = kept_ghosts_of(d);
	struct statvfs fs;
	uint64_t sum = 0, room;

	for (struct kept_ghost *g = all->by_inode; g; g = g->hh.next)
		sum += !S_ISREG(g->st.st_mode) ? 0 : MIN((uint64_t)g->st.st_blocks * 512, (uint64_t)g->st.st_size);
	if (!all->n)
		return 0;
	log_info("%u deleted files are kept, %" PRIu64 " bytes", all->n, sum);
	if (image_dir_streams(d->dir))
		return 0;
	if (fstatvfs(image_dir_fd(d->dir), &fs))
		return log_errno(-errno, "fstatvfs of the image directory");
	room = (uint64_t)fs.f_bavail * fs.f_frsize;
	if (sum > room)
		log_refusal(-ENOSPC,
		            "the %u deleted files that are still open hold %" PRIu64
		            " bytes, but the image directory has room for %" PRIu64 "; give another (-D)",
		            all->n, sum, room);
	return 0;
}

/* ---- saving them ---- */

static int open_source(const struct kept_ghost *g)
{
	int how = S_ISREG(g->st.st_mode) ? O_RDONLY | O_NONBLOCK | O_NOCTTY | O_NOATIME : O_PATH, fd;
	struct stat st;

	if (g->copy >= 0) {
		fd = fcntl(g->copy, F_DUPFD_CLOEXEC, 3);
		return fd < 0 ? log_errno(-errno, "%s: fcntl(F_DUPFD_CLOEXEC)", g->who) : fd;
	}
	fd = open(g->source, how | O_CLOEXEC);
	if (fd < 0 && errno == EPERM)
		fd = open(g->source, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (fd < 0)
		return log_errno(-errno, "%s: open of %s", g->who, g->source);
	if (!fstat(fd, &st) && st.st_dev == g->st.st_dev && st.st_ino == g->st.st_ino)
		return fd;
	close(fd);
	return log_errno(-ESTALE, "%s: %s is another file now", g->who, g->source);
}

static int add_link_target(struct dump *d, const struct kept_ghost *g, int fd, GhostFileEntry *e)
{
	char target[PATH_MAX];
	ssize_t n = readlinkat(fd, "", target, sizeof(target) - 1);

	if (n < 0)
		return log_errno(-errno, "%s: readlinkat", g->who);
	target[n] = 0;
	e->symlnk_target = arena_strdup(d->arena, target);
	return 0;
}

static int write_ghost_entry(struct dump *d, const struct kept_ghost *g, int fd, struct image *img)
{
	GhostFileEntry e = GHOST_FILE_ENTRY__INIT;
	Timeval atim = TIMEVAL__INIT, mtim = TIMEVAL__INIT;
	int err;

	e.uid = g->st.st_uid;
	e.gid = g->st.st_gid;
	e.mode = g->st.st_mode;
	e.has_dev = e.has_ino = e.has_chunks = e.has_size = e.has_atim_nsec = e.has_mtim_nsec = true;
	e.dev = major(g->st.st_dev) << 20 | minor(g->st.st_dev);
	e.ino = g->st.st_ino;
	e.atim = &atim;
	e.mtim = &mtim;
	atim.tv_sec = (uint64_t)g->st.st_atim.tv_sec;
	mtim.tv_sec = (uint64_t)g->st.st_mtim.tv_sec;
	atim.tv_usec = (uint64_t)g->st.st_atim.tv_nsec / 1000;
	mtim.tv_usec = (uint64_t)g->st.st_mtim.tv_nsec / 1000;
	e.atim_nsec = (uint32_t)g->st.st_atim.tv_nsec;
	e.mtim_nsec = (uint32_t)g->st.st_mtim.tv_nsec;
	e.chunks = true;
	e.size = (uint64_t)g->st.st_size;
	e.dir = (char *)g->dir;
	e.has_rdev = S_ISCHR(e.mode) || S_ISBLK(e.mode);
	e.rdev = (uint32_t)g->st.st_rdev;
	e.xattrs = g->xattrs.all;
	e.n_xattrs = g->xattrs.n;
	err = g->copy >= 0 ? 0 : ghost_attrs_dump(d, g->who, fd, &e);
	if (!err && S_ISLNK(e.mode))
		err = add_link_target(d, g, fd, &e);
	return err ?: image_write(img, &e);
}

static int write_ghost(struct dump *d, const struct kept_ghost *g)
{
	_cleanup_image_ struct image *img = NULL;
	_cleanup_close_ int fd = open_source(g);
	struct kept_ghosts *all = kept_ghosts_of(d);
	int err = fd < 0 ? fd : image_create(d->dir, IMG_GHOST_FILE, g->id, &img);

	if (!all->buffer)
		all->buffer = arena_alloc(d->arena, GHOST_DATA_BUFFER);
	if (!err)
		err = write_ghost_entry(d, g, fd, img);
	if (!err && S_ISREG(g->st.st_mode))
		err = ghost_data_dump(g->who, all->buffer, fd, g->st.st_size, d->opts->ghost_fiemap, img);
	return err ?: image_close(move_ptr(img));
}

static void close_copies(struct dump *d)
{
	for (struct kept_ghost *g = kept_ghosts_of(d)->by_inode; g; g = g->hh.next) {
		if (g->copy >= 0)
			close(g->copy);
		g->copy = -1;
	}
}

int ghost_write_images(struct dump *d)
{
	int err = 0;

	for (struct kept_ghost *g = kept_ghosts_of(d)->by_inode; g && !err; g = g->hh.next)
		err = write_ghost(d, g);
	close_copies(d);
	return err;
}
