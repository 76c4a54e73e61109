/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Rings of io_uring with provided buffers: groups in the program's memory and in the kernel's (IOU_PBUF_RING_MMAP), of
 * one page and of several, one whose buffers are used up by bytes, one of a ring that only one thread may use. Many
 * buffers have been used, more than a group has. A receive that comes again and again, and a read, wait for data; after
 * each of three rounds the next data lies in the next buffer, under its number, and the group takes buffers back.
 *
 * zdtm: iters 3
 * zdtm: flavour ns
 * zdtm: allow fd ?/ *  any  a read of a socket comes back as a receive
 */
#include <linux/io_uring.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "zdtm.h"

#define PBUF_RING_MMAP 1
#define PBUF_RING_INC  2
#define OFF_PBUF_RING  0x80000000ULL
#define BUFFER_SIZE    64U
#define RECV_DATA      7
#define READ_DATA      9

static struct ring {
	const char *name;
	unsigned entries, used, flags, setup, repeat;
	int group;
	struct io_uring_params p;
	unsigned char *rings;
	struct io_uring_sqe *sqes;
	int fd, pair[2];
	struct io_uring_buf_ring *bufs;
	unsigned char *memory;
	unsigned next, tail; /* the buffer that is used next, and where the next one is given back */
} rings[] = {
	{ .name = "own", .entries = 8, .used = 21, .group = 3, .repeat = 1 },
	{ .name = "read", .entries = 16, .used = 5, .group = 0 },
	{ .name = "unused", .entries = 4, .group = 77, .repeat = 1 },
	{ .name = "kernel's", .entries = 32, .used = 40, .group = 2, .flags = PBUF_RING_MMAP, .repeat = 1 },
	{ .name = "large", .entries = 1024, .used = 300, .group = 1, .repeat = 1 },
	{ .name = "by bytes", .entries = 8, .used = 3, .group = 5, .flags = PBUF_RING_INC, .repeat = 1 },
	{ .name = "single",
	  .entries = 8,
	  .used = 9,
	  .group = 4,
	  .setup = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN,
	  .repeat = 1 },
};

#define N_RINGS (sizeof(rings) / sizeof(*rings))

static unsigned *at(const struct ring *r, unsigned offset)
{
	return (unsigned *)(void *)(r->rings + offset);
}

static void submit(struct ring *r, struct io_uring_sqe e)
{
	unsigned tail = *at(r, r->p.sq_off.tail), n = tail & *at(r, r->p.sq_off.ring_mask);

	r->sqes[n] = e;
	at(r, r->p.sq_off.array)[n] = n;
	__atomic_store_n(at(r, r->p.sq_off.tail), tail + 1, __ATOMIC_RELEASE);
	zdtm_check(syscall(SYS_io_uring_enter, r->fd, 1, 0, 0, NULL, 0) == 1, "%s: io_uring_enter", r->name);
}

static const struct io_uring_cqe *next(struct ring *r, int ms)
{
	unsigned head = *at(r, r->p.cq_off.head);
	const struct io_uring_cqe *c = (void *)(r->rings + r->p.cq_off.cqes);

	for (int i = 0; __atomic_load_n(at(r, r->p.cq_off.tail), __ATOMIC_ACQUIRE) == head; i++) {
		syscall(SYS_io_uring_enter, r->fd, 0, 0, IORING_ENTER_GETEVENTS, NULL, 0);
		if (i >= ms)
			return NULL;
		usleep(1000);
	}
	__atomic_store_n(at(r, r->p.cq_off.head), head + 1, __ATOMIC_RELEASE);
	return c + (head & *at(r, r->p.cq_off.ring_mask));
}

/* Buffers are given in the order of their numbers. */
static void give(struct ring *r, unsigned n)
{
	for (unsigned i = 0; i < n; i++, r->tail++) {
		struct io_uring_buf *b = &r->bufs->bufs[r->tail % r->entries];
		unsigned number = r->tail % r->entries;

		b->addr = (uintptr_t)(r->memory + number * BUFFER_SIZE);
		b->len = BUFFER_SIZE;
		b->bid = (uint16_t)(1000 + number);
	}
	__atomic_store_n(&r->bufs->tail, (uint16_t)r->tail, __ATOMIC_RELEASE);
}

