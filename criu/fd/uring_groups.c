/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Groups of buffers that were provided to a ring of io_uring (IORING_REGISTER_PBUF_RING). The kernel keeps the pages of
 * such a ring and no address. Where it lies in the process is found by the numbers of its page frames; what number a
 * struct page has is learned from a ring of criu's own.
 */
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "arch_page.h"
#include "fd/uring.h"
#include "fd/uring_inside.h"
#include "lib/io.h"
#include "proc/proc.h"

#define FRAME     ((1ULL << 55) - 1) /* of an entry of /proc/PID/pagemap */
#define SLOTS     64U                /* of an xa_node */
#define DEPTH     4U
#define CHUNK     1024U
#define RING_BITS 3U /* IOBL_BUF_RING, IOBL_INC */

static int add_group(struct dump *d, struct uring_kernel *k, uint64_t at, struct uring_group **groups, size_t *n)
{
	struct uring_group g = { 0 };
	int err = 0;
	uint64_t flags = uring_number_at(k, &err, at, URING_GROUP_FLAGS, sizeof(uint16_t));

	g.id = (uint16_t)uring_number_at(k, &err, at, URING_GROUP_ID, sizeof(uint16_t));
	g.entries = (uint32_t)uring_number_at(k, &err, at, URING_GROUP_ENTRIES, sizeof(uint16_t));
	g.head = (uint16_t)uring_number_at(k, &err, at, URING_GROUP_HEAD, sizeof(uint16_t));
	g.ring = uring_pointer_at(k, &err, at, URING_GROUP_RING);
	g.pages = uring_pointer_at(k, &err, at, URING_GROUP_PAGES);
	g.counts_bytes = flags & 2;
	g.odd = !(flags & 1) || flags & ~(uint64_t)RING_BITS || !g.entries;
	if (!err && k->at[URING_GROUP_LEAST] >= 0)
		g.odd |= uring_number_at(k, &err, at, URING_GROUP_LEAST, sizeof(uint32_t)) != 0;
	if (!err)
		arena_push(d->arena, groups, n, g);
	return err;
}

/* An xarray: an entry that ends with binary 10 is a node, others are what is in it. */
static int walk_array(struct dump *d, struct uring_kernel *k, uint64_t entry, unsigned depth,
                      struct uring_group **groups, size_t *n)
{
	uint64_t slots[SLOTS];
	int err;

	if (!entry)
		return 0;
	if ((entry & 3) != 2)
		return add_group(d, k, entry, groups, n);
	if (depth == DEPTH)
		return -EAGAIN;
	err = kernel_read(k->view, (entry & ~3ULL) + (uint64_t)k->at[URING_XA_SLOTS], slots, sizeof(slots));
	for (unsigned i = 0; !err && i < SLOTS; i++)
		err = walk_array(d, k, slots[i], depth + 1, groups, n);
	return err;
}

int uring_kernel_groups(struct dump *d, struct uring_kernel *k, const struct uring_state *s,
                        struct uring_group **groups, size_t *n)
{
	int err = 0;
	uint64_t head = uring_pointer_at(k, &err, s->ctx, URING_CTX_GROUPS);

	for (int f = URING_GROUP_RING; f <= URING_XA_SLOTS && head; f++)
		if (k->at[f] < 0 && f != URING_GROUP_LEAST)
			return -EOPNOTSUPP;
	if (head && k->page_size > PAGE_SIZE) /* a negative errno */
		return -EOPNOTSUPP;
	return err ?: walk_array(d, k, head, 0, groups, n);
}

static uint64_t frame_of(int pagemap, uint64_t at)
{
	uint64_t entry = 0;

	if (io_pread_all(pagemap, &entry, sizeof(entry), (off_t)(at / PAGE_SIZE * sizeof(entry))) != sizeof(entry))
		return 0;
	return entry >> 63 ? entry & FRAME : 0;
}

