/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Descriptors into a task: over a unix socket between the tool (restore->sock) and the agent (restore->task_sock is its
 * number there) by SCM_RIGHTS, see unix(7). Below all kinds, so that memory, files and fs can use it.
 */
#ifndef CRIU_AGENT_FDPASS_H
#define CRIU_AGENT_FDPASS_H

#include "core/restore.h"

/*
 * Hands n of our descriptors to the task's agent; numbers[] gets their numbers there, in the same order. They arrive at
 * the lowest free numbers, without close-on-exec. The caller keeps its own and closes theirs when done (batch close).
 * 0 or a negative errno (logged).
 */
int files_send(struct restore *r, struct task *t, const int *fds, size_t n, int *numbers);

/*
 * Puts the descriptors of t->fds into the task: what is there beyond the socket is closed first, each arrives under its
 * number with its close-on-exec flag. For the first task of a files_id. The socket may move (restore->task_sock
 * follows). Descriptions are opened on the way and closed when no other task wants them. Needs a tree in which t->fds
 * was read.
 */
int files_install(struct restore *r, struct task *t);

/* The last one: closes the socket at both ends. For tasks that share descriptors after the last of them is done. */
int files_finish(struct restore *r, struct task *t);

/*
 * Where a descriptor that arrived goes, the pure part of files_install(): `wanted` is ascending and free of the
 * socket's number, `arrived` are the numbers that recvmsg gave. 0, or -EBADMSG where these are not ascending or above
 * what is wanted, which cannot be in a table that holds nothing but the socket and earlier descriptors of the same
 * list.
 */
int fdpass_check(const int *arrived, const int *wanted, size_t n, int sock);

/* The smallest number that is not wanted: where the socket goes if it is in the way. */
int fdpass_gap(const int *wanted, size_t n);

#endif
