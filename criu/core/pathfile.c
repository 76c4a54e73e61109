/* SPDX-License-Identifier: GPL-2.0-only */
#include <fcntl.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>

#include "core/buildid.h"
#include "core/ghost.h"
#include "core/log.h"
#include "core/pathfile.h"

static const char *type_name(uint32_t mode)
{
	switch (mode & S_IFMT) {
	case S_IFREG:
		return "a regular file";
	case S_IFDIR:
		return "a directory";
	case S_IFLNK:
		return "a symbolic link";
	case S_IFCHR:
		return "a character device";
	case S_IFBLK:
		return "a block device";
	case S_IFIFO:
		return "a FIFO";
	case S_IFSOCK:
		return "a socket";
	default:
		return "no file";
	}
}

/* ---- dump ---- */

#define DELETED " (deleted)"

static bool ends_with(const char *s, const char *end)
{
	size_t n = strlen(s), m = strlen(end);

	return n >= m && !strcmp(s + n - m, end);
}

static int stat_path(const char *path, uint32_t mode, struct stat *st)
{
	int flags = S_ISLNK(mode) ? AT_SYMLINK_NOFOLLOW : 0;

	return fstatat(AT_FDCWD, path, st, flags) ? -errno : 0;
}

static bool on_cgroups(int fd)
{
	struct statfs fs;

	return !fstatfs(fd, &fs) && (fs.f_type == CGROUP_SUPER_MAGIC || fs.f_type == CGROUP2_SUPER_MAGIC);
}

/* Whether opening the path would lead to this very file (0), or it is a ghost; else says why not, and returns 1. */
#define GHOST 2

static int check_link(const struct fd_info *info)
{
	const struct stat *st = &info->st;
	struct stat now;
	int err;

	if (info->link[0] != '/') {
		log_refusal(-ENOTSUP, "%s: %s: lies outside of the tool's root; run the tool where it can be reached",
		            fd_name(info), info->link);
		return 1;
	}
	err = stat_path(info->link, st->st_mode, &now);
	if (!err && now.st_dev == st->st_dev && now.st_ino == st->st_ino)
		return 0;
	if (st->st_nlink == 0 && S_ISREG(st->st_mode) && !on_cgroups(info->fd))
		return GHOST;
	if (err == -ENOENT && on_cgroups(info->fd)) {
		log_refusal(-ENOTSUP,
		            "%s: %s: its cgroup was removed, and cannot be made again with its state; close it before "
		            "the dump",
		            fd_name(info), info->link);
	} else if (st->st_nlink == 0) {
		log_refusal(
		    -ENOTSUP,
		    "%s: %s: deleted while in use; of deleted files only regular ones can be saved yet (this is "
		    "%s)",
		    fd_name(info), info->link, type_name(st->st_mode));
	} else if (ends_with(info->link, DELETED)) {
		log_refusal(-ENOTSUP,
		            "%s: %s: this name was deleted, %lu other%s left; such files come with a later release; "
		            "give it its name back (ln) to dump now",
		            fd_name(info), info->link, (unsigned long)st->st_nlink, st->st_nlink > 1 ? "s are" : " is");
	} else if (err) {
		log_refusal(err, "%s: %s: cannot be reached by its path", fd_name(info), info->link);
	} else {
		log_refusal(
		    -ENOTSUP,
		    "%s: %s: another file is in the way there (inode %lu on %u:%u instead of %lu on %u:%u): a mount "
		    "over it, or a file that replaced it; move it away for the dump",
		    fd_name(info), info->link, (unsigned long)now.st_ino, major(now.st_dev), minor(now.st_dev),
		    (unsigned long)st->st_ino, major(st->st_dev), minor(st->st_dev));
	}
	return 1;
}

/*
 * The build id, read through a descriptor that can be read, or for O_PATH (executables, mappings) through a new one.
 * Files that are only written are not opened for it: that could break a lease.
 */
static void add_build_id(struct dump *d, const struct fd_info *info, RegFileEntry *m)
{
	_cleanup_close_ int opened = -1;
	uint32_t words[BUILDID_WORDS];
	char path[32];
	int fd = info->fd;

	if (info->number < 0 || (info->flags & O_PATH)) {
		snprintf(path, sizeof(path), "/proc/self/fd/%d", info->fd);
		fd = opened = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	} else if ((info->flags & O_ACCMODE) == O_WRONLY) {
		fd = -1;
	}
	m->n_build_id = fd < 0 ? 0 : elf_build_id(fd, words);
	if (m->n_build_id)
		m->build_id = arena_memdup(d->arena, words, m->n_build_id * sizeof(*words));
}

int pathfile_dump(struct dump *d, const struct fd_info *info, RegFileEntry *m)
{
	int err = check_link(info);

	if (err)
		return err == GHOST ? ghost_dump(d, info, m) : err;
	m->name = arena_strdup(d->arena, info->link);
	m->has_mode = true;
	m->mode = info->st.st_mode;
	if (!S_ISREG(info->st.st_mode))
		return 0;
	m->has_size = true;
	m->size = info->st.st_size;
	if (m->size) /* not of what only looks like a file: to read from /proc/kmsg takes away what is read */
		add_build_id(d, info, m);
	return 0;
}

