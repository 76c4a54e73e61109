/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * eventfd: a counter and a semaphore, zero, the highest count, O_NONBLOCK, one that two processes share and one that is
 * opened twice with the same count.
 *
 * zdtm: flavour ns
 * zdtm: restores 2
 */
#include <poll.h>
#include <sys/eventfd.h>

#include "zdtm.h"

#define HIGHEST 0xfffffffffffffffeULL

static uint64_t take(int fd)
{
	uint64_t v = 0;

	return read(fd, &v, sizeof(v)) == sizeof(v) ? v : 0;
}

static int put(int fd, uint64_t v)
{
	return write(fd, &v, sizeof(v)) == sizeof(v);
}

static short ready(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN | POLLOUT };

	return poll(&p, 1, 0) < 0 ? -1 : p.revents;
}

/* Blocks until the child adds to it. */
static void check_shared(int fd, pid_t kid)
{
	int status;

	zdtm_check(take(fd) == 7, "what the child adds to the shared one");
	zdtm_check(waitpid(kid, &status, 0) == kid && !status, "child: %x", status);
}

int main(void)
{
	int count, sem, zero, high, shared, twin;
	pid_t kid;

	zdtm_must((count = eventfd(5, 0)) >= 0 && (sem = eventfd(3, EFD_SEMAPHORE | EFD_NONBLOCK)) >= 0);
	zdtm_must((zero = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) >= 0 && (high = eventfd(0, EFD_NONBLOCK)) >= 0);
	zdtm_must((shared = eventfd(0, 0)) >= 0 && (twin = eventfd(5, 0)) >= 0);
	zdtm_must(put(high, HIGHEST) && put(count, 1ULL << 40));
	zdtm_must((kid = fork()) >= 0);
	if (!kid) {
		zdtm_wait();
		_exit(put(shared, 7) ? 0 : 1);
	}
	zdtm_ready();
	zdtm_wait();
	check_shared(shared, kid);
	zdtm_check(!(fcntl(count, F_GETFL) & O_NONBLOCK) && fcntl(sem, F_GETFL) & O_NONBLOCK, "O_NONBLOCK");
	zdtm_check(fcntl(zero, F_GETFD) == FD_CLOEXEC && !fcntl(count, F_GETFD), "close-on-exec");
	zdtm_check(take(count) == (1ULL << 40) + 5, "the count");
	zdtm_check(ready(count) == POLLOUT, "emptied, it is %x", ready(count));
	zdtm_check(take(twin) == 5, "the other one");
	for (int i = 0; i < 3; i++)
		zdtm_check(take(sem) == 1, "the semaphore does not give one at a time");
	zdtm_check(take(sem) == 0 && errno == EAGAIN, "the semaphore gives more than it had");
	zdtm_check(take(zero) == 0 && errno == EAGAIN, "the empty one");
	zdtm_check(put(zero, 9) && take(zero) == 9, "the empty one, used");
	zdtm_check(ready(high) == POLLIN && !put(high, 1) && errno == EAGAIN, "the highest takes more: %x",
	           ready(high));
	zdtm_check(take(high) == HIGHEST, "the highest count");
	zdtm_pass();
}