/* Where the struct page of frame 0 would lie: the others follow one another. */
static int find_base(struct dump *d, struct uring_kernel *k, uint64_t *base)
{
	_cleanup_close_ int pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	struct io_uring_params p = { 0 };
	_cleanup_close_ int fd = (int)syscall(SYS_io_uring_setup, 1, &p);
	void *page = mmap(NULL, PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	struct io_uring_buf_reg reg = { .ring_addr = (uintptr_t)page, .ring_entries = 1 };
	struct uring_group *g = NULL;
	struct uring_state s;
	uint64_t frame, at;
	size_t n = 0;
	int err = 0;

	if (pagemap < 0 || fd < 0 || page == MAP_FAILED ||
	    syscall(SYS_io_uring_register, fd, IORING_REGISTER_PBUF_RING, &reg, 1))
		err = -errno;
	err = err ?: uring_kernel_read(d, k, fd, &s);
	err = err ?: uring_kernel_groups(d, k, &s, &g, &n);
	frame = frame_of(pagemap, (uintptr_t)page);
	if (!err && (n != 1 || !frame))
		err = -EPERM;
	at = err ? 0 : uring_word_at(k, &err, g->pages);
	*base = at - frame * k->page_size;
	if (page != MAP_FAILED)
		munmap(page, PAGE_SIZE);
	return err;
}

/* Whether the pages from there on are all of the ring's. */
static bool is_there(struct uring_kernel *k, int pagemap, const struct uring_group *g, uint64_t base, uint64_t at)
{
	size_t pages = round_up(g->entries * sizeof(struct io_uring_buf), PAGE_SIZE) / PAGE_SIZE;
	int err = 0;

	for (size_t i = 0; i < pages; i++) {
		uint64_t frame = frame_of(pagemap, at + i * PAGE_SIZE);

		if (!frame || uring_word_at(k, &err, g->pages + i * sizeof(uint64_t)) != base + frame * k->page_size ||
		    err)
			return false;
	}
	return true;
}

static bool find_in(struct uring_kernel *k, int pagemap, struct uring_group *g, uint64_t base, const struct proc_map *m,
                    uint64_t frame)
{
	uint64_t entries[CHUNK];

	for (uint64_t at = m->start; at < m->end; at += CHUNK * PAGE_SIZE) {
		size_t n = MIN((m->end - at) / PAGE_SIZE, (uint64_t)CHUNK);

		if (io_pread_all(pagemap, entries, n * sizeof(*entries), (off_t)(at / PAGE_SIZE * sizeof(*entries))) <
		    0)
			return false;
		for (size_t i = 0; i < n; i++)
			if (entries[i] >> 63 && (entries[i] & FRAME) == frame &&
			    is_there(k, pagemap, g, base, at + i * PAGE_SIZE)) {
				g->at = at + i * PAGE_SIZE;
				return true;
			}
	}
	return false;
}

int uring_kernel_find_group(struct dump *d, struct uring_kernel *k, const struct task *t, struct uring_group *g)
{
	const struct task *vm = tree_first_vm(&d->tree, t);
	_cleanup_close_ int pagemap = openat(vm->dump->proc_fd, "pagemap", O_RDONLY | O_CLOEXEC);
	const struct task_maps *maps = &vm->dump->maps;
	uint64_t base, first;
	int err = pagemap < 0 ? -errno : find_base(d, k, &base);

	if (err)
		return err;
	first = uring_word_at(k, &err, g->pages);
	for (size_t i = 0; !err && i < maps->n; i++)
		if (maps->v[i].prot & PROT_WRITE &&
		    find_in(k, pagemap, g, base, &maps->v[i], (first - base) / k->page_size))
			return 0;
	return err ?: -ENOENT;
}

int uring_kernel_same_page(struct dump *d, struct uring_kernel *k, const struct task *t, const struct uring_place *p)
{
	const struct task *vm = tree_first_vm(&d->tree, t);
	_cleanup_close_ int pagemap = openat(vm->dump->proc_fd, "pagemap", O_RDONLY | O_CLOEXEC);
	uint64_t base = 0;

	if (pagemap < 0 || !p->page || find_base(d, k, &base))
		return -ENODATA;
	return base + frame_of(pagemap, p->addr) * k->page_size == p->page + p->offset / PAGE_SIZE * k->page_size;
}
