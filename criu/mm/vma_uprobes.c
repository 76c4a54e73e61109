/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The kernel's page for stepping over uprobes, in every task that met one: the kernel makes it anew. What is in the
 * images is that there was one, as CRIU has it.
 */
#include "mm/vma_uprobes.h"

#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>

#include "arch_page.h"
#include "format.h"
#include "lib/io.h"
#include "lib/log.h"

extern const struct vma_kind vma_uprobes_kind;

static bool uprobes_match(struct dump *d, const struct proc_map *m)
{
	return !m->ino && !strcmp(m->name, "[uprobes]");
}

static int uprobes_dump(struct dump *d, struct task *t, const struct proc_map *m, struct vma *v)
{
	v->entry->status |= VMA_UPROBES;
	if (d->opts->allow_uprobes)
		return 0;
	log_refusal(-ENOTSUP,
	            "%s: mapping %" PRIx64 "-%" PRIx64 " [uprobes]: a uprobe was put into this task; remove it (perf, "
	            "bpftrace) before the dump, or give --allow-uprobes if it will be there at restore",
	            task_name(t), m->start, m->end);
	return VMA_LEFT_OUT;
}

bool vma_uprobes_were_hit(const struct vma_list *list)
{
	for (size_t i = 0; i < list->n; i++)
		if (list->v[i].entry->status & VMA_UPROBES)
			return true;
	return false;
}

/* Where two pages differ, the first has breakpoints, and there are some. */
static bool are_breakpoints(const uint8_t *now, const uint8_t *file)
{
	size_t n = 0;

	for (size_t i = 0; i < PAGE_SIZE; i++) {
		if (now[i] != file[i] && now[i] != BREAKPOINT_BYTE)
			return false;
		n += now[i] != file[i];
	}
	return n;
}

/* Whether a mapping of ours gets the same ones. (Not those that are meant for one task alone, as with perf -p.) */
static bool comes_with_mapping(int fd, uint64_t off, const uint8_t *now)
{
	void *map = mmap(NULL, PAGE_SIZE, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, (off_t)off);
	bool same = map != MAP_FAILED && !memcmp(map, now, PAGE_SIZE);

	if (map != MAP_FAILED)
		munmap(map, PAGE_SIZE);
	return same;
}

int vma_uprobes_made_page(struct dump *d, const struct task *t, const VmaEntry *v, raddr_t at, bool hit)
{
	_cleanup_close_ int mem = openat(t->dump->proc_fd, "mem", O_RDONLY | O_CLOEXEC), fd = -1;
	uint64_t off = v->pgoff + (at - v->start);
	uint8_t now[PAGE_SIZE], file[PAGE_SIZE] = { 0 };
	char path[80];
	ssize_t n;

	if (mem < 0 || io_pread_all(mem, now, PAGE_SIZE, (off_t)at) != (ssize_t)PAGE_SIZE)
		return log_errno(mem < 0 ? -errno : -EFAULT, "%s: pread of /proc/%d/mem, code at %" PRIx64,
		                 task_name(t), t->pid, at);
	snprintf(path, sizeof(path), "/proc/%d/map_files/%" PRIx64 "-%" PRIx64, t->pid, v->start, v->end);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return log_errno(-errno, "%s: open of %s", task_name(t), path);
	n = io_pread_all(fd, file, PAGE_SIZE, (off_t)off);
	if (n < 0)
		return log_errno((int)n, "%s: pread of %s", task_name(t), path);
	if (!are_breakpoints(now, file) || (!hit && !comes_with_mapping(fd, off, now)))
		return false;
	if (d->opts->allow_uprobes)
		return true;
	return log_refusal(-ENOTSUP,
	                   "%s: a uprobe was put into its code at %" PRIx64
	                   "; remove it (perf, bpftrace) before the dump, "
	                   "or give --allow-uprobes",
	                   task_name(t), at);
}

static int uprobes_check(struct restore *r, const struct task *t, const VmaEntry *v)
{
	if (r->opts->allow_uprobes)
		return 0;
	return vma_refuse(t, v, "is of uprobes: give --allow-uprobes; those that are in its files here will be hit");
}

const struct vma_kind vma_uprobes_kind = {
	.name = "uprobes",
	.status = VMA_UPROBES,
	.kernels = true,
	.match = uprobes_match,
	.dump = uprobes_dump,
	.check = uprobes_check,
};
