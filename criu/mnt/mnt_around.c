/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Restore: a namespace with locked mounts. The kernel locks what a user namespace gets when it copies a mount namespace
 * of the one around: so those, and the root, are attached in such a one first. The copy has other mounts, in the same
 * places; there the others are attached.
 */
#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>

#include "helper/ns_enter.h"
#include "lib/fault.h"
#include "lib/log.h"
#include "mnt/mnt.h"
#include "mnt/mnt_around.h"

bool mnt_is_around(const struct mnt *m)
{
	return !m->up || m->e->locked;
}

/* Whether what is covered there is to have peer groups: each one of its own. */
static bool covered_shares(const struct mnt_ns *ns)
{
	for (size_t i = 0; i < ns->n; i++)
		if (ns->all[i].covered && ns->all[i].e->shared_id)
			return true;
	return false;
}

struct around_job {
	struct restore *r;
	struct mnt_ns *ns;
	int fd; /* the namespace around */
};

static int make_before(void *arg)
{
	struct around_job *job = arg;

	return mnt_make_supers(job->r, job->ns);
}

static bool is_seen(const struct mnt *m)
{
	return mountinfo_mount_id(AT_FDCWD, m->e->mountpoint) == mountinfo_mount_id(m->fd, "");
}

static int fill_around(void *arg)
{
	struct around_job *job = arg;
	int err = mnt_make_mounts(job->r, job->ns);

	for (size_t i = 0; !err && i < job->ns->n; i++)
		job->ns->all[i].covered = mnt_is_around(&job->ns->all[i]) && !is_seen(&job->ns->all[i]);
	return err;
}

static int refuse_covered(const struct mnt *m)
{
	return log_refusal(
	    -ENOTSUP,
	    "mountpoints-%u.img: mount %s: is locked below another one, and unbindable, or in a peer group "
	    "that others are in",
	    m->ns->id, m->e->mountpoint);
}

/* A dump refuses these. */
static int check_covered(const struct mnt_ns *ns)
{
	bool shared = covered_shares(ns);

	for (size_t i = 0; i < ns->n; i++) {
		const struct mnt *m = &ns->all[i];

		if (m->covered && (m->e->unbindable || m->e->host_peer || !m->e->shared_id == shared ||
		                   (m->e->master_id && !m->e->host_master)))
			return refuse_covered(m);
	}
	return 0;
}

/* In the copy nothing leads to what is covered: it gets its master now, and the copy of it has the same. */
static int share_covered(struct restore *r, struct mnt_ns *ns)
{
	int err = check_covered(ns);

	for (size_t i = 0; !err && i < ns->n; i++)
		if (ns->all[i].covered && ns->all[i].e->master_id)
			err = mnt_share_master(r, &ns->all[i], ns->all[i].e->host_master);
	return err;
}

static int enter_around(void *arg)
{
	struct around_job *job = arg;

	return ns_enter_join(ns_type_of_flag(CLONE_NEWNS), job->fd);
}

int mnt_around_make(struct restore *r, struct mnt_ns *ns, const struct user_ns *owner)
{
	const struct ns_type *type = ns_type_of_flag(CLONE_NEWNS);
	struct around_job job = { r, ns, -1 };
	_cleanup_close_ int fd = ns_enter_make(type, owner->parent ? owner->parent->fd : -1, make_before, NULL, &job);
	_cleanup_close_ int fd_copy = -1;
	int err = fd < 0 ? fd : ns_enter_run(fd, fill_around, &job);

	err = err ?: share_covered(r, ns);
	fault_point("mount namespace around is filled");
	job.fd = fd;
	if (err)
		return err;
	fd_copy = ns_enter_make(type, owner->fd, enter_around, NULL, &job);
	if (fd_copy < 0)
		return fd_copy;
	ns->fd = fcntl(fd_copy, F_DUPFD_CLOEXEC, 3);
	return ns->fd < 0 ? log_errno(-errno, "fcntl(F_DUPFD_CLOEXEC) of a mount namespace") : move_fd(&fd_copy);
}

/* ---- in the copy ---- */

static int open_copy(struct mnt *m)
{
	mnt_close(&m->fd);
	if (m->covered)
		return 0;
	m->fd = open(m->e->mountpoint, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	return m->fd < 0 ? log_errno(-errno, "mount %s: open of its copy", m->e->mountpoint) : 0;
}

int mnt_around_open_point(struct mnt *m)
{
	mnt_close(&m->point_fd);
	if (m->up->covered)
		return log_errno(-EINVAL, "mountpoints-%u.img: mount %s lies on a locked mount below another one",
		                 m->ns->id, m->e->mountpoint);
	m->point_fd = mnt_open_place(m->up->fd, mountinfo_below(m->e->mountpoint, m->up->e->mountpoint));
	if (m->point_fd < 0)
		return log_errno(-errno, "mount %s: open of its place", m->e->mountpoint);
	if (mountinfo_mount_id(m->point_fd, "") != mountinfo_mount_id(m->up->fd, ""))
		return log_errno(-EINVAL, "mountpoints-%u.img: mount %s: a locked mount covers its place", m->ns->id,
		                 m->e->mountpoint);
	return 0;
}

/* Only a change of all mounts below another one reaches what is covered. The others get their groups later. */
static int make_all_shared(const struct mnt_ns *ns)
{
	int err = 0;

	if (mount(NULL, "/", NULL, MS_REC | MS_SHARED, NULL))
		return log_errno(-errno, "mount(MS_REC | MS_SHARED) in a copy of a mount namespace");
	for (size_t i = 0; !err && i < ns->n; i++) {
		const struct mnt *m = &ns->all[i];

		if (mnt_is_around(m) && !m->covered && mount(NULL, m->e->mountpoint, NULL, MS_PRIVATE, NULL))
			err = log_errno(-errno, "mount %s: mount(MS_PRIVATE)", m->e->mountpoint);
	}
	return err;
}

int mnt_around_fill(struct restore *r, struct mnt_ns *ns)
{
	int err = covered_shares(ns) ? make_all_shared(ns) : 0;

	for (size_t i = 0; !err && i < ns->n; i++)
		err = mnt_is_around(&ns->all[i]) ? open_copy(&ns->all[i]) : 0;
	for (size_t i = 0; !err && i < ns->n; i++)
		if (!mnt_is_around(&ns->all[i]) && mnt_is_around(ns->all[i].up))
			err = mnt_around_open_point(&ns->all[i]);
	return err ?: mnt_attach_all(r, ns);
}
