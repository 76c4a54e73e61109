/* SPDX-License-Identifier: GPL-2.0-only */
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <string.h>

#include "arch/arch_compat.h"
#include "helper/ns_roots.h"
#include "uapi/fcntl_bits.h"
#include "lib/log.h"
#include "options/external.h"
#include "path/file_names.h"
#include "path/file_place.h"
#include "path/ghost.h"
#include "path/link_remap.h"
#include "path/named_file.h"
#include "path/pathfile.h"
#include "path/validate.h"
#include "tree/foresee.h"
#include "tree/inventory.h"
#include "tree/ns_ids.h"

/* ---- dump ---- */

/* validate: it can be read, for its build id or checksum. */
static int fill_message(struct dump *d, const struct fd_info *info, RegFileEntry *m, bool validate)
{
	m->has_mode = info->st.st_mode != 0;
	m->mode = info->st.st_mode;
	if (!S_ISREG(info->st.st_mode) || !validate)
		return 0;
	return validate_dump(d, info, m);
}

/* A file that was opened with more rights than criu has, before the task gave them up most often. */
static int foresee_named(struct dump *d, const struct fd_info *info, const RegFileEntry *m)
{
	int err = foresee_open(d, m->name, info->flags);

	if (!err)
		return 0;
	return foresee_refuse(
	           d, err,
	           "%s: %s is open with rights that criu does not have, so that a restore cannot open it: "
	           "dump and restore as root, or name it with --external file[%x:%lx] and hand it in at restore",
	           fd_name(info), m->name, info->mnt_id, (unsigned long)info->st.st_ino)
	           ? DUMP_REFUSED
	           : 0;
}

/* A deleted file is made again where it was, for an instant. */
static int foresee_ghost(struct dump *d, const struct fd_info *info, const RegFileEntry *m)
{
	const char *slash = m->name ? strrchr(m->name, '/') : NULL;
	const char *dir = slash ? arena_printf(d->arena, "%.*s", (int)MAX(slash - m->name, 1), m->name) : NULL;
	int err = dir && dir[0] == '/' ? foresee_make(d, dir) : 0;

	if (!err)
		return 0;
	return foresee_refuse(d, err,
	                      "%s: %s was deleted, and criu may not make it again in %s: dump and restore as root",
	                      fd_name(info), m->name, dir)
	           ? DUMP_REFUSED
	           : 0;
}

int pathfile_dump(struct dump *d, const struct fd_info *info, RegFileEntry *m)
{
	const char *name;
	enum file_place place = file_place_find(d, info, &name);
	int err;

	m->name = (char *)name;
	if (place == FILE_REFUSED)
		return DUMP_REFUSED;
	if (place == FILE_NEEDS_LINK) {
		err = link_remap_dump(d, info, m);
		if (err && err != LINK_NO_NAME)
			return err;
		place = err ? FILE_IS_GHOST : FILE_AT_NAME;
	}
	if (place == FILE_IS_GHOST)
		return ghost_dump(d, info, m) ?: foresee_ghost(d, info, m);
	if (place == FILE_IS_COVERED) {
		m->has_covered = m->covered = true;
		inventory_only_ours(d);
	}
	err = fill_message(d, info, m, place != FILE_BY_PATH);
	return err ?: place == FILE_BY_PATH || place == FILE_IS_COVERED ? 0 : foresee_named(d, info, m);
}

/* The path below the root of the task, where that is another than ours; else NULL. */
static const char *in_its_root(const struct fd_info *info, const char *link)
{
	char path[32], root[PATH_MAX];
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/%d/root", info->task->pid);
	n = readlink(path, root, sizeof(root) - 1);
	if (n <= 1)
		return NULL;
	root[n] = 0;
	return strncmp(link, root, (size_t)n) || link[n] != '/' ? NULL : link + n;
}

static bool is_external_path(struct dump *d, const char *path)
{
	return external_named(d->opts, path) || external_named(d->opts, path + 1);
}

void pathfile_note_key(const struct fd_info *info, RegFileEntry *m)
{
	if (info->by_path || info->mnt_id < 0)
		return;
	m->has_seen_mnt_id = m->has_seen_ino = true;
	m->seen_mnt_id = (uint32_t)info->mnt_id;
	m->seen_ino = info->st.st_ino;
}

