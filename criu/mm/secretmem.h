/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Inside of mm/: memory of memfd_secret(2), which the kernel itself does not read for others: the agent copies it in
 * its task, at dump. Its file cannot be opened again, so that it has one description. In memfd.img, as memfds, with
 * `secret`.
 */
#ifndef CRIU_MM_SECRETMEM_H
#define CRIU_MM_SECRETMEM_H

#include "memfd.pb-c.h"
#include "tree/kind.h"

struct pagemap;

/* Dump: whether a descriptor is of such a file; and its number in memfd.img. 0 or a negative errno (logged), as all. */
bool secretmem_match(const struct fd_info *info);
int secretmem_dump(struct dump *d, const struct fd_info *info, uint32_t *inode_id);

/* Restore: a new file (not logged), and its memory. */
int secretmem_create(void);
int secretmem_fill(struct restore *r, const MemfdInodeEntry *m, const struct pagemap *pages, int fd);

#endif
