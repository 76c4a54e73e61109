/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A ring of io_uring with a thread of the kernel's in the process, which no agent can enter: refused, and at once. The
 * ring goes on.
 *
 * zdtm: refuse io_uring
 */
#include <linux/io_uring.h>
#include <sys/mman.h>

#include "zdtm.h"

static struct io_uring_params p;
static unsigned char *rings;
static struct io_uring_sqe *sqes;
static int ring;

static volatile unsigned *at(unsigned offset)
{
	return (volatile unsigned *)(void *)(rings + offset);
}

static struct io_uring_cqe *cqe_at(unsigned n)
{
	return (struct io_uring_cqe *)(void *)(rings + p.cq_off.cqes) + (n & *at(p.cq_off.ring_mask));
}

/* A read by a worker thread. */
static int read_one(int fd, char *buf, unsigned data)
{
	unsigned tail = *at(p.sq_off.tail), n = tail & *at(p.sq_off.ring_mask), head = *at(p.cq_off.head);
	struct io_uring_cqe *c;

	memset(&sqes[n], 0, sizeof(*sqes));
	sqes[n].opcode = IORING_OP_READ;
	sqes[n].flags = IOSQE_ASYNC;
	sqes[n].fd = fd;
	sqes[n].addr = (uintptr_t)buf;
	sqes[n].len = 3;
	sqes[n].user_data = data;
	at(p.sq_off.array)[n] = n;
	__atomic_store_n((unsigned *)at(p.sq_off.tail), tail + 1, __ATOMIC_RELEASE);
	if (syscall(SYS_io_uring_enter, ring, 1, 1, IORING_ENTER_GETEVENTS, NULL, 0) != 1)
		return 0;
	c = cqe_at(head);
	__atomic_store_n((unsigned *)at(p.cq_off.head), head + 1, __ATOMIC_RELEASE);
	return c->user_data == data && c->res == 3;
}

int main(void)
{
	char buf[3];
	int fd = open("file", O_RDWR | O_CREAT, 0600);

	zdtm_must(fd >= 0 && write(fd, "abc", 3) == 3);
	ring = (int)syscall(SYS_io_uring_setup, 8, &p);
	if (ring < 0)
		zdtm_skip("io_uring_setup: %s", strerror(errno));
	rings = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, ring, IORING_OFF_SQ_RING);
	sqes = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, ring, IORING_OFF_SQES);
	zdtm_must(rings != MAP_FAILED && sqes != MAP_FAILED && (p.features & IORING_FEAT_SINGLE_MMAP));
	zdtm_must(read_one(fd, buf, 5) && !memcmp(buf, "abc", 3));
	zdtm_ready();
	zdtm_wait();
	for (unsigned i = 0; i < 50; i++)
		zdtm_check(read_one(fd, buf, 100 + i), "read %u", i);
	zdtm_pass();
}
