/* SPDX-License-Identifier: GPL-2.0-only */
/* A task's whole descriptor table at restore: see agent/send_fds.h for the way. */
#ifndef CRIU_FILES_FDPASS_H
#define CRIU_FILES_FDPASS_H

#include "tree/restore.h"

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
