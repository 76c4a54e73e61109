/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * POSIX message queues: descriptors for reading, writing and both, that block and do not, shared and not; messages of
 * all sizes and priorities, a full queue, one of another user, one whose name was removed, one that an epoll instance
 * watches; one process sleeps in mq_receive(3), one in mq_send(3).
 *
 * zdtm: iters 3
 * zdtm: restores 2
 * zdtm: needs-root
 * zdtm: flavour no pidns
 */
#include <mqueue.h>
#include <poll.h>
#include <sys/epoll.h>

#include "zdtm.h"

#define N_MSGS  9
#define MSGSIZE 200

enum { PLAIN, WRITER, EMPTY, FULL, REMOVED, SHARED, N };

static const char *const names[N] = { "/zdtm-plain", "/zdtm-plain",   "/zdtm-empty",
	                              "/zdtm-full",  "/zdtm-removed", "/zdtm-plain" };
static mqd_t queue[N];
static pid_t receiver, sender;
static int epoll;

static mqd_t make(int i, int flags)
{
	struct mq_attr attr = { .mq_maxmsg = i == FULL ? 2 : 10, .mq_msgsize = MSGSIZE };

	queue[i] = mq_open(names[i], flags | O_CREAT, 0640, &attr);
	zdtm_must(queue[i] >= 0);
	return queue[i];
}

static size_t size_of(int i)
{
	return (size_t)(i * 31) % (MSGSIZE + 1);
}

static unsigned prio_of(int i)
{
	return i == 8 ? 32767 : (unsigned)(i * 5) % 3;
}

static void run_receiver(void)
{
	char buf[MSGSIZE];
	unsigned prio;

	_exit(mq_receive(queue[EMPTY], buf, sizeof(buf), &prio) != 3 || memcmp(buf, "yes", 3) || prio != 4);
}

static void run_sender(void)
{
	_exit(mq_send(queue[FULL], "late", 4, 0) != 0);
}

static int is_asleep(pid_t pid)
{
	char path[64], text[256] = "", *state;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	fd = open(path, O_RDONLY);
	zdtm_must(fd >= 0 && read(fd, text, sizeof(text) - 1) > 0);
	close(fd);
	state = strrchr(text, ')');
	return state && state[2] == 'S';
}

static void set_up(void)
{
	struct epoll_event ev = { .events = EPOLLIN, .data.u64 = 77 };
	char buf[MSGSIZE];

	make(PLAIN, O_RDONLY | O_NONBLOCK);
	make(WRITER, O_WRONLY);
	make(EMPTY, O_RDWR);
	make(FULL, O_RDWR);
	make(REMOVED, O_RDWR | O_CLOEXEC);
	queue[SHARED] = dup(queue[PLAIN]);
	zdtm_must(!fchown(queue[FULL], 1234, 2345) && !fchmod(queue[FULL], 0606) && !mq_unlink(names[REMOVED]));
	for (int i = 0; i < N_MSGS; i++) {
		memset(buf, 'a' + i, sizeof(buf));
		zdtm_must(!mq_send(queue[WRITER], buf, size_of(i), prio_of(i)));
	}
	zdtm_must(!mq_send(queue[FULL], "1", 1, 1) && !mq_send(queue[FULL], "2", 1, 2));
	zdtm_must(!mq_send(queue[REMOVED], "gone", 4, 7));
	epoll = epoll_create1(0);
	zdtm_must(epoll >= 0 && !epoll_ctl(epoll, EPOLL_CTL_ADD, queue[EMPTY], &ev));
	receiver = fork();
	zdtm_must(receiver >= 0);
	if (!receiver)
		run_receiver();
	sender = fork();
	zdtm_must(sender >= 0);
	if (!sender)
		run_sender();
	while (!is_asleep(receiver) || !is_asleep(sender))
		zdtm_nap();
}

static void check_receive(int q, const char *what, int with, size_t want, unsigned want_prio)
{
	char buf[MSGSIZE];
	unsigned prio = 0;
	ssize_t size = mq_receive(queue[q], buf, sizeof(buf), &prio);

	zdtm_check(size == (ssize_t)want && prio == want_prio && (!size || buf[size - 1] == with),
	           "%s: %zd bytes of priority %u ending with %d, not %zu, %u, %d", what, size, prio,
	           size > 0 ? buf[size - 1] : 0, want, want_prio, with);
}

/* By priority, then by age. */
static void check_order(void)
{
	check_receive(PLAIN, "the first", 'a' + 8, size_of(8), 32767);
	for (unsigned prio = 3; prio-- > 0;)
		for (int i = 0; i < 8; i++)
			if (prio_of(i) == prio)
				check_receive(i % 2 ? PLAIN : SHARED, "the next", 'a' + i, size_of(i), prio);
	zdtm_check(mq_receive(queue[PLAIN], (char[MSGSIZE]) { 0 }, MSGSIZE, NULL) == -1 && errno == EAGAIN,
	           "there are more: %s", strerror(errno));
}

static void check_attributes(void)
{
	struct mq_attr attr;
	struct stat st;

	zdtm_check(!mq_getattr(queue[FULL], &attr) && attr.mq_maxmsg == 2 && attr.mq_msgsize == MSGSIZE &&
	               attr.mq_curmsgs == 2 && !attr.mq_flags,
	           "full: %ld of %ld messages", attr.mq_curmsgs, attr.mq_maxmsg);
	zdtm_check(!mq_getattr(queue[PLAIN], &attr) && attr.mq_flags == O_NONBLOCK && attr.mq_curmsgs == N_MSGS,
	           "plain: flags %lo, %ld messages", attr.mq_flags, attr.mq_curmsgs);
	zdtm_check(!fstat(queue[FULL], &st) && st.st_uid == 1234 && st.st_gid == 2345 && (st.st_mode & 07777) == 0606,
	           "full: %u, %u, %o", st.st_uid, st.st_gid, st.st_mode);
	zdtm_check(!fstat(queue[REMOVED], &st) && !st.st_nlink, "removed: %lu names", (unsigned long)st.st_nlink);
	zdtm_check(mq_send(queue[PLAIN], "x", 1, 0) == -1 && errno == EBADF, "what is read-only can be written: %s",
	           strerror(errno));
}

static void check_sleepers(void)
{
	struct epoll_event ev;
	int status = -1;

	zdtm_check(epoll_wait(epoll, &ev, 1, 0) == 0, "an event of an empty queue");
	zdtm_check(!mq_send(queue[EMPTY], "yes", 3, 4), "mq_send: %s", strerror(errno));
	zdtm_check(waitpid(receiver, &status, 0) == receiver && !status, "the receiver ended with %x", status);
	zdtm_check(!mq_send(queue[EMPTY], "more", 4, 0), "mq_send: %s", strerror(errno));
	zdtm_check(epoll_wait(epoll, &ev, 1, 0) == 1 && ev.data.u64 == 77, "no event of a queue with a message");
	check_receive(FULL, "full", '2', 1, 2);
	zdtm_check(waitpid(sender, &status, 0) == sender && !status, "the sender ended with %x", status);
	check_receive(FULL, "full", '1', 1, 1);
	check_receive(FULL, "full", 'e', 4, 0);
	check_receive(REMOVED, "removed", 'e', 4, 7);
}

int main(void)
{
	set_up();
	zdtm_ready();
	zdtm_wait();
	check_attributes();
	check_order();
	check_sleepers();
	for (int i = 0; i < N; i++)
		mq_unlink(names[i]);
	zdtm_pass();
	return 0;
}
