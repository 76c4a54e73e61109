/* SPDX-License-Identifier: GPL-2.0-only */
/* The pages of a dump: transfers are listed, then moved, some tasks and objects at a time. */
#include <stdlib.h>

#include "lib/clock.h"
#include "lib/log.h"
#include "pages/page_io.h"
#include "pages/page_link.h"
#include "pages/page_send.h"
#include "pages/pages.h"
#include "pages/pages_later.h"
#include "pages/pages_file.h"
#include "pages/shared_object.h"
#include "pages/task_memory.h"
#include "tree/inventory.h"
#include "tree/subsys.h"

/* Transfers that are open at once: each may have three descriptors, and their lists are in memory. */
#define MAX_OPEN 64

/* The state of the row. The library is loaded before the freeze: one that is missing costs the tree nothing. */
struct pages_codec {
	struct page_codec *codec;
};

extern const struct subsys pages_codec_subsys;

static int open_codec(struct dump *d)
{
	struct pages_codec *c = dump_state(d, &pages_codec_subsys);
	int level = d->opts->compress_level;

	if (!d->opts->compress)
		return 0;
	return page_codec_open(level ? PAGES_COMPRESSION__ZSTD : PAGES_COMPRESSION__LZ4, level, &c->codec);
}

static void close_codec(struct dump *d)
{
	struct pages_codec *c = dump_state(d, &pages_codec_subsys);

	page_codec_close(move_ptr(c->codec));
}

const struct subsys pages_codec_subsys = {
	.name = "compression of pages",
	.state = { .dump = sizeof(struct pages_codec) },
	.before_freeze = open_codec,
	.end = close_codec,
};

struct pages_dump {
	struct dump *d;
	struct pages_store store;
	uint32_t last_pages_id;
	struct page_transfer open[MAX_OPEN];
	uint64_t *written[MAX_OPEN];        /* the figure that counts the pages of each */
	const struct task *tasks[MAX_OPEN]; /* NULL: of an object */
	size_t n;
	bool keep_zeros; /* of objects */
	bool running;    /* the tasks are, while pages are read */
	bool hold;       /* tasks' transfers are held back: pages_hold() */
	struct held {
		const struct task *task;
		struct page_transfer transfer;
	} * *held;
	size_t n_held, max_held;
};

int pages_dump_start(struct dump *d, struct pages_dump **pdp)
{
	struct pages_dump *pd = calloc(1, sizeof(*pd));

	if (!pd)
		return log_errno(-ENOMEM, "out of memory for the pages of the tree");
	pd->d = d;
	pd->store.dir = pd->store.sums.dir = d->dir;
	if (d->opts->compress) {
		pd->store.codec = ((struct pages_codec *)dump_state(d, &pages_codec_subsys))->codec;
		inventory_only_ours(d);
	}
	*pdp = pd;
	return 0;
}

/* Moves what has been listed, unless err is set, and forgets it. */
static int flush_transfers(struct pages_dump *pd, int err)
{
	uint64_t start = clock_now_us();

	if (!err)
		err = page_move(pd->open, pd->n);
	for (size_t i = 0; !err && i < pd->n; i++)
		if (pd->tasks[i])
			err = pages_later_keep(pd->d, pd->tasks[i], &pd->open[i]);
	for (size_t i = 0; i < pd->n; i++) {
		*pd->written[i] += pd->open[i].n_kept;
		page_transfer_free(&pd->open[i]);
	}
	pd->n = 0;
	pd->d->stats->memwrite_time += clock_now_us() - start;
	return err;
}

/* Takes the source, which may be NULL: then there is no memory. */
static int begin_transfer(struct pages_dump *pd, struct page_transfer *t, struct page_source *source,
                          enum image_type type, uint64_t id)
{
	*t = (struct page_transfer) { .source = source };
	if (source && pd->d->opts->page_server)
		t->sink = page_send_sink(pd->d, type, id);
	else if (source)
		t->sink = pages_file_sink(&pd->store, type, id, ++pd->last_pages_id);
	return t->sink ? 0 : log_errno(-ENOMEM, "out of memory for a transfer of pages");
}

