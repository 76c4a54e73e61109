/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A run: pages that follow one another in memory, that are alike, and that lie together wherever their bytes are. The
 * one word for a stretch of pages: what is scanned, stored, planned and written are runs.
 */
#ifndef CRIU_PAGES_PAGE_RUN_H
#define CRIU_PAGES_PAGE_RUN_H

#include "arch_page.h"
#include "common.h"

#define FILE_SUM_BYTES sizeof(uint64_t)

struct pagemap;

struct page_run {
	raddr_t at; /* in an object: the offset */
	uint64_t n; /* pages */
	/* At restore: where the checkpoint has them. For pages/ alone; others cut runs with page_run_part(). */
	uint64_t stored;    /* later: the address that they had at the dump */
	struct pagemap *in; /* the pagemap whose pages file that is; NULL: the one that lists the run */
	bool thp;           /* the pages were in huge pages */
	bool cow;           /* shared with the parent process, copy-on-write */
	/* The checkpoint has the pages with the parent process's, which are the same (cow): they are stored once. */
	bool with_parent;
	/* The task's own, and equal to those of the file that it has mapped there: stored nowhere else. */
	bool in_file;
	const uint8_t *file_sums; /* ... and of each page its checksum, FILE_SUM_BYTES */
	bool in_prev;             /* the checkpoint before this one has the pages, at the same addresses */
	bool gone;                /* was punched out of the pages file: page_punched.h */
	bool later; /* not in the checkpoint: the task that was dumped has the pages (dump --lazy-pages) */
	/* Dump. */
	bool drop_zero; /* pages of zeros need not be stored: anonymous memory */
	bool force;     /* to be read through /proc/PID/mem: no PROT_READ, or to be left shared */
	bool now;       /* the task's copy (dump_task.copy) has it not: pages_read_now() */
	/* Restore; with force: to be written through /proc/PID/mem, no PROT_WRITE. */
	bool compare; /* what is in memory may be equal already, and is left alone then */
};

static inline raddr_t page_run_end(const struct page_run *run)
{
	return run->at + run->n * PAGE_SIZE;
}

/* The part of a run from one address to another, both of which lie in it. */
static inline struct page_run page_run_part(const struct page_run *run, raddr_t from, raddr_t to)
{
	struct page_run part = *run;

	part.at = from;
	part.n = (to - from) / PAGE_SIZE;
	part.stored += from - run->at;
	if (run->file_sums)
		part.file_sums += (from - run->at) / PAGE_SIZE * FILE_SUM_BYTES;
	return part;
}

#endif
