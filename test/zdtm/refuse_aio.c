/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Requests of asynchronous I/O that do not end are counted, and refused; so is a ring that a child has inherited, which
 * is no context of the child's. The program has the events that it had, and no others, and its requests go on.
 *
 * zdtm: dump --timeout 1
 * zdtm: refuse AIO context [0-9a-f]+: 3 requests are in flight
 * zdtm: refuse a ring of another process, inherited by fork
 */
#include <linux/aio_abi.h>
#include <poll.h>
#include <sched.h>
#include <sys/eventfd.h>
#include <sys/mman.h>

#include "zdtm.h"
#include "zdtm_until.h"

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
	struct timespec second = { .tv_sec = 1 }, none = { 0 };
	int ready = eventfd(1, 0), later = eventfd(0, 0), status;
	cpu_set_t before, after;
	aio_context_t ctx = 0;
	struct io_event e[16];
	pid_t child;

	zdtm_must(ready >= 0 && later >= 0 && !syscall(SYS_io_setup, 1, &ctx));
	for (unsigned i = 0; i < 200; i++)
		zdtm_must(submit_on(ctx, ready, 9) == 1 && syscall(SYS_io_getevents, ctx, 1L, 1L, e, &none) == 1);
	zdtm_must((child = fork()) >= 0);
	if (!child) {
		zdtm_up();
		zdtm_wait();
		_exit(syscall(SYS_io_getevents, ctx, 0L, 1L, e, &none) == -1 && errno == EINVAL ? 0 : 1);
	}
	for (unsigned i = 0; i < 5; i++)
		zdtm_must(submit_on(ctx, ready, 100 + i) == 1);
	for (unsigned i = 0; i < 3; i++)
		zdtm_must(submit_on(ctx, later, 200 + i) == 1);
	zdtm_must(!sched_getaffinity(0, sizeof(before), &before));
	zdtm_until_up(1);
	zdtm_ready();
	zdtm_wait();
	zdtm_check(!sched_getaffinity(0, sizeof(after), &after) && CPU_EQUAL(&before, &after), "other processors");
	zdtm_check(fcntl(later + 1, F_GETFD) < 0, "a descriptor more");
	zdtm_check(syscall(SYS_io_getevents, ctx, 0L, 16L, e, &none) == 5, "events before");
	for (unsigned i = 0; i < 5; i++)
		zdtm_check(e[i].data == 100 + i, "event %u: data %llu", i, (unsigned long long)e[i].data);
	zdtm_check(write(later, &(uint64_t) { 1 }, 8) == 8, "write");
	zdtm_check(syscall(SYS_io_getevents, ctx, 3L, 16L, e, &second) == 3, "events after");
	for (unsigned i = 0, seen = 0; i < 3; i++) {
		zdtm_check(e[i].data >= 200 && e[i].data < 203 && !(seen & 1U << (e[i].data - 200)), "data %llu",
		           (unsigned long long)e[i].data);
		seen |= 1U << (e[i].data - 200);
	}
	zdtm_check(waitpid(child, &status, 0) == child && !status, "the child: %x", status);
	zdtm_pass();
}
