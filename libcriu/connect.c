/* SPDX-License-Identifier: LGPL-2.1-only */
/* The way to criu: a descriptor, the socket of a service, or `criu swrk`, started for one request. */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "inner.h"

#define FIRST_FREE 3 /* descriptors below are not for the connection: criu may find them closed, and fills them */

/* -ECONNREFUSED with the errno of what failed; fd is closed. */
static int refused(int fd)
{
	int err = errno;

	if (fd >= 0)
		close(fd);
	errno = err;
	return -ECONNREFUSED;
}

static int no_descriptor(void)
{
	errno = EBADF;
	return -ECONNREFUSED;
}

static int connect_service(const char *path)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd;

	if (!path || strlen(path) >= sizeof(addr.sun_path)) {
		errno = path ? ENAMETOOLONG : EINVAL;
		return -ECONNREFUSED;
	}
	strcpy(addr.sun_path, path);
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -ECONNREFUSED;
	while (connect(fd, (struct sockaddr *)&addr, sizeof(addr)))
		if (errno != EINTR)
			return refused(fd);
	return fd;
}

/* ---- criu swrk ---- */

struct start {
	const criu_opts *opts;
	const char *binary;
	char number[12]; /* of the connection in criu */
	int fd;          /* the connection, in criu */
	bool self;
	sigset_t mask; /* the caller's */
};

/* In the child from here on: nothing that takes a lock, for other threads may have held it when they were left out. */

/* execve(2) does that too, but what comes before must not run the caller's handlers. */
static void default_handlers(void)
{
	for (int sig = 1; sig < NSIG; sig++) {
		struct sigaction now;

		if (!sigaction(sig, NULL, &now) && now.sa_handler != SIG_IGN)
			signal(sig, SIG_DFL);
	}
}

/* Descriptors that criu is told to use by number are inherited, whatever the caller's flags are. */
static void keep_over_exec(const struct start *s)
{
	const CriuOpts *o = s->opts->rpc;

	fcntl(s->fd, F_SETFD, 0);
	for (size_t i = 0; i < o->n_inherit_fd; i++)
		fcntl(o->inherit_fd[i]->fd, F_SETFD, 0);
}

static _Noreturn void become_criu(const struct start *s)
{
	char *argv[] = { (char *)s->binary, (char *)"swrk", (char *)s->number, NULL };
	struct libcriu_no_exec said = { .words = LIBCRIU_NO_EXEC };
	pid_t pid = getpid();

	keep_over_exec(s);
	if (send(s->fd, &pid, sizeof(pid), MSG_NOSIGNAL) == sizeof(pid)) {
		sigprocmask(SIG_SETMASK, &s->mask, NULL);
		execvp(s->binary, argv);
		said.err = errno;
		send(s->fd, &said, sizeof(said), MSG_NOSIGNAL);
	}
	_exit(127);
}

/* A criu that dumps the caller cannot be below it: a session of its own, and no parent but init. */
static _Noreturn void child_main(const struct start *s)
{
	default_handlers();
	if (s->self) {
		pid_t pid;

		setsid();
		pid = fork();
		if (pid)
			_exit(pid < 0);
	}
	become_criu(s);
}

/* ---- in the caller again ---- */

static void wait_for(pid_t pid)
{
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
}

/* Handlers of the caller's do not run in the child. The child, or -1. */
static pid_t fork_child(struct start *s)
{
	sigset_t all;
	pid_t pid;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &s->mask);
	pid = fork();
	if (!pid)
		child_main(s);
	pthread_sigmask(SIG_SETMASK, &s->mask, NULL);
	return pid;
}

/* The pid that criu has in the caller's pid namespace, by which the child says that it is on its way. */
static int await_pid(int fd)
{
	pid_t pid = 0;
	ssize_t n;

	do
		n = recv(fd, &pid, sizeof(pid), 0);
	while (n < 0 && errno == EINTR);
	if (n != sizeof(pid) || pid <= 0) {
		errno = n < 0 ? errno : ECHILD;
		return -ECONNREFUSED;
	}
	return 0;
}

/* Both ends above the standard descriptors, closed by execve(2). */
static int make_pair(int sk[2])
{
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sk))
		return -ECONNREFUSED;
	for (int i = 0; i < 2; i++) {
		int high = sk[i] < FIRST_FREE ? fcntl(sk[i], F_DUPFD_CLOEXEC, FIRST_FREE) : sk[i];

		if (high < 0) {
			refused(sk[0]);
			return refused(sk[1]);
		}
		if (high != sk[i])
			close(sk[i]);
		sk[i] = high;
	}
	return 0;
}

static int start_criu(criu_opts *opts, bool self, struct libcriu_peer *peer)
{
	struct start s = { .opts = opts, .binary = opts->binary ? opts->binary : "criu", .self = self };
	int sk[2], err;
	pid_t pid;

	err = make_pair(sk);
	if (err)
		return err;
	s.fd = sk[1];
	snprintf(s.number, sizeof(s.number), "%d", s.fd);
	pid = fork_child(&s);
	if (pid < 0) {
		refused(sk[1]);
		return refused(sk[0]);
	}
	close(sk[1]);
	peer->fd = sk[0];
	peer->child = self ? 0 : pid;
	peer->apart = self;
	if (self)
		wait_for(pid);
	err = await_pid(sk[0]);
	if (err)
		libcriu_disconnect(peer);
	return err;
}

int libcriu_connect(criu_opts *opts, bool self, struct libcriu_peer *peer)
{
	*peer = (struct libcriu_peer) { .fd = -1 };
	switch (opts->comm) {
	case CRIU_COMM_SK:
		peer->fd = connect_service(opts->address);
		return peer->fd < 0 ? peer->fd : 0;
	case CRIU_COMM_FD:
		peer->fd = opts->fd;
		opts->fd = -1;
		return peer->fd < 0 ? no_descriptor() : 0;
	case CRIU_COMM_BIN:
		return start_criu(opts, self, peer);
	}
	return libcriu_fail(-EINVAL);
}

void libcriu_disconnect(struct libcriu_peer *peer)
{
	struct pollfd closed = { .fd = peer->fd };
	int err = errno;

	if (peer->fd < 0)
		return;
	/* Its end of the connection goes when it does. */
	while (peer->apart && poll(&closed, 1, -1) < 0 && errno == EINTR)
		;
	close(peer->fd);
	if (peer->child)
		wait_for(peer->child);
	peer->fd = -1;
	errno = err;
}
