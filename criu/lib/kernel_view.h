/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Reads the kernel's memory, for what no interface shows: by a BPF program that copies from an address
 * (bpf_probe_read_kernel(), to which an address that is not valid is an error and no harm). Where things lie is said by
 * the kernel's own types (lib/btf.h). Nothing is changed, and nothing is attached. It takes CAP_BPF and CAP_PERFMON,
 * and a kernel with BTF. What is read may change meanwhile: the caller sees to that.
 */
#ifndef CRIU_LIB_KERNEL_VIEW_H
#define CRIU_LIB_KERNEL_VIEW_H

#include "lib/btf.h"

/* An address in the kernel. Never a pointer. */
typedef uint64_t kaddr_t;

/* A member, by its btf_offset(). */
static inline kaddr_t kaddr_plus(kaddr_t at, int offset)
{
	return at + (unsigned)offset;
}

struct kernel_view;

/* A negative errno: not here, and *call is what failed. */
int kernel_view_open(struct kernel_view **out, const char **call);
void kernel_view_close(struct kernel_view *v);

const struct btf_types *kernel_types(const struct kernel_view *v);

int kernel_read(struct kernel_view *v, kaddr_t at, void *buf, size_t len);
int kernel_read_pointer(struct kernel_view *v, kaddr_t at, kaddr_t *out);
/* A number of 1 to 8 bytes. */
int kernel_read_number(struct kernel_view *v, kaddr_t at, size_t len, uint64_t *out);

/* The task_struct of the calling thread, and CLOCK_MONOTONIC and CLOCK_BOOTTIME of the machine, in ns. */
struct kernel_now {
	kaddr_t task;
	uint64_t monotonic, boottime;
};

int kernel_now(struct kernel_view *v, struct kernel_now *now);

/* The struct file of a descriptor of ours. */
int kernel_file_of(struct kernel_view *v, int fd, kaddr_t *file);

/*
 * What lies at the end of a way that begins in the struct file of a descriptor of ours, in one call: hops are members
 * that are pointers, the last one of what is to be read. At most 32 KiB.
 */
struct kernel_way {
	int hops[4], last;
	size_t n;  /* hops */
	bool open; /* the caller knows that the descriptor is: else it is asked, since what is beyond others is no file
	            */
};

int kernel_read_of_file(struct kernel_view *v, int fd, const struct kernel_way *way, void *buf, size_t len);

/* The task_struct of a process, by a pidfd of ours: that of its leader. */
int kernel_task_of(struct kernel_view *v, int pidfd, kaddr_t *task);

/*
 * The descriptor table of a process, by a pidfd of ours: its struct files_struct, and by number the struct file of each
 * descriptor, to be freed (NULL where it is not wanted).
 */
int kernel_table_of(struct kernel_view *v, int pidfd, kaddr_t *table, kaddr_t **files, size_t *n);

/*
 * What lies in a page, by the address of its struct page. -ENOTSUP: where pages lie in the kernel's memory cannot be
 * found out.
 */
int kernel_read_page(struct kernel_view *v, kaddr_t page, size_t offset, void *buf, size_t len);

#endif
