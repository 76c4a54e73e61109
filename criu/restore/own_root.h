/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Where criu's own pid is the root task's, and the caller waits for the tree in any case: criu moves to another pid,
 * and the process that the caller started becomes the root task. So that process is the tree's, with its end and its
 * exit status, as the caller sees it. It stays where it is until the root task is to be started.
 */
#ifndef CRIU_RESTORE_OWN_ROOT_H
#define CRIU_RESTORE_OWN_ROOT_H

#include "tree/restore.h"

/* Whether that can be done: not with -d, where the caller waits for criu; not where groups or a terminal are in the
 * way. */
bool own_root_possible(const struct restore *r);

/* Moves: returns in another process, and never in the one that becomes the root task. 0 or a negative errno (logged).
 */
int own_root_part(struct restore *r);

/*
 * The process executes `elf`, with these two descriptors under the numbers that they have here, in the time namespace
 * of the tree. Returns its pid or a negative errno (logged).
 */
pid_t own_root_start(struct restore *r, int elf, int area, int sock);

/*
 * The tree's time namespace, made by a helper: a descriptor, close-on-exec, or -1, where there is to be none or it
 * could not be made (time_ns_report() says what that means).
 */
int own_root_time_ns(struct restore *r);

/*
 * From there on a thread looks whether the caller sends that process what ends criu, or kills it, and sends criu the
 * same. From own_root_is_task() on what is sent to the process is the program's, as signals of the program's own come.
 */
void own_root_is_task(struct restore *r);
void own_root_end(struct restore *r); /* before the tree is let go; also where nothing was started */

#endif
