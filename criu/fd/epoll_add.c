/* SPDX-License-Identifier: GPL-2.0-only */
#include <fcntl.h>
#include <sched.h>
#include <sys/epoll.h>
#include <sys/resource.h>

#include "fd/epoll_add.h"
#include "helper/helper.h"

/* What stays when an EPOLLONESHOT has fired (kernel: EP_PRIVATE_BITS), and all that can be waited for. */
#define BEHAVIOUR (EPOLLWAKEUP | EPOLLONESHOT | (uint32_t)EPOLLET | EPOLLEXCLUSIVE)
#define ANYTHING  (~BEHAVIOUR)

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

/* Before `number` is taken: whatever of ours has it goes elsewhere. */
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
 * The kernel adds EPOLLERR and EPOLLHUP to whatever is asked for; only an event that was taken disarms. Where there is
 * none to be had, it waits for these two, and nothing else.
 */
static int disarm(int epfd, int number, const struct epoll_event *wanted)
{
	struct epoll_event ev;

	if (epoll_wait(epfd, &ev, 1, 0) > 0)
		return 0;
	ev = *wanted;
	return epoll_ctl(epfd, EPOLL_CTL_MOD, number, &ev) ? -errno : 0;
}

static int add_one(struct epoll_batch *b, size_t i)
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
	return disarmed ? disarm(b->epfd, one->number, &wanted) : 0;
}

/* In a helper's own descriptor table, which is closed before the helper is waited for. */
static int add_all(void *arg)
{
	struct epoll_batch *mine = arg, b = *mine;
	int err = 0;

	for (size_t i = 0; !err && i < b.n; i++) {
		err = add_one(&b, i);
		if (err)
			mine->failed = &mine->one[i];
	}
	return err;
}

int epoll_add_batch(struct epoll_batch *b)
{
	return helper_run(&(struct helper_spec) { .flags = CLONE_VM }, add_all, b);
}
