/* SPDX-License-Identifier: GPL-2.0-only */
/* The contents of ghosts that are regular files: chunks of data behind the entry in ghost-file-*.img, without holes. */
#ifndef CRIU_PATH_GHOST_DATA_H
#define CRIU_PATH_GHOST_DATA_H

#include "files/files.h"
#include "ghost-file.pb-c.h"

#define GHOST_DATA_BUFFER (1UL << 20)

/*
 * Dump: writes `size` bytes of fd into img. buffer: GHOST_DATA_BUFFER bytes. fiemap: ask the file system for its list
 * of extents where it has one. who: for messages. 0 or a negative errno (logged).
 */
int ghost_data_dump(const char *who, char *buffer, int fd, off_t size, bool fiemap, struct image *img);

/* Restore: fills the empty file fd from ghost-file-ID. name: for messages. 0 or a negative errno (logged). */
int ghost_data_restore(struct restore *r, uint32_t id, const GhostFileEntry *e, const char *name, int fd);

#endif
