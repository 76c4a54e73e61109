/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Inside of pages/: where bytes of pages come from (a source), where they go (a sink), and the transfer of runs from
 * one to the other. A transfer is listed first (page_transfer.c), then moved (page_move.c) in batches.
 *
 * What a dump does:     task_memory.c or shared_object.c  ->  pages_file.c or page_send.c
 * What a restore does:  pages_file.c  ->  process_memory.c
 */
#ifndef CRIU_PAGES_PAGE_IO_H
#define CRIU_PAGES_PAGE_IO_H

#include "pages/page_run.h"

/* What one thread moves at once: runs of 1 MiB together at most, which stay in the processor's cache from end to end.
 */
#define BATCH_PAGES  256U
#define BATCH_BYTES  (BATCH_PAGES * PAGE_SIZE)
/* For fewer pages, threads and a mapping of the file cost more than they bring. */
#define MANY_PAGES   ((2UL << 20) / PAGE_SIZE)
#define MANY_BATCHES 32U

struct page_batch {
	size_t first, n_runs; /* of transfer->runs: ascending, with gaps between them */
	uint32_t n_pages;
	uint32_t n_kept;                 /* when it has been moved: the sink has these; the rest were zeros */
	uint64_t kept[BATCH_PAGES / 64]; /* a bit for each page, where not all are kept */
};

struct page_transfer {
	struct page_source *source; /* both are the transfer's */
	struct page_sink *sink;
	struct page_run *runs; /* none larger than a batch; from malloc, as batches */
	size_t n_runs, max_runs;
	/* With the parent process's pages, in a file, in the checkpoint before, or later: listed, and not moved. */
	struct page_run *elsewhere;
	size_t n_elsewhere, max_elsewhere;
	struct page_batch *batches;
	size_t n_batches, max_batches;
	size_t first_batch;       /* while several transfers are moved: how many batches those before have */
	uint64_t n_pages, n_kept; /* n_kept: what the sink has got */
	bool knows_cow;           /* dump: pages were compared with the parent process's */
	bool force, compare;      /* some run has it */
	bool only_ours;           /* some run is where a reader must know our fields */
};

/* A batch on its way. */
struct page_load {
	const struct page_run *runs;
	size_t n_runs;
	const struct page_batch *batch;
	const uint8_t *bytes; /* of the pages that are kept, one behind the other */
	size_t len;
	uint8_t *scratch; /* as much as the pages of the batch take, for the sink's own use */
	/* What place() said: the offset in a file, and what it is to be enlarged by before it is written. */
	uint64_t offset, alloc, alloc_len;
};

struct page_source {
	const struct page_source_ops *ops;
};

/* All but read() and close() may be absent. Functions return 0 or a negative errno (logged). */
struct page_source_ops {
	/* All runs are listed; readies what reading them needs. */
	int (*open)(struct page_source *s, const struct page_transfer *t);
	/* The bytes of runs, one behind the other; at most a batch. By several threads at once. */
	int (*read)(struct page_source *s, const struct page_run *runs, size_t n, uint8_t *buf);
	/* Whether run is read at once with last, from where they are stored. Absent: it makes no difference. */
	bool (*follows)(const struct page_source *s, const struct page_run *last, const struct page_run *run);
	/* Where the bytes of runs lie in our memory already; NULL: they do not, read() has to be called. */
	const uint8_t *(*view)(struct page_source *s, const struct page_run *runs, size_t len);
	/* Gives all back, the source too. */
	void (*close)(struct page_source *s);
};

struct page_sink {
	const struct page_sink_ops *ops;
};

/* All but write() and close() may be absent. Functions return 0 or a negative errno (logged). */
struct page_sink_ops {
	size_t max_threads; /* that may write to it at once */
	/* All runs are listed; readies what writing needs. */
	int (*open)(struct page_sink *s, const struct page_transfer *t);
	/* Gives a load its place. Called in the order of batches, one at a time. */
	void (*place)(struct page_sink *s, struct page_load *load);
	/* By several threads at once. */
	int (*write)(struct page_sink *s, const struct page_load *load);
	/* All batches have been written. */
	int (*finish)(struct page_sink *s, const struct page_transfer *t);
	/* Gives all back, the sink too. */
	void (*close)(struct page_sink *s);
};

/* ---- page_transfer.c ---- */

/*
 * Calls fn for the runs, or parts of runs, that the sink has, and for those that are elsewhere, in the order of their
 * addresses; stops at an error and returns it.
 */
int page_transfer_each_listed(const struct page_transfer *t, int (*fn)(void *arg, const struct page_run *run),
                              void *arg);

/* The same for the runs of one batch, which begin at runs. */
int page_batch_each_kept(const struct page_batch *b, const struct page_run *runs,
                         int (*fn)(void *arg, const struct page_run *run), void *arg);

/* Gives back all that a transfer holds: its lists, its source and its sink. */
void page_transfer_free(struct page_transfer *t);

/* ---- page_move.c ---- */

/* Moves the batches of all transfers, with the one worker pool, and finishes their sinks, in order. */
int page_move(struct page_transfer *transfers, size_t n);

#endif
