/* SPDX-License-Identifier: GPL-2.0-only */
#include "mnt/mnt_kept.h"

#include <fcntl.h>
#include <sched.h>
#include <string.h>
#include <sys/mount.h>

#include "helper/detour.h"
#include "helper/ns_enter.h"
#include "lib/fault.h"
#include "lib/log.h"
#include "mnt/mnt_around.h"
#include "mnt/mnt_own.h"
#include "proc/ns_type.h"
#include "tree/user_ns_image.h"
#include "uapi/mount_bits.h"

/* ---- which of criu's own mounts they are ---- */

struct kept {
	const MntEntry *e;
	const struct mount_at *own; /* NULL: not found (yet), or made anew */
	bool is_root;
};

struct kept_all {
	uint32_t id; /* of the namespace */
	struct kept *v;
	size_t n;
	const struct mount_at *own;
	size_t n_own;
	bool *taken;
};

static struct kept *kept_below(const struct kept_all *all, const struct kept *k)
{
	for (size_t i = 0; i < all->n; i++)
		if (all->v[i].e->mnt_id == k->e->parent_mnt_id && &all->v[i] != k)
			return &all->v[i];
	return NULL;
}

static const struct mount_at *find_own(struct kept_all *all, const struct kept *k, const struct mount_at *up,
                                       bool alike)
{
	for (size_t i = 0; i < all->n_own; i++) {
		const struct mount_at *own = &all->own[i];

		if (all->taken[i] || (up && own->parent != up->id) || strcmp(own->path, k->e->mountpoint) ||
		    strcmp(own->root, k->e->root))
			continue;
		if (own->s_dev != k->e->root_dev && !(alike && k->e->fsname && !strcmp(own->type, k->e->fsname)))
			continue;
		all->taken[i] = true;
		return own;
	}
	return NULL;
}

/* Each on the one on which it lies; another machine has other numbers of devices. */
static void match_kept(struct kept_all *all)
{
	bool more = true;

	while (more) {
		more = false;
		for (size_t i = 0; i < all->n; i++) {
			struct kept *k = &all->v[i], *up = kept_below(all, k);

			if (k->own || !(k->is_root || k->e->locked) || (up && !up->own))
				continue;
			k->own =
			    find_own(all, k, up ? up->own : NULL, false) ?: find_own(all, k, up ? up->own : NULL, true);
			more |= k->own != NULL;
		}
	}
}

static int refuse_kept(const struct kept_all *all, const char *path, const char *why)
{
	return log_refusal(-EPERM, "mount namespace %u: mount %s: %s: run criu as root", all->id, path, why);
}

/* ---- peer groups: the copy has slaves of those that criu's mounts are in ---- */

static const struct mount_at *source_of(const struct kept_all *all, const MntEntry *e)
{
	const struct own_mount wanted = { .path = e->host_path, .root = e->host_root };

	return e->host_path && e->host_root ? mnt_own_find(e, &wanted, all->own, all->n_own) : NULL;
}

static bool is_slave_there(const struct mount_at *own)
{
	return own->shared || own->master;
}

/* Several may lie at one place. */
static bool has_right_master(const struct kept_all *all, const struct kept *k)
{
	const struct mount_at *own = k->own ?: source_of(all, k->e);
	int group = own ? own->shared ?: own->master : 0;

	for (size_t i = 0; group && k->e->host_master && i < all->n_own; i++)
		if (all->own[i].shared == group && !strcmp(all->own[i].path, k->e->host_master))
			return true;
	return false;
}

static bool any_master(const struct kept_all *all)
{
	for (size_t i = 0; i < all->n; i++)
		if (all->v[i].e->master_id)
			return true;
	return false;
}

static bool is_covered(const struct kept_all *all, const struct kept *k)
{
	for (size_t i = 0; k->own && i < all->n_own; i++)
		if (all->own[i].parent == k->own->id && !strcmp(all->own[i].path, k->own->path))
			return true;
	return k->own && kept_below(all, k) && is_covered(all, kept_below(all, k));
}

