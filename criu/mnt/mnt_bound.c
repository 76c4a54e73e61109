/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Mounts that are a namespace (nsfs: `ip netns add` makes them). Those that criu sees in its own mount namespace come
 * from there as all do; of the others the namespace is one of the tree's, one that only the mount holds, or external.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <sched.h>
#include <string.h>
#include <sys/mount.h>

#include "files/net_ns.h"
#include "lib/fd_flags.h"
#include "lib/log.h"
#include "lib/message.h"
#include "mnt/mnt_bound.h"
#include "mnt/mnt_dump.h"
#include "options/external.h"
#include "proc/ns_type.h"
#include "proc/proc.h"
#include "tree/inventory.h"
#include "tree/ns_given.h"
#include "tree/ns_ids.h"
#include "tree/ns_made.h"
#include "tree/subsys.h"
#include "uapi/mount_bits.h"

/* ---- dump ---- */

struct bound_mount {
	int mnt_id;
	const struct ns_type *type;
	uint32_t id; /* of the namespace; 0: refused */
};

struct bound_all {
	struct bound_mount *v;
	size_t n;
};

extern const struct subsys mnt_bound_subsys;

/* The root of such a mount: "net:[4026532001]". */
static const struct ns_type *parse_root(const char *root, uint64_t *ino)
{
	char name[16];

	if (sscanf(root, "%15[a-z]:[%" SCNu64 "]", name, ino) != 2)
		return NULL;
	for (size_t i = 0; i < NAMESPACE_TYPES; i++)
		if (!strcmp(ns_types[i].name, name))
			return &ns_types[i];
	return NULL;
}

static const struct ns *find_met(struct dump *d, const struct ns_type *type, uint64_t ino)
{
	const struct ns_ids *ids = ns_ids_all(d);

	for (size_t i = 0; i < ids->n; i++)
		if (ids->all[i].type == type && ids->all[i].ino == ino)
			return &ids->all[i];
	return NULL;
}

/* A process outside of the tree that is in it. 0: none. */
static pid_t find_stranger(struct dump *d, const struct ns_type *type, uint64_t ino)
{
	int *pids = NULL;
	size_t n = 0;

	if (proc_list_numbers(AT_FDCWD, "/proc", d->arena, &pids, &n))
		return 0;
	for (size_t i = 0; i < n; i++) {
		_cleanup_close_ int proc = proc_open(pids[i]);
		uint64_t its;

		if (proc >= 0 && !ns_type_inode(proc, type->name, &its) && its == ino)
			return pids[i];
	}
	return 0;
}

static int refuse_bound(const struct mount_at *m, const char *why, const struct ns_type *type, uint64_t ino)
{
	log_refusal(-ENOTSUP,
	            "%s: %s is mounted there, %s; unmount it for the dump, or give --external '%s[%" PRIu64
	            "]:KEY' (and "
	            "--inherit-fd 'fd[N]:KEY' at restore)",
	            m->path, m->root, why, type->name, ino);
	return 0;
}

