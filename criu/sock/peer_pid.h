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

#endif
