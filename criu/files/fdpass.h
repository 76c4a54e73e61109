/* SPDX-License-Identifier: GPL-2.0-only */
/* A task's whole descriptor table at restore: see agent/send_fds.h for the way. */
#ifndef CRIU_FILES_FDPASS_H
#define CRIU_FILES_FDPASS_H

#include "tree/restore.h"

/*
 * Closes all that a task has but its socket, which may move (restore->task_sock follows). For the first task of a
 * files_id, as the next. t->fds must have been read.
 */
int files_clear(struct restore *r, struct task *t);

/*
 * Puts the descriptors of t->fds into the task: each arrives under its number with its close-on-exec flag. Descriptions
 * are opened on the way and closed when no other task wants them.
 */
int files_install(struct restore *r, struct task *t);

/* At the end: closes the socket at both ends. Once for each descriptor table. */
int files_finish(struct restore *r, struct task *t);

/*
 * The check of files_install() on its own, for tests: `wanted` is ascending and free of the socket's number, `arrived`
 * are the numbers that recvmsg(2) gave. 0, or -EBADMSG where these do not ascend or are above what is wanted, which is
 * impossible in a table that holds nothing but the socket and earlier descriptors of the same list.
 */
int fdpass_check(const int *arrived, const int *wanted, size_t n, int sock);

/* The smallest number that is not wanted: the socket moves there if its own number is wanted. */
int fdpass_gap(const int *wanted, size_t n);

#endif
