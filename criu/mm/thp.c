/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Huge pages at restore. Collapsing 1 GiB costs 150 ms of one processor, filling it then 270 instead of 450: no gain
 * over filling 4 KiB pages. So ranges that were not huge stay as they were, full or not.
 */
#include "mm/thp.h"

#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#include "agent/agent.h"
#include "arch_page.h"
#include "lib/log.h"
#include "uapi/madvise.h"

#define TOUCH_AT_ONCE 256

static void add(struct arena *a, struct range **ranges, size_t *n, raddr_t at)
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
	raddr_t at; /* 0: none */
	uint64_t pages;
	bool thp;
};

static void settle(struct arena *a, const struct segment *seg, const struct candidate *c, struct huge_plan *huge)
{
	bool advised = vma_advice(seg->vma, MADV_HUGEPAGE);

	if (!c->at || c->at < seg->start || c->at + HUGE_SIZE > seg->end)
		return;
	if (!c->thp && !(advised && c->pages == HUGE_SIZE / PAGE_SIZE))
		return;
	if (advised)
		add(a, &huge->advised, &huge->n_advised, c->at);
	else
		add(a, &huge->others, &huge->n_others, c->at);
}

static bool may_be_huge(const struct segment *seg)
{
	return seg->kind == SEG_MAP && !seg->anon && seg->vma->status & VMA_ANON_PRIVATE &&
	       !vma_advice(seg->vma, MADV_NOHUGEPAGE) && seg->end - seg->start >= HUGE_SIZE;
}

static void choose_in(struct arena *a, const struct segment *seg, const struct page_plan *plan, size_t *k,
                      struct huge_plan *huge)
{
	struct candidate c = { 0 };

	for (; *k < plan->n_runs && plan->runs[*k].at < seg->end; (*k)++) {
		const struct page_run *run = &plan->runs[*k];
		raddr_t end = run->at + run->n * PAGE_SIZE;

		for (raddr_t at = run->at, next; at < end; at = next) {
			raddr_t base = round_down(at, HUGE_SIZE);

			next = MIN(end, base + HUGE_SIZE);
			if (base != c.at) {
				settle(a, seg, &c, huge);
				c = (struct candidate) { .at = base };
			}
			c.pages += (next - at) / PAGE_SIZE;
			c.thp |= run->thp;
		}
	}
	settle(a, seg, &c, huge);
}

void huge_choose(struct arena *a, const struct task_mm *m, const struct page_plan *plan, struct huge_plan *huge)
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

/* A collapse needs a page table with something in it. */
static int touch(const struct task *t, const struct range *range)
{
	static const uint8_t zeros[TOUCH_AT_ONCE];
	struct iovec remote[TOUCH_AT_ONCE];

	for (raddr_t at = range->start; at < range->end;) {
		struct iovec local = { (void *)(uintptr_t)zeros, 0 };
		size_t n = 0;

		for (; n < TOUCH_AT_ONCE && at < range->end; at += HUGE_SIZE)
			remote[n++] = (struct iovec) { (void *)(uintptr_t)at, 1 };
		local.iov_len = n;
		if (process_vm_writev(t->pid, &local, 1, remote, n, 0) != (ssize_t)n)
			return log_errno(-errno, "%s: touching its memory", task_name(t));
	}
	return 0;
}

int huge_make(struct task *t, const struct huge_plan *huge)
{
	struct batch *b = agent_batch(t->restore->agent, "huge pages");
	int err = 0;

	for (size_t i = 0; i < huge->n_advised; i++) {
		const struct range *range = &huge->advised[i];

		batch_ask(b, SYS_madvise, range->start, range->end - range->start, MADV_HUGEPAGE);
	}
	for (size_t i = 0; !err && i < huge->n_others; i++) {
		const struct range *range = &huge->others[i];

		err = touch(t, range);
		batch_ask(b, SYS_madvise, range->start, range->end - range->start, MADV_COLLAPSE);
	}
	return err ?: batch_run(b);
}
