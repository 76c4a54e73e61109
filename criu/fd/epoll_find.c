/* SPDX-License-Identifier: GPL-2.0-only */
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <sys/epoll.h>
#include <sys/syscall.h>

#include "fd/epoll_add.h"
#include "fd/epoll_find.h"

/*
 * To set it anew links it into the list of what is ready, if it is. Level-triggered ones that are ready are in there;
 * an edge would be told a second time. The kernel adds errors and hangups, which one that is disarmed does not have.
 */
bool epoll_can_guess(uint32_t events)
{
	return !(events & ((uint32_t)EPOLLET | EPOLLEXCLUSIVE | EPOLLWAKEUP)) && !epoll_is_disarmed(events) &&
	       (events & (EPOLLERR | EPOLLHUP)) == (EPOLLERR | EPOLLHUP);
}

struct job {
	int efd, pidfd;
	struct epoll_guess *g;
	size_t n;
};

/* The instance finds a file by its description and number together. */
static bool is_right(const struct job *j, const struct epoll_guess *g)
{
	struct epoll_event same = { .events = g->events, .data.u64 = g->data };
	int fd = (int)syscall(SYS_pidfd_getfd, j->pidfd, g->number, 0);
	bool right = fd >= 0 && (fd == g->number || dup3(fd, g->number, O_CLOEXEC) == g->number) &&
	             !epoll_ctl(j->efd, EPOLL_CTL_MOD, g->number, &same);

	if (fd >= 0)
		close(fd);
	if (fd != g->number)
		close(g->number);
	return right;
}

/*
 * In a table of its own, in which all these numbers are free. A thread, not a helper: where Yama restricts ptrace(2),
 * pidfd_getfd(2) is allowed to the thread group of the tracer alone.
 */
static void *guess_all(void *arg)
{
	struct job j = *(struct job *)arg;
	int highest = 0;

	if (unshare(CLONE_FILES))
		return NULL;
	for (size_t i = 0; i < j.n; i++)
		highest = MAX(highest, j.g[i].number);
	j.efd = fcntl(j.efd, F_DUPFD_CLOEXEC, highest + 1);
	j.pidfd = fcntl(j.pidfd, F_DUPFD_CLOEXEC, highest + 1);
	if (j.efd >= 0 && j.pidfd >= 0) {
		syscall(SYS_close_range, 0, highest, 0);
		for (size_t i = 0; i < j.n; i++)
			j.g[i].right = is_right(&j, &j.g[i]);
	}
	syscall(SYS_close_range, 0, ~0U, 0);
	return NULL;
}

void epoll_guess(int efd, int pidfd, struct epoll_guess *g, size_t n)
{
	struct job j = { .efd = efd, .pidfd = pidfd, .g = g, .n = n };
	pthread_t thread;

	if (!pthread_create(&thread, NULL, guess_all, &j))
		pthread_join(thread, NULL);
}
