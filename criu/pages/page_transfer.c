/* SPDX-License-Identifier: GPL-2.0-only */
/* The list of what is to be moved: runs, cut into batches. */
#include "pages/page_io.h"

#include "lib/log.h"
#include "pages/pages.h"

/* Of a file: with their checksums they make an entry of 8 MiB. */
#define ENTRY_PAGES (UINT64_C(1) << 20)

/* Room for one more element at n: the array, moved perhaps, or NULL (the old one stays). */
static void *grow_list(void *array, size_t n, size_t *max, size_t size)
{
	size_t wanted = *max ? 2 * *max : 16;
	void *bigger;

	if (n < *max)
		return array;
	bigger = reallocarray(array, wanted, size);
	if (bigger)
		*max = wanted;
	return bigger;
}

/* The batch that the next run goes into: the last one where there is room, or a new one. NULL without memory. */
static struct page_batch *batch_for(struct page_transfer *t, const struct page_run *run)
{
	struct page_batch *last = t->n_batches ? &t->batches[t->n_batches - 1] : NULL, *batches;
	const struct page_source_ops *ops = t->source->ops;

	if (last && last->n_pages + run->n <= BATCH_PAGES &&
	    (!ops->follows || ops->follows(t->source, &t->runs[t->n_runs - 1], run)))
		return last;
	batches = grow_list(t->batches, t->n_batches, &t->max_batches, sizeof(*batches));
	if (!batches)
		return NULL;
	t->batches = batches;
	batches[t->n_batches] = (struct page_batch) { .first = t->n_runs };
	return &batches[t->n_batches++];
}

static bool are_alike(const struct page_run *a, const struct page_run *b)
{
	return a->thp == b->thp && a->cow == b->cow && a->drop_zero == b->drop_zero && a->force == b->force &&
	       a->now == b->now && a->compare == b->compare;
}

/* The checksums of two runs of a file stand in one list. */
static bool sums_go_on(const struct page_run *last, const struct page_run *run)
{
	return last->in_file == run->in_file &&
	       (!run->in_file || last->file_sums + last->n * FILE_SUM_BYTES == run->file_sums);
}

static int add_to_batch(struct page_transfer *t, struct page_batch *b, const struct page_run *run)
{
	struct page_run *last = b->n_runs ? &t->runs[t->n_runs - 1] : NULL, *runs;

	b->n_pages += (uint32_t)run->n;
	t->n_pages += run->n;
	t->force |= run->force;
	t->compare |= run->compare;
	if (last && page_run_end(last) == run->at && are_alike(last, run) && sums_go_on(last, run)) {
		last->n += run->n;
		return 0;
	}
	runs = grow_list(t->runs, t->n_runs, &t->max_runs, sizeof(*runs));
	if (!runs)
		return -ENOMEM;
	t->runs = runs;
	runs[t->n_runs++] = *run;
	b->n_runs++;
	return 0;
}

int pages_add(struct page_transfer *t, const struct page_run *run)
{
	for (raddr_t at = run->at, next; at < page_run_end(run); at = next) {
		struct page_run part;
		struct page_batch *b;

		/* Long runs are cut at multiples of a batch's size: then no batch of one lies in two huge pages. */
		next = MIN(page_run_end(run), round_down(at, BATCH_BYTES) + BATCH_BYTES);
		part = page_run_part(run, at, next);
		b = batch_for(t, &part);
		if (!b || add_to_batch(t, b, &part))
			return log_errno(-ENOMEM, "out of memory for a list of %zu runs of pages", t->n_runs);
	}
	return 0;
}

int pages_add_elsewhere(struct page_transfer *t, const struct page_run *run)
{
	struct page_run *last = t->n_elsewhere ? &t->elsewhere[t->n_elsewhere - 1] : NULL, *runs;

	t->only_ours |= run->with_parent || run->in_file;
	if (last && page_run_end(last) == run->at && last->thp == run->thp && last->cow == run->cow &&
	    last->with_parent == run->with_parent && last->later == run->later && last->force == run->force &&
	    sums_go_on(last, run) && (!run->in_file || last->n + run->n <= ENTRY_PAGES)) {
		last->n += run->n;
		return 0;
	}
	runs = grow_list(t->elsewhere, t->n_elsewhere, &t->max_elsewhere, sizeof(*runs));
	if (!runs)
		return log_errno(-ENOMEM, "out of memory for a list of %zu runs of pages", t->n_elsewhere);
	t->elsewhere = runs;
	runs[t->n_elsewhere++] = *run;
	return 0;
}

bool pages_are_only_ours(const struct page_transfer *t)
{
	return t->only_ours;
}

void pages_set_knows_cow(struct page_transfer *t)
{
	t->knows_cow = true;
}

/* ---- what was kept ---- */

static bool is_page_kept(const struct page_batch *b, uint32_t page)
{
	return b->n_kept == b->n_pages || (b->kept[page / 64] >> (page % 64) & 1);
}

/* The parts of one run of a batch; first: the number of its first page there. */
static int each_kept_part(const struct page_batch *b, const struct page_run *run, uint32_t first,
                          int (*fn)(void *arg, const struct page_run *run), void *arg)
{
	int err = 0;

	for (uint32_t i = 0, k; !err && i < run->n; i = k) {
		bool kept = is_page_kept(b, first + i);
		struct page_run part;

		for (k = i + 1; k < run->n && is_page_kept(b, first + k) == kept; k++)
			;
		if (!kept)
			continue;
		part = page_run_part(run, run->at + i * PAGE_SIZE, run->at + k * PAGE_SIZE);
		err = fn(arg, &part);
	}
	return err;
}

int page_batch_each_kept(const struct page_batch *b, const struct page_run *runs,
                         int (*fn)(void *arg, const struct page_run *run), void *arg)
{
	uint32_t page = 0;
	int err = 0;

	for (size_t k = 0; !err && k < b->n_runs; k++) {
		err = each_kept_part(b, &runs[k], page, fn, arg);
		page += (uint32_t)runs[k].n;
	}
	return err;
}

static int each_kept(const struct page_transfer *t, int (*fn)(void *arg, const struct page_run *run), void *arg)
{
	int err = 0;

	for (size_t i = 0; !err && i < t->n_batches; i++)
		err = page_batch_each_kept(&t->batches[i], &t->runs[t->batches[i].first], fn, arg);
	return err;
}

/* Two lists become one. */
struct merge {
	const struct page_run *elsewhere, *end;
	int (*fn)(void *arg, const struct page_run *run);
	void *arg;
};

static int list_elsewhere(struct merge *m, raddr_t below)
{
	int err = 0;

	while (!err && m->elsewhere < m->end && m->elsewhere->at < below)
		err = m->fn(m->arg, m->elsewhere++);
	return err;
}

static int list_kept(void *arg, const struct page_run *run)
{
	struct merge *m = arg;
	int err = list_elsewhere(m, run->at);

	return err ?: m->fn(m->arg, run);
}

int page_transfer_each_listed(const struct page_transfer *t, int (*fn)(void *arg, const struct page_run *run),
                              void *arg)
{
	struct merge m = { t->elsewhere, t->elsewhere + t->n_elsewhere, fn, arg };
	int err = each_kept(t, list_kept, &m);

	return err ?: list_elsewhere(&m, UINT64_MAX);
}

void page_transfer_free(struct page_transfer *t)
{
	if (t->source)
		t->source->ops->close(t->source);
	if (t->sink)
		t->sink->ops->close(t->sink);
	free(t->runs);
	free(t->elsewhere);
	free(t->batches);
	*t = (struct page_transfer) { 0 };
}
