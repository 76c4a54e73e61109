/* SPDX-License-Identifier: GPL-2.0-only */
/* The pages of a dump: transfers are listed, then moved, some tasks and objects at a time. */
#include "lib/clock.h"
#include "lib/log.h"
#include "pages/page_io.h"
#include "pages/page_send.h"
#include "pages/pages.h"
#include "pages/pages_file.h"
#include "pages/shared_object.h"
#include "pages/task_memory.h"

/* Transfers that are open at once: each may have three descriptors, and their lists are in memory. */
#define MAX_OPEN 64

struct pages_dump {
	struct dump *d;
	uint32_t last_pages_id;
	struct page_transfer open[MAX_OPEN];
	uint64_t *written[MAX_OPEN]; /* the figure that counts the pages of each */
	size_t n;
	bool keep_zeros; /* of objects */
	bool running;    /* the tasks are, while pages are read */
};

int pages_dump_start(struct dump *d, struct pages_dump **pdp)
{
	struct pages_dump *pd = calloc(1, sizeof(*pd));

	if (!pd)
		return log_errno(-ENOMEM, "out of memory for the pages of the tree");
	pd->d = d;
	*pdp = pd;
	return 0;
}

/* Moves what has been listed, unless err is set, and forgets it. */
static int flush_transfers(struct pages_dump *pd, int err)
{
	uint64_t start = clock_now_us();

	if (!err)
		err = page_move(pd->open, pd->n);
	for (size_t i = 0; i < pd->n; i++) {
		*pd->written[i] += pd->open[i].n_kept;
		page_transfer_free(&pd->open[i]);
	}
	pd->n = 0;
	pd->d->stats->memwrite_time += clock_now_us() - start;
	return err;
}

/* Takes the source, which may be NULL: then there is no memory. */
static int add_transfer(struct pages_dump *pd, struct page_source *source, enum image_type type, uint64_t id,
                        uint64_t *written)
{
	struct page_transfer *t = &pd->open[pd->n];

	*t = (struct page_transfer) { .source = source };
	pd->written[pd->n++] = written;
	if (source && pd->d->opts->page_server)
		t->sink = page_send_sink(pd->d, type, id);
	else if (source)
		t->sink = pages_file_sink(pd->d->dir, type, id, ++pd->last_pages_id);
	return t->sink ? 0 : log_errno(-ENOMEM, "out of memory for a transfer of pages");
}

/* A page server takes the pages of one task or object at a time. */
static int flush_when_full(struct pages_dump *pd)
{
	return pd->n == (pd->d->opts->page_server ? 1 : MAX_OPEN) ? flush_transfers(pd, 0) : 0;
}

int pages_dump_task(struct pages_dump *pd, const struct task *t, struct page_transfer **tp)
{
	int err = flush_when_full(pd);

	if (!err)
		err = add_transfer(pd, task_memory_source(t, pd->running), IMG_PAGEMAP, (uint64_t)t->vpid.v,
		                   &pd->d->stats->pages_written);
	if (!err)
		*tp = &pd->open[pd->n - 1];
	return err;
}

void pages_of_running(struct pages_dump *pd)
{
	pd->running = true;
}

void pages_keep_zeros(struct pages_dump *pd)
{
	pd->keep_zeros = true;
}

int pages_dump_object(struct pages_dump *pd, const struct task *t, const char *path, uint64_t ino, uint32_t id)
{
	struct page_source *source;
	uint64_t scanned = 0;
	int err = flush_when_full(pd);

	if (err)
		return err;
	source = shared_object_source(t, path, ino, &err);
	if (!source)
		return err;
	err = add_transfer(pd, source, IMG_SHMEM_PAGEMAP, id, &pd->d->stats->shpages_written);
	if (!err)
		err = shared_object_scan(source, &pd->open[pd->n - 1], pd->keep_zeros, &scanned);
	pd->d->stats->shpages_scanned += scanned;
	return err;
}

int pages_dump_end(struct pages_dump *pd, int err)
{
	err = flush_transfers(pd, err);
	if (!err && pd->d->opts->page_server)
		err = page_send_finish(pd->d);
	free(pd);
	return err;
}
