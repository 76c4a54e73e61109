/* SPDX-License-Identifier: GPL-2.0-only */
/* The stages of a restore, in the order in which cmd/restore.c goes through them. All log their errors. */
#ifndef CRIU_RESTORE_RESTORE_H
#define CRIU_RESTORE_RESTORE_H

#include "options/stages.h"
#include "tree/restore.h"

/* Reads the tree and the images of all rows. Nothing is started by it, nor by the next. */
int restore_read_images(struct restore *r);

/* Whether all of it can come back here; refusals are counted, and end it after all of them have been found. */
int restore_check(struct restore *r);

/* Builds the tree, runs the scripts, and lets all go; on failure nothing of it is left. */
int restore_build(struct restore *r, struct stages *stages);

#endif
