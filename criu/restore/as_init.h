/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A criu that is the first process of its pid namespace (unshare -pf): what ends it ends all that lives there, the
 * guardian too, and most signals do nothing to it. So it forks, and the restore goes on in the fork; what was criu is
 * an init from there on, which passes signals on, waits for those whose parents have gone, and ends as the fork does.
 */
#ifndef CRIU_RESTORE_AS_INIT_H
#define CRIU_RESTORE_AS_INIT_H

#include "tree/restore.h"

/* Whether the options can be kept in that place. 0 or a negative errno (logged). */
int as_init_check(const struct restore *r);

/* Returns in the fork alone, 0; or a negative errno (logged). Nothing where criu is not the first process. */
int as_init_part(struct restore *r);

/*
 * In the fork, once the tree lives: until the root task, a child of criu's, has ended. What would end criu goes to that
 * task, whose namespace would end with criu.
 */
void as_init_wait(pid_t root);

#endif
