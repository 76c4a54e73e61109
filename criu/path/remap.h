/* SPDX-License-Identifier: GPL-2.0-only */
/* remap-fpath.img: which files of files.img are not where their name says, as noted during the dump. */
#ifndef CRIU_PATH_REMAP_H
#define CRIU_PATH_REMAP_H

#include "tree/dump.h"
#include "remap-file-path.pb-c.h"

/* The file of files.img is to be found by `to`: the number of a ghost, a pid, another file's id. */
void remap_note(struct dump *d, uint32_t file, uint32_t to, RemapType type);

/* Writes the image, where there is something to say. 0 or a negative errno (logged). */
int remap_write(struct dump *d);

#endif
