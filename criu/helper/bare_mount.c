/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A mount that may be hidden: by one at the same place, or over a directory on the way to it. A copy of it has nothing
 * over it. Where it cannot be reached by its path, what hides it is taken away, in a copy of the namespace.
 */
#include <fcntl.h>
#include <limits.h>
#include <linux/nsfs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "helper/bare_mount.h"
#include "helper/ns_enter.h"
#include "lib/log.h"
#include "lib/lookup.h"

struct bare_job {
	struct arena *a;
	const struct mount_at *m;
	const struct mount_at **chain; /* the mounts on which it lies, from the root on, and itself */
	size_t n;
	struct lookup_root copy;
	unsigned long propagation; /* in the copy: nothing may reach the namespace itself */
	int proc;
	bool is_look; /* it is only read */
	int fd;
};

/* In the namespace itself, in which nothing is changed. */
static int clone_visible(void *arg)
{
	struct bare_job *job = arg;
	_cleanup_close_ int at = open(job->m->path, O_PATH | O_NOFOLLOW | O_CLOEXEC);

	if (at < 0)
		return -errno;
	if (mountinfo_mount_id(at, "") != job->m->id)
		return -EXDEV;
	job->fd = open_tree(at, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH);
	return job->fd < 0 ? -errno : 0;
}

/* ---- in a copy ---- */

/* The nearest directory of the path that can be reached, as O_PATH. */
static int open_nearest(const char *path)
{
	char at[PATH_MAX];
	int fd;

	if (strlen(path) >= sizeof(at))
		return -ENAMETOOLONG;
	strcpy(at, path);
	while ((fd = open(at, O_PATH | O_NOFOLLOW | O_CLOEXEC)) < 0) {
		char *slash = strrchr(at, '/');

		if (!slash || !slash[1])
			return -errno;
		slash[slash == at] = 0;
	}
	return fd;
}

static const struct mount_at *mount_of_id(const struct mount_at *all, size_t n, int id)
{
	for (size_t i = 0; i < n; i++)
		if (all[i].id == id)
			return &all[i];
	return NULL;
}

bool bare_mount_is_alike(const struct mount_at *copy, const struct mount_at *m)
{
	return copy->s_dev == m->s_dev && !strcmp(copy->path, m->path) && !strcmp(copy->root, m->root);
}

static size_t place_in_chain(const struct bare_job *job, const struct mount_at *copy)
{
	size_t i = 0;

	while (i < job->n && !bare_mount_is_alike(copy, job->chain[i]))
		i++;
	return i;
}

/* 1: what is seen there is this mount of the chain, or one that lies on it; 0: what hid it has been taken away. */
static int uncover_one(struct bare_job *job, size_t i)
{
	_cleanup_close_ int fd = open_nearest(job->chain[i]->path);
	const struct mount_at *seen;
	struct mount_at *all;
	size_t n, at;
	int err = fd < 0 ? fd : mountinfo_read(job->a, &all, &n);

	if (err)
		return err;
	seen = mount_of_id(all, n, mountinfo_mount_id(fd, ""));
	at = seen ? place_in_chain(job, seen) : 0;
	if (!seen || at < i)
		return -ENOENT;
	if (at < job->n)
		return 1;
	return umount2(seen->path, MNT_DETACH | UMOUNT_NOFOLLOW) ? -errno : 0;
}

static int uncover_chain(struct bare_job *job)
{
	int err = 1;

	for (size_t i = 0; err > 0 && i < job->n; i++)
		while ((err = uncover_one(job, i)) == 0)
			;
	return MIN(err, 0);
}