static bool any_locked(const struct kept_all *all)
{
	for (size_t i = 0; i < all->n; i++)
		if (!all->v[i].is_root && all->v[i].e->locked)
			return true;
	return false;
}

/* As take_kept() will find it. */
static bool is_hidden(const struct mount_at *own)
{
	_cleanup_lookup_ const struct lookup_root *before = lookup_in(NULL);
	_cleanup_close_ int fd = open(own->path, O_PATH | O_NOFOLLOW | O_CLOEXEC);

	return fd < 0 || mountinfo_mount_id(fd, "") != own->id;
}

static bool has_other_flags(const struct kept *k)
{
	return mnt_flags_to_attr(mnt_flags_of_text(k->own->flags)) != mnt_flags_to_attr(k->e->flags);
}

static int check_entry(const struct kept_all *all, const struct kept *k)
{
	const MntEntry *e = k->e;

	if (e->shared_id || e->unbindable || (e->master_id && !has_right_master(all, k)))
		return refuse_kept(
		    all, e->mountpoint,
		    "is in a peer group, or unbindable, which an ordinary user's criu cannot bring back");
	if (k->own && !e->master_id && any_master(all) && is_slave_there(k->own) && is_covered(all, k))
		return refuse_kept(all, e->mountpoint,
		                   "lies under another one, and an ordinary user's criu cannot make it private alone");
	if (any_locked(all) && k->own && has_other_flags(k) && is_hidden(k->own))
		return refuse_kept(
		    all, e->mountpoint,
		    "lies under another one, and has other flags in criu's mount namespace, which an ordinary "
		    "user's criu cannot change there (or give it these there)");
	if (e->deleted && e->host_path)
		return refuse_kept(all, e->mountpoint,
		                   "shows a file or directory that was deleted, which takes root to bring back");
	return e->with_plugin ? refuse_kept(all, e->mountpoint, "is made by a plugin, which takes root") : 0;
}

/* Without locked mounts all are made anew. */
static int check_kept(const struct kept_all *all)
{
	bool is_copy = any_locked(all);
	int err = 0, part;

	for (size_t i = 0; i < all->n; i++) {
		const struct kept *k = &all->v[i];

		if (is_copy && (k->is_root || k->e->locked) && !k->own)
			part = refuse_kept(all, k->e->mountpoint,
			                   "is locked by its user namespace (or the root), and is not in the mount "
			                   "namespace of criu, of which an ordinary user's restore makes a copy");
		else
			part = check_entry(all, k);
		err = err ?: part;
	}
	for (size_t i = 0; is_copy && i < all->n_own; i++) {
		if (all->taken[i])
			continue;
		part = refuse_kept(all, all->own[i].path,
		                   "is in the mount namespace of criu, of which an ordinary user's restore makes a "
		                   "copy, but not locked in that of the tree");
		err = err ?: part;
	}
	return err;
}

static int read_own(struct arena *a, struct kept_all *all)
{
	struct mount_at *own;
	int err = mountinfo_read(a, &own, &all->n_own);

	if (err)
		return log_errno(err, "read of /proc/self/mountinfo");
	all->own = own;
	all->taken = arena_array(a, bool, all->n_own);
	for (size_t i = 0; i < all->n; i++)
		all->v[i].is_root = !kept_below(all, &all->v[i]);
	match_kept(all);
	return 0;
}

/* ---- dump ---- */

int mnt_kept_foresee(struct dump *d, const struct mnt_dumped *ns)
{
	struct kept_all all = { .id = ns->ns->id };
	_cleanup_close_ int owner = detour_is_ordinary() ? bare_mount_owner(ns->ns->fd) : -1;
	int err;

	if (owner < 0)
		return 0;
	for (size_t i = 0; i < ns->n; i++)
		if (ns->all[i])
			arena_push(d->arena, &all.v, &all.n, ((struct kept) { .e = ns->all[i] }));
	err = read_own(d->arena, &all);
	return err ?: check_kept(&all);
}

