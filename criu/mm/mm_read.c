/* SPDX-License-Identifier: GPL-2.0-only */
/* Mappings and pagemaps of a checkpoint, read and checked before anything is started: they are foreign input. */
#include <inttypes.h>
#include <sys/mman.h>

#include "arch/arch_vdso.h"
#include "arch_page.h"
#include "files/files.h"
#include "lib/log.h"
#include "mm/mm.h"
#include "mm/mm_read.h"
#include "mm/shmem_restore.h"
#include "mm/vdso.h"

struct task_mm *task_mm(const struct restore *r, const struct task *t)
{
	const struct task *first = t->mm ? tree_first_vm(&r->tree, t) : NULL;

	return first ? first->restore->mm : NULL;
}

/* ---- mappings ---- */

static int refuse(const struct task *t, const VmaEntry *v, const char *why)
{
	return log_refusal(-EOPNOTSUPP, "%s: mm-%u.img: its mapping %" PRIx64 "-%" PRIx64 " %s", task_name(t),
	                   (unsigned)t->vpid.v, v->start, v->end, why);
}

static int damaged(const struct task *t, const VmaEntry *v, const char *why)
{
	return log_errno(-EBADMSG, "%s: mm-%u.img: its mapping %" PRIx64 "-%" PRIx64 " %s", task_name(t),
	                 (unsigned)t->vpid.v, v->start, v->end, why);
}

static int check_file(struct restore *r, const struct task *t, const VmaEntry *v)
{
	const struct fd_kind *kind = NULL;

	if (v->shmid > UINT32_MAX || !files_message(r, (uint32_t)v->shmid, &kind))
		return damaged(t, v, "is of a file that files.img does not have");
	if (!kind)
		return refuse(t, v, "is of a file of a kind that is not supported; unmap it before the dump");
	return 0;
}

static int check_kind(struct restore *r, const struct task *t, const VmaEntry *v)
{
	uint32_t kinds = VMA_FILE_PRIVATE | VMA_FILE_SHARED | VMA_ANON_SHARED | VMA_ANON_PRIVATE;
	uint32_t kind = v->status & kinds;

	if (v->status & VMA_SYSVIPC)
		return refuse(t, v, "is System V shared memory, which is not supported yet");
	if (v->status & VMA_SOCKET)
		return refuse(t, v, "is of a packet socket, which is not supported yet");
	if (v->status & VMA_AIORING)
		return refuse(t, v, "is of an AIO context (io_setup), which is not supported yet");
	if (v->status & VMA_SHSTK)
		return refuse(t, v, "is a shadow stack, which is not supported yet");
	if (v->status & (VMA_GUARD | VMA_UPROBES))
		return refuse(t, v, "is a guard region or of uprobes, which is not supported yet");
	if (v->flags & MAP_HUGETLB)
		return refuse(t, v, "is of huge pages of their own (MAP_HUGETLB), which is not supported yet");
	if (vma_is_kernels(v))
		return 0;
	if (!kind || kind & (kind - 1))
		return damaged(t, v, "is of no kind that is known");
	if (v->prot & ~(uint32_t)(PROT_READ | PROT_WRITE | PROT_EXEC))
		return damaged(t, v, "has a protection that is not known");
	if (!!(v->flags & MAP_SHARED) != !!(kind & (VMA_FILE_SHARED | VMA_ANON_SHARED)))
		return damaged(t, v, "is said to be shared and private");
	if (kind == VMA_ANON_SHARED)
		return shmem_note(r, t, v);
	return kind == VMA_ANON_PRIVATE ? 0 : check_file(r, t, v);
}

static int check_vmas(struct restore *r, const struct task *t)
{
	uint64_t from = 0, end = arch_task_size();
	int err = 0;

	for (size_t i = 0; i < t->mm->n_vmas; i++) {
		const VmaEntry *v = t->mm->vmas[i];
		int part;

		if (v->status & VMA_VSYSCALL)
			continue;
		if (v->start % PAGE_SIZE || v->end % PAGE_SIZE || v->pgoff % PAGE_SIZE || v->start >= v->end)
			return damaged(t, v, "is none");
		if (v->start < from)
			return damaged(t, v, "is out of order or overlaps the one before");
		if (v->end > end || v->pgoff > INT64_MAX - (v->end - v->start))
			return damaged(t, v, "ends beyond what addresses there are");
		from = v->end;
		part = check_kind(r, t, v);
		if (part == -EBADMSG)
			return part;
		err = err ?: part;
	}
	return err;
}

/* Splits what the pagemap has at the borders of mappings, so that every run lies in one; refuses what lies in none. */
static int place_runs(struct restore *r, const struct task *t, struct pagemap *p)
{
	struct page_run *runs = NULL;
	size_t n_runs = 0, k = 0;

	for (size_t i = 0; i < p->n_runs; i++) {
		struct page_run run = p->runs[i];

		while (run.n) {
			struct page_run part;
			const VmaEntry *v;
			raddr_t next;

			while (k < t->mm->n_vmas && t->mm->vmas[k]->end <= run.at)
				k++;
			v = k < t->mm->n_vmas ? t->mm->vmas[k] : NULL;
			if (!v || v->start > run.at || !(vma_is_private(v) || v->status & (VMA_VDSO | VMA_VVAR)))
				return log_errno(-EBADMSG,
				                 "%s: pagemap-%d.img has pages at %" PRIx64
				                 ", where mm-%d.img has no mapping of its own",
				                 task_name(t), t->vpid.v, run.at, t->vpid.v);
			next = MIN(page_run_end(&run), v->end);
			part = page_run_part(&run, run.at, next);
			arena_push(r->arena, &runs, &n_runs, part);
			run = page_run_part(&run, next, page_run_end(&run));
		}
	}
	p->runs = runs;
	p->n_runs = n_runs;
	return 0;
}

static int check_limits(struct restore *r, const struct task *t)
{
	const MmEntry *mm = t->mm;

	if (!files_message(r, mm->exe_file_id, NULL))
		return log_errno(-EBADMSG, "%s: mm-%d.img: its executable, file %u, is not in files.img", task_name(t),
		                 t->vpid.v, mm->exe_file_id);
	if (mm->n_mm_saved_auxv > 64 || mm->n_mm_saved_auxv % 2)
		return log_errno(-EBADMSG, "%s: mm-%d.img: %zu words of auxv", task_name(t), t->vpid.v,
		                 mm->n_mm_saved_auxv);
	if (mm->n_aios)
		return log_refusal(-EOPNOTSUPP, "%s: it has AIO contexts (io_setup), which are not supported yet",
		                   task_name(t));
	return 0;
}

static int check_task(struct restore *r, struct task *t)
{
	struct task_mm *m = arena_new_of(r->arena, struct task_mm);
	int err = check_limits(r, t), part;

	if (err == -EBADMSG)
		return err;
	part = check_vmas(r, t);
	err = err ?: part;
	if (part == -EBADMSG)
		return part;
	part = pages_read_task(r, t, &m->pages);
	if (!part)
		part = place_runs(r, t, m->pages);
	if (!part)
		part = vdso_check(r, t, m);
	if (part)
		return err ?: part;
	mm_of(r)->knows_cow |= m->pages->knows_cow;
	t->restore->mm = m;
	return err;
}

int mm_check(struct restore *r)
{
	int err = 0;

	for (size_t i = 0; i < r->tree.n_tasks; i++) {
		struct task *t = r->tree.tasks[i];
		int part = t->state != TASK_DEAD && tree_first_vm(&r->tree, t) == t ? check_task(r, t) : 0;

		err = err ?: part;
	}
	return err;
}
