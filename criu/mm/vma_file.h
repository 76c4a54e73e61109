/* SPDX-License-Identifier: GPL-2.0-only */
/* Mappings of files, for kinds whose objects are files of files.img too (memfds). See struct vma_kind. */
#ifndef CRIU_MM_VMA_FILE_H
#define CRIU_MM_VMA_FILE_H

#include <fcntl.h>

#include "tree/vma_kind.h"

int vma_file_dump(struct dump *d, struct task *t, const struct proc_map *m, struct vma *v);
int vma_file_check(struct restore *r, const struct task *t, const VmaEntry *v);
int vma_file_open(struct restore *r, const VmaEntry *v, bool *own);

/* Restore: whether the mapping needs its file open for writing. */
static inline bool vma_file_writes(const VmaEntry *v)
{
	return v->status & VMA_FILE_SHARED && v->has_fdflags && (v->fdflags & O_ACCMODE) == O_RDWR;
}

#endif