/* One in which no task of the tree is: made anew, if nobody else is in it. */
static uint32_t number_unmet(struct dump *d, const struct ns_root *ns, const struct mount_at *m,
                             const struct ns_type *type, uint64_t ino)
{
	_cleanup_close_ int bare = -1, fd = -1;
	pid_t stranger;

	if (ns_given_key(d->opts, type, ino))
		return ns_ids_number(d, type, ino);
	if (!(type->flag & (NAMESPACES_WITHOUT_TASKS | CLONE_NEWNET)) || type->flag == CLONE_NEWNS)
		return (uint32_t)refuse_bound(m, "and no task of the tree is in that", type, ino);
	stranger = find_stranger(d, type, ino);
	if (stranger)
		return (uint32_t)refuse_bound(
		    m, arena_printf(d->arena, "in which pid %d is, outside of the tree", stranger), type, ino);
	bare = bare_mount_open(d->arena, ns->fd, ns->mounts, ns->n_mounts, m);
	fd = bare < 0 ? bare : fd_flags_reopen(bare, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return (uint32_t)refuse_bound(m, "and criu may not open it", type, ino);
	return type->flag == CLONE_NEWNET ? net_ns_number_dumped(d, fd) : ns_ids_add(d, type, ino, move_fd(&fd))->id;
}

/* The kernel binds a mount namespace only in one that was made before it. */
static uint32_t number_bound(struct dump *d, const struct ns_root *ns, const struct mount_at *m,
                             const struct ns_type *type, uint64_t ino)
{
	const struct ns *met = find_met(d, type, ino);

	if (type->flag == CLONE_NEWNS)
		return (uint32_t)refuse_bound(m, "a mount namespace", type, ino);
	if (geteuid())
		return (uint32_t)refuse_bound(m, "which an ordinary user's criu cannot mount again (open_tree: EPERM)",
		                              type, ino);
	if (met && type->flag == CLONE_NEWPID && met->pid < 0)
		return (uint32_t)refuse_bound(m, "and no task of the tree is in that", type, ino);
	return met ? met->id : number_unmet(d, ns, m, type, ino);
}

/* The bind stays what it is outside, and the tasks come back in a new one. */
static void warn_of_host(struct dump *d, const struct mount_at *m, const struct ns_type *type, uint64_t ino)
{
	const struct ns *met = find_met(d, type, ino);

	if (met && met->id > NAMESPACE_TYPES && !met->external)
		log_warn(
		    "%s: %s is mounted there, and in criu's own mount namespace: it stays that one, where tasks of the "
		    "tree that are in it come back in a new one (--external '%s[%" PRIu64 "]:KEY' keeps them in it)",
		    m->path, m->root, type->name, ino);
}

static int look_at_mount(struct dump *d, const struct ns_root *ns, const struct mount_at *m)
{
	struct bound_all *all = dump_state(d, &mnt_bound_subsys);
	struct bound_mount b = { .mnt_id = m->id };
	uint64_t ino;

	b.type = parse_root(m->root, &ino);
	if (!b.type)
		return log_errno(-EBADMSG, "%s: a namespace of an unknown type is mounted there: %s", m->path, m->root);
	if (mnt_own_of(d, m)) {
		warn_of_host(d, m, b.type, ino);
		return 0;
	}
	b.id = number_bound(d, ns, m, b.type, ino);
	arena_push(d->arena, &all->v, &all->n, b);
	return 0;
}

static int look_at_bound(struct dump *d)
{
	const struct ns_ids *ids = ns_ids_all(d);
	int err = 0;

	for (size_t i = 0; !err && i < ids->n; i++) {
		const struct ns_root *ns;

		if (ids->all[i].type->flag != CLONE_NEWNS || !ids->all[i].pid || ids->all[i].external)
			continue;
		ns = ns_roots_find(d, ids->all[i].id);
		if (!ns)
			return -EIO;
		for (size_t k = 0; !err && k < ns->n_mounts; k++) {
			const struct mount_at *m = &ns->mounts[k];

			if (!strcmp(m->type, "nsfs") && !external_mount(d->opts, m->path) && !mnt_is_skipped(d, ns, m))
				err = look_at_mount(d, ns, m);
		}
	}
	return err;
}

int mnt_bound_describe(struct dump *d, const struct mount_at *m, MntEntry *e)
{
	const struct bound_all *all = dump_state(d, &mnt_bound_subsys);

	for (size_t i = 0; i < all->n; i++) {
		if (all->v[i].mnt_id != m->id)
			continue;
		e->has_ns_type = e->has_ns_id = true;
		e->ns_type = all->v[i].type->flag;
		e->ns_id = all->v[i].id;
		e->fsname = (char *)m->type;
		return 0;
	}
	return log_errno(-ENOENT, "%s: %s: was not there before", m->path, m->root);
}

/* ---- restore ---- */

/* The number of criu's own, which stands for criu's at restore; of time namespaces it is the root task's. */
static bool is_crius_own(const struct restore *r, const struct ns_type *type, uint32_t id)
{
	const TaskKobjIdsEntry *criu = r->inventory ? r->inventory->root_ids : NULL;

	return criu && type->flag != CLONE_NEWTIME && message_get_u32(criu, type->field) == id;
}

static const struct task *find_in(const struct restore *r, const struct ns_type *type, uint32_t id)
{
	for (size_t i = 0; i < r->tree.n_tasks; i++) {
		const struct task *t = r->tree.tasks[i];

		if (t->state != TASK_DEAD && t->ids && message_get_u32(t->ids, type->field) == id)
			return t;
	}
	return NULL;
}

int mnt_bound_check(struct restore *r, const struct mnt *m)
{
	const MntEntry *e = m->e;
	const struct ns_type *type = ns_type_of_flag(e->ns_type);

	if (type && type->flag != CLONE_NEWNS && e->ns_id && m->up &&
	    (find_in(r, type, e->ns_id) ||
	     (type->flag == CLONE_NEWUSER && user_ns_find(user_ns_of_restore(r), e->ns_id)) ||
	     is_crius_own(r, type, e->ns_id) || ns_ids_is_held(r, type, e->ns_id) ||
	     ns_given_fd(r, type, e->ns_id) >= 0 || (type->flag == CLONE_NEWNET && net_ns_is_expected(r, e->ns_id))))
		return 0;
	return log_refusal(
	    -EINVAL, "mountpoints-%u.img: mount %s: a namespace (type %x, number %u) that no image has%s", m->ns->id,
	    e->mountpoint, e->ns_type, e->ns_id, type ? ", or that was external and is not given (--inherit-fd)" : "");
}

int mnt_bound_open(struct restore *r, const struct super *s)
{
	const struct ns_type *type = s->bound;
	uint32_t id = s->first->ns_id;
	int known = ns_given_fd(r, type, id), fd;
	const struct user_ns *user = type->flag == CLONE_NEWUSER ? user_ns_find(user_ns_of_restore(r), id) : NULL;
	const struct task *t = type->flag & (CLONE_NEWPID | CLONE_NEWTIME) ? find_in(r, type, id) : NULL;
	char path[64];

	known = known >= 0 ? known : user ? user->fd : ns_made_fd(r, type->flag, id);
	if (known >= 0)
		snprintf(path, sizeof(path), "/proc/self/fd/%d", known);
	else if (is_crius_own(r, type, id))
		snprintf(path, sizeof(path), "/proc/self/ns/%s", type->name);
	else if (t && t->pid)
		snprintf(path, sizeof(path), "/proc/%d/ns/%s", t->pid, type->name);
	else
		return -ENOENT;
	fd = open(path, O_RDONLY | O_CLOEXEC);
	return fd < 0 ? log_errno(-errno, "open of %s", path) : fd;
}

int mnt_bound_make(struct super *s)
{
	s->fd = open_tree(s->ns_fd, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH);
	return s->fd < 0
	           ? log_errno(-errno, "mount %s: open_tree of a %s namespace", s->first->mountpoint, s->bound->name)
	           : 0;
}

const struct subsys mnt_bound_subsys = {
	.name = "namespaces that are mounted",
	.state = { .dump = sizeof(struct bound_all) },
	.collect = look_at_bound,
};