static void start(struct ring *r)
{
	struct io_uring_sqe e = { .opcode = r->repeat ? IORING_OP_RECV : IORING_OP_READ,
		                  .flags = IOSQE_BUFFER_SELECT,
		                  .fd = r->pair[0],
		                  .buf_group = (uint16_t)r->group,
		                  .len = r->repeat ? 0 : BUFFER_SIZE,
		                  .user_data = r->repeat ? RECV_DATA : READ_DATA };

	if (r->repeat)
		e.ioprio = IORING_RECV_MULTISHOT;
	submit(r, e);
}

/* Sends some bytes and finds them in the next buffer. */
static int use(struct ring *r, unsigned value)
{
	unsigned number = r->next % r->entries, places = r->flags & PBUF_RING_INC ? 16 : 1;
	unsigned char *want = r->memory + number * BUFFER_SIZE;
	static unsigned part;
	unsigned char word[4];
	const struct io_uring_cqe *c;
	int ok;

	memcpy(word, &value, 4);
	want += r->flags & PBUF_RING_INC ? part % 16 * 4 : 0;
	memset(want, 0, 4);
	if (!zdtm_check(write(r->pair[1], word, 4) == 4, "%s: write", r->name))
		return 0;
	c = next(r, 5000);
	if (!zdtm_check(c != NULL, "%s: nothing is received", r->name))
		return 0;
	ok = zdtm_check(c->user_data == (r->repeat ? RECV_DATA : READ_DATA) && c->res == 4 &&
	                    c->flags >> 16 == 1000 + number && !!(c->flags & IORING_CQE_F_MORE) == !!r->repeat,
	                "%s: completion %llu of %d, flags %x, instead of buffer %u", r->name,
	                (unsigned long long)c->user_data, c->res, c->flags, number);
	ok &= zdtm_check(!memcmp(want, word, 4), "%s: buffer %u has other bytes", r->name, number);
	part += places > 1;
	if (places == 1 || part % 16 == 0) {
		r->next++;
		give(r, 1);
	}
	if (!r->repeat)
		start(r);
	return ok;
}

static void set_up(struct ring *r)
{
	struct io_uring_buf_reg reg = { .ring_entries = r->entries,
		                        .bgid = (uint16_t)r->group,
		                        .pad = (uint16_t)r->flags };
	size_t len = r->entries * sizeof(struct io_uring_buf);
	struct io_uring_sqe nop = { .opcode = IORING_OP_NOP, .fd = -1 };

	r->p.flags = r->setup;
	r->fd = (int)syscall(SYS_io_uring_setup, 16, &r->p);
	if (r->fd < 0)
		zdtm_skip("io_uring_setup: %s", strerror(errno));
	r->rings = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, r->fd, IORING_OFF_SQ_RING);
	r->sqes = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, r->fd, IORING_OFF_SQES);
	r->memory = mmap(NULL, r->entries * BUFFER_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	zdtm_must(r->rings != MAP_FAILED && r->sqes != MAP_FAILED && r->memory != MAP_FAILED &&
	          !socketpair(AF_UNIX, SOCK_STREAM, 0, r->pair));
	if (!(r->flags & PBUF_RING_MMAP)) {
		r->bufs = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		zdtm_must(r->bufs != MAP_FAILED);
		reg.ring_addr = (uintptr_t)r->bufs;
	}
	if (syscall(SYS_io_uring_register, r->fd, IORING_REGISTER_PBUF_RING, &reg, 1))
		zdtm_skip("%s: IORING_REGISTER_PBUF_RING: %s", r->name, strerror(errno));
	if (r->flags & PBUF_RING_MMAP)
		r->bufs = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, r->fd,
		               (off_t)(OFF_PBUF_RING | (uint64_t)r->group << 16));
	zdtm_must(r->bufs != MAP_FAILED);
	for (int i = 0; i < 20; i++) { /* requests enough */
		submit(r, nop);
		zdtm_must(next(r, 1000) != NULL);
	}
	give(r, r->entries);
	start(r);
	for (unsigned i = 0; i < r->used * (r->flags & PBUF_RING_INC ? 16 : 1) + 2U * !!(r->flags & PBUF_RING_INC); i++)
		zdtm_must(use(r, i + 5));
}

int main(void)
{
	for (size_t i = 0; i < N_RINGS; i++)
		set_up(&rings[i]);
	zdtm_ready();
	zdtm_wait();
	for (size_t i = 0; i < N_RINGS; i++) {
		zdtm_check(next(&rings[i], 5) == NULL, "%s: a completion that nothing made", rings[i].name);
		for (unsigned k = 0; k < 50; k++)
			if (!use(&rings[i], 100000 + k))
				break;
	}
	zdtm_pass();
}
