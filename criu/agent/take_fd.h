/* SPDX-License-Identifier: GPL-2.0-only */
/* A descriptor that a task's agent has made: it becomes criu's. */
#ifndef CRIU_AGENT_TAKE_FD_H
#define CRIU_AGENT_TAKE_FD_H

#include "tree/restore.h"

/* Number `number` of the task, which is closed there. Ours (close-on-exec), or a negative errno (logged). */
int agent_take_fd(const struct task *t, int number, const char *what);

#endif