bool pathfile_external(struct dump *d, const struct fd_info *info, RegFileEntry *m)
{
	const char *name = info->link, *seen;
	char key[64];

	if ((!d->opts->n_external && !d->opts->n_inherit_fd) || info->by_path)
		return false;
	snprintf(key, sizeof(key), "file[%x:%lx]", info->mnt_id, (unsigned long)info->st.st_ino);
	if (external_named(d->opts, key)) {
		name = key;
	} else if (name[0] == '/') {
		bool shown = is_external_path(d, name); /* with its mark, as /proc shows it */

		name = info->st.st_nlink ? name : file_names_unmark(d->arena, name);
		seen = in_its_root(info, name);
		if (!shown && !is_external_path(d, name) && !(seen && is_external_path(d, seen)))
			return false;
	} else {
		return false;
	}
	m->name = arena_strdup(d->arena, name);
	m->has_ext = m->ext = m->has_mode = true;
	m->mode = info->st.st_mode;
	return true;
}

int pathfile_dump_extra(struct dump *d, const struct fd_info *info, uint32_t *id)
{
	RegFileEntry *m = arena_msg(d->arena, RegFileEntry, reg_file_entry);
	_cleanup_lookup_ const struct lookup_root *before = lookup_now();
	const struct ns_root *ns = NULL;
	bool external;
	int err = ns_ids_any(d, CLONE_NEWNS) ? ns_roots_of_mount(d, info->mnt_id, &ns) : 0;

	if (err)
		return err;
	m->id = *id = files_new_id(d);
	m->has_mnt_id = ns != NULL;
	m->mnt_id = ns ? info->mnt_id : -1;
	lookup_in(ns ? &ns->at : NULL);
	pathfile_note_key(info, m);
	external = S_ISFIFO(info->st.st_mode) && pathfile_external(d, info, m);
	err = external ? 0 : pathfile_dump(d, info, m);
	if (err)
		return err;
	m->flags = info->flags;
	m->fown = info->fown ?: arena_msg(d->arena, FownEntry, fown_entry);
	err = files_write_entry(d, kind_by_fd_type(FD_TYPES__REG), m->id, m);
	return !err && external ? PATHFILE_EXTERNAL : err;
}

/* ---- restore ---- */

const RegFileEntry *pathfile_message(struct restore *r, uint32_t id)
{
	const struct fd_kind *kind = NULL;
	const void *m = files_message(r, id, &kind);

	if (m && kind == kind_by_fd_type(FD_TYPES__REG))
		return m;
	log_errno(-EINVAL, "files.img has no regular file %u, which another file names as its path", id);
	return NULL;
}

bool pathfile_accepts(const RegFileEntry *m, const struct fd_info *ours)
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
	_cleanup_lookup_ const struct lookup_root *before = lookup_now();

	ns_roots_expect_covered(r, m);
	if (ns_roots_is_future(r, m)) /* of a FIFO or terminal; looked at when it is opened */
		return 0;
	lookup_in(ns_roots_of_message(r, m));
	return ghost ? ghost_check(r, ghost, why) : named_file_check(r, m, why);
}

/*
 * A 32-bit program has opened it: not beyond 2 GiB. (O_NOFOLLOW is shown too, and would not get through /proc.) What
 * criu itself may not open (of a FUSE that lets one user in) stays as it is.
 */
static int without_large(int fd, const RegFileEntry *m, uint32_t flags)
{
	uint32_t how = flags & ~(uint32_t)(O_CREAT | O_EXCL | O_TRUNC | O_ASYNC | (O_TMPFILE & ~O_DIRECTORY));
	_cleanup_close_ int large = fd;
	int small;

	if (m->has_mode && S_ISREG(m->mode))
		how &= ~(uint32_t)O_DIRECTORY;
	small = arch_compat_reopen(large, (int)(how | O_NOCTTY | O_CLOEXEC));
	if (small >= 0)
		return small;
	log_info("openat of %s without O_LARGEFILE: %s: the flag is set", m->name, strerror(-small));
	return move_fd(&large);
}

int pathfile_open(struct restore *r, const RegFileEntry *m, uint32_t flags)
{
	_cleanup_lookup_ const struct lookup_root *before = lookup_now();
	struct ghost *ghost = ghost_of(r, m->id);
	int fd;

	lookup_in(ns_roots_of_message(r, m));
	fd = ghost ? ghost_open(r, ghost, m, flags) : named_file_open(r, m, flags);
	return fd < 0 || !r->tree.has_compat || (flags & (KERNEL_O_LARGEFILE | O_PATH | O_NOFOLLOW))
	           ? fd
	           : without_large(fd, m, flags);
}
