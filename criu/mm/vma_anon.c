/* SPDX-License-Identifier: GPL-2.0-only */
/* Private memory without a file: heap, stacks, malloc(), MAP_DROPPABLE. All of its pages are the task's own. */
#include "mm/vma_anon.h"

#include <linux/prctl.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "agent/batch.h"
#include "uapi/map_flags.h"

extern const struct vma_kind vma_anon_kind;

/* What has a file, or a name that only the kernel gives, is of another kind, whose row stands before. */
static bool vma_anon_match(struct dump *d, const struct proc_map *m)
{
	return true;
}

static int vma_anon_dump(struct dump *d, struct task *t, const struct proc_map *m, struct vma *v)
{
	v->entry->pgoff = 0;
	v->entry->flags |= MAP_ANONYMOUS;
	v->entry->status |= VMA_ANON_PRIVATE | (strcmp(m->name, "[heap]") ? 0 : VMA_HEAP);
	v->pages = m->flags & VMF_dp ? VMA_PAGES_NONE : VMA_PAGES_ANON;
	return 0;
}

static int vma_anon_check(struct restore *r, const struct task *t, const VmaEntry *v)
{
	return vma_check_type(t, v);
}

void vma_anon_set_name(struct batch *b, const VmaEntry *v)
{
	if (!v->anon_name)
		return;
	batch_reserve(b, 1, strlen(v->anon_name) + 1);
	/* Kernels without CONFIG_ANON_VMA_NAME have no names: what is shown is all that is lost. */
	batch_ask(b, SYS_prctl, PR_SET_VMA, PR_SET_VMA_ANON_NAME, v->start, v->end - v->start,
	          batch_string(b, v->anon_name));
}

const struct vma_kind vma_anon_kind = {
	.name = "private memory",
	.status = VMA_ANON_PRIVATE,
	.match = vma_anon_match,
	.dump = vma_anon_dump,
	.check = vma_anon_check,
	.seal = vma_anon_set_name,
};
