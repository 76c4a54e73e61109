/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Rings of io_uring: unused, used for many rounds, with unread completions, with entries that were not submitted,
 * large, of two numbers, and one in epoll. Afterwards what was unread is there in its order, what was not submitted is,
 * and each ring does 500 reads of a pipe and 100 of a file by a worker thread.
 *
 * zdtm: iters 3
 * zdtm: flavour ns
 * zdtm: allow fd 13/[0-9 ]*  any  what waits in a ring without an array is not shown
 */
#include <linux/io_uring.h>
#include <sys/epoll.h>
#include <sys/mman.h>

#include "zdtm.h"

#define NO_SQARRAY (1U << 16) /* IORING_SETUP_NO_SQARRAY, Linux 6.6 */

static struct ring {
	const char *name;
	unsigned entries, ops, unread, waiting, flags;
	struct io_uring_params p;
	unsigned char *rings;
	struct io_uring_sqe *sqes;
	int fd;
} rings[] = {
	{ .name = "unused", .entries = 8 },
	{ .name = "used", .entries = 8, .ops = 1000 },
	{ .name = "unread", .entries = 32, .ops = 50, .unread = 20 },
	{ .name = "not submitted", .entries = 16, .ops = 3, .waiting = 5 },
	{ .name = "both", .entries = 64, .ops = 777, .unread = 2, .waiting = 2 },
	{ .name = "large", .entries = 2048, .ops = 5000, .unread = 3000, .flags = IORING_SETUP_CQSIZE },
	{ .name = "one", .entries = 1, .ops = 10 },
	{ .name = "no array", .entries = 16, .ops = 100, .unread = 3, .waiting = 3, .flags = NO_SQARRAY },
	{ .name = "large, no array", .entries = 2048, .ops = 100, .unread = 3, .flags = NO_SQARRAY },
	{ .name = "single", .entries = 8, .ops = 10, .unread = 1, .flags = IORING_SETUP_SINGLE_ISSUER },
	{ .name = "deferred",
	  .entries = 8,
	  .ops = 10,
	  .unread = 1,
	  .flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN },
	{ .name = "coop", .entries = 8, .ops = 10, .unread = 1, .flags = IORING_SETUP_COOP_TASKRUN },
};

#define LARGE   5
#define N_RINGS (sizeof(rings) / sizeof(*rings))

static int pipe_fd[2], file_fd, epoll_fd;

static unsigned *at(const struct ring *r, unsigned offset)
{
	return (unsigned *)(void *)(r->rings + offset);
}

static struct io_uring_sqe *add(struct ring *r, int opcode, unsigned data)
{
	unsigned tail = *at(r, r->p.sq_off.tail), n = tail & *at(r, r->p.sq_off.ring_mask);
	struct io_uring_sqe *e = &r->sqes[n];

	memset(e, 0, sizeof(*e));
	e->opcode = (unsigned char)opcode;
	e->user_data = data;
	if (!(r->flags & NO_SQARRAY))
		at(r, r->p.sq_off.array)[n] = n;
	__atomic_store_n(at(r, r->p.sq_off.tail), tail + 1, __ATOMIC_RELEASE);
	return e;
}

static long enter(struct ring *r, unsigned n, unsigned wait)
{
	return syscall(SYS_io_uring_enter, r->fd, n, wait, IORING_ENTER_GETEVENTS, NULL, 0);
}

/* The next completion is this one. */
static int complete(struct ring *r, unsigned data, int res)
{
	unsigned head = *at(r, r->p.cq_off.head);
	struct io_uring_cqe *c = (void *)(r->rings + r->p.cq_off.cqes);
	int ok;

	if (!zdtm_check(__atomic_load_n(at(r, r->p.cq_off.tail), __ATOMIC_ACQUIRE) != head, "%s: no completion %u",
	                r->name, data))
		return 0;
	c += head & *at(r, r->p.cq_off.ring_mask);
	ok = zdtm_check(c->user_data == data && c->res == res, "%s: completion %llu of %d instead of %u of %d", r->name,
	                (unsigned long long)c->user_data, c->res, data, res);
	__atomic_store_n(at(r, r->p.cq_off.head), head + 1, __ATOMIC_RELEASE);
	return ok;
}

