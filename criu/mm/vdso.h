/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Inside of mm/: the vdso at restore. Where the image's is ours, byte for byte, the kernel maps it in its place. Where
 * it is another kernel's, ours is mapped in a hole and the old one becomes memory of the task, whose functions jump to
 * ours.
 */
#ifndef CRIU_MM_VDSO_H
#define CRIU_MM_VDSO_H

#include "mm/task_mm.h"

/*
 * mm_check: finds the block of vdso and vvar in the image and compares it with ours; fills the vdso fields of m, whose
 * pages have been read. Refuses a foreign one of which pages are missing.
 */
int vdso_check(struct restore *r, const struct task *t, struct task_mm *m);

/* How much room vdso_map() needs in a hole: 0 where the vdso goes to its old place, or the image has none. */
uint64_t vdso_hole_size(struct restore *r, const struct task_mm *m);

/* Maps the kernel's vdso at its old place, or at `hole`, and checks that it came there. */
int vdso_map(struct restore *r, struct task *t, struct task_mm *m, raddr_t hole);

/* Writes a foreign vdso, redirected, into its place, which is mapped and can be written. */
int vdso_fill(struct restore *r, struct task *t, const struct task_mm *m);

#endif
