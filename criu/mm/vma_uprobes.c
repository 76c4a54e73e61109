/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The kernel's page for stepping over uprobes, in every task that met one: the kernel makes it anew. What is in the
 * images is that there was one, as CRIU has it.
 */
#include "mm/vma_uprobes.h"

#include <fcntl.h>
#include <inttypes.h>
#include <string.h>

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

int vma_uprobes_made_page(const struct task *t, const VmaEntry *v, raddr_t at)
{
	_cleanup_close_ int fd = -1;
	uint8_t now[PAGE_SIZE], file[PAGE_SIZE] = { 0 };
	char path[80];
	ssize_t n;
	int err = io_read_process(t->pid, now, &(struct iovec) { (void *)(uintptr_t)at, PAGE_SIZE }, 1);

	if (err)
		return log_errno(err, "%s: process_vm_readv of a page of code at %" PRIx64, task_name(t), at);
	snprintf(path, sizeof(path), "/proc/%d/map_files/%" PRIx64 "-%" PRIx64, t->pid, v->start, v->end);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return log_errno(-errno, "%s: open of %s", task_name(t), path);
	n = io_pread_all(fd, file, PAGE_SIZE, (off_t)(v->pgoff + (at - v->start)));
	if (n < 0)
		return log_errno((int)n, "%s: pread of %s", task_name(t), path);
	for (size_t i = 0; i < PAGE_SIZE; i++)
		if (now[i] != file[i] && now[i] != BREAKPOINT_BYTE)
			return false;
	return true;
}

static int uprobes_check(struct restore *r, const struct task *t, const VmaEntry *v)
{
	if (r->opts->allow_uprobes)
		return 0;
	return vma_refuse(t, v,
	                  "is of uprobes: give --allow-uprobes if they are in its files here too (a breakpoint without "
	                  "its uprobe would end the task)");
}

const struct vma_kind vma_uprobes_kind = {
	.name = "uprobes",
	.status = VMA_UPROBES,
	.kernels = true,
	.match = uprobes_match,
	.dump = uprobes_dump,
	.check = uprobes_check,
};
