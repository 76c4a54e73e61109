/* SPDX-License-Identifier: GPL-2.0-only */
#include <fcntl.h>
#include <string.h>

#include "files/long_path.h"
#include "lib/log.h"
#include "path/file_type.h"
#include "path/foreign_named.h"
#include "path/named_file.h"
#include "path/validate.h"

static int stat_named(const char *path, uint32_t mode, struct stat *st)
{
	int flags = S_ISLNK(mode) ? AT_SYMLINK_NOFOLLOW : 0;

	return long_path_stat(path, flags, st);
}

static int check_looked(struct restore *r, const RegFileEntry *m, const struct stat *st, const struct foreign_access *a,
                        const char **why)
{
	uint32_t mode = m->has_mode ? m->mode : 0;

	if (mode && (st->st_mode & S_IFMT) != (mode & S_IFMT)) {
		*why = arena_printf(r->arena, "%s is %s, but was %s", m->name, file_type_name(st->st_mode),
		                    file_type_name(mode));
		return -ESTALE;
	}
	return validate_check(r, m, st, a, why);
}

static int check_foreign(struct restore *r, const RegFileEntry *m, struct foreign_access *a, const char **why)
{
	struct stat st;
	int err = foreign_named_look(r, m, a, &st, why);

	if (err)
		return err;
	err = check_looked(r, m, &st, a, why);
	close(a->handle);
	return err;
}

/* What the user can do about a file that is gone, where that is not plain; in brackets. */
static const char *way_out_of_missing(const char *name)
{
	return strstr(name, "/hsperfdata_") ? " (a starting Java machine deletes such files of those that have "
	                                      "ended; start Java with -XX:-UsePerfData before the dump)"
	                                    : "";
}

int named_file_check(struct restore *r, const RegFileEntry *m, const char **why)
{
	struct foreign_access a;
	struct stat st;
	int err;

	if (m->has_ext && m->ext) {
		*why = arena_printf(r->arena,
		                    "%s: the dump was told that it would be inherited; give --inherit-fd 'fd[N]:%s'",
		                    m->name, m->name);
		return -ENOTSUP;
	}
	if (m->name[0] != '/') {
		*why = arena_printf(r->arena, "its path \"%s\" is not absolute", m->name);
		return -EINVAL;
	}
	err = foreign_restore_access(r, m->name, &a);
	if (err)
		return err < 0 ? err : check_foreign(r, m, &a, why);
	err = stat_named(m->name, m->has_mode ? m->mode : 0, &st);
	if (err) {
		*why = err == -ENOENT
		           ? arena_printf(r->arena, "%s does not exist%s", m->name, way_out_of_missing(m->name))
		           : arena_printf(r->arena, "%s cannot be reached: %s", m->name, strerror(-err));
		return err;
	}
	return check_looked(r, m, &st, NULL, why);
}

int named_file_open(struct restore *r, const RegFileEntry *m, uint32_t flags)
{
	/* O_ASYNC is set with the owner (files/fown.c): given to open() it would be shown and have no effect. */
	uint32_t how = (flags & ~(uint32_t)(O_CREAT | O_EXCL | O_TRUNC | O_ASYNC | (O_TMPFILE & ~O_DIRECTORY))) |
	               O_NOCTTY | O_CLOEXEC;
	_cleanup_close_ int fd = -1;
	struct foreign_access a;
	struct stat st;
	int err;

	if (m->has_mode && S_ISREG(m->mode)) /* made by O_TMPFILE, whose bits hold this one, and given a name later */
		how &= ~(uint32_t)O_DIRECTORY;
	err = foreign_restore_access(r, m->name, &a);
	if (err)
		return err < 0 ? err : foreign_named_open(r, m, &a, how);
	/* Looked at first: opening a device or a FIFO by mistake would have effects of its own. */
	if (m->has_mode && !stat_named(m->name, m->mode, &st) && (st.st_mode & S_IFMT) != (m->mode & S_IFMT))
		return log_errno(-ESTALE, "%s is %s, but was %s", m->name, file_type_name(st.st_mode),
		                 file_type_name(m->mode));
	fd = long_path_open(m->name, (int)how);
	if (fd < 0)
		return log_errno(fd, "open of %s (flags 0%o)", m->name, flags);
	if (m->has_mode && (fstat(fd, &st) || (st.st_mode & S_IFMT) != (m->mode & S_IFMT)))
		return log_errno(-ESTALE, "%s has changed its type while it was opened", m->name);
	return move_fd(&fd);
}
