/* SPDX-License-Identifier: GPL-2.0-only */
/* Inside of pages/: the memory of a task as a source. */
#ifndef CRIU_PAGES_TASK_MEMORY_H
#define CRIU_PAGES_TASK_MEMORY_H

#include "pages/page_io.h"
#include "tree/dump.h"

/* running: the task is not frozen, and what it has no more reads as zeros. NULL without memory, not logged. */
struct page_source *task_memory_source(const struct task *t, bool running);

/* Reads all runs, and keeps their bytes until the source is closed; the list is empty then. 0 or a negative errno
 * (logged). */
int task_memory_read_now(struct page_transfer *t);

#endif
