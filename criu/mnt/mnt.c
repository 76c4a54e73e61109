/* SPDX-License-Identifier: GPL-2.0-only */
/* Mount namespaces of a tree's own: the rows. */
#include <fcntl.h>
#include <sched.h>
#include <sys/sysmacros.h>

#include "helper/ns_enter.h"
#include "helper/ns_roots.h"
#include "lib/log.h"
#include "mnt/mnt.h"
#include "mnt/mnt_around.h"
#include "mnt/mnt_bound.h"
#include "mnt/mnt_dump.h"
#include "mnt/mnt_ghosts.h"
#include "mnt/mnt_kept.h"
#include "proc/ns_type.h"
#include "tree/ns_given.h"
#include "tree/ns_kind.h"
#include "tree/subsys.h"
#include "tree/user_ns_image.h"

extern const struct ns_kind mnt_ns_kind;
extern const struct subsys mnt_subsys;

struct mnt_restore *mnt_of(struct restore *r)
{
	return restore_state(r, &mnt_subsys);
}

/* ---- dump ---- */

static int collect_mounts(struct dump *d)
{
	return mnt_dump_collect(d, dump_state(d, &mnt_subsys));
}

static int write_mounts(struct dump *d)
{
	return mnt_dump_write(d, dump_state(d, &mnt_subsys));
}

/* ---- restore ---- */

struct mnt_message {
	struct restore *r;
	struct mnt_ns *ns;
};

static int read_mounts(struct restore *r, uint32_t id, void *message)
{
	struct mnt_message *m = message;
	struct mnt_restore *all = mnt_of(r);
	int err = mnt_read_image(r, id, &m->ns);

	m->r = r;
	if (!err)
		arena_push(r->arena, &all->ns, &all->n, m->ns);
	return err;
}

/* Its mounts are those of another: only their numbers count, by which files are found. */
static int read_given(struct restore *r, uint32_t id)
{
	struct mnt_ns *unused;
	int err = mnt_read_image(r, id, &unused);

	if (err != -ENOENT)
		return err;
	return log_refusal(
	    -ENOTSUP,
	    "mount namespace %u, which is given, was criu's own at the dump: the images do not say which "
	    "files were in it; give --external 'mnt[INODE]:KEY' at a dump from another mount namespace",
	    id);
}

static int note_given(struct restore *r, uint32_t id, int fd)
{
	return ns_given_fd(r, ns_type_of_flag(CLONE_NEWNS), id) >= 0 ? ns_roots_made(r, id, fd) : 0;
}

/* Dumps refuse both. */
static int check_locked(struct restore *r, const struct mnt *m)
{
	if (!m->up || !m->e->locked)
		return 0;
	if (!user_ns_owner(r, m->ns->id))
		return log_errno(-EINVAL, "mountpoints-%u.img: mount %s is locked, in no user namespace of the tree's",
		                 m->ns->id, m->e->mountpoint);
	if (!mnt_is_late(m))
		return 0;
	return log_errno(-EINVAL, "mountpoints-%u.img: mount %s is locked, of a file system that is made later",
	                 m->ns->id, m->e->mountpoint);
}

/* Or lies on one that does. */
static void note_late(struct restore *r, const struct mnt *m)
{
	const struct mnt *at = m;

	while (at && !mnt_waits(at))
		at = at->up;
	if (at)
		ns_roots_set_late(r, m->e->mnt_id);
}

/* All images are read: which mounts belong together. */
static int check_mounts(struct restore *r)
{
	struct mnt_restore *all = mnt_of(r);
	bool any_kept = false;
	int err = 0, part;

	for (size_t i = 0; i < all->n; i++) {
		part = mnt_kept_check(r, all->ns[i]);
		err = err ?: part;
		any_kept |= all->ns[i]->kept;
		for (size_t k = 0; k < all->ns[i]->n; k++) {
			part = mnt_find_super(r, &all->ns[i]->all[k]);
			part = part ?: check_locked(r, &all->ns[i]->all[k]);
			part = part ?: mnt_ghosts_check(r, &all->ns[i]->all[k]);
			err = err ?: part;
		}
	}
	for (size_t i = 0; !err && i < all->n; i++)
		for (size_t k = 0; k < all->ns[i]->n; k++)
			note_late(r, &all->ns[i]->all[k]);
	if (!err && !any_kept)
		mnt_find_groups(r);
	return err;
}

static int make_supers(void *message)
{
	struct mnt_message *m = message;

	return m->ns->kept ? 0 : mnt_make_supers(m->r, m->ns);
}

static int make_mounts(void *message)
{
	struct mnt_message *m = message;

	if (m->ns->kept && m->ns->is_copy)
		return mnt_kept_fill(m->r, m->ns);
	return m->ns->is_copy ? mnt_around_fill(m->r, m->ns) : mnt_make_mounts(m->r, m->ns);
}