static int clone_in_copy(void *arg)
{
	struct bare_job *job = arg;
	int err = 0;

	if (mount(NULL, "/", NULL, MS_REC | job->propagation, NULL))
		return -errno;
	job->copy.root = -1;
	job->copy.mounts = openat(job->proc, "self/mountinfo", O_RDONLY | O_CLOEXEC);
	if (job->copy.mounts < 0)
		return -errno;
	lookup_in(&job->copy);
	err = uncover_chain(job);
	lookup_in(NULL);
	close(job->copy.mounts);
	if (err)
		return err;
	job->fd = open_tree(AT_FDCWD, job->m->path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_SYMLINK_NOFOLLOW);
	/* Locked mounts on it: with the namespace go all that are not. */
	if (job->fd < 0 && errno == EINVAL && job->is_look)
		job->fd = open(job->m->path, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	return job->fd < 0 ? -errno : 0;
}

/* ---- as the owner ---- */

struct copy_job {
	int fd;
	helper_fn fn;
	void *arg;
};

static int copy_inside(void *arg)
{
	struct copy_job *job = arg;

	return ns_enter_copy(job->fd, job->fn, job->arg);
}

int bare_mount_owner(int ns_fd)
{
	_cleanup_close_ int fd = ioctl(ns_fd, NS_GET_USERNS);
	struct stat own, st;

	if (fd < 0 || fstat(fd, &st) || stat("/proc/self/ns/user", &own) ||
	    (st.st_ino == own.st_ino && st.st_dev == own.st_dev))
		return -ENOENT;
	return move_fd(&fd);
}

int bare_mount_copy_as(int owner, int ns_fd, helper_fn fn, void *arg)
{
	return ns_enter_run(owner, copy_inside, &(struct copy_job) { ns_fd, fn, arg });
}

/* One that is made by another user namespace than the owner has all mounts locked. */
static int copy_any(int ns_fd, helper_fn fn, void *arg)
{
	_cleanup_close_ int owner = ns_fd < 0 ? -1 : bare_mount_owner(ns_fd);

	return owner < 0 ? ns_enter_copy(ns_fd, fn, arg) : bare_mount_copy_as(owner, ns_fd, fn, arg);
}

static void find_chain(struct bare_job *job, const struct mount_at *all, size_t n)
{
	const struct mount_at **up = NULL;
	size_t steps = 0;

	for (const struct mount_at *m = job->m; m && steps <= n; m = mount_of_id(all, n, m->parent))
		arena_push(job->a, &up, &steps, m);
	while (steps)
		arena_push(job->a, &job->chain, &job->n, up[--steps]);
}

static int uncover(struct bare_job *job, int ns_fd, const struct mount_at *all, size_t n)
{
	_cleanup_close_ int proc = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
	int err;

	find_chain(job, all, n);
	job->proc = proc;
	err = proc < 0 ? -errno : copy_any(ns_fd, clone_in_copy, job);
	return err ?: job->fd;
}

int bare_mount_open(struct arena *a, int ns_fd, const struct mount_at *all, size_t n, const struct mount_at *m)
{
	_cleanup_lookup_ const struct lookup_root *before = lookup_in(NULL);
	struct bare_job job = { .a = a, .m = m, .propagation = MS_PRIVATE, .is_look = ns_fd >= 0, .fd = -1 };
	int err = ns_fd < 0 ? clone_visible(&job) : ns_enter_run(ns_fd, clone_visible, &job);

	return err ? uncover(&job, ns_fd, all, n) : job.fd;
}

struct visible_job {
	const struct mount_at *const *mounts;
	size_t n;
	int *fds;
};

static int clone_all_visible(void *arg)
{
	const struct visible_job *v = arg;

	for (size_t i = 0; i < v->n; i++) {
		struct bare_job job = { .m = v->mounts[i], .fd = -1 };

		v->fds[i] = clone_visible(&job) ? -1 : job.fd;
	}
	return 0;
}

void bare_mount_open_visible(int ns_fd, const struct mount_at *const *mounts, size_t n, int *fds)
{
	_cleanup_lookup_ const struct lookup_root *before = lookup_in(NULL);
	struct visible_job v = { mounts, n, fds };

	for (size_t i = 0; i < n; i++)
		fds[i] = -1;
	if (ns_fd < 0)
		clone_all_visible(&v);
	else
		ns_enter_run(ns_fd, clone_all_visible, &v);
}

int bare_mount_slave(struct arena *a, const struct mount_at *all, size_t n, const struct mount_at *m)
{
	_cleanup_lookup_ const struct lookup_root *before = lookup_in(NULL);
	struct bare_job job = { .a = a, .m = m, .propagation = MS_SLAVE, .fd = -1 };
	int err = clone_visible(&job);

	return err ? uncover(&job, -1, all, n) : job.fd;
}
