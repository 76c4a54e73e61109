/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A context of asynchronous I/O with unread events while criu is killed at any point: the ring has these events and no
 * others, and takes requests.
 *
 * zdtm: victim points random
 */
#include <linux/aio_abi.h>
#include <poll.h>
#include <sys/eventfd.h>

#include "zdtm.h"

#define UNREAD 9

struct ring {
	unsigned id, nr, head, tail, rest[4];
	struct io_event event[];
};

static long submit_on(aio_context_t ctx, int fd, unsigned data)
{
	struct iocb iocb = {
		.aio_data = data, .aio_lio_opcode = IOCB_CMD_POLL, .aio_fildes = (unsigned)fd, .aio_buf = POLLIN
	};
	struct iocb *list[] = { &iocb };

	return syscall(SYS_io_submit, ctx, 1L, list);
}

int main(void)
{
	int ready = eventfd(1, 0);
	struct timespec none = { 0 };
	aio_context_t ctx = 0;
	volatile struct ring *r;
	struct io_event e;
	unsigned first = 0;

	zdtm_must(ready >= 0 && !syscall(SYS_io_setup, 1, &ctx));
	r = (void *)ctx;
	for (unsigned i = 0; i < UNREAD; i++)
		zdtm_must(submit_on(ctx, ready, i) == 1);
	zdtm_ready();
	while (zdtm_asked()) {
		unsigned n = (r->tail + r->nr - r->head) % r->nr;

		zdtm_check(n == UNREAD, "%u events instead of %u", n, UNREAD);
		for (unsigned i = 0; i < n; i++) {
			unsigned long long data = r->event[(r->head + i) % r->nr].data;

			zdtm_check(data == first + i, "event %u: data %llu instead of %u", i, data, first + i);
		}
		for (unsigned i = 0; i < 3; i++)
			zdtm_check(submit_on(ctx, ready, first + UNREAD + i) == 1 &&
			               syscall(SYS_io_getevents, ctx, 1L, 1L, &e, &none) == 1 && e.data == first + i,
			           "event %u: data %llu", first + i, (unsigned long long)e.data);
		first += 3;
		zdtm_check(fcntl(ready + 1, F_GETFD) < 0, "a descriptor more");
		zdtm_answer();
	}
	zdtm_pass();
}
