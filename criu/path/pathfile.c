/* SPDX-License-Identifier: GPL-2.0-only */
/* Files by path at restore; path/pathfile_dump.c is the other direction. */
#include <fcntl.h>
#include <string.h>

#include "path/ghost.h"
#include "lib/log.h"
#include "files/long_path.h"
#include "path/pathfile.h"
#include "path/validate.h"

const char *pathfile_type_name(uint32_t mode)
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

static int stat_path(const char *path, uint32_t mode, struct stat *st)
{
	int flags = S_ISLNK(mode) ? AT_SYMLINK_NOFOLLOW : 0;

	return long_path_stat(path, flags, st);
}

const RegFileEntry *pathfile_message(struct restore *r, uint32_t id)
{
	const struct fd_kind *kind = NULL;
	const void *m = files_message(r, id, &kind);

	if (m && kind == kind_by_fd_type(FD_TYPES__REG))
		return m;
	log_errno(-EINVAL, "files.img has no regular file %u, which another file names as its path", id);
	return NULL;
}

bool pathfile_takes(const RegFileEntry *m, const struct fd_info *ours)
{
	mode_t type = ours->st.st_mode & S_IFMT;

	if (!m || (ours->flags & O_PATH && !(m->flags & O_PATH)))
		return false;
	if (m->has_mode && (S_ISDIR(m->mode) || S_ISLNK(m->mode)))
		return type == (m->mode & S_IFMT);
	return type == S_IFREG || type == S_IFIFO || type == S_IFCHR || type == S_IFBLK;
}

int pathfile_check(struct restore *r, const RegFileEntry *m, const char **why)
{
	const struct ghost *ghost = ghost_of(r, m->id);

	return ghost ? ghost_check(r, ghost, why) : pathfile_check_name(r, m, why);
}

int pathfile_check_name(struct restore *r, const RegFileEntry *m, const char **why)
{
	uint32_t mode = m->has_mode ? m->mode : 0;
	struct stat st;
	int err;

	if (m->has_ext && m->ext) {
		*why = arena_printf(r->arena, "%s was to come from outside; give --inherit-fd 'fd[N]:%s'", m->name,
		                    m->name);
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
		*why = arena_printf(r->arena, "%s is %s, but was %s", m->name, pathfile_type_name(st.st_mode),
		                    pathfile_type_name(mode));
		return -ESTALE;
	}
	return validate_check(r, m, &st, why);
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
		return log_errno(-ESTALE, "%s is %s, but was %s", m->name, pathfile_type_name(st.st_mode),
		                 pathfile_type_name(m->mode));
	fd = long_path_open(m->name, (int)how);
	if (fd < 0)
		return log_errno(fd, "opening %s (flags 0%o)", m->name, flags);
	if (m->has_mode && (fstat(fd, &st) || (st.st_mode & S_IFMT) != (m->mode & S_IFMT)))
		return log_errno(-ESTALE, "%s has changed its type while it was opened", m->name);
	return move_fd(&fd);
}
