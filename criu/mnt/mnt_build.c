/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Restore: a namespace. The file systems are made (or taken) first, as detached mounts. In the new namespace these lie
 * on a scratch directory, since only what is attached can be copied; every mount is a private copy of its file
 * system's, detached; the places are opened on the bare mounts before anything covers them; then all are attached, and
 * the scratch directory goes with the old root.
 */
#include <fcntl.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "helper/ns_roots.h"
#include "lib/fault.h"
#include "lib/log.h"
#include "lib/lookup.h"
#include "mnt/mnt.h"
#include "mnt/mnt_around.h"
#include "mnt/mnt_bound.h"
#include "mnt/mnt_ghosts.h"
#include "mnt/mnt_idmap.h"
#include "mnt/mnt_kept.h"
#include "uapi/mount_bits.h"
#include "uapi/statmount_bits.h"

/* ---- file systems ---- */

bool mnt_is_late(const struct mnt *m)
{
	return m->super->pid_ns || m->super->maker || m->super->bound ||
	       (m->up && m->super->kind && m->super->kind->late);
}

/* For a process of the namespace that it belongs to. */
bool mnt_waits(const struct mnt *m)
{
	return (m->super->pid_ns || m->super->maker || m->super->bound) && m->super->ns_fd < 0;
}

int mnt_make_supers(struct restore *r, struct mnt_ns *ns)
{
	int err = 0;

	for (size_t i = 0; !err && i < ns->n; i++)
		if (!mnt_is_late(&ns->all[i]) && ns->all[i].super->fd < 0 && !ns->all[i].super->owner)
			err = mnt_super_make(r, ns->all[i].super);
	return err;
}

/* Those that belong to a user namespace can be made only in a mount namespace that belongs to it too. */
static int make_owned_supers(struct restore *r, struct mnt_ns *ns)
{
	int err = 0;

	for (size_t i = 0; !err && i < ns->n; i++)
		if (!mnt_is_late(&ns->all[i]) && ns->all[i].super->fd < 0)
			err = mnt_super_make(r, ns->all[i].super);
	return err;
}

/* ---- the scratch directory ---- */

static int make_scratch(void)
{
	_cleanup_close_ int fs = fsopen("tmpfs", FSOPEN_CLOEXEC), fd = -1;

	if (fs < 0 || fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0))
		return log_errno(-errno, "fsopen of a tmpfs to work in");
	fd = fsmount(fs, FSMOUNT_CLOEXEC, 0);
	if (fd < 0)
		return log_errno(-errno, "fsmount of a tmpfs to work in");
	if (move_mount(fd, "", AT_FDCWD, "/", MOVE_MOUNT_F_EMPTY_PATH))
		return log_errno(-errno, "move_mount of a tmpfs to work in");
	return move_fd(&fd);
}

/* Under its number. A mount may be of a file. */
static int attach_super(struct super *s, int scratch, size_t number)
{
	struct stat st;
	char name[24];
	int err;

	snprintf(name, sizeof(name), "%zu", number);
	if (fstat(s->fd, &st))
		return log_errno(-errno, "mount %s: fstat", s->first->mountpoint);
	err = S_ISDIR(st.st_mode) ? mkdirat(scratch, name, 0700) : mknodat(scratch, name, S_IFREG | 0600, 0);
	if (err || move_mount(s->fd, "", scratch, name, MOVE_MOUNT_F_EMPTY_PATH))
		return log_errno(-errno, "mount %s: move_mount of its file system", s->first->mountpoint);
	return 0;
}

static bool is_wanted(const struct mnt_ns *ns, const struct super *s)
{
	for (size_t i = 0; i < ns->n; i++)
		if (ns->all[i].super == s)
			return true;
	return false;
}

static int attach_supers(struct restore *r, struct mnt_ns *ns, int scratch)
{
	struct mnt_restore *all = mnt_of(r);
	size_t number = 0;
	int err = 0;

	for (struct super *s = all->supers; !err && s; s = s->next) {
		if (s->fd < 0 || s->used || !is_wanted(ns, s))
			continue;
		err = attach_super(s, scratch, number++);
		err = err ?: mnt_copy_for_groups(r, s);
		if (err || all->n == 1)
			continue;
		s->spare = open_tree(s->fd, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH);
		err = s->spare < 0 ? log_errno(-errno, "mount %s: open_tree", s->first->mountpoint) : 0;
	}
	return err;
}

