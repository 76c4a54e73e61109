/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Restore: tasks enter their user namespaces, after all others, and when they have created their children: in there
 * criu's privileges are gone, without which no process can be given a number.
 */
#include <limits.h>
#include <linux/securebits.h>
#include <sched.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "agent/batch.h"
#include "agent/send_fds.h"
#include "helper/ns_enter.h"
#include "lib/log.h"
#include "ns/user_enter.h"
#include "proc/ns_type.h"
#include "proc/proc.h"
#include "tree/subsys.h"
#include "tree/kind.h"
#include "tree/task_part.h"
#include "tree/user_ns.h"

#define ZOMBIE_GROUPS_MAX 64 /* as many as its small agent has room for */

struct entry {
	const struct user_ns *ns, *from; /* NULL: criu's */
	struct proc_status now;          /* of the agent, in criu's ids */
	struct batch *b;
};

/* Which one a process is in; NULL: criu's, or none that the tree has. */
static int find_current(struct restore *r, const struct task *t, int proc, const struct user_ns **ns)
{
	const struct user_ns_table *all = user_ns_of_restore(r);
	uint64_t ino;
	int err = ns_type_inode(proc, "user", &ino);

	*ns = NULL;
	for (size_t i = 0; !err && i < all->n; i++)
		if (all->v[i]->ino == ino)
			*ns = all->v[i];
	return err ? log_errno(err, "%s: stat of its ns/user", task_name(t)) : 0;
}

static bool have_all(const uint32_t ids[4], uint32_t id)
{
	return ids[0] == id && ids[1] == id && ids[2] == id && ids[3] == id;
}

/* As the agent sees an id where it stands; false: the id has no number there. */
static bool seen_from(const struct entry *e, enum user_id kind, uint32_t id, uint32_t *seen)
{
	return user_ns_known(e->from, kind, id, seen) && !user_ns_is_unmapped(e->from, kind, *seen);
}

static bool has_groups(const struct entry *e)
{
	return e->now.n_groups == e->ns->n_groups &&
	       (!e->ns->n_groups || !memcmp(e->now.groups, e->ns->groups, e->ns->n_groups * sizeof(*e->ns->groups)));
}

/* Without a list of its own the tasks will set what they need. */
static void take_groups(struct restore *r, const struct entry *e)
{
	size_t n = e->ns->n_groups;
	uint32_t *seen = arena_array(r->arena, uint32_t, n + 1);

	if (has_groups(e) || (e->from && e->from->deny_setgroups))
		return;
	for (size_t i = 0; i < n; i++)
		if (!seen_from(e, GROUP_ID, e->ns->groups[i], &seen[i]))
			return;
	batch_call(e->b, SYS_setgroups, n, n ? batch_data(e->b, seen, n * sizeof(*seen)) : 0);
}

/* Ids that have no number inside cannot be set there, and those that enter have to be something there. */
static void take_ids(const struct entry *e)
{
	uint32_t uid = e->ns->enter_as[USER_ID], gid = e->ns->enter_as[GROUP_ID];
	bool has_uid = have_all(e->now.uid, uid), has_gid = have_all(e->now.gid, gid);

	if (!has_uid)
		batch_call(e->b, SYS_prctl, PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP);
	if (!has_gid && seen_from(e, GROUP_ID, gid, &gid))
		batch_call(e->b, SYS_setresgid, gid, gid, gid);
	if (!has_uid && seen_from(e, USER_ID, uid, &uid))
		batch_call(e->b, SYS_setresuid, uid, uid, uid);
}

static uint32_t settable(const struct entry *e, enum user_id kind, uint32_t id)
{
	return user_ns_is_unmapped(e->ns, kind, id) ? (uint32_t)-1 : id;
}

/* No image says what a zombie had; most often that. Who waits for the zombie is told (waitid(2)). */
static void take_ids_of_parent(const struct entry *e, const struct task *t)
{
	const CoreEntry *core = t->parent ? t->parent->threads[0].core : NULL;
	const CredsEntry *c = core && core->thread_core ? core->thread_core->creds : NULL;

	if (!c)
		return;
	if (!e->ns->deny_setgroups && !e->ns->n_groups && c->n_groups <= ZOMBIE_GROUPS_MAX)
		batch_ask(e->b, SYS_setgroups, c->n_groups,
		          c->n_groups ? batch_data(e->b, c->groups, c->n_groups * sizeof(*c->groups)) : 0);
	batch_ask(e->b, SYS_setresgid, settable(e, GROUP_ID, c->gid), settable(e, GROUP_ID, c->egid),
	          settable(e, GROUP_ID, c->sgid));
	batch_ask(e->b, SYS_setresuid, settable(e, USER_ID, c->uid), settable(e, USER_ID, c->euid),
	          settable(e, USER_ID, c->suid));
	if (c->no_new_privs)
		batch_ask(e->b, SYS_prctl, PR_SET_NO_NEW_PRIVS, 1);
}

