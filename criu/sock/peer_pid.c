/* SPDX-License-Identifier: GPL-2.0-only */
#include "sock/peer_pid.h"

#include "lib/arena_hash.h"
#include "tree/subsys.h"
#include "tree/task.h"

struct known_pid {
	pid_t pid;
	vpid_t vpid;
	UT_hash_handle hh;
};

/* What it keeps: the tasks of the tree by pid. */
const struct subsys peer_pid_subsys = { .name = "pids of peers", .state = { .dump = sizeof(struct known_pid *) } };

uint32_t peer_pid_in_tree(struct dump *d, pid_t pid)
{
	struct known_pid **known = dump_state(d, &peer_pid_subsys), *p;
	const struct task *root = d->tree.n_tasks ? d->tree.tasks[0] : NULL;

	if (!root || task_id(root) == root->vpid.v)
		return (uint32_t)pid;
	for (size_t i = *known ? d->tree.n_tasks : 0; i < d->tree.n_tasks; i++) {
		p = arena_new_of(d->arena, struct known_pid);
		*p = (struct known_pid) { .pid = task_id(d->tree.tasks[i]), .vpid = d->tree.tasks[i]->vpid };
		HASH_ADD_IN(d->arena, hh, *known, pid, sizeof(pid), p);
	}
	HASH_FIND(hh, *known, &pid, sizeof(pid), p);
	return p ? (uint32_t)p->vpid.v : 0;
}
