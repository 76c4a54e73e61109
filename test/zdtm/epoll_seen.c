/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Edges (EPOLLET): of an instance without events all were seen, though what it watches is ready: none comes again, and
 * new ones do. One that was not seen comes.
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

int main(void)
{
	int seen = epoll_create1(0), fresh = epoll_create1(0), ev = eventfd(5, 0), unseen = eventfd(5, 0), p[2], s[2],
	    fd;

	zdtm_must(seen >= 0 && fresh >= 0 && ev >= 0 && unseen >= 0 && !pipe(p));
	zdtm_must(!socketpair(AF_UNIX, SOCK_STREAM, 0, s) && write(p[1], "x", 1) == 1 && write(s[1], "y", 1) == 1);
	add(seen, ev);
	add(seen, p[0]);
	add(seen, p[1]);
	add(seen, s[0]);
	zdtm_must(take(seen, &fd) == 4 && take(seen, &fd) == 0);
	add(fresh, unseen);
	zdtm_ready();
	zdtm_wait();
	zdtm_check(take(seen, &fd) == 0, "the edge of %d comes again", fd);
	zdtm_check(take(fresh, &fd) == 1 && fd == unseen, "the edge that was not seen");
	zdtm_check(write(s[1], "z", 1) == 1 && take(seen, &fd) == 1 && fd == s[0], "a new edge of the socket: %d", fd);
	zdtm_check(eventfd_write(ev, 1) == 0 && take(seen, &fd) == 1 && fd == ev, "a new edge of the eventfd: %d", fd);
	zdtm_check(write(p[1], "x", 1) == 1 && take(seen, &fd) >= 1, "a new edge of the pipe");
	zdtm_pass();
}
