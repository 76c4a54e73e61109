/* SPDX-License-Identifier: GPL-2.0-only */
#include "mm/page_equal.h"

#include <inttypes.h>
#include <sys/mman.h>

#include "files/files.h"
#include "files/foreign_files.h"
#include "files/foreign_restore.h"
#include "lib/log.h"
#include "mm/vma_file.h"
#include "pages/pages_equal.h"
#include "regfile.pb-c.h"
#include "tree/subsys.h"

/* Of a mapping with less, opening the file takes longer than storing the pages. */
#define WORTH_LOOKING (UINT64_C(1) << 20)

extern const struct subsys page_equal_subsys;

/* ---- dump ---- */

struct found {
	const struct task *task;
	struct page_run *runs;
	size_t n;
};

struct page_equal {
	struct found *found;
	size_t n;
	uint64_t bytes;
};

const struct subsys page_equal_subsys = {
	.name = "pages that are equal to their files",
	.state = { .dump = sizeof(struct page_equal) },
};

/* Code differs from its file by breakpoints alone, if at all: mm/vma_uprobes.h. */
bool page_equal_may_be(const struct vma *v)
{
	const VmaEntry *e = v->entry;

	return v->pages == VMA_PAGES_COPIES && page_equal_is_possible(e) && !v->watched &&
	       (e->prot & (PROT_EXEC | PROT_WRITE)) != PROT_EXEC && v->anonymous >= WORTH_LOOKING;
}

uint64_t page_equal_most(const struct task *t)
{
	const struct vma_list *list = t->dump->vmas;
	uint64_t sum = 0;

	for (size_t i = 0; i < list->n; i++)
		sum += page_equal_may_be(&list->v[i]) ? list->v[i].anonymous : 0;
	return sum;
}

/* -ENODATA: its file is not to be read. */
static int open_file(struct dump *d, struct task *t, const struct vma *v)
{
	char path[80], what[64];

	snprintf(path, sizeof(path), "/proc/%d/map_files/%" PRIx64 "-%" PRIx64, t->dump->copy ?: t->pid,
	         v->entry->start, v->entry->end);
	snprintf(what, sizeof(what), "mapping %" PRIx64 "-%" PRIx64, v->entry->start, v->entry->end);
	return foreign_files_open_plain(d, t, path, what);
}

struct parts {
	struct file_part *v;
	size_t n;
};

static int open_files(struct dump *d, struct task *t, struct parts *parts)
{
	const struct vma_list *list = t->dump->vmas;

	for (size_t i = 0; i < list->n; i++) {
		const VmaEntry *e = list->v[i].entry;
		struct file_part part = { e->start, e->end, e->pgoff, -1 };

		if (!page_equal_may_be(&list->v[i]))
			continue;
		part.fd = open_file(d, t, &list->v[i]);
		if (part.fd >= 0)
			arena_push(d->arena, &parts->v, &parts->n, part);
		else if (part.fd != -ENODATA)
			return part.fd;
	}
	return 0;
}

int page_equal_find(struct dump *d, struct task *t, struct page_transfer *transfer, int err)
{
	struct page_equal *s = dump_state(d, &page_equal_subsys);
	struct found found = { .task = t };
	struct parts parts = { 0 };

	err = err ?: open_files(d, t, &parts);
	if (err || !parts.n)
		pages_equal_drop(transfer);
	else
		err = pages_equal_find(transfer, parts.v, parts.n, d->arena, &found.runs, &found.n);
	for (size_t i = 0; i < parts.n; i++)
		close(parts.v[i].fd);
	if (err || !found.n)
		return err;
	for (size_t i = 0; i < found.n; i++)
		s->bytes += found.runs[i].n * PAGE_SIZE;
	arena_push(d->arena, &s->found, &s->n, found);
	return 0;
}

uint64_t page_equal_bytes(const struct dump *d)
{
	return ((const struct page_equal *)dump_state(d, &page_equal_subsys))->bytes;
}

struct equal_runs page_equal_of(const struct dump *d, const struct task *t)
{
	const struct page_equal *s = dump_state(d, &page_equal_subsys);

	for (size_t i = 0; i < s->n; i++)
		if (s->found[i].task == t)
			return (struct equal_runs) { s->found[i].runs, s->found[i].n };
	return (struct equal_runs) { 0 };
}

const struct page_run *page_equal_at(struct equal_runs *list, raddr_t at, raddr_t *endp)
{
	while (list->n && page_run_end(list->runs) <= at) {
		list->runs++;
		list->n--;
	}
	if (!list->n)
		return NULL;
	*endp = MIN(*endp, list->runs->at > at ? list->runs->at : page_run_end(list->runs));
	return list->runs->at <= at ? list->runs : NULL;
}

/* ---- restore ---- */

bool page_equal_is_possible(const VmaEntry *v)
{
	return v->status & VMA_FILE_PRIVATE && !(v->status & (VMA_EXT_PLUGIN | VMA_AIORING)) &&
	       !(v->flags & MAP_HUGETLB);
}

static const VmaEntry *mapping_at(const struct task *t, raddr_t at)
{
	for (size_t i = 0; i < t->mm->n_vmas; i++)
		if (t->mm->vmas[i]->start <= at && t->mm->vmas[i]->end > at)
			return t->mm->vmas[i];
	return NULL;
}

/* The name, as far as the file has one, of what a private mapping is of. */
static const char *name_of(struct restore *r, const VmaEntry *v)
{
	const struct fd_kind *kind = NULL;
	const void *m = v && v->status & VMA_FILE_PRIVATE ? files_message(r, (uint32_t)v->shmid, &kind) : NULL;

	return m && kind && kind->pb == &reg_file_entry__descriptor ? ((const RegFileEntry *)m)->name : "its file";
}

/* criu reads no file itself that may not answer, and has others read for it only where nothing else can be done. */
static int check_readable(struct restore *r, const struct task *t, const struct page_plan *plan)
{
	const VmaEntry *v = NULL;

	for (size_t i = 0; i < plan->n_equal; i++) {
		raddr_t at = plan->equal[i].at;

		if (v && at < v->end)
			continue;
		v = mapping_at(t, at);
		if (v && v->status & VMA_FILE_PRIVATE && foreign_restore_is(r, (uint32_t)v->shmid))
			return log_errno(-EOPNOTSUPP,
			                 "%s: its pages at %" PRIx64
			                 " are stored with %s alone, which is on a file system now that may not "
			                 "answer: give a local copy (--external, -r), or dump with --cow-pages copy",
			                 task_name(t), at, name_of(r, v));
	}
	return 0;
}

static int file_has_changed(struct restore *r, const struct task *t, raddr_t at)
{
	const VmaEntry *v = mapping_at(t, at);

	return log_errno(-ESTALE,
	                 "%s: its page at %" PRIx64 " is stored with %s alone, at offset %" PRIu64
	                 ", and the file has something else there since the dump: put the file back as it was "
	                 "(a dump with --cow-pages copy does not need it)",
	                 task_name(t), at, name_of(r, v), v ? v->pgoff + (at - v->start) : 0);
}

int page_equal_fill(struct restore *r, const struct task *t, const struct page_plan *plan)
{
	raddr_t bad = UINT64_MAX;
	int err;

	if (!plan->n_equal)
		return 0;
	err = check_readable(r, t, plan) ?: pages_equal_fill(r, t->pid, plan->equal, plan->n_equal, &bad);
	return err == -ESTALE && bad != UINT64_MAX ? file_has_changed(r, t, bad) : err;
}
