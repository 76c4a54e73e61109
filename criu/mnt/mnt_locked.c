/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Dump: mounts that a user namespace got with its mount namespace are locked, so that nothing under them comes to light
 * (mount_namespaces(7)). That is shown nowhere, but can be tried in a copy that belongs to the same user namespace.
 */
#include <fcntl.h>
#include <sys/mount.h>

#include "lib/log.h"
#include "lib/lookup.h"
#include "mnt/mnt_around.h"
#include "mnt/mnt_dump.h"
#include "tree/inventory.h"
#include "tree/ns_ids.h"

struct lock_job {
	struct arena *a;
	const struct mount_at *all;
	size_t n;
	int *copy;         /* the id that each has in the copy; 0: not known */
	bool *gone;        /* of each: unmounted */
	bool *keeps_flags; /* of those: some cannot be cleared */
	int proc;
};

static const struct mount_at *mount_below(const struct ns_root *ns, const struct mount_at *m)
{
	for (size_t i = 0; i < ns->n_mounts; i++)
		if (ns->mounts[i].id == m->parent && &ns->mounts[i] != m)
			return &ns->mounts[i];
	return NULL;
}

static bool carries_any(const struct lock_job *job, const struct mount_at *m)
{
	for (size_t i = 0; i < job->n; i++)
		if (job->all[i].parent == m->id && &job->all[i] != m && !job->gone[i])
			return true;
	return false;
}

/* ---- in the copy ---- */

static int copy_of(const struct lock_job *job, int id)
{
	for (size_t i = 0; i < job->n; i++)
		if (job->all[i].id == id)
			return job->copy[i];
	return 0;
}

/* Both have the same tree. Only the root's parent is not in it. */
static bool find_copies(struct lock_job *job, const struct mount_at *copies, size_t n)
{
	bool any = false;

	for (size_t i = 0; i < job->n; i++) {
		int up = copy_of(job, job->all[i].parent);

		for (size_t k = 0; !job->copy[i] && k < n; k++)
			if ((up ? copies[k].parent == up : !copies[k].path[1]) &&
			    bare_mount_is_alike(&copies[k], &job->all[i])) {
				job->copy[i] = copies[k].id;
				any = true;
			}
	}
	return any;
}

static int match_copies(struct lock_job *job)
{
	struct lookup_root in = { .root = -1, .mounts = openat(job->proc, "self/mountinfo", O_RDONLY | O_CLOEXEC) };
	struct mount_at *copies;
	size_t n;
	int err;

	if (in.mounts < 0)
		return log_errno(-errno, "open of /proc/self/mountinfo in a copy of a mount namespace");
	lookup_in(&in);
	err = mountinfo_read(job->a, &copies, &n);
	lookup_in(NULL);
	close(in.mounts);
	if (err)
		return log_errno(err, "read of /proc/self/mountinfo in a copy of a mount namespace");
	while (find_copies(job, copies, n))
		;
	return 0;
}

/* As those of a mount that is bound from a locked one. */
static bool has_locked_flags(const struct mount_at *m)
{
	static const uint64_t flags[] = { MOUNT_ATTR_RDONLY, MOUNT_ATTR_NOSUID, MOUNT_ATTR_NODEV, MOUNT_ATTR_NOEXEC };
	uint64_t set = mnt_flags_to_attr(mnt_flags_of_text(m->flags));

	for (size_t i = 0; i < ARRAY_SIZE(flags); i++) {
		struct mount_attr attr = { .attr_clr = flags[i] };

		if (set & flags[i] && mount_setattr(AT_FDCWD, m->path, AT_SYMLINK_NOFOLLOW, &attr, sizeof(attr)) &&
		    errno == EPERM)
			return true;
	}
	return false;
}

static bool try_one(struct lock_job *job, size_t i)
{
	const struct mount_at *m = &job->all[i];

	if (!job->copy[i] || mountinfo_mount_id(AT_FDCWD, m->path) != job->copy[i])
		return false;
	job->keeps_flags[i] = has_locked_flags(m);
	return !umount2(m->path, MNT_DETACH | UMOUNT_NOFOLLOW);
}

/* Those that lie highest first, if nothing covers them: the last of the list were mounted last. */
static bool try_each(struct lock_job *job, bool with_others)
{
	bool any = false;

	for (size_t i = job->n; i-- > 0;)
		if (job->all[i].path[1] && !job->gone[i] && carries_any(job, &job->all[i]) == with_others &&
		    try_one(job, i))
			job->gone[i] = any = true;
	return any;
}

static int try_in_copy(void *arg)
{
	struct lock_job *job = arg;
	int err;

	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL))
		return log_errno(-errno, "mount(MS_REC | MS_PRIVATE) in a copy of a mount namespace");
	err = match_copies(job);
	if (err)
		return err;
	while (try_each(job, false))
		;
	try_each(job, true);
	return 0;
}