/* What of the task needs criu's privileges. */
static int restore_before(struct restore *r, struct task *t, struct batch *b)
{
	int err = 0;

	for (const struct task_part *const *p = task_parts; !err && t->state != TASK_DEAD && *p; p++) {
		if (!(*p)->before_entry)
			continue;
		batch_what(b, (*p)->name);
		err = (*p)->before_entry(r, &t->threads[0], b);
	}
	batch_what(b, "entering its user namespace");
	return err;
}

static int enter_ns(struct restore *r, struct task *t, struct entry *e)
{
	int number, err = agent_send_fds(t->restore->lender ?: t, &e->ns->fd, 1, &number);

	if (err)
		return err;
	e->b = agent_batch(t->restore->agent, "entering its user namespace");
	err = restore_before(r, t, e->b);
	if (err)
		return err;
	take_groups(r, e);
	take_ids(e);
	batch_call(e->b, SYS_setns, (uint64_t)number, CLONE_NEWUSER);
	batch_call(e->b, SYS_close, (uint64_t)number);
	if (t->state == TASK_DEAD)
		take_ids_of_parent(e, t);
	else
		batch_call(e->b, SYS_prctl, PR_SET_DUMPABLE, 1); /* agents take descriptors out of each other */
	return batch_run(e->b);
}

static int user_enter(struct restore *r, struct task *t)
{
	const struct user_ns_table *all = user_ns_of_restore(r);
	struct entry e = { .ns = user_ns_of_task(all, t->state == TASK_DEAD && t->parent ? t->parent : t) };
	_cleanup_close_ int proc = all->n ? proc_open(t->pid) : -1;
	int err = 0;

	if (!all->n)
		return 0;
	err = proc < 0 ? log_errno(proc, "%s: open of /proc/%d", task_name(t), t->pid)
	               : find_current(r, t, proc, &e.from);

	if (err || e.ns == e.from)
		return err;
	if (!user_ns_is_in(e.ns, e.from))
		return log_errno(-EPERM,
		                 "%s: the process that creates it is in user namespace %u, which its own (%u) is not "
		                 "in",
		                 task_name(t), e.from->id, e.ns ? e.ns->id : 0);
	err = proc_read_status(proc, 0, r->arena, &e.now);
	if (err)
		return log_errno(err, "%s: reading its credentials from /proc", task_name(t));
	return enter_ns(r, t, &e);
}

/* An ordinary user may change nothing, and has most often what is wanted. */
static bool has_these(const struct user_ns *ns, uint32_t uid, uint32_t gid)
{
	uint32_t now[2][3], groups[NGROUPS_MAX];
	long n = syscall(SYS_getgroups, NGROUPS_MAX, groups);

	return !syscall(SYS_getresuid, &now[0][0], &now[0][1], &now[0][2]) &&
	       !syscall(SYS_getresgid, &now[1][0], &now[1][1], &now[1][2]) && now[0][0] == uid && now[0][1] == uid &&
	       now[0][2] == uid && now[1][0] == gid && now[1][1] == gid && now[1][2] == gid && n >= 0 &&
	       (size_t)n == ns->n_groups && !memcmp(groups, ns->groups, (size_t)n * sizeof(*groups));
}

int user_become_root(struct restore *r, const struct user_ns *owner)
{
	const struct user_ns *ns = user_ns_of_task(user_ns_of_restore(r), r->tree.tasks[0]) ?: owner;
	uint32_t uid = ns->enter_as[USER_ID], gid = ns->enter_as[GROUP_ID];

	if (!has_these(ns, uid, gid) &&
	    (syscall(SYS_setgroups, ns->n_groups, ns->groups) || syscall(SYS_setresgid, gid, gid, gid) ||
	     syscall(SYS_prctl, PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP) || syscall(SYS_setresuid, uid, uid, uid)))
		return log_errno(-errno, "setgroups, setresgid to %u or setresuid to %u, which the root task has", gid,
		                 uid);
	return ns_enter_join(ns_type_of_flag(CLONE_NEWUSER), owner->fd);
}

extern const struct subsys user_enter_subsys;

const struct subsys user_enter_subsys = { .name = "user namespaces, entered", .grown = user_enter };
