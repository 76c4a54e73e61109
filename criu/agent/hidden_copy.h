/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A copy-on-write copy of a task's memory: a child of the task, which its agent makes. The child shows nothing of
 * itself but to those who ask for children of every kind (__WALL of wait(2)) or list /proc: no signal tells of its end,
 * and since criu traces it, no wait(2) gets it; it has no descriptors of the task's. It stands in a ptrace stop as long
 * as it lives, and ends with criu.
 */
#ifndef CRIU_AGENT_HIDDEN_COPY_H
#define CRIU_AGENT_HIDDEN_COPY_H

#include "tree/dump.h"

struct hidden_copy {
	pid_t pid, inner; /* ours, and the task's own number of it */
	uint64_t start_time;
	const struct task *task;
	int undo;
	bool ended; /* it was killed by us */
};

/* Mappings that the copy is not to keep. */
struct hidden_range {
	raddr_t start, end;
};

/*
 * While the task's agent is inside, and its leader is free. -EAGAIN, -ENOMEM: no process can be made, or none of that
 * size (not logged). Other errors are logged. *cp is set as soon as there is something for hidden_copy_end().
 */
int hidden_copy_make(struct dump *d, struct task *t, const struct hidden_range *gone, size_t n,
                     struct hidden_copy **cp);

/* Whether nobody has killed it so far: all that has been read of it is the task's memory. */
bool hidden_copy_is_whole(const struct hidden_copy *c);

/* Its memory goes. Once more does nothing. */
void hidden_copy_kill(struct hidden_copy *c);

/* When the task runs: kills it, and has the task wait for it, for which that stands still a moment. */
void hidden_copy_end(struct dump *d, struct hidden_copy *c);

#endif
