/* SPDX-License-Identifier: GPL-2.0-only */
/* Restore: mountpoints-ID.img. What is read is checked before anything follows it. */
#include <sched.h>
#include <string.h>

#include "files/net_ns.h"
#include "helper/ns_roots.h"
#include "lib/log.h"
#include "mnt/mnt.h"
#include "tree/subsys.h"

#define MOUNTS_MAX 200000

static struct mnt *mount_by_id(const struct mnt_ns *ns, uint32_t id)
{
	for (size_t i = 0; i < ns->n; i++)
		if (ns->all[i].e->mnt_id == id)
			return &ns->all[i];
	return NULL;
}

static int damaged(const struct mnt_ns *ns, const MntEntry *e, const char *why)
{
	return log_errno(-EINVAL, "mountpoints-%u.img: mount %u at %s %s", ns->id, e->mnt_id, e->mountpoint, why);
}

/* No step of it is "..". */
static bool is_clean(const char *path)
{
	for (const char *at = path; at; at = strchr(at, '/')) {
		at += strspn(at, "/");
		if (!strncmp(at, "..", 2) && (!at[2] || at[2] == '/'))
			return false;
		if (!strchr(at, '/'))
			break;
	}
	return path[0] == '/';
}

static int check_tree(const struct mnt_ns *ns, const struct mnt *m)
{
	const struct mnt *up = m->up;
	size_t steps = 0;

	while (up && steps++ < ns->n)
		up = up->up;
	if (up)
		return damaged(ns, m->e, "is below itself");
	if (m->up && !mountinfo_below(m->e->mountpoint, m->up->e->mountpoint))
		return damaged(ns, m->e, "is not below the mount that it is said to be on");
	if (m->up && m->e->locked && m->up->up && !m->up->e->locked)
		return damaged(ns, m->e, "is locked, and that on which it lies is not");
	return 0;
}

static int check_entry(const struct mnt_ns *ns, const MntEntry *e)
{
	/* One of a namespace (nsfs) is not a path. */
	bool whole = e->has_ns_id || (e->host_root && !strcmp(e->root, e->host_root));

	if (!is_clean(e->mountpoint) || !(whole || is_clean(e->root)))
		return damaged(ns, e, "has a path with \"..\", or one that is not absolute");
	return 0;
}

static int link_mounts(struct mnt_ns *ns)
{
	const struct mnt *root = NULL;
	int err = 0;

	for (size_t i = 0; !err && i < ns->n; i++) {
		struct mnt *m = &ns->all[i];

		m->up = m->e->parent_mnt_id == m->e->mnt_id ? NULL : mount_by_id(ns, m->e->parent_mnt_id);
		if (!m->up && root)
			err = damaged(ns, m->e, "is a second root");
		root = m->up ? root : m;
	}
	if (!err && !root)
		err = log_errno(-EINVAL, "mountpoints-%u.img: no mount is the root", ns->id);
	for (size_t i = 0; !err && i < ns->n; i++) {
		err = check_tree(ns, &ns->all[i]);
		ns->is_copy |= ns->all[i].up && ns->all[i].e->locked;
	}
	return err;
}

int mnt_read_image(struct restore *r, uint32_t id, struct mnt_ns **nsp)
{
	_cleanup_image_ struct image *img = NULL;
	struct mnt_ns *ns = arena_new_of(r->arena, struct mnt_ns);
	int err = image_open(r->dir, IMG_MNTS, id, &img), got;
	MntEntry *e;

	if (err)
		return err;
	ns->id = id;
	ns->fd = -1;
	ns_roots_expect(r, id);
	while ((got = image_read(img, &mnt_entry__descriptor, r->arena, &e)) > 0) {
		struct mnt m = { .e = e, .ns = ns, .fd = -1, .point_fd = -1 };

		if (mount_by_id(ns, e->mnt_id))
			return damaged(ns, e, "is there twice");
		if (ns->n >= MOUNTS_MAX)
			return log_errno(-E2BIG, "mountpoints-%u.img: more than %d mounts", id, MOUNTS_MAX);
		err = err ?: check_entry(ns, e);
		arena_push(r->arena, &ns->all, &ns->n, m);
		ns_roots_expect_mount(r, id, e->mnt_id);
		if (e->has_ns_id && e->ns_type == CLONE_NEWNET)
			net_ns_note_mounted(r, e->ns_id);
	}
	*nsp = ns;
	return got < 0 ? got : err ?: link_mounts(ns);
}
