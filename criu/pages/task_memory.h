/* SPDX-License-Identifier: GPL-2.0-only */
/* Inside of pages/: the memory of a frozen task as a source. */
#ifndef CRIU_PAGES_TASK_MEMORY_H
#define CRIU_PAGES_TASK_MEMORY_H

#include "pages/page_io.h"
#include "tree/dump.h"

/* NULL without memory, not logged. */
struct page_source *task_memory_source(const struct task *t);

#endif
