/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Trees of several pid namespaces, one in the other (pid_namespaces(7)). A process has a number in its own namespace
 * and in each above. vpid_t and images have that of the root task's namespace; what a task's agent calls, and what is
 * in its memory and queues, has that of the task's own. The depth of a namespace is 0 for the root task's.
 */
#ifndef CRIU_TREE_PID_NUMBERS_H
#define CRIU_TREE_PID_NUMBERS_H

#include "tree/task.h"

#define PID_DEPTH_MAX 32 /* MAX_PID_NS_LEVEL of the kernel */

struct pid_numbers {
	vpid_t vpid;
	size_t n;     /* the depth of its own namespace */
	pid_t *inner; /* in the namespaces from depth 1 down to its own */
	uint32_t ns;  /* the number of its own namespace in images, of a process that is gone; 0: it is in the tree */
};

/* Notes the numbers of a process, thread, group or session. Of what is noted twice the deeper one counts. */
void pid_numbers_add(struct tree *tree, struct arena *a, vpid_t vpid, const pid_t *inner, size_t n);

/* The same of a process that is gone, whose numbers the kernel has kept for a peer: they may be of the last namespace.
 */
void pid_numbers_add_gone(struct tree *tree, struct arena *a, vpid_t vpid, const pid_t *inner, size_t n, uint32_t ns);

/* The next one after *p (NULL: the first), in the order in which they were noted; false: no more. */
bool pid_numbers_next(const struct tree *tree, const struct pid_numbers **p);

/* NULL: it is in the root task's namespace alone. */
const struct pid_numbers *pid_numbers_of(const struct tree *tree, vpid_t vpid);

/* The depth of a process's own namespace. */
size_t pid_depth(const struct tree *tree, vpid_t vpid);

/* The number that a namespace of the given depth knows it by; 0: none there. */
pid_t pid_number_at(const struct tree *tree, vpid_t vpid, size_t depth);

/* By which t itself knows it. */
pid_t pid_number_for(const struct tree *tree, const struct task *t, vpid_t vpid);

#endif
