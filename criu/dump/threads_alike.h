/* SPDX-License-Identifier: GPL-2.0-only */
/* Whether the threads of a process have what threads share unless they do something about it. */
#ifndef CRIU_DUMP_THREADS_ALIKE_H
#define CRIU_DUMP_THREADS_ALIKE_H

#include "tree/dump.h"

struct kernel_view;

/*
 * Sets t->dump->alike, and th->dump->seen of its threads, of a task whose threads all stand still and whose pidfd is
 * open. Where the task has few threads, or the kernel's memory cannot be read, nothing is set, and each thread is
 * asked. *view is NULL at first, and is to be closed after the last task.
 */
void threads_look_alike(struct kernel_view **view, struct arena *a, struct task *t);

#endif
