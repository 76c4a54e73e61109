/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A ring of io_uring with unread completions, a poll and a timeout in flight, a registered file and an eventfd while
 * criu is killed at any point: the ring has these completions and no others, and does what it is asked for.
 *
 * zdtm: victim points random
 */
#include <linux/io_uring.h>
#include <linux/time_types.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>

#include "zdtm.h"

#define UNREAD  5U
#define WAITING 900U

static struct io_uring_params p;
static unsigned char *rings;
static struct io_uring_sqe *sqes;
static int ring, polled, counter;

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

/* Two that wait. */
static void submit_waiting(void)
{
	static const struct __kernel_timespec ts = { .tv_sec = 100000 };
	struct io_uring_sqe e[] = {
		{ .opcode = IORING_OP_POLL_ADD,
		  .flags = IOSQE_FIXED_FILE,
		  .fd = 0,
		  .poll32_events = POLLIN,
		  .user_data = WAITING },
		{ .opcode = IORING_OP_TIMEOUT, .fd = -1, .addr = (uintptr_t)&ts, .len = 1, .user_data = WAITING + 1 },
	};

	for (unsigned i = 0; i < 2; i++) {
		unsigned tail = *at(p.sq_off.tail), n = tail & *at(p.sq_off.ring_mask);

		sqes[n] = e[i];
		at(p.sq_off.array)[n] = n;
		__atomic_store_n(at(p.sq_off.tail), tail + 1, __ATOMIC_RELEASE);
		zdtm_must(syscall(SYS_io_uring_enter, ring, 1, 0, 0, NULL, 0) == 1);
	}
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
	uint64_t count = 0;

	ring = (int)syscall(SYS_io_uring_setup, 8, &p);
	if (ring < 0)
		zdtm_skip("io_uring_setup: %s", strerror(errno));
	rings = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, ring, IORING_OFF_SQ_RING);
	sqes = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, ring, IORING_OFF_SQES);
	zdtm_must(rings != MAP_FAILED && sqes != MAP_FAILED);
	zdtm_must((polled = eventfd(0, 0)) >= 0 && (counter = eventfd(0, EFD_NONBLOCK)) >= 0);
	zdtm_must(!syscall(SYS_io_uring_register, ring, IORING_REGISTER_FILES, &polled, 1));
	zdtm_must(!syscall(SYS_io_uring_register, ring, IORING_REGISTER_EVENTFD, &counter, 1));
	submit_waiting();
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
	zdtm_check(read(counter, &count, 8) == 8 && count == UNREAD + 100, "the eventfd has counted %llu",
	           (unsigned long long)count);
	for (unsigned i = 0; i < UNREAD; i++)
		next_data();
	zdtm_check(next_data() == ~0ULL, "a completion too many");
	zdtm_check(write(polled, &(uint64_t) { 1 }, 8) == 8, "write");
	syscall(SYS_io_uring_enter, ring, 0, 1, IORING_ENTER_GETEVENTS, NULL, 0);
	zdtm_check(next_data() == WAITING, "the poll");
	zdtm_pass();
}
