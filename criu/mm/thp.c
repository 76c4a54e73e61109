/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Transparent huge pages: whether a task does without (PR_SET_THP_DISABLE), and where they were. Collapsing 1 GiB costs
 * 150 ms of one processor, filling it then 270 instead of 450: no gain over filling 4 KiB pages. So ranges that were
 * not huge stay as they were, full or not.
 */
#include "mm/thp.h"

#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "agent/agent.h"
#include "arch_page.h"
#include "lib/io.h"
#include "lib/log.h"
#include "mm/vma_advice.h"
#include "tree/kind.h"
#include "uapi/madvise.h"

#define TOUCH_AT_ONCE 256

extern const struct task_part thp_part;

/* ---- PR_SET_THP_DISABLE ---- */

static int thp_ask(struct dump *d, struct thread *th, struct batch *b, void **datap)
{
	batch_ask(b, SYS_prctl, PR_GET_THP_DISABLE);
	return 0;
}

/* A task that shares the memory of an earlier one gives the same answer again. */
static int thp_dump(struct dump *d, struct thread *th, const struct answers *ans)
{
	MmEntry *mm = tree_first_vm(&d->tree, th->task)->mm;
	int64_t disabled = ans->op->flags & AGENT_OP_DONE ? ans->op->ret : 0;

	mm->has_thp_disabled = disabled > 0;
	mm->thp_disabled = disabled > 0;
	mm->has_thp_disable_flags = disabled > 1;
	mm->thp_disable_flags = disabled > 1 ? (uint32_t)disabled & ~1U : 0;
	return 0;
}

/* What a task forks inherits it: so it comes when all children exist. A copy may have inherited it from its parent. */
static int thp_restore(struct restore *r, struct thread *th, struct batch *b)
{
	const MmEntry *mm = th->task->mm;
	bool disabled = mm->has_thp_disabled && mm->thp_disabled;

	int op, err;

	if (disabled && mm->thp_disable_flags) {
		batch_reserve(b, 1, 0);
		op = batch_ask(b, SYS_prctl, PR_SET_THP_DISABLE, 1, mm->thp_disable_flags);
		err = batch_run(b);
		if (err || batch_ret(b, op) >= 0)
			return err;
		log_warn("%s: has PR_SET_THP_DISABLE with flags %x, which takes Linux 6.18: it gets no huge pages at "
		         "all",
		         task_name(th->task), mm->thp_disable_flags);
	}
	if (th->task->restore->copied || disabled)
		batch_call(b, SYS_prctl, PR_SET_THP_DISABLE, disabled);
	return 0;
}

const struct task_part thp_part = {
	.name = "transparent huge pages",
	.ask = thp_ask,
	.dump = thp_dump,
	.restore = thp_restore,
};

/* ---- which pages were huge ---- */

static void add_huge(struct arena *a, struct range **ranges, size_t *n, raddr_t at)
{
	struct range *last = *n ? &(*ranges)[*n - 1] : NULL;
	struct range range = { at, at + HUGE_SIZE };

	if (last && last->end == at)
		last->end = range.end;
	else
		arena_push(a, ranges, n, range);
}

/* A range of the size of a huge page, as far as its runs have been looked at. */
struct candidate {
	raddr_t at; /* 0: nothing yet */
	uint64_t pages;
	bool thp;
};

static void choose_range(struct arena *a, const struct segment *seg, const struct candidate *c, struct thp_plan *huge)
{
	bool advised = vma_advice(seg->vma, MADV_HUGEPAGE);

	if (!c->at || c->at < seg->start || c->at + HUGE_SIZE > seg->end)
		return;
	if (!c->thp && !(advised && c->pages == HUGE_SIZE / PAGE_SIZE))
		return;
	if (advised)
		add_huge(a, &huge->advised, &huge->n_advised, c->at);
	else
		add_huge(a, &huge->others, &huge->n_others, c->at);
}

static bool may_be_huge(const struct segment *seg)
{
	return seg->kind == SEG_MAP && !vma_is_kernels(seg->vma) && seg->vma->status & VMA_ANON_PRIVATE &&
	       !(seg->vma->flags & MAP_HUGETLB) && !vma_advice(seg->vma, MADV_NOHUGEPAGE) &&
	       seg->end - seg->start >= HUGE_SIZE;
}

static void choose_in(struct arena *a, const struct segment *seg, const struct page_plan *plan, size_t *k,
                      struct thp_plan *huge)
{
	struct candidate c = { 0 };

	for (; *k < plan->n_runs && plan->runs[*k].at < seg->end; (*k)++) {
		const struct page_run *run = &plan->runs[*k];
		raddr_t end = run->at + run->n * PAGE_SIZE;

		for (raddr_t at = run->at, next; at < end; at = next) {
			raddr_t base = round_down(at, HUGE_SIZE);

			next = MIN(end, base + HUGE_SIZE);
			if (base != c.at) {
				choose_range(a, seg, &c, huge);
				c = (struct candidate) { .at = base };
			}
			c.pages += (next - at) / PAGE_SIZE;
			c.thp |= run->thp;
		}
	}
	choose_range(a, seg, &c, huge);
}

void thp_choose(struct arena *a, const struct task_mm *m, const struct page_plan *plan, struct thp_plan *huge)
{
	size_t k = 0;

	for (size_t i = 0; i < m->n_segs; i++) {
		const struct segment *seg = &m->segs[i];

		while (k < plan->n_runs && plan->runs[k].at < seg->start)
			k++;
		if (may_be_huge(seg))
			choose_in(a, seg, plan, &k, huge);
	}
}

/* ---- making them ---- */

/* A collapse needs a page table with something in it. */
static int touch_range(const struct task *t, const struct range *range)
{
	static const uint8_t zeros[TOUCH_AT_ONCE];
	struct iovec remote[TOUCH_AT_ONCE];
	int err = 0;

	for (raddr_t at = range->start; !err && at < range->end;) {
		size_t n = 0;

		for (; n < TOUCH_AT_ONCE && at < range->end; at += HUGE_SIZE)
			remote[n++] = (struct iovec) { (void *)(uintptr_t)at, 1 };
		err = io_write_process(t->pid, zeros, remote, n);
	}
	return err ? log_errno(err, "%s: process_vm_writev, for huge pages", task_name(t)) : 0;
}

int thp_make(struct task *t, const struct thp_plan *huge)
{
	struct batch *b = agent_batch(t->restore->agent, "huge pages");
	int err = 0;

	for (size_t i = 0; i < huge->n_advised; i++) {
		const struct range *range = &huge->advised[i];

		batch_ask(b, SYS_madvise, range->start, range->end - range->start, MADV_HUGEPAGE);
	}
	for (size_t i = 0; !err && i < huge->n_others; i++) {
		const struct range *range = &huge->others[i];

		err = touch_range(t, range);
		batch_ask(b, SYS_madvise, range->start, range->end - range->start, MADV_COLLAPSE);
	}
	return err ?: batch_run(b);
}
