/* SPDX-License-Identifier: GPL-2.0-only */
#include "mm/vma_forced.h"

#include <fcntl.h>
#include <sys/mman.h>

#include "arch_page.h"
#include "common.h"

/* Of fewer the question whether it is allowed takes longer. */
#define WORTH 32

/* Segments that are mapped by one call, and the runs of the plan in them. */
struct joined {
	struct segment *first, *end;
	struct page_run *runs, *runs_end;
};

static bool is_read_only(const struct segment *s)
{
	return s->fill && !(s->vma->prot & PROT_WRITE);
}

/* Not those whose pages come later, or are to be huge ones: these are made while all is writable. */
static bool is_worth_it(const struct joined *j)
{
	size_t n = 0;

	for (const struct segment *s = j->first; s < j->end; s++) {
		if (s->lazy)
			return false;
		n += is_read_only(s);
	}
	for (const struct page_run *run = j->runs; n >= WORTH && run < j->runs_end; run++)
		if (run->thp || run->compare)
			return false;
	return n >= WORTH;
}

/* Whether criu may write to memory that is not writable: its own, and so the task's, whose file it may open. */
static bool may_force(pid_t pid)
{
	char path[40], *page = mmap(NULL, PAGE_SIZE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	_cleanup_close_ int own = open("/proc/self/mem", O_RDWR | O_CLOEXEC);
	_cleanup_close_ int task = -1;
	bool can;

	if (page == MAP_FAILED)
		return false;
	snprintf(path, sizeof(path), "/proc/%d/mem", pid);
	task = open(path, O_RDWR | O_CLOEXEC);
	can = own >= 0 && task >= 0 && pwrite(own, "!", 1, (off_t)(uintptr_t)page) == 1 && *page == '!';
	munmap(page, PAGE_SIZE);
	return can;
}

static void force_joined(const struct joined *j)
{
	for (struct segment *s = j->first; s < j->end; s++)
		s->forced = is_read_only(s);
	for (struct page_run *run = j->runs; run < j->runs_end; run++)
		run->force = true;
}

void vma_forced_choose(const struct task *t, struct task_mm *m, struct page_plan *plan)
{
	struct page_run *run = plan->runs, *end = plan->runs + plan->n_runs;
	bool asked = false;

	for (size_t i = 0; i < m->n_segs; i += 1 + m->segs[i].joins) {
		struct joined j = { .first = &m->segs[i], .end = &m->segs[i] + 1 + m->segs[i].joins };

		while (run < end && run->at < j.first->start)
			run++;
		for (j.runs = run; run < end && run->at < j.end[-1].end; run++)
			;
		j.runs_end = run;
		if (!is_worth_it(&j))
			continue;
		if (!asked && !may_force(t->pid))
			return;
		asked = true;
		force_joined(&j);
	}
}
