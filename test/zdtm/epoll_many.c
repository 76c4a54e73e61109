/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * An epoll instance with 600 eventfds, more than are asked for one by one: a third are still what has their number, a
 * third have moved and another eventfd has their number now, a third were added with an edge, once, or twice.
 *
 * zdtm: flavour ns
 * zdtm: iters 2
 */
#include <sys/epoll.h>
#include <sys/eventfd.h>

#include "zdtm.h"

#define N     600
#define FIRST 100
#define AWAY  1000 /* so far the moved ones have gone */

static int ep;

static void add(int fd, uint32_t events, uint64_t data)
{
	struct epoll_event e = { .events = events, .data.u64 = data };

	zdtm_must(!epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e));
}

static int new_at(int number)
{
	int fd = eventfd(0, EFD_NONBLOCK);

	zdtm_must(fd >= 0 && dup2(fd, number) == number && !close(fd));
	return number;
}

static int write_to(int fd)
{
	return write(fd, &(uint64_t) { 1 }, 8) == 8;
}

static int take(uint64_t *data)
{
	struct epoll_event e[4];
	int n = epoll_wait(ep, e, 4, 0);

	*data = n > 0 ? e[0].data.u64 : 0;
	return n;
}

static const uint32_t odd[] = { EPOLLIN | EPOLLET, EPOLLIN | EPOLLONESHOT, EPOLLIN, EPOLLIN | EPOLLEXCLUSIVE };

int main(void)
{
	uint64_t data, value;

	zdtm_must((ep = epoll_create1(EPOLL_CLOEXEC)) >= 0);
	for (int i = 0; i < N; i++) {
		int fd = new_at(FIRST + i);

		add(fd, i % 3 == 2 ? odd[i % 4] : EPOLLIN, 7000 + i);
		if (i % 3 == 1) {
			zdtm_must(dup2(fd, AWAY + i) == AWAY + i);
			new_at(fd);
			if (i % 2) /* twice under one number */
				add(fd, EPOLLIN, 9000 + i);
		}
	}
	zdtm_ready();
	zdtm_wait();
	zdtm_check(take(&data) == 0, "an event from nowhere: %lu", data);
	for (int i = 0; i < N; i++) {
		int fd = i % 3 == 1 ? AWAY + i : FIRST + i;

		zdtm_check(write_to(fd) && take(&data) == 1 && data == 7000UL + i, "number %d: event %lu", i, data);
		zdtm_check(read(fd, &value, 8) == 8 && value == 1 && take(&data) == 0, "number %d stays ready", i);
		if (i % 3 != 1)
			continue;
		zdtm_check(write_to(FIRST + i) && take(&data) == i % 2 && (!(i % 2) || data == 9000UL + i),
		           "what has number %d now: event %lu", i, data);
		zdtm_check(read(FIRST + i, &value, 8) == 8, "what has number %d now cannot be read", i);
	}
	zdtm_pass();
}
