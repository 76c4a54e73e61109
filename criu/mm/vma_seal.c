/* SPDX-License-Identifier: GPL-2.0-only */
/* The last touches to an address space: protections, advice, names, and its limits (PR_SET_MM_MAP). */
#include <linux/prctl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "agent/agent.h"
#include "agent/send_fds.h"
#include "files/files.h"
#include "lib/log.h"
#include "mm/mm.h"
#include "mm/mm_read.h"

/* ---- protections ---- */

static bool needs_protection(const struct segment *s)
{
	return s->kind != SEG_VDSO && s->prot != (int)s->vma->prot;
}

/* Neighbours that get the same protection get it in one call. */
static void protect(struct batch *b, struct task_mm *m)
{
	batch_what(b, "protections of its mappings");
	for (size_t i = 0, to; i < m->n_segs; i = to) {
		struct segment *s = &m->segs[i];

		to = i + 1;
		if (!needs_protection(s))
			continue;
		while (to < m->n_segs && m->segs[to].start == m->segs[to - 1].end && needs_protection(&m->segs[to]) &&
		       m->segs[to].vma->prot == s->vma->prot)
			to++;
		batch_call(b, SYS_mprotect, s->start, m->segs[to - 1].end - s->start, (uint64_t)s->vma->prot);
	}
	for (size_t i = 0; i < m->n_segs; i++)
		m->segs[i].prot = (int)m->segs[i].vma->prot;
}

/* ---- advice ---- */

static const struct {
	unsigned advice;
	bool optional; /* kernels may be built without it: then it means nothing to the task either */
} advices[] = {
	{ MADV_RANDOM, false },  { MADV_SEQUENTIAL, false }, { MADV_DONTFORK, false }, { MADV_MERGEABLE, true },
	{ MADV_HUGEPAGE, true }, { MADV_NOHUGEPAGE, true },  { MADV_DONTDUMP, false }, { MADV_WIPEONFORK, false },
};

static void advise_one(struct batch *b, const MmEntry *mm, size_t row)
{
	unsigned advice = advices[row].advice;

	for (size_t i = 0, to; i < mm->n_vmas; i = to) {
		const VmaEntry *v = mm->vmas[i];

		to = i + 1;
		if (vma_is_kernels(v) || !vma_advice(v, advice))
			continue;
		while (to < mm->n_vmas && mm->vmas[to]->start == mm->vmas[to - 1]->end &&
		       !vma_is_kernels(mm->vmas[to]) && vma_advice(mm->vmas[to], advice))
			to++;
		batch_add(b, SYS_madvise, advices[row].optional ? 0 : AGENT_OP_STOP,
		          (const uint64_t[6]) { v->start, mm->vmas[to - 1]->end - v->start, advice });
	}
}

static bool has_advice(const MmEntry *mm)
{
	for (size_t i = 0; i < mm->n_vmas; i++)
		if (mm->vmas[i]->has_madv && mm->vmas[i]->madv)
			return true;
	return false;
}

static void advise(struct batch *b, const MmEntry *mm)
{
	batch_what(b, "advice on its mappings");
	for (size_t i = 0; has_advice(mm) && i < ARRAY_SIZE(advices); i++)
		advise_one(b, mm, i);
}

/* ---- names ---- */

static void name(struct batch *b, const MmEntry *mm)
{
	batch_what(b, "names of its mappings");
	for (size_t i = 0; i < mm->n_vmas; i++) {
		const VmaEntry *v = mm->vmas[i];

		if (!v->anon_name || !(v->status & (VMA_ANON_PRIVATE | VMA_ANON_SHARED)))
			continue;
		batch_reserve(b, 1, strlen(v->anon_name) + 1);
		/* Kernels without CONFIG_ANON_VMA_NAME have no names: what is shown is all that is lost. */
		batch_ask(b, SYS_prctl, PR_SET_VMA, PR_SET_VMA_ANON_NAME, v->start, v->end - v->start,
		          batch_string(b, v->anon_name));
	}
}

/* ---- limits ---- */

static int set_limits(struct restore *r, struct task *t)
{
	const MmEntry *mm = t->mm;
	struct prctl_mm_map map = {
		.start_code = mm->mm_start_code,
		.end_code = mm->mm_end_code,
		.start_data = mm->mm_start_data,
		.end_data = mm->mm_end_data,
		.start_brk = mm->mm_start_brk,
		.brk = mm->mm_brk,
		.start_stack = mm->mm_start_stack,
		.arg_start = mm->mm_arg_start,
		.arg_end = mm->mm_arg_end,
		.env_start = mm->mm_env_start,
		.env_end = mm->mm_env_end,
		.auxv_size = (uint32_t)(mm->n_mm_saved_auxv * sizeof(uint64_t)),
	};
	int fd = files_open(r, mm->exe_file_id), number = -1, err;
	struct batch *b;
	raddr_t at;

	if (fd < 0)
		return fd;
	err = agent_send_fds(t, &fd, 1, &number);
	if (err)
		return err;
	map.exe_fd = (uint32_t)number;
	b = agent_batch(t->restore->agent, "the limits of its memory (PR_SET_MM_MAP)");
	batch_reserve(b, 3, sizeof(map) + map.auxv_size + 32);
	at = batch_data(b, mm->mm_saved_auxv, map.auxv_size);
	memcpy(&map.auxv, &at, sizeof(at));
	at = batch_data(b, &map, sizeof(map));
	batch_call(b, SYS_prctl, PR_SET_MM, PR_SET_MM_MAP, at, sizeof(map));
	batch_call(b, SYS_close, (uint64_t)number);
	if (t->restore->copied || mm->thp_disabled)
		batch_call(b, SYS_prctl, PR_SET_THP_DISABLE, (uint64_t)(mm->has_thp_disabled && mm->thp_disabled));
	return batch_run(b);
}

int mm_restore_seal(struct restore *r, struct task *t)
{
	struct batch *b = agent_batch(t->restore->agent, "");
	int err;

	protect(b, t->restore->mm);
	advise(b, t->mm);
	name(b, t->mm);
	err = batch_run(b);
	return err ?: set_limits(r, t);
}