static int make_owned(void *message, const struct user_ns *owner, int *fd)
{
	struct mnt_message *m = message;

	if (m->ns->kept)
		return mnt_kept_make(m->r, m->ns, owner, fd);
	*fd = m->ns->is_copy ? mnt_around_make(m->r, m->ns, owner) : -1;
	return m->ns->is_copy ? MIN(*fd, 0) : 0;
}

static bool any_waits(const struct mnt_restore *all)
{
	for (size_t i = 0; i < all->n; i++)
		for (size_t k = 0; k < all->ns[i]->n; k++)
			if (mnt_waits(&all->ns[i]->all[k]))
				return true;
	return false;
}

/* All namespaces stand; what is mounted must not propagate, so that nothing is shared while some wait. */
static int finish_mounts(struct restore *r)
{
	struct mnt_restore *all = mnt_of(r);
	int err = 0;

	all->shared = !any_waits(all);
	if (all->n && all->shared)
		err = mnt_share(r);
	for (size_t i = 0; !err && i < all->n; i++)
		err = ns_roots_made(r, all->ns[i]->id, all->ns[i]->fd);
	return err;
}

static int make_waiting(void *message)
{
	struct mnt_message *m = message;

	return mnt_make_waiting(m->r, m->ns);
}

/* The namespace of a new task that a file system belongs to. -ENOENT: it waits for another task. */
static int open_ns_for(struct restore *r, const struct super *s, const struct task *t)
{
	char path[64];
	int fd;

	if (s->bound)
		return mnt_bound_open(r, s);
	if (s->pid_ns ? !t->ids || s->pid_ns != t->ids->pid_ns_id : s->maker != t)
		return -ENOENT;
	snprintf(path, sizeof(path), "/proc/%d/ns/%s", t->pid,
	         s->pid_ns ? "pid" : ns_type_of_flag(s->kind->belongs)->name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	return fd < 0 ? log_errno(-errno, "open of %s", path) : fd;
}

/* The first task of a namespace: what belongs to that can be mounted. */
static int mounts_born(struct restore *r, struct task *t)
{
	struct mnt_restore *all = mnt_of(r);
	bool any = false;
	int err = 0;

	for (struct super *s = all->supers; s; s = s->next)
		if ((s->pid_ns || s->maker || s->bound) && s->ns_fd < 0) {
			int fd = open_ns_for(r, s, t);

			if (fd == -ENOENT)
				continue;
			if (fd < 0)
				return fd;
			s->ns_fd = fd;
			any = true;
			/* The kernel lists mounts as they are made: make_late() makes those in their order. */
			if (!err && !s->bound)
				err = mnt_super_make(r, s); /* in criu's mount namespace, where no /proc is hidden */
		}
	for (size_t i = 0; any && !err && i < all->n; i++) {
		struct mnt_message m = { r, all->ns[i] };

		err = ns_enter_run(all->ns[i]->fd, make_waiting, &m);
	}
	return err;
}

static int share_late(struct restore *r)
{
	struct mnt_restore *all = mnt_of(r);

	for (struct super *s = all->supers; s; s = s->next)
		if (s->bound && s->ns_fd < 0)
			return log_errno(-ESRCH, "mount %s: %s namespace %u has not come into being",
			                 s->first->mountpoint, s->bound->name, s->first->ns_id);
	return all->n && !all->shared ? mnt_share(r) : 0;
}

static void close_mounts(struct restore *r)
{
	struct mnt_restore *all = mnt_of(r);

	for (size_t i = 0; i < all->n; i++) {
		for (size_t k = 0; k < all->ns[i]->n; k++) {
			mnt_close(&all->ns[i]->all[k].fd);
			mnt_close(&all->ns[i]->all[k].point_fd);
		}
		mnt_close(&all->ns[i]->fd);
	}
	for (struct super *s = all->supers; s; s = s->next) {
		mnt_ghosts_close(s);
		mnt_close(&s->fd);
		mnt_close(&s->spare);
		mnt_close(&s->ns_fd);
	}
	for (size_t i = 0; i < all->n_groups; i++)
		mnt_close(&all->groups[i].fd);
}

const struct ns_kind mnt_ns_kind = {
	.flag = CLONE_NEWNS,
	.message = sizeof(struct mnt_message),
	.read = read_mounts,
	.given = read_given,
	.made = note_given,
	.before = make_supers,
	.make = make_owned,
	.fill = make_mounts,
};

const struct subsys mnt_subsys = {
	.name = "mounts",
	.state = { .dump = sizeof(struct mnt_dump), .restore = sizeof(struct mnt_restore) },
	.collect = collect_mounts,
	.write_images = write_mounts,
	.check = check_mounts,
	.before_start = finish_mounts,
	.born = mounts_born,
	.prepare = share_late,
	.all_standing = mnt_inode_flags_finish,
	.done = close_mounts,
};
