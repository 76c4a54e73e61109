/* SPDX-License-Identifier: GPL-2.0-only */
/* Messages of unix sockets, put and taken one at a time, for the tests of socket queues. */
#ifndef UNIX_QUEUE_H
#define UNIX_QUEUE_H

#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "zdtm.h"

struct taken {
	ssize_t n;
	char text[70000];
	int has_cred;
	struct ucred cred;
	int fds[8], n_fds;
	struct sockaddr_un from;
	socklen_t from_len;
};

static struct taken taken;

/* One recvmsg of `want` bytes at most into `taken`. */
__attribute__((unused)) static ssize_t take(int fd, size_t want)
{
	union {
		char bytes[512];
		struct cmsghdr align;
	} c;
	struct iovec iov = { taken.text, want < sizeof(taken.text) ? want : sizeof(taken.text) - 1 };
	struct msghdr mh = { &taken.from, sizeof(taken.from), &iov, 1, &c, sizeof(c), 0 };

	memset(&taken, 0, sizeof(taken));
	taken.n = recvmsg(fd, &mh, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	if (taken.n < 0)
		return -errno;
	taken.from_len = mh.msg_namelen;
	for (struct cmsghdr *m = CMSG_FIRSTHDR(&mh); m; m = CMSG_NXTHDR(&mh, m)) {
		if (m->cmsg_type == SCM_CREDENTIALS) {
			taken.has_cred = 1;
			memcpy(&taken.cred, CMSG_DATA(m), sizeof(taken.cred));
		}
		if (m->cmsg_type == SCM_RIGHTS) {
			taken.n_fds = (m->cmsg_len - CMSG_LEN(0)) / sizeof(int);
			memcpy(taken.fds, CMSG_DATA(m), taken.n_fds * sizeof(int));
		}
	}
	return taken.n;
}

/* The next message is this text. */
#define expect(fd, want, what)                                                                                         \
	zdtm_check(take((fd), sizeof(taken.text)) == (ssize_t)strlen(want) && !strcmp(taken.text, (want)),             \
	           "%s: expected '%s', not %zd bytes '%.40s'", (what), (want), taken.n, taken.text)

#define expect_nothing(fd)                                                                                             \
	zdtm_check(take((fd), sizeof(taken.text)) == -EAGAIN, "more is there: %zd bytes '%.40s'", taken.n, taken.text)

#define sent_by(p, u)                                                                                                  \
	zdtm_check(taken.has_cred &&taken.cred.pid == (p) && (int)taken.cred.uid == (u) && (int)taken.cred.gid == (u), \
	           "'%.40s' is from pid %d, uid %d, gid %d, not from pid %d, id %d", taken.text, taken.cred.pid,       \
	           taken.cred.uid, taken.cred.gid, (p), (u))

__attribute__((unused)) static void put(int fd, const char *text)
{
	zdtm_must(send(fd, text, strlen(text), MSG_DONTWAIT) == (ssize_t)strlen(text));
}

__attribute__((unused)) static void put_fds(int fd, const char *text, const int *fds, int n)
{
	union {
		char bytes[CMSG_SPACE(8 * sizeof(int))];
		struct cmsghdr align;
	} c = { .align = { CMSG_LEN(n * sizeof(int)), SOL_SOCKET, SCM_RIGHTS } };
	struct iovec iov = { (void *)(uintptr_t)text, strlen(text) };
	struct msghdr mh = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &c };

	mh.msg_controllen = CMSG_SPACE(n * sizeof(int));
	memcpy(CMSG_DATA(&c.align), fds, n * sizeof(int));
	zdtm_must(sendmsg(fd, &mh, MSG_DONTWAIT) == (ssize_t)strlen(text));
}

__attribute__((unused)) static void set(int fd, int name, int v)
{
	zdtm_must(!setsockopt(fd, SOL_SOCKET, name, &v, sizeof(v)));
}

__attribute__((unused)) static int get(int fd, int name)
{
	int v = -77;

	getsockopt(fd, SOL_SOCKET, name, &v, &(socklen_t) { sizeof(v) });
	return v;
}

/* A process with that id sends a text and ends; its pid. */
__attribute__((unused)) static pid_t put_by_other(int fd, const char *text, uid_t id)
{
	int status, pid = fork();

	if (!pid) {
		zdtm_must(!setresgid(id, id, id) && !setresuid(id, id, id));
		put(fd, text);
		_exit(0);
	}
	zdtm_must(waitpid(pid, &status, 0) == pid && !status);
	return pid;
}

__attribute__((unused)) static socklen_t address(struct sockaddr_un *a, const char *name)
{
	memset(a, 0, sizeof(*a));
	a->sun_family = AF_UNIX;
	return offsetof(struct sockaddr_un, sun_path) + 1 +
	       snprintf(a->sun_path + 1, sizeof(a->sun_path) - 1, "zdtm-%s-%d", name, getpid());
}

#endif
