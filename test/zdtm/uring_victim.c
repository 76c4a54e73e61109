/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A ring of io_uring with unread completions while criu is killed at any point: the ring has these and no others, and
 * does what it is asked for.
 *
 * zdtm: victim points random
 */
#include <linux/io_uring.h>
#include <sys/mman.h>

#include "zdtm.h"

#define UNREAD 5U

static struct io_uring_params p;
static unsigned char *rings;
static struct io_uring_sqe *sqes;
static int ring;

static unsigned *at(unsigned offset)
{
	return (unsigned *)(void *)(rings + offset);
}

static long submit(int opcode, int flags, unsigned data, unsigned wait)
{
	unsigned tail = *at(p.sq_off.tail), n = tail & *at(p.sq_off.ring_mask);

	sqes[n] = (struct io_uring_sqe) {
		.opcode = (unsigned char)opcode, .flags = (unsigned char)flags, .fd = -1, .user_data = data
	};
	at(p.sq_off.array)[n] = n;
	__atomic_store_n(at(p.sq_off.tail), tail + 1, __ATOMIC_RELEASE);
	return syscall(SYS_io_uring_enter, ring, 1, wait, IORING_ENTER_GETEVENTS, NULL, 0);
}

static unsigned long long next_data(void)
{
	unsigned head = *at(p.cq_off.head);
	struct io_uring_cqe *c = (void *)(rings + p.cq_off.cqes);

	if (__atomic_load_n(at(p.cq_off.tail), __ATOMIC_ACQUIRE) == head)
		return ~0ULL;
	c += head & *at(p.cq_off.ring_mask);
	__atomic_store_n(at(p.cq_off.head), head + 1, __ATOMIC_RELEASE);
	return c->user_data;
}

int main(void)
{
	ring = (int)syscall(SYS_io_uring_setup, 8, &p);
	if (ring < 0)
		zdtm_skip("io_uring_setup: %s", strerror(errno));
	rings = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, ring, IORING_OFF_SQ_RING);
	sqes = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, ring, IORING_OFF_SQES);
	zdtm_must(rings != MAP_FAILED && sqes != MAP_FAILED);
	for (unsigned i = 0; i < UNREAD; i++)
		zdtm_must(submit(IORING_OP_NOP, 0, i, i + 1) == 1);
	zdtm_ready();
	while (zdtm_asked()) {
		unsigned n = *at(p.cq_off.tail) - *at(p.cq_off.head);

		zdtm_check(n == UNREAD, "%u completions instead of %u", n, UNREAD);
		for (unsigned i = 0; i < n; i++) {
			const struct io_uring_cqe *c = (void *)(rings + p.cq_off.cqes);

			zdtm_check(c[i].user_data == i, "completion %llu instead of %u",
			           (unsigned long long)c[i].user_data, i);
		}
		zdtm_answer();
	}
	for (unsigned i = 0; i < 100; i++) {
		unsigned long long data;

		zdtm_check(submit(IORING_OP_NOP, 0, UNREAD + i, UNREAD + 1) == 1, "submit: %s", strerror(errno));
		data = next_data();
		zdtm_check(data == i, "completion %llu instead of %u", data, i);
	}
	zdtm_pass();
}