/* ---- restore ---- */

static struct kept_all kept_of(struct restore *r, const struct mnt_ns *ns)
{
	struct kept_all all = { .id = ns->id, .v = arena_array(r->arena, struct kept, ns->n), .n = ns->n };

	for (size_t i = 0; i < ns->n; i++)
		all.v[i] = (struct kept) { .e = ns->all[i].e };
	return all;
}

int mnt_kept_check(struct restore *r, struct mnt_ns *ns)
{
	struct kept_all all = kept_of(r, ns);
	int err;

	ns->kept = detour_is_ordinary() && user_ns_owner(r, ns->id);
	if (!ns->kept)
		return 0;
	err = read_own(r->arena, &all);
	return err ?: check_kept(&all);
}

/* What belongs to the user namespace. It is filled here, with criu's ids. */
static int make_supers(struct restore *r, struct mnt_ns *ns)
{
	int err = 0;

	for (size_t i = 0; !err && i < ns->n; i++) {
		const struct mnt *m = &ns->all[i];

		if (!(ns->is_copy && mnt_is_around(m)) && !mnt_is_late(m) && m->super->kind && m->super->fd < 0)
			err = mnt_super_make(r, m->super);
	}
	return err;
}

int mnt_kept_make(struct restore *r, struct mnt_ns *ns, const struct user_ns *owner, int *fd)
{
	_cleanup_close_ int copy = -1;
	int err = make_supers(r, ns);

	*fd = -1;
	if (err || !ns->is_copy)
		return err;
	copy = ns_enter_make(ns_type_of_flag(CLONE_NEWNS), owner->fd, NULL, NULL, NULL);
	if (copy < 0)
		return copy;
	fault_point("mount namespace is copied");
	ns->fd = fcntl(copy, F_DUPFD_CLOEXEC, 3);
	if (ns->fd < 0)
		return log_errno(-errno, "fcntl(F_DUPFD_CLOEXEC) of a mount namespace");
	*fd = move_fd(&copy);
	return 0;
}

/* ---- in the copy ---- */

/* What lies under another one is reached by no path: it has to have its flags already. */
static int set_flags(const struct mnt *m, uint32_t now)
{
	uint64_t has = mnt_flags_to_attr(now), wanted = mnt_flags_to_attr(m->e->flags);
	struct mount_attr attr = { .attr_set = wanted, .attr_clr = has & ~wanted & ~MOUNT_ATTR__ATIME };

	if (has == wanted)
		return 0;
	if (m->covered)
		return log_errno(-EPERM, "mount %s: lies under another one, and has other flags in criu's namespace",
		                 m->e->mountpoint);
	if ((has ^ wanted) & MOUNT_ATTR__ATIME)
		attr.attr_clr |= MOUNT_ATTR__ATIME;
	else
		attr.attr_set &= ~MOUNT_ATTR__ATIME;
	if (mount_setattr(m->fd, "", AT_EMPTY_PATH, &attr, sizeof(attr)))
		return log_errno(-errno, "mount %s: mount_setattr in a copy of criu's mount namespace",
		                 m->e->mountpoint);
	return 0;
}

