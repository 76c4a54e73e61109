/* SPDX-License-Identifier: GPL-2.0-only */
/* What a dump and a restore ask of the time namespaces of a tree alike. */
#ifndef CRIU_NS_TIME_H
#define CRIU_NS_TIME_H

#include "tree/task.h"

/* The number of the root task's, which is made as tree/time_ns.h says. 0: the images have none. */
uint32_t time_ns_of_root(const struct tree *tree);

/* The number of a task's own; the root's where the images have none. */
uint32_t time_ns_of_task(const struct tree *tree, const struct task *t);

/* The task whose children are born in a namespace that it is not in itself. NULL: there is none. */
struct task *time_ns_maker(const struct tree *tree, uint32_t id);

/* Refuses what no sequence of calls gives. 0 or a negative errno (logged). */
int time_ns_check_tree(const struct tree *tree);

#endif
