/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * --inherit-fd at restore: which of the tool's descriptors takes the place of which file of the checkpoint. The tool's
 * numbers and the tasks' have nothing to do with each other: what is handed in is passed on like what was opened here.
 */
#ifndef CRIU_FILES_INHERIT_H
#define CRIU_FILES_INHERIT_H

#include "tree/restore.h"

/*
 * Before anything is started: gives every file that was named its descriptor. Refuses one of another kind or access
 * mode, and what the dump was told would come and has not. 0, also after refusals, or a negative errno (logged).
 */
int inherit_check(struct restore *r);

/* When all images are read: warns of what was handed in for nothing. */
void inherit_tell(struct restore *r);

struct file_desc;

/* A new descriptor for a file that was handed in (file_desc.given is not -1). Negative errno (logged). */
int inherit_open(struct restore *r, struct file_desc *fd);

/*
 * Makes a descriptor that was handed in wait or not, as the task's O_* flags say; noted with the guardian. 0 or a
 * negative errno (not logged).
 */
int inherit_nonblock(struct restore *r, int given, uint32_t flags);

#endif
