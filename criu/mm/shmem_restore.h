/* SPDX-License-Identifier: GPL-2.0-only */
/* Inside of mm/: shared anonymous memory at restore. The tool makes and fills each object; tasks map its descriptor. */
#ifndef CRIU_MM_SHMEM_RESTORE_H
#define CRIU_MM_SHMEM_RESTORE_H

#include "tree/restore.h"
#include "mm/mm_read.h"

/*
 * mm_check: a mapping of shared anonymous memory; the object's size is what its mappings need. The first one reads its
 * pagemap. 0 or a negative errno (logged).
 */
int shmem_note(struct restore *r, const struct task *t, const VmaEntry *v);

/*
 * A descriptor of the object, open for reading and writing, which the caller closes; the object is made and filled at
 * the first call. By /proc/self/map_files, or a memfd for all of them where that is not allowed. Negative errno
 * (logged).
 */
int shmem_open(struct restore *r, const VmaEntry *v);

/* One mapping that was noted has been made: the tool lets go of the object with the last. */
void shmem_release(struct restore *r, const VmaEntry *v);

#endif
