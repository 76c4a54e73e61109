/* SPDX-License-Identifier: GPL-2.0-only */
/* Inside of mm/: protection keys, pkeys(7). */
#ifndef CRIU_MM_PKEYS_H
#define CRIU_MM_PKEYS_H

#include "tree/restore.h"

struct batch;

/*
 * Restore: the keys that the process has are allocated before anything is mapped, since the kernel takes one for the
 * first mapping that can only be executed. What a copy has inherited beyond its own is given back. 0 or a negative
 * errno (logged).
 */
int pkeys_allocate(struct task *t);

/* When protections are final: mappings get their keys; those that the process had given back are given back. */
void pkeys_protect(struct batch *b, const MmEntry *mm);

#endif