static int refuse_locked(const struct ns_root *ns, const struct mount_at *m, const char *why)
{
	return log_refusal(-ENOTSUP,
	                   "mount namespace %u: %s (%s): is locked, since the mount namespace was copied when its user "
	                   "namespace was made, and %s: a restore cannot lock it again; let the program make a root of "
	                   "its own (pivot_root) and unmount the old one",
	                   ns->id, m->path, m->type, why);
}

/* What must stand before the namespace is copied for its user namespace. */
static bool is_of_tree(struct dump *d, const struct fs_kind *kind)
{
	return kind->late || (kind->shows_pids && ns_ids_any(d, CLONE_NEWPID)) ||
	       (kind->belongs && ns_ids_any(d, kind->belongs));
}

static int check_locked(struct dump *d, const struct ns_root *ns, const struct mount_at *m, const MntEntry *e,
                        const bool *gone)
{
	const struct mount_at *up = mount_below(ns, m);
	const struct fs_kind *kind = e->ext_mount ? NULL : fs_kind_by_name(m->type);

	if (up && mount_below(ns, up) && gone[up - ns->mounts])
		return refuse_locked(ns, m, "lies on one that is not");
	if (ns_roots_any_covered(d, m->id))
		return refuse_locked(ns, m, "a file of it is open below another mount");
	if (kind && is_of_tree(d, kind))
		return refuse_locked(ns, m, "is of a file system that belongs to another namespace of the tree's");
	return 0;
}

static bool is_alone_in_group(const struct ns_root *ns, const struct mount_at *m)
{
	for (size_t i = 0; i < ns->n_mounts; i++)
		if (&ns->mounts[i] != m && (ns->mounts[i].shared == m->shared || ns->mounts[i].master == m->shared))
			return false;
	return true;
}

/* What a restore cannot give to a mount that no path leads to (mnt_around.c). covered: one that was found before. */
static int check_covered(const struct ns_root *ns, const struct mount_at *m, const MntEntry *e,
                         const struct mount_at **covered)
{
	_cleanup_lookup_ const struct lookup_root *before = lookup_in(&ns->at);
	const struct mount_at *other = *covered ?: m;

	if (mountinfo_mount_id(AT_FDCWD, m->path) == m->id)
		return 0;
	*covered = m;
	if (e->unbindable || e->host_peer || (m->shared && !is_alone_in_group(ns, m)) ||
	    (m->master && !e->host_master) || !m->shared != !other->shared)
		return refuse_locked(
		    ns, m,
		    "lies below another one, and is unbindable, or in a peer group that others are in, "
		    "or not as others there");
	return 0;
}

static int note_locked(struct dump *d, const struct ns_root *ns, MntEntry **all, const bool *gone)
{
	const struct mount_at *covered = NULL;
	int err = 0, part;

	for (size_t i = 0; i < ns->n_mounts; i++) {
		const struct mount_at *m = &ns->mounts[i];

		if (!all[i] || gone[i] || !mount_below(ns, m))
			continue;
		all[i]->has_locked = all[i]->locked = true;
		inventory_only_ours(d);
		part = m->path[1] ? check_locked(d, ns, m, all[i], gone) : refuse_locked(ns, m, "lies over the root");
		part = part ?: check_covered(ns, m, all[i], &covered);
		err = err ?: part;
	}
	return err;
}

/* A restore attaches what is not locked from outside, and so its flags are not. */
static void warn_of_flags(const struct lock_job *job, const struct ns_root *ns)
{
	for (size_t i = 0; i < job->n; i++)
		if (job->gone[i] && job->keeps_flags[i])
			log_warn("mount namespace %u: %s (%s): its user namespace cannot clear its flags (%s); after a "
			         "restore it can",
			         ns->id, job->all[i].path, job->all[i].type, job->all[i].flags);
}

int mnt_locked_find(struct dump *d, const struct ns_root *ns, MntEntry **all)
{
	_cleanup_lookup_ const struct lookup_root *before = lookup_in(NULL);
	_cleanup_close_ int proc = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
	struct lock_job job = { .a = d->arena, .all = ns->mounts, .n = ns->n_mounts, .proc = proc };
	_cleanup_close_ int owner = bare_mount_owner(ns->fd);
	int err;

	job.copy = arena_array(d->arena, int, job.n);
	job.gone = arena_array(d->arena, bool, job.n);
	job.keeps_flags = arena_array(d->arena, bool, job.n);
	err = owner < 0 ? 0 : bare_mount_copy_as(owner, ns->fd, try_in_copy, &job);
	if (err || owner < 0)
		return err;
	warn_of_flags(&job, ns);
	return note_locked(d, ns, all, job.gone);
}
