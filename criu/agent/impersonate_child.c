/* SPDX-License-Identifier: GPL-2.0-only */
#include <sched.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "agent/impersonate_call.h"
#include "helper/helper.h"
#include "proc/pid_ns.h"
#include "tree/ns_ids.h"
#include "tree/pid_numbers.h"

struct child {
	const struct ids *ids; /* NULL: the call tells them itself */
	const struct call *call;
	int dumpable;
	int64_t groups_err, ids_err, ret;
};

/* The calls of the C library would change the ids of all of criu's threads; these system calls change the helper's. */
static int make_call(void *arg)
{
	struct child *ch = arg;
	const struct ids *ids = ch->ids;
	const uint64_t *a = ch->call->arg;

	if (ids && ids->groups)
		ch->groups_err = impersonate_raw(syscall(SYS_setgroups, ids->as->n_groups, ids->as->groups));
	if (ids && ids->change) {
		ch->ids_err = impersonate_raw(syscall(SYS_setresgid, -1L, (long)ids->as->gid, -1L));
		ch->ids_err = ch->ids_err ?: impersonate_raw(syscall(SYS_setresuid, -1L, (long)ids->as->uid, -1L));
		syscall(SYS_setfsuid, (long)ids->uid);
		syscall(SYS_setfsgid, (long)ids->gid);
	}
	ch->ret = impersonate_raw(syscall(ch->call->nr, a[0], a[1], a[2], a[3], a[4], a[5]));
	/* The memory's, which is ours; new ids have taken it away. */
	if (ch->dumpable == 1)
		syscall(SYS_prctl, PR_SET_DUMPABLE, 1);
	return 0;
}

/* The namespace of a process that is gone, by a task that is in it; a negative errno. */
static int open_ns_of(struct restore *r, const struct pid_numbers *p)
{
	for (size_t i = 0; i < r->tree.n_tasks; i++) {
		const struct task *t = r->tree.tasks[i];

		if (p->ns && t->ids && t->ids->pid_ns_id == p->ns && t->pid > 0)
			return pid_ns_open(t->pid);
	}
	return -ENOENT;
}

int impersonate_call_in_child(struct restore *r, const struct identity *as, const struct ids *ids, const struct call *c,
                              const char *what, int64_t *ret)
{
	struct child ch = { .ids = ids, .call = c, .dumpable = prctl(PR_GET_DUMPABLE) };
	const struct pid_numbers *p = pid_numbers_of(&r->tree, as->pid);
	_cleanup_close_ int ns = p ? open_ns_of(r, p) : -1;
	pid_t inner[PID_DEPTH_MAX];
	struct helper_spec spec = {
		.flags = CLONE_VM | CLONE_FILES | CLONE_FS,
		.pid = as->pid.v,
		.pid_ns = ns >= 0              ? &ns
		          : ns_ids_own_pids(r) ? &r->pid_ns
		                               : NULL,
		.inner = inner,
		.n_inner = ns >= 0 ? p->n : 0,
	};
	int err;

	for (size_t i = 0; ns >= 0 && i < p->n; i++)
		inner[i] = p->inner[p->n - 1 - i];
	err = helper_run(&spec, make_call, &ch);

	if (err)
		return err;
	if (ch.groups_err < 0)
		impersonate_note_groups(as, (int)ch.groups_err, what);
	if (ch.ids_err < 0)
		impersonate_warn_ids(as, (int)ch.ids_err, what);
	*ret = ch.ret;
	return 0;
}
