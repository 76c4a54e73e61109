/* SPDX-License-Identifier: GPL-2.0-only */
/* Process groups, and the end of those that were made only to end: helpers and zombies. */
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "restore/build.h"
#include "lib/log.h"
#include "tree/pid_numbers.h"

/* The group of a leader that has no number in the task's namespace cannot be joined. */
static int check_group(struct build *b, const struct node *n)
{
	for (size_t i = 0; i < b->plan->n_nodes; i++)
		if (b->plan->nodes[i]->pid.v == n->pgid.v && getpgid(n->tid) == b->plan->nodes[i]->tid)
			return 0;
	return log_errno(
	    -EOPNOTSUPP,
	    "pid %d (%s): was not born in its process group %d, whose leader is outside of its pid namespace", n->pid.v,
	    n->task ? n->task->comm : "helper", n->pgid.v);
}

int build_set_group(struct build *b, struct node *n, vpid_t pgid)
{
	struct batch *batch = agent_batch(n->agent, "joining its process group");
	pid_t number = pid_number_at(&b->r->tree, pgid, n->space->depth);

	if (pgid.v && !number) /* of a leader outside of its namespace: it was born in it */
		return check_group(b, n);
	batch_call(batch, SYS_setpgid, 0, (uint64_t)number);
	return batch_run(batch);
}

static int make_groups(struct build *b)
{
	int err = 0;

	for (size_t i = 0; !err && i < b->plan->n_nodes; i++) {
		struct node *n = b->plan->nodes[i];

		/* A session's leader leads its group already. */
		if (!n->gone && n->pid.v && n->pgid.v == n->pid.v && n->sid.v != n->pid.v)
			err = build_set_group(b, n, VPID(0));
	}
	return err;
}

/* One whose group is its creator's. */
static bool was_born_in_group(const struct build *b, const struct node *n)
{
	const struct task *leader = tree_find(&b->r->tree, n->pgid);

	return leader && leader->pid > 0 && getpgid(n->tid) == leader->pid;
}

static int join_process_groups(struct build *b)
{
	const struct node *root = b->plan->nodes[0];
	int err = 0;

	for (size_t i = 0; !err && i < b->plan->n_nodes; i++) {
		struct node *n = b->plan->nodes[i];
		bool outside = n->pgid.v == root->pgid.v && root->pgid.v != root->pid.v;

		if (!n->gone && n->task && n->pgid.v && n->pgid.v != n->pid.v && !outside && !was_born_in_group(b, n))
			err = build_set_group(b, n, n->pgid);
	}
	return err;
}

static int wait_until_zombie(const struct node *n)
{
	_cleanup_close_ int fd = (int)syscall(SYS_pidfd_open, n->tid, 0);
	struct pollfd p = { .fd = fd, .events = POLLIN };

	if (fd < 0)
		return log_errno(-errno, "pid %d: pidfd_open, to wait for it to become a zombie", n->pid.v);
	if (poll(&p, 1, 10000) != 1)
		return log_errno(-ETIMEDOUT, "pid %d does not exit", n->pid.v);
	return 0;
}

static int end_helper(struct node *n)
{
	struct batch *batch = agent_batch(n->agent, "ending a helper");

	batch_ask(batch, SYS_exit_group, 0);
	batch_start(batch);
	n->gone = true;
	batch = agent_batch(n->creator->agent, "reaping a helper");
	batch_call(batch, SYS_wait4, (uint64_t)n->known.v, 0, 0, 0);
	return batch_run(batch);
}

/* exit_code is what wait4(2) reports: an exit status in the second byte, or a signal in the first. */
static int end_zombie(struct build *b, struct node *n)
{
	struct batch *batch = agent_batch(n->agent, "becoming a zombie");
	uint32_t code = n->task->threads[0].core->tc->exit_code;
	struct rlimit no_core = { 0, 0 };
	uint64_t set = code & 0x7f ? 1ULL << ((code & 0x7f) - 1) : 0;
	uint64_t mask = n->task->threads[0].core->tc->blk_sigset & ~set;

	batch_call(batch, SYS_prctl, PR_SET_NAME, batch_string(batch, n->task->comm));
	if (set) {
		batch_call(batch, SYS_prlimit64, 0, RLIMIT_CORE, batch_data(batch, &no_core, sizeof(no_core)), 0);
		batch_call(batch, SYS_kill, (uint64_t)pid_number_at(&b->r->tree, n->pid, n->space->depth), code & 0x7f);
	}
	/* All are blocked so far: this delivers what was just sent. */
	batch_ask(batch, SYS_rt_sigprocmask, SIG_SETMASK, batch_data(batch, &mask, sizeof(mask)), 0, sizeof(mask));
	batch_ask(batch, SYS_exit_group, (code >> 8) & 0xff);
	batch_start(batch);
	n->gone = true;
	return wait_until_zombie(n);
}

int build_groups(struct build *b)
{
	int err = make_groups(b) ?: join_process_groups(b);

	for (size_t i = b->plan->n_nodes; !err && i-- > 0;)
		if (!b->plan->nodes[i]->task && !b->plan->nodes[i]->gone)
			err = end_helper(b->plan->nodes[i]);
	for (size_t i = 0; !err && i < b->plan->n_nodes; i++) {
		struct node *n = b->plan->nodes[i];

		if (n->task && n->ephemeral)
			err = end_zombie(b, n);
	}
	return err;
}
