/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Restore: peer groups and masters, when all mounts of all namespaces are in their places: what is mounted from here on
 * propagates, not what was. A detached mount is in the group first, and gives it to all others (MOVE_MOUNT_SET_GROUP).
 */
#include <fcntl.h>
#include <string.h>
#include <sys/mount.h>

#include "lib/log.h"
#include "mnt/mnt.h"
#include "mnt/mnt_around.h"
#include "mnt/mnt_ghosts.h"
#include "mnt/mnt_own.h"
#include "uapi/mount_bits.h"

static struct mnt_group *group_of(const struct mnt_restore *all, const MntEntry *e)
{
	for (size_t i = 0; i < all->n_groups; i++)
		if (all->groups[i].shared == e->shared_id && all->groups[i].master == e->master_id)
			return &all->groups[i];
	return NULL;
}

void mnt_find_groups(struct restore *r)
{
	struct mnt_restore *all = mnt_of(r);

	for (size_t i = 0; i < all->n; i++)
		for (size_t k = 0; k < all->ns[i]->n; k++) {
			const struct mnt *m = &all->ns[i]->all[k];
			struct mnt_group g = { .shared = m->e->shared_id, .master = m->e->master_id };
			struct mnt_group *known = group_of(all, m->e);

			g.first = m;
			g.fd = -1;
			if (known && strlen(m->e->root) < strlen(known->first->e->root))
				known->first = m;
			if (!known && (g.shared || g.master))
				arena_push(r->arena, &all->groups, &all->n_groups, g);
		}
}

static int copy_for_group(struct mnt_group *g, int from)
{
	g->fd = open_tree(from, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH);
	return g->fd < 0 ? log_errno(-errno, "mount %s: open_tree", g->first->e->mountpoint) : 0;
}

int mnt_copy_for_groups(struct restore *r, const struct super *s)
{
	struct mnt_restore *all = mnt_of(r);
	int err = 0;

	for (size_t i = 0; !err && i < all->n_groups; i++)
		if (all->groups[i].first->super == s && all->groups[i].fd < 0)
			err = copy_for_group(&all->groups[i], s->fd);
	return err;
}

/* Whether its first one can give it to all members: a mount that shows less cannot. */
static bool shows_all(const struct mnt_restore *all, const struct mnt_group *g)
{
	for (size_t i = 0; i < all->n; i++)
		for (size_t k = 0; k < all->ns[i]->n; k++) {
			const struct mnt *m = &all->ns[i]->all[k];

			if (m->e->shared_id == g->shared && m->e->master_id == g->master &&
			    !mountinfo_below(m->e->root, g->first->e->root))
				return false;
		}
	return true;
}

int mnt_copy_for_late_groups(struct restore *r, const struct super *s)
{
	struct mnt_restore *all = mnt_of(r);
	int err = 0;

	for (size_t i = 0; !err && i < all->n_groups; i++)
		if (all->groups[i].first->super == s && all->groups[i].fd < 0 && !shows_all(all, &all->groups[i]))
			err = copy_for_group(&all->groups[i], s->fd);
	return err;
}

static int set_propagation(int fd, unsigned long how, const MntEntry *e)
{
	char path[32];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return mount(NULL, path, NULL, how, NULL)
	           ? log_errno(-errno, "mount %s: mount(2) that sets its propagation", e->mountpoint)
	           : 0;
}

static int give_group(int from, int to, const MntEntry *e)
{
	if (!move_mount(from, "", to, "", MOVE_MOUNT_SET_GROUP | MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH))
		return 0;
	return log_errno(-errno, "mount %s: move_mount(MOVE_MOUNT_SET_GROUP)", e->mountpoint);
}

