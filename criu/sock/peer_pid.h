/* SPDX-License-Identifier: GPL-2.0-only */
/* Pids that the kernel shows of the other end of a socket (SO_PEERCRED, SCM_CREDENTIALS). */
#ifndef CRIU_SOCK_PEER_PID_H
#define CRIU_SOCK_PEER_PID_H

#include "tree/dump.h"

/*
 * A pid as criu sees it, in the pid namespace of the tree: known for the tasks of the tree, and for all where that is
 * criu's own. 0: not known, or no pid.
 */
uint32_t peer_pid_in_tree(struct dump *d, pid_t pid);

/*
 * The same of any pid that a task of the tree is told; a process that is gone has left its numbers. fn asks the kernel
 * for it, and is called in a process that is in the pid namespace of the tree for the moment (and in those from there
 * down to t's), with criu's memory and descriptors. 0: it has no number there. What fn returns, or a negative errno.
 */
int peer_pid_gone(struct dump *d, const struct task *t, pid_t pid, int (*fn)(void *arg), void *arg);

#endif
