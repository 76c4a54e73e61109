/* SPDX-License-Identifier: GPL-2.0-only */
/* Inside of pages/: the memory of a process as a sink: a task's that is being made, or ours, where an object is mapped.
 */
#ifndef CRIU_PAGES_PROCESS_MEMORY_H
#define CRIU_PAGES_PROCESS_MEMORY_H

#include "pages/page_io.h"

/* Pages of runs with `compare`: how many were looked at, and how many of them were equal already. */
struct page_compare {
	uint64_t compared, same;
};

/* counts: added to. NULL without memory, not logged. */
struct page_sink *process_memory_sink(pid_t pid, struct page_compare *counts);

#endif
