/* SPDX-License-Identifier: GPL-2.0-only */
/* Inside of pages/: the memory of a task as a source. */
#ifndef CRIU_PAGES_TASK_MEMORY_H
#define CRIU_PAGES_TASK_MEMORY_H

#include "pages/page_io.h"
#include "tree/dump.h"

/* running: the task is not frozen, and what it has no more reads as zeros. NULL without memory, not logged. */
struct page_source *task_memory_source(const struct task *t, bool running);

#endif
