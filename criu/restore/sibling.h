/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A root task in a pid namespace that belongs to a user namespace, as a sibling of criu's (--restore-sibling). Its
 * creator has to be in that user namespace, which nobody leaves, and has to be a child of criu's parent, or the root
 * task would be none: so it is the process that the caller has started. That process forks; criu goes on in the fork;
 * and the first process waits, creates the root task when it is told to, and ends as criu does.
 */
#ifndef CRIU_RESTORE_SIBLING_H
#define CRIU_RESTORE_SIBLING_H

#include "tree/restore.h"

/* Returns in criu alone; where that is not needed at once. 0 or a negative errno (logged). */
int sibling_part(struct restore *r);

/*
 * The first process creates the root task, which executes `elf`, with these two descriptors under the numbers that they
 * have here. Returns its pid or a negative errno (logged).
 */
pid_t sibling_start(struct restore *r, int elf, int area, int sock);

#endif
