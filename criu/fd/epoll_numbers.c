/* SPDX-License-Identifier: GPL-2.0-only */
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include "fd/epoll_numbers.h"
#include "helper/helper.h"
#include "lib/log.h"
#include "lib/own_pids.h"

/* What stays when an EPOLLONESHOT has fired (EP_PRIVATE_BITS of the kernel), and all that can be waited for. */
#define BEHAVIOUR (EPOLLWAKEUP | EPOLLONESHOT | (uint32_t)EPOLLET | EPOLLEXCLUSIVE)
#define ANYTHING  (~BEHAVIOUR)

/* ---- adding ---- */

bool epoll_is_disarmed(uint32_t events)
{
	return (events & EPOLLONESHOT) && !(events & ANYTHING);
}

bool epoll_number_possible(int number)
{
	struct rlimit lim;

	if (getrlimit(RLIMIT_NOFILE, &lim) || (rlim_t)number < lim.rlim_cur)
		return true;
	lim.rlim_cur = (rlim_t)number + 1;
	lim.rlim_max = MAX(lim.rlim_max, lim.rlim_cur);
	return !setrlimit(RLIMIT_NOFILE, &lim);
}

/* Before `number` is used: a descriptor of ours that has it moves elsewhere. */
static int move_away(struct epoll_batch *b, size_t from, int number)
{
	for (size_t i = from; i < b->n; i++) {
		if (b->one[i].fd != number)
			continue;
		b->one[i].fd = fcntl(number, F_DUPFD_CLOEXEC, 0);
		if (b->one[i].fd < 0)
			return -errno;
	}
	if (b->epfd != number)
		return 0;
	b->epfd = fcntl(number, F_DUPFD_CLOEXEC, 0);
	return b->epfd < 0 ? -errno : 0;
}

/*
 * The kernel adds EPOLLERR and EPOLLHUP to what is asked for; only taking an event disarms. Where no event comes,
 * it waits for these two, and nothing else.
 */
static int disarm_number(int epfd, int number, const struct epoll_event *wanted)
{
	struct epoll_event ev;

	if (epoll_wait(epfd, &ev, 1, 0) > 0)
		return 0;
	ev = *wanted;
	return epoll_ctl(epfd, EPOLL_CTL_MOD, number, &ev) ? -errno : 0;
}

static int add_number(struct epoll_batch *b, size_t i)
{
	const struct epoll_one *one = &b->one[i];
	bool disarmed = epoll_is_disarmed(one->events);
	struct epoll_event wanted = { .events = one->events, .data.u64 = one->data }, ev = wanted;
	int err = move_away(b, i + 1, one->number);

	if (disarmed)
		ev.events |= ANYTHING;
	if (err)
		return err;
	if (one->fd != one->number && dup3(one->fd, one->number, O_CLOEXEC) < 0)
		return -errno;
	if (epoll_ctl(b->epfd, EPOLL_CTL_ADD, one->number, &ev))
		return -errno;
	if (one->seen)
		epoll_wait(b->epfd, &ev, 1, 0);
	return disarmed ? disarm_number(b->epfd, one->number, &wanted) : 0;
}

/* In a helper's own descriptor table, which is closed before the helper is waited for. */
static int add_numbers(void *arg)
{
	struct epoll_batch *mine = arg, b = *mine;
	int err = 0;

	for (size_t i = 0; !err && i < b.n; i++) {
		err = add_number(&b, i);
		if (err)
			mine->failed = &mine->one[i];
	}
	return err;
}

int epoll_add_batch(struct epoll_batch *b)
{
	int err = helper_run(&(struct helper_spec) { .flags = CLONE_VM }, add_numbers, b);

	return err && !b->failed ? log_errno(err, "clone3 of a helper that adds descriptors to epolls") : err;
}

/* ---- asking ---- */

/*
 * Setting it again puts it into the list of what is ready, if it is. Level-triggered ones that are ready are in that
 * list anyway; an edge would be reported twice. The kernel adds errors and hangups, which a disarmed one does not have.
 */
bool epoll_can_guess(uint32_t events)
{
	return !(events & ((uint32_t)EPOLLET | EPOLLEXCLUSIVE | EPOLLWAKEUP)) && !epoll_is_disarmed(events) &&
	       (events & (EPOLLERR | EPOLLHUP)) == (EPOLLERR | EPOLLHUP);
}

struct guess_job {
	int efd, pidfd;
	struct epoll_guess *g;
	size_t n;
};

/* The instance finds a file by its description and number together. */
static bool is_guess_right(const struct guess_job *j, const struct epoll_guess *g)
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

/* In a table of its own, in which all these numbers are free. */
static void *guess_numbers(void *arg)
{
	struct guess_job j = *(struct guess_job *)arg;
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
			j.g[i].right = is_guess_right(&j, &j.g[i]);
	}
	syscall(SYS_close_range, 0, ~0U, 0);
	return NULL;
}

void epoll_guess(int efd, int pidfd, struct epoll_guess *g, size_t n)
{
	struct guess_job j = { .efd = efd, .pidfd = pidfd, .g = g, .n = n };
	pthread_t thread;

	if (!own_pids_thread(&thread, guess_numbers, &j))
		pthread_join(thread, NULL);
}
