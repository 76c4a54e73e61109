/* SPDX-License-Identifier: GPL-2.0-only */
/* The pids that a restore needs, and which processes have them now. */
#ifndef CRIU_RESTORE_PIDS_H
#define CRIU_RESTORE_PIDS_H

#include "tree/restore.h"

/* The numbers that the images name are not for criu's own processes and threads, from here to the end of r's arena. */
void pids_avoid(struct restore *r);

/*
 * Checks that no pid or tid of the tree is taken, as a task or as a process group; refuses each that is, with its
 * holder. Waits a few seconds for zombies that their parents are slow to reap. Where the leader of criu's own group or
 * session is gone and its number is needed, criu leaves them.
 */
int pids_check(struct restore *r);

/*
 * After clone3(2) said EEXIST: waits while only zombies and threads of criu's that end have the number (as a task, a
 * group or a session). 0 when it is
 * free and the call is worth another try; -EEXIST (logged, with the holder) otherwise. *tries, 0 at first, counts them.
 */
int pids_wait_free(const struct restore *r, vpid_t pid, unsigned *tries);

#endif
