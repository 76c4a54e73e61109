/* SPDX-License-Identifier: GPL-2.0-only */
/* Inside of pages/: a shared object (anonymous memory, a memfd) as a source. */
#ifndef CRIU_PAGES_SHARED_OBJECT_H
#define CRIU_PAGES_SHARED_OBJECT_H

#include "pages/page_io.h"
#include "tree/dump.h"

/* Opens the object of that inode number by a path in /proc. t: for messages. NULL after an error (logged, in *errp). */
struct page_source *shared_object_source(const struct task *t, const char *path, uint64_t ino, int *errp);

/*
 * Adds all data of the object to the transfer, with pages of zeros or without; *scanned: pages that were looked at. 0
 * or a negative errno (logged).
 */
int shared_object_scan(struct page_source *s, struct page_transfer *t, bool zeros, uint64_t *scanned);

#endif