static int add_transfer(struct pages_dump *pd, struct page_source *source, enum image_type type, uint64_t id,
                        uint64_t *written)
{
	struct page_transfer *t = &pd->open[pd->n];

	pd->tasks[pd->n] = NULL;
	pd->written[pd->n++] = written;
	return begin_transfer(pd, t, source, type, id);
}

/* A page server takes the pages of one task or object at a time. */
static int flush_when_full(struct pages_dump *pd)
{
	return pd->n == (pd->d->opts->page_server ? 1 : MAX_OPEN) ? flush_transfers(pd, 0) : 0;
}

/* ---- transfers that are held back ---- */

void pages_hold(struct pages_dump *pd)
{
	pd->hold = true;
}

static struct held *find_held(const struct pages_dump *pd, const struct task *t)
{
	for (size_t i = 0; i < pd->n_held; i++)
		if (pd->held[i]->task == t)
			return pd->held[i];
	return NULL;
}

static struct held *add_held(struct pages_dump *pd)
{
	size_t wanted = pd->n_held == pd->max_held ? 2 * pd->max_held + 16 : pd->max_held;
	struct held **held = reallocarray(pd->held, wanted, sizeof(*held)), *h;

	if (!held)
		return NULL;
	pd->held = held;
	pd->max_held = wanted;
	h = calloc(1, sizeof(*h));
	if (h)
		held[pd->n_held++] = h;
	return h;
}

static int hold_task(struct pages_dump *pd, const struct task *t, struct page_transfer **tp)
{
	struct held *h = find_held(pd, t);

	if (h) {
		*tp = &h->transfer;
		return 0;
	}
	h = add_held(pd);
	if (!h)
		return log_errno(-ENOMEM, "out of memory for a transfer of pages");
	h->task = t;
	*tp = &h->transfer;
	return begin_transfer(pd, *tp, task_memory_source(t, pd->running), IMG_PAGEMAP, (uint64_t)t->vpid.v);
}

int pages_read_now(struct pages_dump *pd)
{
	int err = 0;

	for (size_t i = 0; !err && i < pd->n_held; i++)
		err = task_memory_read_now(&pd->held[i]->transfer);
	return flush_transfers(pd, err);
}

/* Moves them, unless err is set, and frees them. */
static int move_held(struct pages_dump *pd, int err)
{
	for (size_t i = 0; i < pd->n_held; i++) {
		err = err ?: flush_when_full(pd);
		if (err) {
			page_transfer_free(&pd->held[i]->transfer);
		} else {
			pd->open[pd->n] = pd->held[i]->transfer;
			pd->tasks[pd->n] = pd->held[i]->task;
			pd->written[pd->n++] = &pd->d->stats->pages_written;
		}
		free(pd->held[i]);
	}
	free(pd->held);
	return err;
}

/* ---- tasks and objects ---- */

int pages_dump_task(struct pages_dump *pd, const struct task *t, struct page_transfer **tp)
{
	int err = pd->hold ? 0 : flush_when_full(pd);

	if (pd->hold)
		return hold_task(pd, t, tp);
	if (!err)
		err = add_transfer(pd, task_memory_source(t, pd->running), IMG_PAGEMAP, (uint64_t)t->vpid.v,
		                   &pd->d->stats->pages_written);
	if (err)
		return err;
	pd->tasks[pd->n - 1] = t;
	*tp = &pd->open[pd->n - 1];
	return 0;
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
	err = move_held(pd, err);
	err = page_sums_end(&pd->store.sums, flush_transfers(pd, err));
	if (!err && pd->d->opts->page_server)
		err = page_link_finish(pd->d);
	free(pd);
	return err;
}