/* The scratch directory is gone. */
static void take_spares(struct restore *r)
{
	for (struct super *s = mnt_of(r)->supers; s; s = s->next)
		if (s->spare >= 0) {
			mnt_close(&s->fd);
			s->fd = s->spare;
			s->spare = -1;
		}
}

/* ---- mounts, detached ---- */

int mnt_open_place(int dir, const char *path)
{
	return *path ? lookup_open_below(dir, path, O_PATH | O_NOFOLLOW | O_CLOEXEC) : fcntl(dir, F_DUPFD_CLOEXEC, 3);
}

/* The mount: a copy that shows its part of the file system, with its flags. */
static int clone_mount(struct restore *r, struct mnt *m)
{
	struct mount_attr attr = { .attr_clr = MNT_ATTRS, .attr_set = mnt_flags_to_attr(m->e->flags) };
	int idmap = m->given ? -1 : mnt_idmap_of(r, m->e);
	const struct super *s = m->super;
	const char *rel = mnt_is_ghost(m) ? mnt_ghost_path(m) : mountinfo_below(m->e->root, s->root);
	_cleanup_close_ int root = rel ? mnt_open_place(mnt_super_dir(s), rel) : -1;

	if (!rel)
		return log_errno(-EINVAL, "mountpoints-%u.img: mount %s: root %s is not below %s", m->ns->id,
		                 m->e->mountpoint, m->e->root, m->super->root);
	if (root < 0)
		return log_errno(-errno, "mount %s: open of %s in its file system (%s)", m->e->mountpoint, m->e->root,
		                 m->super->kind ? m->super->kind->name : m->e->host_path);
	if (mountinfo_mount_id(root, "") != mountinfo_mount_id(mnt_super_dir(s), ""))
		return log_errno(-EXDEV, "mount %s: another mount hides %s in its file system (%s)", m->e->mountpoint,
		                 m->e->root, m->super->kind ? m->super->kind->name : m->e->host_path);
	m->fd = mnt_super_by_name(r, m);
	if (m->fd < 0)
		m->fd = open_tree(root, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH);
	if (m->fd < 0)
		return log_errno(-errno, "mount %s: open_tree", m->e->mountpoint);
	if (idmap >= 0) {
		attr.attr_set |= MOUNT_ATTR_IDMAP;
		attr.userns_fd = (uint64_t)idmap;
	}
	if (mount_setattr(m->fd, "", AT_EMPTY_PATH, &attr, sizeof(attr)))
		return log_errno(-errno, "mount %s: mount_setattr%s", m->e->mountpoint,
		                 idmap >= 0 ? " (with the maps of its owners)" : "");
	return 0;
}

/* Where it will be, on the bare mount below. */
static int open_point(struct mnt *m)
{
	m->point_fd = mnt_open_place(m->up->fd, mountinfo_below(m->e->mountpoint, m->up->e->mountpoint));
	return m->point_fd < 0 ? log_errno(-errno, "mount %s: open of its place", m->e->mountpoint) : 0;
}

static int open_points_on(struct mnt_ns *ns, const struct mnt *up)
{
	int err = 0;

	for (size_t i = 0; !err && i < ns->n; i++)
		if (ns->all[i].up == up)
			err = open_point(&ns->all[i]);
	return err;
}

/* Files on it that are hidden later. */
static int open_covered(struct restore *r, const struct mnt *m)
{
	return ns_roots_open_covered(r, m->e->mnt_id, m->e->mountpoint, m->fd);
}

/* What is attached later would hide it. */
int mnt_clone_early(struct restore *r, struct mnt_ns *ns, struct mnt *m)
{
	return clone_mount(r, m) ?: open_covered(r, m) ?: open_points_on(ns, m);
}

static int make_detached(struct restore *r, struct mnt_ns *ns)
{
	int err = 0;

	for (size_t i = 0; !err && i < ns->n; i++)
		if (!mnt_is_late(&ns->all[i]))
			err = clone_mount(r, &ns->all[i]) ?: open_covered(r, &ns->all[i]);
	for (size_t i = 0; !err && i < ns->n; i++)
		if (ns->all[i].up && ns->all[i].up->fd >= 0)
			err = open_point(&ns->all[i]);
	return err;
}

/* ---- attached ---- */

