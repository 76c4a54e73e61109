/* SPDX-License-Identifier: GPL-2.0-only */
/* Inside of mm/: what uprobes leave in tasks. */
#ifndef CRIU_MM_VMA_UPROBES_H
#define CRIU_MM_VMA_UPROBES_H

#include "tree/vma_kind.h"

/* Dump: whether uprobes were hit in the task. */
bool vma_uprobes_were_hit(const struct vma_list *list);

/*
 * Dump: whether a page of a private file mapping is the file's but for breakpoints of uprobes, which the kernel itself
 * sets when the file is mapped. (Stored, they would outlive their uprobe, and end the task.) hit: uprobes were hit in
 * the task; those that the kernel emulates do not show otherwise. A negative errno is logged.
 */
int vma_uprobes_made_page(struct dump *d, const struct task *t, const VmaEntry *v, raddr_t at, bool hit);

#endif
