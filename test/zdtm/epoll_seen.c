/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Edges (EPOLLET): of an instance without events all were seen, though what it watches is ready: none comes again, and
 * new ones do. One that was not seen comes, in an instance in which others were seen too; with many targets under one
 * number, whose descriptors are closed or have others.
 *
 * zdtm: flavour ns
 * zdtm: iters 2
 */
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include "zdtm.h"

static void add(int ep, int fd)
{
	struct epoll_event e = { .events = EPOLLIN | EPOLLOUT | EPOLLET, .data.fd = fd };

	zdtm_must(!epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e));
}

static int take(int ep, int *fd)
{
	struct epoll_event e[8];
	int n = epoll_wait(ep, e, 8, 0);

	*fd = n > 0 ? e[0].data.fd : -1;
	return n;
}

#define MANY 300

static int many[MANY];

/* Eventfds, all added as one number that is closed then; the edges of every second one were seen. */
static int add_many(void)
{
	struct epoll_event e = { .events = EPOLLIN | EPOLLET };
	int ep = epoll_create1(0);

	for (int i = 0; i < MANY; i++) {
		zdtm_must((many[i] = eventfd(i % 2 == 0, 0)) >= 0 && dup2(many[i], 900) == 900);
		e.data.fd = i;
		zdtm_must(!epoll_ctl(ep, EPOLL_CTL_ADD, 900, &e));
	}
	close(900);
	for (int i = 0; i < MANY / 2; i++)
		zdtm_must(epoll_wait(ep, &e, 1, 0) == 1);
	zdtm_must(epoll_wait(ep, &e, 1, 0) == 0);
	for (int i = 1; i < MANY; i += 2)
		zdtm_must(!eventfd_write(many[i], 1));
	return ep;
}

static void check_many(int ep)
{
	struct epoll_event e;
	char got[MANY] = { 0 };

	while (epoll_wait(ep, &e, 1, 0) == 1) {
		zdtm_check(e.data.fd >= 0 && e.data.fd < MANY && !got[e.data.fd], "target %d again", e.data.fd);
		got[e.data.fd % MANY] = 1;
	}
	for (int i = 0; i < MANY; i++)
		zdtm_check(got[i] == i % 2, "target %d: %s", i, got[i] ? "its edge was seen" : "no edge");
	for (int i = 0; i < MANY; i++)
		zdtm_check(!eventfd_write(many[i], 1) && epoll_wait(ep, &e, 1, 0) == 1 && e.data.fd == i,
		           "a new edge of target %d", i);
}

int main(void)
{
	int seen = epoll_create1(0), fresh = epoll_create1(0), ev = eventfd(5, 0), unseen = eventfd(5, 0), p[2], s[2],
	    fd, mixed, ep, in_memory;

	zdtm_must(seen >= 0 && fresh >= 0 && ev >= 0 && unseen >= 0 && !pipe(p));
	zdtm_must(!socketpair(AF_UNIX, SOCK_STREAM, 0, s) && write(p[1], "x", 1) == 1 && write(s[1], "y", 1) == 1);
	add(seen, ev);
	add(seen, p[0]);
	add(seen, p[1]);
	add(seen, s[0]);
	zdtm_must(take(seen, &fd) == 4 && take(seen, &fd) == 0);
	add(fresh, unseen);
	in_memory = !access("/sys/kernel/btf/vmlinux", R_OK) && !geteuid(); /* what the kernel shows nowhere else */
	mixed = epoll_create1(0);
	add(mixed, ev);
	zdtm_must(take(mixed, &fd) == 1);
	add(mixed, unseen);
	ep = add_many();
	zdtm_ready();
	zdtm_wait();
	zdtm_check(take(seen, &fd) == 0, "the edge of %d comes again", fd);
	if (in_memory) {
		zdtm_check(take(mixed, &fd) == 1 && fd == unseen, "one edge of two was not seen: %d", fd);
		check_many(ep);
	}
	zdtm_check(take(fresh, &fd) == 1 && fd == unseen, "the edge that was not seen");
	zdtm_check(write(s[1], "z", 1) == 1 && take(seen, &fd) == 1 && fd == s[0], "a new edge of the socket: %d", fd);
	zdtm_check(eventfd_write(ev, 1) == 0 && take(seen, &fd) == 1 && fd == ev, "a new edge of the eventfd: %d", fd);
	zdtm_check(write(p[1], "x", 1) == 1 && take(seen, &fd) >= 1, "a new edge of the pipe");
	zdtm_pass();
}