/* A copy of a mount of criu's own is in its group. */
static int join_host(struct mnt_group *g, const char *path)
{
	mnt_close(&g->fd);
	g->fd = open_tree(AT_FDCWD, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
	return g->fd < 0 ? log_errno(-errno, "mount %s: open_tree of %s, whose peer group it was in",
	                             g->first->e->mountpoint, path)
	                 : 0;
}

/* A copy of a mount of criu's own, which may be covered, its slave. */
static int open_slave(struct restore *r, const MntEntry *e, const char *path)
{
	_cleanup_close_ int fd = -1;
	const struct mount_at *master;
	struct mount_at *own;
	size_t n;
	int err = mountinfo_read(r->arena, &own, &n);

	if (err)
		return log_errno(err, "read of /proc/self/mountinfo");
	master = mnt_own_find(e, &(struct own_mount) { .path = path, .only_shared = true }, own, n);
	if (!master) {
		log_warn("mount %s: its master at %s is not shared now: it is private now", e->mountpoint, path);
		master = mnt_own_find(e, &(struct own_mount) { .path = path, .only_alone = true }, own, n);
	}
	fd = master ? bare_mount_slave(r->arena, own, n, master) : -ENOENT;
	if (fd < 0)
		return log_errno(fd, "mount %s: open_tree of %s, its master", e->mountpoint, path);
	err = set_propagation(fd, MS_SLAVE, e);
	return err ?: move_fd(&fd);
}

static int join_master(struct restore *r, struct mnt_group *g)
{
	mnt_close(&g->fd);
	g->fd = open_slave(r, g->first->e, g->first->e->host_master);
	return MIN(g->fd, 0);
}

/* NULL: the master is not of the tree's. */
static struct mnt_group *master_of(const struct mnt_restore *all, const struct mnt_group *g)
{
	for (size_t i = 0; g->master && i < all->n_groups; i++)
		if (all->groups[i].shared == g->master)
			return &all->groups[i];
	return NULL;
}

/* The kernel gives a group only to mounts of the same file system. --external may have named another one. */
static bool is_elsewhere(const struct mnt *m, const struct mnt *other)
{
	if (m->super == other->super)
		return false;
	log_warn("mount %s: of another file system than %s, whose mounts it got: it gets none of these now",
	         m->e->mountpoint, other->e->mountpoint);
	return true;
}

/* Whose master has come first. */
static int make_group(struct restore *r, struct mnt_group *g)
{
	const struct mnt_restore *all = mnt_of(r);
	const MntEntry *e = g->first->e;
	struct mnt_group *master = master_of(all, g);
	bool has_master = g->master && !(master && is_elsewhere(g->first, master->first));
	int err = 0;

	if (g->shared && e->host_peer)
		return join_host(g, e->host_peer);
	if (g->fd < 0) /* of a file system that was made late: a member is the first itself */
		g->fd = fcntl(g->first->fd, F_DUPFD_CLOEXEC, 3);
	if (g->fd < 0)
		return log_errno(-errno, "mount %s: fcntl(F_DUPFD_CLOEXEC)", e->mountpoint);
	g->is_slave = has_master && (master || e->host_master);
	if (has_master && master)
		err = give_group(master->fd, g->fd, e);
	else if (has_master && e->host_master)
		err = join_master(r, g);
	else if (has_master)
		log_info("mount %s: its master is in no namespace of the tree nor in criu's: it is private now",
		         e->mountpoint); /* a dump asks for --enable-external-masters */
	if (!err && g->is_slave)
		err = set_propagation(g->fd, MS_SLAVE, e);
	return err ?: g->shared ? set_propagation(g->fd, MS_SHARED, e) : 0;
}

/* Whether it is that very mount, which has the group. */
static bool is_member(const struct mnt_group *g, const struct mnt *m)
{
	return g->first == m && mountinfo_mount_id(g->fd, "") == mountinfo_mount_id(m->fd, "");
}

static int give_to_members(struct mnt_restore *all, const struct mnt_group *g)
{
	int err = 0;

	if (!g->shared && !g->is_slave)
		return 0;
	for (size_t i = 0; i < all->n; i++)
		for (size_t k = 0; !err && k < all->ns[i]->n; k++) {
			const struct mnt *m = &all->ns[i]->all[k];

			if (m->e->shared_id != g->shared || m->e->master_id != g->master || m->covered ||
			    is_member(g, m))
				continue;
			if (!is_elsewhere(m, g->first))
				err = give_group(g->fd, m->fd, m->e);
			else if (g->shared)
				err = set_propagation(m->fd, MS_SHARED, m->e);
		}
	return err;
}

static int make_groups(struct restore *r)
{
	struct mnt_restore *all = mnt_of(r);
	size_t left = all->n_groups;
	int err = 0;

	while (!err && left) {
		size_t before = left;

		for (size_t i = 0; !err && i < all->n_groups; i++) {
			struct mnt_group *g = &all->groups[i], *master = master_of(all, g);

			if (g->done || (master && !master->done))
				continue;
			err = make_group(r, g);
			err = err ?: give_to_members(all, g);
			g->done = true;
			left--;
		}
		if (!err && left == before)
			return log_errno(-EINVAL, "mountpoints: peer groups are each other's masters");
	}
	return err;
}

static int set_unbindable(const struct mnt_restore *all)
{
	int err = 0;

	for (size_t i = 0; i < all->n; i++)
		for (size_t k = 0; !err && k < all->ns[i]->n; k++) {
			const struct mnt *m = &all->ns[i]->all[k];

			if (m->e->unbindable || m->e->flags & MS_UNBINDABLE)
				err = set_propagation(m->fd, MS_UNBINDABLE, m->e);
		}
	return err;
}

int mnt_share_master(struct restore *r, const struct mnt *m, const char *path)
{
	_cleanup_close_ int fd = open_slave(r, m->e, path);

	return fd < 0 ? fd : give_group(fd, m->fd, m->e);
}

int mnt_share(struct restore *r)
{
	struct mnt_restore *all = mnt_of(r);
	int err = mnt_ghosts_finish(r) ?: make_groups(r);

	for (size_t i = 0; i < all->n_groups; i++)
		mnt_close(&all->groups[i].fd);
	return err ?: set_unbindable(all);
}