/* In the place of the old root, which goes with all that is on it; the scratch directory lies over it. */
static int change_root(struct mnt *root, int scratch)
{
	if (mkdirat(scratch, "root", 0700) || move_mount(root->fd, "", scratch, "root", MOVE_MOUNT_F_EMPTY_PATH))
		return log_errno(-errno, "move_mount of the new root");
	/* lint: allow: its own process */
	if (fchdir(root->fd) || syscall(SYS_pivot_root, ".", "."))
		return log_errno(-errno, "pivot_root in a new mount namespace");
	if (umount2(".", MNT_DETACH) || umount2(".", MNT_DETACH))
		return log_errno(-errno, "umount2 of the old root in a new mount namespace");
	root->attached = true;
	return 0;
}

static int attach_one(struct mnt *m)
{
	if (move_mount(m->fd, "", m->point_fd, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH))
		return log_errno(-errno, "mount %s: move_mount", m->e->mountpoint);
	mnt_close(&m->point_fd);
	m->attached = true;
	return 0;
}

/* The first mount of a late file system is the one that was made with it. */
static int make_late(struct restore *r, struct mnt_ns *ns, struct mnt *m)
{
	struct mount_attr attr = { .attr_clr = MOUNT_ATTR__ATIME, .attr_set = mnt_flags_to_attr(m->e->flags) };
	struct super *s = m->super;
	int err = s->fd >= 0 ? 0 : s->bound ? mnt_bound_make(s) : mnt_super_make(r, s);

	if (!err && !s->used)
		err = mnt_copy_for_late_groups(r, s);
	if (!err && !s->used &&
	    s->spare < 0) /* older kernels copy no detached mount: then what lies on it is in the way */
		s->spare = open_tree(s->fd, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH);
	if (!err && !s->used && !strcmp(m->e->root, s->root) && !mnt_is_ghost(m) && !m->e->n_idmap_uid) {
		m->fd = fcntl(s->fd, F_DUPFD_CLOEXEC, 3);
		if (m->fd < 0 || mount_setattr(m->fd, "", AT_EMPTY_PATH, &attr, sizeof(attr)))
			err = log_errno(-errno, "mount %s: mount_setattr", m->e->mountpoint);
		s->used = true;
	} else if (!err) {
		err = clone_mount(r, m);
	}
	return err ?: open_covered(r, m) ?: open_points_on(ns, m);
}

/* Each below one that stands: the image is in any order. What waits, and what is on it, is left. */
int mnt_attach_all(struct restore *r, struct mnt_ns *ns)
{
	bool more = true;
	int err = 0;

	while (!err && more) {
		more = false;
		for (size_t i = 0; !err && i < ns->n; i++) {
			struct mnt *m = &ns->all[i];

			bool too_early = ns->is_copy && ns->fd < 0 && !mnt_is_around(m);

			if (m->attached || !m->up->attached || mnt_waits(m) || too_early)
				continue;
			err = m->fd < 0 ? make_late(r, ns, m) : 0;
			err = err ?: attach_one(m);
			more = true;
		}
	}
	return err;
}

int mnt_make_waiting(struct restore *r, struct mnt_ns *ns)
{
	return mnt_attach_all(r, ns);
}

int mnt_make_mounts(struct restore *r, struct mnt_ns *ns)
{
	_cleanup_close_ int proc = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC), scratch = -1;
	struct mnt *root = ns->all;
	int err = 0;

	while (root->up)
		root++;
	if (ns->kept)
		err = mnt_kept_begin(ns) ?: mnt_kept_open_sources(r, ns);
	else if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL))
		err = log_errno(-errno, "mount(MS_REC | MS_PRIVATE) in a new mount namespace");
	if (err)
		return err;
	fault_point("mount namespace is private");
	scratch = make_scratch();
	err = scratch < 0 ? scratch : make_owned_supers(r, ns);
	err = err ?: attach_supers(r, ns, scratch);
	err = err ?: make_detached(r, ns);
	err = err ?: change_root(root, scratch);
	take_spares(r);
	err = err ?: mnt_attach_all(r, ns) ?: ns->kept ? mnt_kept_end(ns) : 0;
	fault_point("mount namespace is filled");
	if (err || ns->is_copy)
		return err;
	ns->fd = openat(proc, "self/ns/mnt", O_RDONLY | O_CLOEXEC);
	return ns->fd < 0 ? log_errno(-errno, "open of /proc/self/ns/mnt") : 0;
}
