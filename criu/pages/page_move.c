/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Pages from sources to sinks, by several threads. Each takes the next batch, reads it into a buffer of its own that
 * stays in the cache, throws pages of zeros out, waits for its turn to be given a place, which takes no longer than the
 * batch before it is read, and writes. So the pages of a file stand in order, and the next batch is read while this one
 * is written.
 */
#include <string.h>

#include "lib/workers.h"
#include "pages/page_io.h"

struct mover {
	struct page_transfer *transfers;
	size_t n_batches;
	uint64_t n_pages;
	size_t threads;
	size_t batch_bytes; /* of the largest batch */
};

/* ---- pages of zeros ---- */

static bool is_zero_page(const uint8_t *page)
{
	const uint64_t *w = (const uint64_t *)(const void *)page;

	for (size_t i = 0; i < PAGE_SIZE / sizeof(*w); i += 8)
		if (w[i] | w[i + 1] | w[i + 2] | w[i + 3] | w[i + 4] | w[i + 5] | w[i + 6] | w[i + 7])
			return false;
	return true;
}

/* One page of each huge page is kept, so that the pagemap tells of the huge page even where it is all zeros. */
static bool is_worth_keeping(const struct page_run *run, raddr_t at, const uint8_t *page)
{
	if (!run->drop_zero || (run->thp && !(at % HUGE_SIZE)))
		return true;
	return !is_zero_page(page);
}

/* Notes which pages are kept, and moves them together. */
static void drop_zeros(struct page_batch *b, const struct page_run *runs, uint8_t *buf)
{
	const uint8_t *page = buf;
	uint32_t i = 0;

	for (size_t k = 0; k < b->n_runs; k++) {
		const struct page_run *run = &runs[k];

		for (uint64_t n = 0; n < run->n; n++, i++, page += PAGE_SIZE) {
			uint8_t *to = buf + b->n_kept * PAGE_SIZE;

			if (!is_worth_keeping(run, run->at + n * PAGE_SIZE, page))
				continue;
			if (to != page)
				memcpy(to, page, PAGE_SIZE);
			b->kept[i / 64] |= UINT64_C(1) << (i % 64);
			b->n_kept++;
		}
	}
}

static bool may_drop(const struct page_load *load)
{
	for (size_t i = 0; i < load->n_runs; i++)
		if (load->runs[i].drop_zero)
			return true;
	return false;
}

/* ---- a batch ---- */

/* Sets load->bytes, in buf or where the source has them, and what of the batch is kept. */
static int read_load(struct page_source *s, struct page_batch *b, struct page_load *load, uint8_t *buf)
{
	bool drop = may_drop(load);
	int err;

	load->len = b->n_pages * PAGE_SIZE;
	load->bytes = s->ops->view && !drop ? s->ops->view(s, load->runs, load->len) : NULL;
	b->n_kept = drop ? 0 : b->n_pages;
	if (load->bytes)
		return 0;
	err = s->ops->read(s, load->runs, load->n_runs, buf);
	if (err)
		return err;
	if (drop)
		drop_zeros(b, load->runs, buf);
	load->bytes = buf;
	load->len = b->n_kept * PAGE_SIZE;
	return 0;
}

struct placing {
	struct page_transfer *t;
	const struct page_batch *b;
	struct page_load *load;
};

static void place_load(void *arg)
{
	struct placing *p = arg;

	p->t->n_kept += p->b->n_kept;
	p->t->sink->ops->place(p->t->sink, p->load);
}

static int move_batch(struct workers *w, void *arg, size_t i, void *buffer)
{
	const struct mover *m = arg;
	struct page_transfer *t = m->transfers;
	struct page_load load = { .scratch = (uint8_t *)buffer + m->batch_bytes };
	struct page_batch *b;
	int err;

	while (i >= t->first_batch + t->n_batches)
		t++;
	b = &t->batches[i - t->first_batch];
	load.batch = b;
	load.runs = &t->runs[b->first];
	load.n_runs = b->n_runs;
	err = read_load(t->source, b, &load, buffer);
	if (!err && t->sink->ops->place)
		err = workers_in_turn(w, i, place_load, &(struct placing) { t, b, &load });
	return err ?: t->sink->ops->write(t->sink, &load);
}

/* ---- all ---- */

static int open_transfer(struct mover *m, struct page_transfer *t)
{
	int err = t->sink->ops->open ? t->sink->ops->open(t->sink, t) : 0;

	if (!err && t->source->ops->open)
		err = t->source->ops->open(t->source, t);
	t->first_batch = m->n_batches;
	m->n_batches += t->n_batches;
	m->n_pages += t->n_pages;
	for (size_t i = 0; i < t->n_batches; i++)
		m->batch_bytes = MAX(m->batch_bytes, t->batches[i].n_pages * (size_t)PAGE_SIZE);
	m->threads = MIN(m->threads, t->sink->ops->max_threads);
	return err;
}

/* Of small processes each batch takes some calls, few as its pages may be. */
static bool is_little(const struct mover *m)
{
	return m->n_pages < MANY_PAGES && m->n_batches < MANY_BATCHES;
}

int page_move(struct page_transfer *transfers, size_t n)
{
	struct mover m = { .transfers = transfers, .threads = SIZE_MAX };
	int err = 0;

	for (size_t i = 0; !err && i < n; i++)
		err = open_transfer(&m, &transfers[i]);
	if (!err)
		err = workers_run(m.n_batches, is_little(&m) ? 1 : m.threads, 2 * m.batch_bytes, move_batch, &m);
	for (size_t i = 0; !err && i < n; i++)
		if (transfers[i].sink->ops->finish)
			err = transfers[i].sink->ops->finish(transfers[i].sink, &transfers[i]);
	return err;
}