static void set_up(struct ring *r)
{
	size_t len;

	r->p.flags = r->flags;
	r->p.cq_entries = 8192;
	r->fd = (int)syscall(SYS_io_uring_setup, r->entries, &r->p);
	if (r->fd < 0 && errno == EINVAL && r->flags & NO_SQARRAY) {
		r->flags = r->p.flags = 0;
		r->fd = (int)syscall(SYS_io_uring_setup, r->entries, &r->p);
	}
	if (r->fd < 0)
		zdtm_skip("io_uring_setup: %s", strerror(errno));
	len = r->p.cq_off.cqes + r->p.cq_entries * sizeof(struct io_uring_cqe);
	if (!(r->flags & NO_SQARRAY))
		len = r->p.sq_off.array + r->p.sq_entries * 4;
	r->rings = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, r->fd, IORING_OFF_SQ_RING);
	r->sqes =
	    mmap(NULL, r->p.sq_entries * sizeof(*r->sqes), PROT_READ | PROT_WRITE, MAP_SHARED, r->fd, IORING_OFF_SQES);
	zdtm_must(r->rings != MAP_FAILED && r->sqes != MAP_FAILED);
	for (unsigned i = 0; i < r->ops; i++) {
		add(r, IORING_OP_NOP, i);
		zdtm_must(enter(r, 1, 1) == 1 && complete(r, i, 0));
	}
	for (unsigned i = 0; i < r->unread; i++) {
		add(r, IORING_OP_NOP, 1000 + i);
		zdtm_must(enter(r, 1, 0) == 1);
	}
	for (unsigned i = 0; i < r->waiting; i++)
		add(r, IORING_OP_NOP, 5000 + i);
}

static void read_some(struct ring *r, int fd, int flags, unsigned n, unsigned first)
{
	char buf[8];

	for (unsigned i = 0; i < n; i++) {
		struct io_uring_sqe *e = add(r, IORING_OP_READ, first + i);

		e->fd = fd;
		e->addr = (uintptr_t)buf;
		e->len = 4;
		e->flags = (unsigned char)flags;
		memset(buf, 0, sizeof(buf));
		if (fd == pipe_fd[0])
			zdtm_check(write(pipe_fd[1], &i, 4) == 4, "write to the pipe");
		if (!zdtm_check(enter(r, 1, 1) == 1, "%s: io_uring_enter: %s", r->name, strerror(errno)) ||
		    !complete(r, first + i, 4))
			return;
		zdtm_check(fd == pipe_fd[0] ? !memcmp(buf, &i, 4) : !memcmp(buf, "abcd", 4), "%s: read %u", r->name, i);
	}
}

static void verify(struct ring *r)
{
	for (unsigned i = 0; i < r->unread; i++)
		if (!complete(r, 1000 + i, 0))
			return;
	zdtm_check(*at(r, r->p.cq_off.head) == *at(r, r->p.cq_off.tail), "%s: completions too many", r->name);
	if (r->waiting)
		zdtm_check(enter(r, r->waiting, r->waiting) == r->waiting, "%s: io_uring_enter", r->name);
	for (unsigned i = 0; i < r->waiting; i++)
		complete(r, 5000 + i, 0);
	read_some(r, pipe_fd[0], 0, 500, 10);
	read_some(r, file_fd, IOSQE_ASYNC, 100, 20000);
	zdtm_check(!*at(r, r->p.sq_off.dropped) && !*at(r, r->p.cq_off.overflow), "%s: dropped, overflow", r->name);
}

int main(void)
{
	struct epoll_event e = { .events = EPOLLIN, .data.u32 = 77 };
	void *above = MAP_FAILED;
	int other;

	zdtm_must(!pipe(pipe_fd) && (file_fd = open("file", O_RDWR | O_CREAT, 0600)) >= 0 &&
	          write(file_fd, "abcd", 4) == 4);
	/* Above the first of the large ones there will be a hole that has no room for it. */
	for (size_t i = 0; i < N_RINGS; i++) {
		if (i == LARGE)
			above = mmap(NULL, 1UL << 20, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
		set_up(&rings[i]);
	}
	zdtm_must(above != MAP_FAILED && !munmap(above, 4096));
	zdtm_must((other = dup(rings[1].fd)) >= 0 && (epoll_fd = epoll_create1(0)) >= 0);
	zdtm_must(!epoll_ctl(epoll_fd, EPOLL_CTL_ADD, rings[1].fd, &e));
	zdtm_ready();
	zdtm_wait();
	zdtm_check(epoll_wait(epoll_fd, &e, 1, 0) == 0, "epoll says that the ring has something");
	add(&rings[1], IORING_OP_NOP, 3);
	zdtm_check(syscall(SYS_io_uring_enter, other, 1, 0, 0, NULL, 0) == 1, "by another number: %s", strerror(errno));
	zdtm_check(epoll_wait(epoll_fd, &e, 1, 1000) == 1 && e.data.u32 == 77, "epoll");
	complete(&rings[1], 3, 0);
	for (size_t i = 0; i < N_RINGS; i++)
		verify(&rings[i]);
	zdtm_pass();
}
