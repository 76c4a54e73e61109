/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Contexts of asynchronous I/O (io_setup): unused, used for many rounds of their ring, with unread events, nearly full
 * of them, moved, locked, large, of a child; and one request that ends while the tree is frozen. Afterwards the unread
 * events are there in their order, and each ring takes as many requests as it has places, and loses none.
 *
 * zdtm: iters 3
 * zdtm: flavour ns
 * zdtm: allow fd [0-9]*ticks  any  the timer that ends a request expires meanwhile
 */
#include <linux/aio_abi.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/timerfd.h>

#include "zdtm.h"
#include "zdtm_until.h"

#define MAX 4096

struct ring {
	unsigned id, nr, head, tail;
};

static struct test {
	const char *name;
	unsigned nr_req;
	int ops, unread; /* before: so many requests whose events are read, and then so many whose are not */
	int move, lock;
	aio_context_t ctx;
	struct ring was;
} tests[] = {
	{ .name = "unused", .nr_req = 1 },
	{ .name = "wrapped", .nr_req = 1, .ops = 1000 },
	{ .name = "unread", .nr_req = 64, .ops = 700, .unread = 17 },
	{ .name = "full", .nr_req = 10, .ops = 50, .unread = 100 },
	{ .name = "moved", .nr_req = 256, .ops = 33, .unread = 2, .move = 1 },
	{ .name = "large", .nr_req = 1000, .ops = 1500, .unread = 1001 },
	{ .name = "locked", .nr_req = 4, .ops = 4, .unread = 1, .lock = 1 },
};

#define N_TESTS (sizeof(tests) / sizeof(*tests))

static int ready_fd;
static unsigned next_data = 1;

/* One request whose event comes at once, with the next number in it. */
static long submit_on(aio_context_t ctx, int fd, unsigned data)
{
	struct iocb iocb = {
		.aio_data = data, .aio_lio_opcode = IOCB_CMD_POLL, .aio_fildes = (unsigned)fd, .aio_buf = POLLIN
	};
	struct iocb *list[] = { &iocb };

	return syscall(SYS_io_submit, ctx, 1L, list);
}

static long get_event(aio_context_t ctx, struct io_event *e)
{
	struct timespec none = { 0 };

	return syscall(SYS_io_getevents, ctx, 0L, 1L, e, &none);
}

static void set_up(struct test *t)
{
	struct io_event e;

	zdtm_must(!syscall(SYS_io_setup, t->nr_req, &t->ctx));
	for (int i = 0; i < t->ops; i++)
		zdtm_must(submit_on(t->ctx, ready_fd, 7) == 1 && get_event(t->ctx, &e) == 1 && e.data == 7);
	for (int i = 0; i < t->unread; i++)
		zdtm_must(submit_on(t->ctx, ready_fd, 1000 + (unsigned)i) == 1);
	memcpy(&t->was, (void *)t->ctx, sizeof(t->was));
	if (t->move) {
		size_t size = 32 + t->was.nr * 32UL;
		void *to = mmap(NULL, size + (4UL << 20), PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		zdtm_must(to != MAP_FAILED);
		to = mremap((void *)t->ctx, size, size, MREMAP_MAYMOVE | MREMAP_FIXED, (char *)to + (2UL << 20));
		zdtm_must(to != MAP_FAILED);
		t->ctx = (aio_context_t)to;
	}
	zdtm_must(!t->lock || !mlock((void *)t->ctx, 4096));
}

static int drain(struct test *t, unsigned first, int n)
{
	struct io_event e;

	for (int i = 0; i < n; i++)
		if (!zdtm_check(get_event(t->ctx, &e) == 1 && e.data == first + (unsigned)i,
		                "%s: event %d of %d: data %llu", t->name, i, n, (unsigned long long)e.data))
			return 0;
	return zdtm_check(!get_event(t->ctx, &e), "%s: one event too many, data %llu", t->name,
	                  (unsigned long long)e.data);
}

static void verify(struct test *t)
{
	const volatile struct ring *now = (void *)t->ctx;
	int n = 0;

	zdtm_check(now->nr == t->was.nr, "%s: %u places instead of %u", t->name, now->nr, t->was.nr);
	zdtm_check((now->tail + now->nr - now->head) % now->nr == (unsigned)t->unread, "%s: head %u tail %u", t->name,
	           now->head, now->tail);
	/* Until there is no place any more: what the kernel counted wrong, it would write over. */
	next_data = 1000 + (unsigned)t->unread;
	while (submit_on(t->ctx, ready_fd, next_data) == 1 && n < MAX) {
		next_data++;
		n++;
	}
	zdtm_check(errno == EAGAIN, "%s: io_submit: %s", t->name, strerror(errno));
	zdtm_check(n + t->unread > (int)(t->was.nr / 2) && n + t->unread < (int)t->was.nr,
	           "%s: %d requests beside %d unread, of %u", t->name, n, t->unread, t->was.nr);
	drain(t, 1000, t->unread + n);
	for (unsigned i = 0; i < 3000; i++)
		if (!zdtm_check(submit_on(t->ctx, ready_fd, i) == 1, "%s: io_submit: %s", t->name, strerror(errno)) ||
		    !drain(t, i, 1))
			return;
	zdtm_check(!syscall(SYS_io_destroy, t->ctx), "%s: io_destroy: %s", t->name, strerror(errno));
}

/* A child with a context in the place where its parent has one, which is not the child's. */
static void run_child(void)
{
	struct test t = { .name = "child", .nr_req = 64, .ops = 20, .unread = 3 };

	for (size_t i = 0; i < N_TESTS; i++)
		zdtm_must(!munmap((void *)tests[i].ctx, 32 + tests[i].was.nr * 32UL));
	set_up(&t);
	zdtm_up();
	zdtm_wait();
	verify(&t);
	_exit(0);
}

int main(void)
{
	struct test late = { .name = "ended while frozen", .nr_req = 1, .unread = 1 };
	struct itimerspec soon = { .it_value.tv_sec = 1 };
	int timer, status;
	pid_t child;

	zdtm_must((ready_fd = eventfd(1, 0)) >= 0);
	for (size_t i = 0; i < N_TESTS; i++)
		set_up(&tests[i]);
	zdtm_must((child = fork()) >= 0);
	if (!child)
		run_child();
	late.unread = 0;
	set_up(&late);
	zdtm_must((timer = timerfd_create(CLOCK_MONOTONIC, 0)) >= 0);
	zdtm_until_up(1);
	zdtm_must(!timerfd_settime(timer, 0, &soon, NULL));
	zdtm_must(submit_on(late.ctx, timer, 1000) == 1);
	late.unread = 1;
	zdtm_ready();
	zdtm_wait();
	for (size_t i = 0; i < N_TESTS; i++)
		verify(&tests[i]);
	verify(&late);
	zdtm_check(waitpid(child, &status, 0) == child && !status, "the child: %x", status);
	zdtm_pass();
}
