/* SPDX-License-Identifier: GPL-2.0-only */
/* The pids that a restore needs, and which processes have them now. */
#ifndef CRIU_RESTORE_PIDS_H
#define CRIU_RESTORE_PIDS_H

#include "tree/restore.h"

/*
 * Checks that no pid or tid of the tree is taken, as a task or as a process group; refuses each that is, with its
 * holder. Waits a few seconds for zombies that their parents are slow to reap.
 */
int pids_check(struct restore *r);

/*
 * After clone3(2) said EEXIST: waits while only zombies have the number (as a task, a group or a session). 0 when it is
 * free and the call is worth another try; -EEXIST (logged, with the holder) otherwise. *tries, 0 at first, counts them.
 */
int pids_wait_free(vpid_t pid, unsigned *tries);

#endif
