/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Credentials of messages that wait in queues: of ourselves, of a living child, of processes that are gone, of another
 * user, named by a privileged sender, and none; to receivers with SO_PASSCRED and to some without.
 *
 * zdtm: needs-root
 * zdtm: iters 2
 * zdtm: no-userns sends credentials of others
 * zdtm: flavour pidns
 */
#include "unix_queue.h"

struct queue {
	int fd[2];
	pid_t gone, user;
};

static pid_t kid;

static void put_as(int fd, const char *text, pid_t pid, uid_t id)
{
	union {
		char bytes[CMSG_SPACE(sizeof(struct ucred))];
		struct cmsghdr align;
	} c = { .align = { CMSG_LEN(sizeof(struct ucred)), SOL_SOCKET, SCM_CREDENTIALS } };
	struct iovec iov = { (void *)(uintptr_t)text, strlen(text) };
	struct msghdr mh = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &c, .msg_controllen = sizeof(c) };
	struct ucred cred = { pid, id, id };

	memcpy(CMSG_DATA(&c.align), &cred, sizeof(cred));
	zdtm_must(sendmsg(fd, &mh, MSG_DONTWAIT) == (ssize_t)strlen(text));
}

static void fill(struct queue *q, int type, int passcred)
{
	zdtm_must(!socketpair(AF_UNIX, type, 0, q->fd));
	put(q->fd[0], "nobody");
	set(q->fd[1], SO_PASSCRED, 1);
	put(q->fd[0], "me");
	q->gone = put_by_other(q->fd[0], "gone", 0);
	q->user = put_by_other(q->fd[0], "user", 1234);
	put_as(q->fd[0], "named", kid, 77);
	set(q->fd[1], SO_PASSCRED, 0);
	put(q->fd[0], "nobody again");
	set(q->fd[1], SO_PASSCRED, passcred);
	if (passcred)
		put(q->fd[0], "last");
}

static void check(struct queue *q, int passcred)
{
	int fd = q->fd[1];

	zdtm_check(get(fd, SO_PASSCRED) == passcred, "SO_PASSCRED is %d", get(fd, SO_PASSCRED));
	zdtm_check(get(q->fd[0], SO_PASSCRED) == 0, "the sender's SO_PASSCRED is on");
	set(fd, SO_PASSCRED, 1);
	expect(fd, "nobody", "from before SO_PASSCRED");
	sent_by(0, 65534);
	expect(fd, "me", "ours");
	sent_by(getpid(), 0);
	expect(fd, "gone", "by one who is gone");
	sent_by(q->gone, 0);
	expect(fd, "user", "by another user");
	sent_by(q->user, 1234);
	expect(fd, "named", "in the name of a child");
	sent_by(kid, 77);
	expect(fd, "nobody again", "without SO_PASSCRED");
	sent_by(0, 65534);
	if (passcred) {
		expect(fd, "last", "the last");
		sent_by(getpid(), 0);
	}
	put(q->fd[0], "new");
	expect(fd, "new", "a new one");
	sent_by(getpid(), 0);
	expect_nothing(fd);
}

int main(void)
{
	static const int types[] = { SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET };
	struct queue with[3], without[3];
	int status;

	zdtm_must((kid = fork()) >= 0);
	if (!kid) {
		zdtm_wait();
		_exit(0);
	}
	for (int i = 0; i < 3; i++) {
		fill(&with[i], types[i], 1);
		fill(&without[i], types[i], 0);
	}
	zdtm_ready();
	zdtm_wait();
	zdtm_check(waitpid(kid, &status, 0) == kid && !status, "the child: %x", status);
	for (int i = 0; i < 3; i++) {
		check(&with[i], 1);
		check(&without[i], 0);
	}
	zdtm_pass();
}
