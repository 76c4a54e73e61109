/* SPDX-License-Identifier: GPL-2.0-only */
/* Making ghosts again: regular files and links here, all others in ghost_nodes.c. */
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/fault.h"
#include "lib/fd_flags.h"
#include "lib/log.h"
#include "lib/lookup.h"
#include "path/file_type.h"
#include "path/ghost_attrs.h"
#include "path/ghost_data.h"
#include "path/ghost_make.h"

/* ---- a file without a name ---- */

static int open_maker(const struct ghost *g, const char *dir)
{
	uint32_t how = O_RDWR;

	if (g->has_maker) /* without O_EXCL, which /proc does not show: it can be given a name again */
		how = g->maker_flags & ~(uint32_t)(O_CREAT | O_EXCL | O_TRUNC | O_ASYNC);
	return lookup_open(dir, (int)(how | O_TMPFILE | O_CLOEXEC), 0600);
}

/* Whether a failure of open(O_TMPFILE) means that this file system does not have it. */
static bool is_tmpfile_missing(int err)
{
	return err == EOPNOTSUPP || err == EISDIR || err == ENOENT || err == EINVAL || err == ENOSYS;
}

/* "/tmp/#1234": it never had a name, so that a program can link it; once it has had one, linkat(2) is refused. */
static bool was_tmpfile(const struct ghost *g)
{
	const char *base = strrchr(g->name, '/');
	char own[32];

	snprintf(own, sizeof(own), "/#%llu", (unsigned long long)g->entry->ino);
	return g->has_maker || (g->entry->has_ino && base && !strcmp(base, own));
}

static int open_base(struct restore *r, const struct ghost *g, int fd)
{
	int base = was_tmpfile(g) ? -1 : ghost_open_by_name(r, g, fd);

	if (base < 0)
		base = fd_flags_reopen(fd, O_PATH);
	return base < 0 ? log_errno(base, "%s (deleted): open(O_PATH)", g->name) : base;
}

/* Where O_TMPFILE is missing: under a name of our own, which is removed when it was opened by its old one. */
static int create_named(struct restore *r, const struct ghost *g, const char *dir, int *base)
{
	struct undo u = { .type = UNDO_UNLINK, .fd = -1 };
	int fd, number, err;

	u.path = lookup_path(arena_printf(r->arena, "%s/.criu-ghost-%d-%x", dir, (int)getpid(), g->id));
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
	return log_errno(err, "%s (deleted): creating it as %s", g->name, u.path);
}

/* The maker may be open for appending, or with O_DIRECT: the file is filled through another description. */
static int open_to_fill(const struct ghost *g, int fd)
{
	int again = fd_flags_reopen(fd, O_RDWR);

	return again < 0 ? log_errno(again, "%s (deleted): open(O_RDWR)", g->name) : again;
}

static int make_empty(struct restore *r, struct ghost *g, int *base)
{
	const char *dir = ghost_dir(r, g);
	int fd = open_maker(g, dir);

	if (fd >= 0) {
		*base = open_base(r, g, fd);
		return fd;
	}
	if (!is_tmpfile_missing(errno))
		return log_errno(-errno, "%s (deleted): open(O_TMPFILE) in %s", g->name, dir);
	g->has_maker = false;
	return create_named(r, g, dir, base);
}

/* A file that still has a name: the link that --link-remap made. */
static int open_link(struct restore *r, struct ghost *g)
{
	_cleanup_close_ int fd = lookup_open(g->link->name, O_PATH | O_NOFOLLOW | O_CLOEXEC, 0);
	struct stat st, named;

	if (fd < 0 || fstat(fd, &st))
		return log_errno(-errno, "%s: open of the link to it, %s", g->name, g->link->name);
	if (g->link->has_mode && (st.st_mode & S_IFMT) != (g->link->mode & S_IFMT))
		return log_errno(-ESTALE, "%s: the link to it, %s, is %s now", g->name, g->link->name,
		                 file_type_name(st.st_mode));
	/* Where it has its old name again, that is used: ghost_open_by_name() would remove it. */
	if (!lookup_lstat(g->name, &named) && named.st_dev == st.st_dev && named.st_ino == st.st_ino)
		g->base = lookup_open(g->name, O_PATH | O_NOFOLLOW | O_CLOEXEC, 0);
	else
		g->base = ghost_open_by_name(r, g, fd);
	if (g->base < 0)
		g->base = move_fd(&fd);
	return 0;
}

int ghost_fill(struct restore *r, uint32_t id, const GhostFileEntry *e, const char *name, int fd)
{
	int err = S_ISREG(e->mode) ? ghost_data_restore(r, id, e, name, fd) : 0;

	return err ?: ghost_attrs_restore(e, name, fd);
}

static int make_ghost_file(struct restore *r, struct ghost *g)
{
	_cleanup_close_ int base = -1, filled = -1;
	_cleanup_close_ int fd = make_empty(r, g, &base);
	int err = fd < 0 ? fd : MIN(base, 0);

	if (!err) {
		filled = open_to_fill(g, fd);
		err = filled < 0 ? filled : ghost_fill(r, g->id, g->entry, g->name, filled);
	}
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
		return make_ghost_file(r, g);
	return S_ISDIR(g->entry->mode) ? ghost_make_dirs(r, list) : ghost_make_node(r, g);
}
