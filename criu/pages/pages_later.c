/* SPDX-License-Identifier: GPL-2.0-only */
#include "pages/pages_later.h"

#include <inttypes.h>

#include "lib/arena.h"
#include "lib/fault.h"
#include "lib/log.h"
#include "options/background.h"
#include "pages/page_give.h"
#include "pages/page_io.h"
#include "pages/task_memory.h"
#include "tree/subsys.h"

extern const struct subsys pages_later_subsys;

struct later_task {
	const struct task *task;
	struct page_run *runs; /* ascending; the arena's, as the array of these */
	size_t n_runs;
	struct page_source *source; /* NULL: it has not been asked for */
};

/* The state of the row. */
struct pages_later {
	int listener; /* 0: none */
	unsigned port;
	struct page_peer peer;
	bool connected, owes_answer;
	struct later_task *tasks, *found; /* found: whose run was looked up last */
	size_t n_tasks;
	uint64_t n_pages, given;
};

static struct pages_later *later_of(struct dump *d)
{
	return dump_state(d, &pages_later_subsys);
}

int pages_later_keep(struct dump *d, const struct task *t, const struct page_transfer *from)
{
	struct pages_later *l = later_of(d);
	struct later_task kept = { .task = t };

	for (size_t i = 0; i < from->n_elsewhere; i++) {
		if (!from->elsewhere[i].later)
			continue;
		arena_push(d->arena, &kept.runs, &kept.n_runs, from->elsewhere[i]);
		l->n_pages += from->elsewhere[i].n;
	}
	if (kept.n_runs)
		arena_push(d->arena, &l->tasks, &l->n_tasks, kept);
	return 0;
}

/* ---- giving ---- */

static struct later_task *find_task(struct pages_later *l, vpid_t vpid)
{
	for (size_t i = 0; i < l->n_tasks; i++)
		if (l->tasks[i].task->vpid.v == vpid.v)
			return &l->tasks[i];
	return NULL;
}

static const struct page_run *find_run(void *arg, vpid_t vpid, raddr_t at)
{
	struct pages_later *l = arg;
	struct later_task *t = find_task(l, vpid);
	size_t low = 0, high = t ? t->n_runs : 0;

	l->found = t;
	while (low < high) {
		size_t mid = (low + high) / 2;

		if (page_run_end(&t->runs[mid]) > at)
			high = mid;
		else
			low = mid + 1;
	}
	return t && low < t->n_runs && t->runs[low].at <= at ? &t->runs[low] : NULL;
}

static int read_part(void *arg, const struct page_run *part, uint8_t *buf)
{
	const struct page_transfer any = { .force = true };
	struct later_task *t = ((struct pages_later *)arg)->found;
	int err = 0;

	if (!t->source) {
		t->source = task_memory_source(t->task, false);
		err = t->source ? t->source->ops->open(t->source, &any) : log_errno(-ENOMEM, "out of memory");
	}
	return err ?: t->source->ops->read(t->source, part, 1, buf);
}

/* ---- stages ---- */

/* An address that cannot be had costs the tree nothing. */
static int later_begin(struct dump *d)
{
	struct pages_later *l = later_of(d);
	int err;

	if (!d->opts->lazy_pages)
		return 0;
	err = page_peer_listen(d->opts, &l->listener, &l->port);
	l->listener = MAX(l->listener, 0);
	return err;
}

/* The images are complete, and can be taken to where they are restored. */
static int later_serve(struct dump *d, struct stages *stages)
{
	struct pages_later *l = later_of(d);
	const struct page_giver from = { .arg = l, .find = find_run, .read = read_part };
	int err;

	if (!d->opts->lazy_pages)
		return 0;
	log_info("%" PRIu64 " pages are left for later: a lazy-pages daemon is waited for, port %u", l->n_pages,
	         l->port);
	if (l->port && !d->opts->port)
		log_msg("port %u", l->port);
	fault_point("about to wait for a lazy-pages daemon");
	err = background_tell(d->opts, stages);
	if (!err)
		err = page_peer_accept(d->opts, l->listener, &l->peer);
	l->connected = !err;
	cleanup_close(&l->listener);
	l->listener = 0;
	if (!err)
		err = page_give(&l->peer, &from, &l->given);
	l->owes_answer = l->connected && !err;
	if (!err)
		log_info("the lazy-pages daemon has had %" PRIu64 " of %" PRIu64 " pages, and needs no more", l->given,
		         l->n_pages);
	fault_point("the lazy-pages daemon needs no more");
	return err;
}

/* It hears that the tasks have ended here, or run on, when that is so. */
static void later_committed(struct dump *d)
{
	struct pages_later *l = later_of(d);

	if (l->owes_answer)
		page_give_answer(&l->peer, 0);
	l->owes_answer = false;
}

static void later_rollback(struct dump *d)
{
	struct pages_later *l = later_of(d);

	if (l->owes_answer)
		page_give_answer(&l->peer, -ECANCELED);
	l->owes_answer = false;
}

static void later_end(struct dump *d)
{
	struct pages_later *l = later_of(d);

	if (l->listener)
		close(l->listener);
	if (l->connected)
		page_peer_close(&l->peer);
	for (size_t i = 0; i < l->n_tasks; i++)
		if (l->tasks[i].source)
			l->tasks[i].source->ops->close(l->tasks[i].source);
	l->n_tasks = 0;
}

const struct subsys pages_later_subsys = {
	.name = "pages for later",
	.state = { .dump = sizeof(struct pages_later) },
	.before_freeze = later_begin,
	.hand_over = later_serve,
	.after_commit = later_committed,
	.rollback = later_rollback,
	.end = later_end,
};
