/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Inside of mm/: System V segments at restore (shmget(2), shmctl(2)). A segment outlives its processes: in criu's ipc
 * namespace, one that is still there from the dump, or from an earlier restore, is used again; one that is gone is made
 * with its number, key, owner, and data. Mappings of it are made by mm/sysv_shm.c.
 */
#ifndef CRIU_MM_SYSV_SEGMENT_H
#define CRIU_MM_SYSV_SEGMENT_H

#include "ipc-shm.pb-c.h"
#include "tree/restore.h"

/*
 * A mapping of segment `id`, in the ipc namespace of t, is to be made. 0, or -ENOENT: the images have no such segment,
 * or -ERANGE: the mapping ends behind the segment, whose size in whole pages is not below `end` otherwise.
 */
int sysv_segment_expect(struct restore *r, const struct task *t, uint64_t id, uint64_t end);

#endif