static int take_kept(struct mnt *m, const struct mount_at *own)
{
	m->fd = open(m->e->mountpoint, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	m->covered = m->fd < 0 || mountinfo_mount_id(m->fd, "") != own->id;
	if (m->covered)
		mnt_close(&m->fd);
	m->attached = true;
	if (m->covered && !own->master != !m->e->master_id)
		return log_errno(-EPERM, "mount %s: lies under another one, and has another master in criu's namespace",
		                 m->e->mountpoint);
	return set_flags(m, mnt_flags_of_text(own->flags));
}

/* Of criu's own mounts: what is seen of it in the copy, before anything is attached there. */
static int open_source(const struct kept_all *all, struct super *s)
{
	const struct own_mount wanted = { .path = s->first->host_path, .root = s->first->host_root };
	const struct mount_at *own = s->path ? NULL : mnt_own_find(s->first, &wanted, all->own, all->n_own);
	const char *path = s->path ?: wanted.path;

	s->fd = open(path, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (s->fd < 0)
		return log_errno(-errno, "mount %s: open of %s", s->first->mountpoint, path);
	s->used = true; /* it stays where it is */
	if (s->path || (own && mountinfo_mount_id(s->fd, "") == own->id))
		return 0;
	return log_errno(-ENOENT, "mount %s: is of what criu saw mounted at %s, which is not seen there now",
	                 s->first->mountpoint, path);
}

static int open_sources(const struct kept_all *all, struct mnt_ns *ns)
{
	int err = 0;

	for (size_t i = 0; !err && i < ns->n; i++)
		if (!(ns->is_copy && mnt_is_around(&ns->all[i])) && !ns->all[i].super->kind && ns->all[i].super->fd < 0)
			err = open_source(all, ns->all[i].super);
	return err;
}

int mnt_kept_open_sources(struct restore *r, struct mnt_ns *ns)
{
	struct kept_all all = kept_of(r, ns);

	return read_own(r->arena, &all) ?: open_sources(&all, ns);
}

static int open_points(struct mnt_ns *ns)
{
	int err = 0;

	for (size_t i = 0; !err && i < ns->n; i++)
		if (!mnt_is_around(&ns->all[i]) && mnt_is_around(ns->all[i].up))
			err = mnt_around_open_point(&ns->all[i]);
	return err;
}

/* Of criu's own mounts, which are still bare. */
static int clone_sources(struct restore *r, struct mnt_ns *ns)
{
	int err = 0;

	for (size_t i = 0; !err && i < ns->n; i++) {
		struct mnt *m = &ns->all[i];

		if (!mnt_is_around(m) && !m->super->kind && m->super->used)
			err = mnt_clone_early(r, ns, m);
	}
	return err;
}

int mnt_kept_begin(const struct mnt_ns *ns)
{
	for (size_t i = 0; i < ns->n; i++)
		if (ns->all[i].e->master_id)
			return 0;
	return mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL)
	           ? log_errno(-errno, "mount(MS_REC | MS_PRIVATE) in a new mount namespace")
	           : 0;
}

int mnt_kept_end(const struct mnt_ns *ns)
{
	struct mount_attr attr = { .propagation = MS_PRIVATE };

	for (size_t i = 0; i < ns->n; i++) {
		const struct mnt *m = &ns->all[i];

		if (!m->e->master_id && m->fd >= 0 && m->attached &&
		    mount_setattr(m->fd, "", AT_EMPTY_PATH, &attr, sizeof(attr)))
			return log_errno(-errno, "mount %s: mount_setattr(MS_PRIVATE)", m->e->mountpoint);
	}
	return 0;
}

/* What was there before the start may have changed meanwhile. */
static int check_found(const struct kept_all *all)
{
	for (size_t i = 0; i < all->n; i++)
		if ((all->v[i].is_root || all->v[i].e->locked) && !all->v[i].own)
			return log_errno(-ENOENT, "mount %s: is not in a copy of criu's mount namespace",
			                 all->v[i].e->mountpoint);
	return 0;
}

int mnt_kept_fill(struct restore *r, struct mnt_ns *ns)
{
	struct kept_all all = kept_of(r, ns);
	int err = mnt_kept_begin(ns) ?: read_own(r->arena, &all) ?: check_found(&all);

	for (size_t i = 0; !err && i < ns->n; i++)
		err = mnt_is_around(&ns->all[i]) ? take_kept(&ns->all[i], all.v[i].own) : 0;
	err = err ?: open_sources(&all, ns) ?: open_points(ns) ?: clone_sources(r, ns);
	err = err ?: mnt_attach_all(r, ns);
	err = err ?: mnt_kept_end(ns);
	fault_point("mount namespace is filled");
	return err;
}
