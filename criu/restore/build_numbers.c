/* SPDX-License-Identifier: GPL-2.0-only */
/* The numbers of new processes: what clone3(2) is to give, and which ones criu itself has for them. */
#include "restore/build.h"

#include "agent/batch.h"
#include "lib/log.h"
#include "proc/pid_ns.h"
#include "tree/ns_ids.h"
#include "tree/pid_numbers.h"

raddr_t build_set_tid(const struct build *b, struct batch *batch, vpid_t vpid, uint64_t *size)
{
	const struct pid_numbers *p = pid_numbers_of(&b->r->tree, vpid);
	pid_t tids[PID_DEPTH_MAX + 1];
	size_t n = p ? p->n : 0;

	for (size_t i = 0; i < n; i++)
		tids[i] = p->inner[n - 1 - i];
	tids[n] = vpid.v;
	*size = n + 1;
	return batch_data(batch, tids, (n + 1) * sizeof(*tids));
}

pid_t build_pid_of(const struct build *b, pid_t number, pid_t near)
{
	pid_t pid = ns_ids_own_pids(b->r) ? pid_ns_ours(b->r->pid_ns, number, near) : number;

	return pid > 0 ? pid
	               : log_errno(pid, "pid %d of the tree: finding its number outside of its pid namespace", number);
}

pid_t build_child_of(const struct build *b, const struct node *n)
{
	pid_t near = n->clone_parent ? n->parent->tid : n->creator->tid, pid;
	_cleanup_close_ int ns = -1;

	if (n->pid.v || !n->creator->space->depth)
		return build_pid_of(b, n->pid.v ?: n->known.v, near);
	ns = pid_ns_open(n->creator->tid);
	pid = ns < 0 ? ns : pid_ns_ours(ns, n->known.v, near);
	return pid > 0 ? pid : log_errno(pid, "a helper below pid %d: finding its number", n->creator->pid.v);
}