int pathfile_dump_extra(struct dump *d, const struct fd_info *info, uint32_t *id)
{
	RegFileEntry *m = arena_msg(d->arena, RegFileEntry, reg_file_entry);
	int err = pathfile_dump(d, info, m);

	if (err)
		return err;
	m->id = *id = files_new_id(d);
	m->flags = info->flags;
	m->fown = arena_msg(d->arena, FownEntry, fown_entry);
	return files_write_entry(d, fd_kind_of(FD_TYPES__REG), m->id, m);
}

/* ---- restore ---- */

const RegFileEntry *pathfile_message(struct restore *r, uint32_t id)
{
	const struct fd_kind *kind = NULL;
	const void *m = files_message(r, id, &kind);

	if (m && kind == fd_kind_of(FD_TYPES__REG))
		return m;
	log_errno(-EINVAL, "files.img has no regular file %u, which another file names as its path", id);
	return NULL;
}

static bool same_build(const RegFileEntry *m)
{
	_cleanup_close_ int fd = open(m->name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	uint32_t words[BUILDID_WORDS];
	size_t n = fd < 0 ? 0 : elf_build_id(fd, words);

	return n == m->n_build_id && !memcmp(words, m->build_id, n * sizeof(*words));
}

static int check_content(struct restore *r, const RegFileEntry *m, const struct stat *st, const char **why)
{
	if (m->has_size && (uint64_t)st->st_size != m->size) {
		/* What the task itself wrote after the dump, or in an earlier restore, is no other file. */
		if ((m->flags & O_ACCMODE) != O_RDONLY && (uint64_t)st->st_size > m->size) {
			log_warn("%s has grown from %llu to %llu bytes since the dump; it was open for writing",
			         m->name, (unsigned long long)m->size, (unsigned long long)st->st_size);
			return 0;
		}
		*why = arena_printf(r->arena, "%s has %llu bytes, but had %llu when it was dumped", m->name,
		                    (unsigned long long)st->st_size, (unsigned long long)m->size);
		return -ESTALE;
	}
	if (m->n_build_id && !same_build(m)) {
		*why = arena_printf(r->arena, "%s is another build than when it was dumped (its build id differs)",
		                    m->name);
		return -ESTALE;
	}
	return 0;
}

int pathfile_check(struct restore *r, const RegFileEntry *m, const char **why)
{
	uint32_t mode = m->has_mode ? m->mode : 0;
	const struct ghost *ghost = ghost_of(r, m->id);
	struct stat st;
	int err;

	if (ghost)
		return ghost_check(r, ghost, why);
	if (m->has_ext && m->ext) {
		*why =
		    arena_printf(r->arena, "%s was an external file, which needs an option that comes later", m->name);
		return -ENOTSUP;
	}
	if (m->name[0] != '/') {
		*why = arena_printf(r->arena, "its path \"%s\" is not absolute", m->name);
		return -EINVAL;
	}
	err = stat_path(m->name, mode, &st);
	if (err) {
		*why = err == -ENOENT ? arena_printf(r->arena, "%s does not exist", m->name)
		                      : arena_printf(r->arena, "%s cannot be reached: %s", m->name, strerror(-err));
		return err;
	}
	if (mode && (st.st_mode & S_IFMT) != (mode & S_IFMT)) {
		*why = arena_printf(r->arena, "%s is %s, but was %s", m->name, type_name(st.st_mode), type_name(mode));
		return -ESTALE;
	}
	return check_content(r, m, &st, why);
}

int pathfile_open(struct restore *r, const RegFileEntry *m, uint32_t flags)
{
	/* O_ASYNC is set when there is an owner (fown.c): given to open() it would stand without working. */
	uint32_t how = (flags & ~(uint32_t)(O_CREAT | O_EXCL | O_TRUNC | O_ASYNC | (O_TMPFILE & ~O_DIRECTORY))) |
	               O_NOCTTY | O_CLOEXEC;
	struct ghost *ghost = ghost_of(r, m->id);
	_cleanup_close_ int fd = -1;
	struct stat st;

	if (ghost)
		return ghost_open(r, ghost, m, flags);
	if (m->has_mode && S_ISREG(m->mode)) /* made by O_TMPFILE, whose bits hold this one, and given a name later */
		how &= ~(uint32_t)O_DIRECTORY;
	/* What stands there is looked at first: to open a device or a FIFO by mistake has effects of its own. */
	if (m->has_mode && !stat_path(m->name, m->mode, &st) && (st.st_mode & S_IFMT) != (m->mode & S_IFMT))
		return log_errno(-ESTALE, "%s is %s, but was %s", m->name, type_name(st.st_mode), type_name(m->mode));
	fd = open(m->name, (int)how);
	if (fd < 0)
		return log_errno(-errno, "opening %s (flags 0%o)", m->name, flags);
	if (m->has_mode && (fstat(fd, &st) || (st.st_mode & S_IFMT) != (m->mode & S_IFMT)))
		return log_errno(-ESTALE, "%s has changed its type while it was opened", m->name);
	return move_fd(&fd);
}
