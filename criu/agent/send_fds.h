/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Descriptors into a task: over a unix socket between criu (restore->sock) and the agent (restore->task_sock is its
 * number there) by SCM_RIGHTS, see unix(7).
 */
#ifndef CRIU_AGENT_SEND_FDS_H
#define CRIU_AGENT_SEND_FDS_H

#include "tree/restore.h"

/*
 * Hands n of our descriptors to the task's agent; numbers[] gets their numbers there, in the same order. They arrive at
 * the lowest free numbers, without close-on-exec. The caller keeps its own and closes theirs when done (batch close).
 * 0 or a negative errno (logged).
 */
int agent_send_fds(struct task *t, const int *fds, size_t n, int *numbers);

/* The same for one descriptor that is not ours: send() has its holder send it, with one byte, over the socket. */
int agent_send_by(struct task *t, int (*send)(int sock, void *arg), void *arg, int *number);

#endif
