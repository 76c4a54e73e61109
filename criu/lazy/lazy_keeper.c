/* SPDX-License-Identifier: GPL-2.0-only */
/* The process that goes on when the daemon is killed, and the log that it reads: lazy_server.h. */
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "helper/helper.h"
#include "lazy/lazy_server.h"
#include "lib/log.h"

#define RECORDS  65536U
#define LOG_SIZE (sizeof(struct lazy_log) + RECORDS * sizeof(struct lazy_record))

/* ---- the log ---- */

struct lazy_record *lazy_next_record(struct lazy_server *s)
{
	/* All that stands in the log has been done: a keeper that is born now knows it. */
	if (!s->log || (s->log->n >= RECORDS - 1 && lazy_keeper_start(s)))
		return NULL;
	return &s->log->v[s->log->n];
}

void lazy_logged(struct lazy_server *s)
{
	__atomic_fetch_add(&s->log->n, 1, __ATOMIC_SEQ_CST);
}

void lazy_note(struct lazy_server *s, enum lazy_what what, vpid_t vpid, int fd)
{
	struct lazy_record *r = s->log ? lazy_next_record(s) : NULL;

	if (!r)
		return;
	*r = (struct lazy_record) { .what = what, .vpid = vpid.v, .fd = fd };
	lazy_logged(s);
}

/* ---- the keeper ---- */

static int replay_all(struct lazy_server *s)
{
	const struct lazy_log *log = s->log;
	const struct lazy_record *last = &log->v[log->n];
	int err = 0;

	for (uint64_t i = 0; i < log->n; i++)
		err = lazy_replay(s, &log->v[i]) ?: err;
	/* A message that was read, and no more than that. */
	if (last->what == LAZY_MESSAGE && last->msg.event)
		err = lazy_replay(s, last) ?: err;
	return err;
}

/* Answers may have been lost with the daemon, and so may what waits for one. */
static int watch_all(struct lazy_server *s)
{
	int err = 0;

	for (size_t i = 0; i < s->n_by_fd; i++) {
		if (!s->by_fd[i])
			continue;
		err = lazy_watch_fd(s, (int)i) ?: err;
		s->by_fd[i]->n_waiting = 0;
		lazy_space_wake_all(s->by_fd[i]);
	}
	return err;
}

/*
 * A restore that had not sent all of its tasks ends when its connection does; one whose memory is on another host must
 * not be done any more.
 */
static void end_connection(struct lazy_server *s)
{
	if (!s->finished)
		s->err = log_errno(-ECONNRESET, "the restore was not done yet: it fails");
	else if (s->restore >= 0)
		lazy_answer(s->restore, s->asker ? LAZY_LOST : LAZY_HELD);
	if (s->restore >= 0) {
		/* The next one knows: the number may be a child's userfaultfd soon. */
		lazy_note(s, LAZY_CLOSED, VPID(0), s->restore);
		close(s->restore);
	}
	s->restore = -1;
	for (size_t i = 0; i < LAZY_PEERS; i++)
		s->peers[i].fd = -1; /* closed, and perhaps another one's number by now */
}

static int take_over(struct lazy_server *s)
{
	int err;

	log_warn("the lazy-pages daemon was killed: pid %d goes on in its place", getpid());
	s->epoll = -1; /* with what the daemon has put into it */
	if (s->asker)  /* where it was in the middle of an answer is not known */
		page_asker_give_up(s->asker, -EPIPE);
	err = replay_all(s);
	s->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (s->epoll < 0)
		return log_errno(-errno, "epoll_create1");
	s->log = NULL;
	s->keeper = 0;
	s->keeper_pidfd = -1;
	err = lazy_keeper_start(s) ?: err;
	end_connection(s);
	err = watch_all(s) ?: err;
	err = lazy_loop(s) ?: err;
	lazy_keeper_end(s);
	return err;
}

static void leave_terminal(void)
{
	static const int ends[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGPIPE };

	setsid();
	for (size_t i = 0; i < ARRAY_SIZE(ends); i++)
		signal(ends[i], SIG_IGN);
	prctl(PR_SET_NAME, "lazy-keeper");
}

static int keep_pages(void *arg)
{
	struct lazy_server *s = arg;
	struct pollfd daemon = { .fd = s->own_pidfd, .events = POLLIN };

	leave_terminal();
	while (poll(&daemon, 1, -1) < 0 && errno == EINTR)
		;
	if (__atomic_load_n(&s->shared->ended, __ATOMIC_SEQ_CST) ||
	    __atomic_load_n(&s->shared->keeper, __ATOMIC_SEQ_CST) != s->keeper_number)
		return 0;
	return take_over(s) ? 1 : 0;
}

static void *map_shared(size_t size)
{
	void *at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return at == MAP_FAILED ? NULL : at;
}

static void end_old(pid_t pid, int pidfd, struct lazy_log *log)
{
	if (log)
		munmap(log, LOG_SIZE);
	if (!pid)
		return;
	helper_kill(pid);
	close(pidfd);
}

static bool has_ended(int pidfd)
{
	struct pollfd p = { .fd = pidfd, .events = POLLIN };

	return pidfd < 0 || poll(&p, 1, 0) != 0;
}

/* One that stands goes on being the one until the new one is there; where none does, the new one is from its birth. */
int lazy_keeper_start(struct lazy_server *s)
{
	struct lazy_log *old = s->log, *log = map_shared(LOG_SIZE);
	pid_t old_pid = s->keeper;
	int old_pidfd = s->keeper_pidfd;
	const struct helper_spec spec = { .flags = CLONE_FILES, .outlives = true, .pidfd = &s->keeper_pidfd };

	s->shared = s->shared ?: map_shared(sizeof(*s->shared));
	if (!s->shared || !log)
		return log_errno(-ENOMEM, "mmap of the log for a process that goes on if this one is killed");
	if (s->owner != getpid()) { /* the descriptor of the daemon before stays the keepers' */
		s->owner = getpid();
		s->own_pidfd = (int)syscall(SYS_pidfd_open, s->owner, 0);
	}
	s->log = log;
	s->keeper_number++;
	if (has_ended(old_pidfd))
		__atomic_store_n(&s->shared->keeper, s->keeper_number, __ATOMIC_SEQ_CST);
	s->keeper = helper_start(&spec, keep_pages, s);
	if (s->keeper < 0) {
		int err = s->keeper;

		s->log = old;
		s->keeper = old_pid;
		s->keeper_pidfd = old_pidfd;
		s->keeper_number--;
		munmap(log, LOG_SIZE);
		return log_errno(err, "clone3 of a process that goes on if this one is killed");
	}
	__atomic_store_n(&s->shared->keeper, s->keeper_number, __ATOMIC_SEQ_CST);
	end_old(old_pid, old_pidfd, old);
	return lazy_watch_fd(s, s->keeper_pidfd);
}

void lazy_keeper_end(struct lazy_server *s)
{
	if (s->n_spaces) /* the daemon cannot go on: the keeper does */
		return;
	if (s->shared)
		__atomic_store_n(&s->shared->ended, 1, __ATOMIC_SEQ_CST);
	if (s->log)
		end_old(s->keeper, s->keeper_pidfd, s->log);
	s->log = NULL;
}
