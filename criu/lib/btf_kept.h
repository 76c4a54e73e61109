/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Answers of lib/btf.h that are kept over commands, in /run/criu.types: to read all types of a kernel takes 2 ms. They
 * are of one boot, one kernel and one criu; only root's are kept, and nobody else's are believed. Nothing is logged.
 */
#ifndef CRIU_LIB_BTF_KEPT_H
#define CRIU_LIB_BTF_KEPT_H

#include "common.h"

struct btf_kept;

/* What is kept in a symbolic link (NULL: the usual one), which need not be there. NULL: no memory. */
struct btf_kept *btf_kept_read(const char *path);

/* question: "offset task_struct comm", a line without its end. false: it is not kept. */
bool btf_kept_find(struct btf_kept *k, const char *question, int *answer);

/* Keeps it for now; by btf_kept_write() for later commands. */
void btf_kept_add(struct btf_kept *k, const char *question, int answer);

/* Writes what was added, if anything was. A link that cannot be made is left out. */
void btf_kept_write(struct btf_kept *k);

void btf_kept_free(struct btf_kept *k);

/*
 * The answers that lib/btf.h finds and adds to, from one call to the other; the link is read by the first, and written
 * by the second where that is wanted: not while a tree stands still, which may watch the directory.
 */
void btf_kept_begin(void);
void btf_kept_end(bool write);

/* NULL: none are kept. */
struct btf_kept *btf_kept_of_process(void);

#endif
