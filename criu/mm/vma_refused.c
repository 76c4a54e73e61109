/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Mappings that are not supported, by what tells them: their name or flags in smaps at a dump, their status or flags
 * in an image. A kind that becomes supported gets a row of its own above this one, and leaves these tables.
 */
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>

#include "lib/log.h"
#include "tree/vma_kind.h"

extern const struct vma_kind vma_refused_kind;

/* ---- dump ---- */

/* Only the kernel may have given the name: another file can be called so too. */
static const struct {
	const char *prefix;
	const char *why;
} refused_names[] = {
	{ "anon_inode:", "mappings of this kind of descriptor are not supported; unmap it before the dump" },
};

static const struct {
	uint32_t flag;
	const char *why;
} refused_flags[] = {
	{ VMF_ss,
	  "user shadow stacks are not supported; run the program without (GLIBC_TUNABLES=glibc.cpu.x86_shstk=off)" },
	{ VMF_sf, "MAP_SYNC is not supported" },
	{ VMF_mt, "memory tags are not supported" },
	{ VMF_io, "memory of a device is not supported; unmap it before the dump" },
	{ VMF_pf, "pages that belong to a driver are not supported; unmap it before the dump" },
};

static const char *why_unsupported(const struct proc_map *m)
{
	for (size_t i = 0; i < ARRAY_SIZE(refused_names); i++)
		if (!strncmp(m->name, refused_names[i].prefix, strlen(refused_names[i].prefix)) &&
		    (*m->name != '/' || !m->major))
			return refused_names[i].why;
	for (size_t i = 0; i < ARRAY_SIZE(refused_flags); i++)
		if (m->flags & refused_flags[i].flag)
			return refused_flags[i].why;
	return NULL;
}

static bool vma_refused_match(struct dump *d, const struct proc_map *m)
{
	return why_unsupported(m);
}

static int vma_refused_dump(struct dump *d, struct task *t, const struct proc_map *m, struct vma *v)
{
	log_refusal(-ENOTSUP, "%s: mapping %" PRIx64 "-%" PRIx64 "%s%s: %s", task_name(t), m->start, m->end,
	            *m->name ? " of " : "", m->name, why_unsupported(m));
	return VMA_LEFT_OUT;
}

/* ---- restore ---- */

static const struct {
	uint32_t status, flags;
	const char *why;
} refused_images[] = {
	{ VMA_SHSTK, 0, "is a shadow stack, which is not supported" },
};

static int vma_refused_check(struct restore *r, const struct task *t, const VmaEntry *v)
{
	for (size_t i = 0; i < ARRAY_SIZE(refused_images); i++)
		if (v->status & refused_images[i].status || v->flags & refused_images[i].flags)
			return vma_refuse(t, v, refused_images[i].why);
	return vma_damaged(t, v, "is of no known kind");
}

const struct vma_kind vma_refused_kind = {
	.name = "unsupported mapping",
	.status = VMA_SHSTK,
	.match = vma_refused_match,
	.dump = vma_refused_dump,
	.check = vma_refused_check,
};
