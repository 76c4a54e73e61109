/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * --inherit-fd at restore: which of criu's descriptors takes the place of which file of the checkpoint. criu's numbers
 * and the tasks' have nothing to do with each other: what is inherited is passed on like what criu opened itself.
 */
#ifndef CRIU_FILES_INHERIT_H
#define CRIU_FILES_INHERIT_H

#include "tree/restore.h"

/*
 * Before anything is started: finds the inherited descriptor for each file that was named. Refuses one of another kind
 * or access mode, and a file that the dump was told would be inherited and is not. 0, also after refusals, or a
 * negative errno (logged).
 */
int inherit_check(struct restore *r);

/* When all images are read: warns of inherited descriptors that no file takes. */
void inherit_tell(struct restore *r);

struct open_file;

/* A new descriptor of ours for a file that is inherited (open_file.inherited_fd is not -1). Negative errno (logged). */
int inherit_open(struct restore *r, struct open_file *f);

/*
 * Makes an inherited descriptor blocking or not, as the task's O_* flags say; noted with the guardian. 0 or a negative
 * errno (not logged).
 */
int inherit_nonblock(struct restore *r, int inherited_fd, uint32_t flags);

#endif
