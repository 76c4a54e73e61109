/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Epoll instances that watch a signalfd, edge-triggered and not, also by way of another instance: they tell of signals
 * that come later, each those of the process that added the signalfd, though a child has the same descriptors, and one
 * of its own.
 *
 * zdtm: flavour ns
 * zdtm: iters 2
 */
#include <poll.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/wait.h>

#include "zdtm.h"

struct watch {
	int sfd, efd, edge, outer;
};

static void begin(struct watch *w)
{
	struct epoll_event level = { .events = EPOLLIN, .data.u64 = 7 };
	struct epoll_event edge = { .events = EPOLLIN | EPOLLET, .data.u64 = 8 };
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	zdtm_must(!sigprocmask(SIG_BLOCK, &set, NULL));
	zdtm_must((w->sfd = signalfd(-1, &set, SFD_NONBLOCK)) >= 0);
	zdtm_must((w->efd = epoll_create1(0)) >= 0 && (w->edge = epoll_create1(0)) >= 0);
	zdtm_must((w->outer = epoll_create1(0)) >= 0);
	zdtm_must(!epoll_ctl(w->efd, EPOLL_CTL_ADD, w->sfd, &level) &&
	          !epoll_ctl(w->edge, EPOLL_CTL_ADD, w->sfd, &edge));
	zdtm_must(!epoll_ctl(w->outer, EPOLL_CTL_ADD, w->efd, &level));
}

static int tells(int efd, uint64_t data)
{
	struct epoll_event ev = { 0 };

	return epoll_wait(efd, &ev, 1, 0) == 1 && ev.events == EPOLLIN && ev.data.u64 == data;
}

static int is_quiet(const struct watch *w)
{
	struct epoll_event ev;

	return !epoll_wait(w->efd, &ev, 1, 0) && !epoll_wait(w->edge, &ev, 1, 0) && !epoll_wait(w->outer, &ev, 1, 0);
}

/* 0: all is right. */
static int look(const struct watch *w)
{
	struct signalfd_siginfo si;
	int wrong = !is_quiet(w);

	kill(getpid(), SIGUSR1);
	wrong |= !tells(w->outer, 7) << 1 | !tells(w->efd, 7) << 2 | !tells(w->edge, 8) << 3;
	wrong |= tells(w->edge, 8) << 4 | (read(w->sfd, &si, sizeof(si)) != sizeof(si)) << 5;
	return wrong | !is_quiet(w) << 6;
}

static void child(int ask, int answer)
{
	struct watch w;
	char c;

	begin(&w);
	c = (char)look(&w);
	while (write(answer, &c, 1) == 1 && read(ask, &c, 1) == 1)
		c = (char)look(&w);
	exit(0);
}

int main(void)
{
	int ask[2], answer[2], wrong;
	struct watch w;
	char c = 0;

	zdtm_must(!pipe(ask) && !pipe(answer));
	begin(&w);
	if (!fork()) {
		close(ask[1]);
		child(ask[0], answer[1]);
	}
	zdtm_must(!look(&w) && read(answer[0], &c, 1) == 1 && !c);
	zdtm_ready();
	zdtm_wait();
	wrong = look(&w);
	zdtm_check(!wrong, "the parent's are wrong: %x", wrong);
	zdtm_must(write(ask[1], &c, 1) == 1 && read(answer[0], &c, 1) == 1);
	zdtm_check(!c, "the child's are wrong: %x", c);
	zdtm_pass();
}
