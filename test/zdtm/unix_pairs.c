/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Unix socket pairs of all three types: what waits in both directions, half-shut ones, ones whose peer is gone with
 * something left to read, with an error, flags, options, ends in another process and shared by two.
 *
 * zdtm: flavour ns
 * zdtm: iters 2
 */
#include <poll.h>
#include <sys/socket.h>

#include "zdtm.h"

enum { STREAM, DGRAM, SEQ, N };

static const int types[N] = { SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET };
static int plain[N][2], shut[N][2], gone[N], reset[2];

static void say(int fd, const char *s)
{
	zdtm_must(send(fd, s, strlen(s), MSG_NOSIGNAL) == (ssize_t)strlen(s));
}

static void hears(const char *what, int fd, const char *s)
{
	char buf[100] = "";
	ssize_t n = recv(fd, buf, sizeof(buf) - 1, MSG_DONTWAIT);

	zdtm_check(n == (ssize_t)strlen(s) && !strcmp(buf, s), "%s: '%s' (%zd, %s) instead of '%s'", what, buf, n,
	           n < 0 ? strerror(errno) : "", s);
}

static void empty(const char *what, int fd)
{
	char c;

	zdtm_check(recv(fd, &c, 1, MSG_DONTWAIT) == -1 && errno == EAGAIN, "%s: not empty, or it ends", what);
}

static void ends(const char *what, int fd)
{
	char c;

	zdtm_check(recv(fd, &c, 1, MSG_DONTWAIT) == 0, "%s: does not end", what);
}

static void setup(void)
{
	int sv[2];

	for (int i = 0; i < N; i++) {
		zdtm_must(!socketpair(AF_UNIX, types[i], 0, plain[i]) && !socketpair(AF_UNIX, types[i], 0, shut[i]));
		say(plain[i][0], "one");
		say(plain[i][0], "second");
		say(plain[i][1], "back");
		say(shut[i][0], "before");
		say(shut[i][1], "other way");
		zdtm_must(!shutdown(shut[i][0], SHUT_WR));
		zdtm_must(!socketpair(AF_UNIX, types[i], 0, sv));
		say(sv[1], "last words");
		gone[i] = sv[0];
		close(sv[1]);
	}
	for (int i = 0; i < 2; i++) {
		zdtm_must(!socketpair(AF_UNIX, i ? SOCK_SEQPACKET : SOCK_STREAM, 0, sv));
		if (!i) /* from the other type the error is taken before what was sent */
			say(sv[1], "unheard");
		say(sv[0], "never read");
		reset[i] = sv[0];
		close(sv[1]);
	}
	zdtm_must(!fcntl(plain[DGRAM][1], F_SETFL, O_NONBLOCK) && !fcntl(plain[SEQ][0], F_SETFD, FD_CLOEXEC));
}

static void check_plain(void)
{
	hears("stream", plain[STREAM][1], "onesecond");
	hears("stream back", plain[STREAM][0], "back");
	for (int i = DGRAM; i < N; i++) {
		hears("first", plain[i][1], "one");
		hears("second", plain[i][1], "second");
		hears("back", plain[i][0], "back");
	}
	for (int i = 0; i < N; i++) {
		int type = 0;
		socklen_t len = sizeof(type);

		empty("plain", plain[i][0]);
		empty("plain", plain[i][1]);
		say(plain[i][0], "new");
		hears("new", plain[i][1], "new");
		say(plain[i][1], "wen");
		hears("new, back", plain[i][0], "wen");
		zdtm_check(!getsockopt(plain[i][0], SOL_SOCKET, SO_TYPE, &type, &len) && type == types[i], "type %d",
		           type);
	}
}

static void check_others(void)
{
	char c;

	for (int i = 0; i < N; i++) {
		hears("before shutdown", shut[i][1], "before");
		hears("the way that is not shut", shut[i][0], "other way");
		zdtm_check(send(shut[i][0], "x", 1, MSG_NOSIGNAL) == -1 && errno == EPIPE, "type %d: shut and sends",
		           i);
		if (i != DGRAM)
			ends("shut", shut[i][1]);
		else
			empty("shut", shut[i][1]);
		say(shut[i][1], "more");
		hears("the way that is open", shut[i][0], "more");
		hears("gone", gone[i], "last words");
	}
	ends("gone stream", gone[STREAM]);
	ends("gone seqpacket", gone[SEQ]);
	zdtm_check(send(gone[STREAM], "x", 1, MSG_NOSIGNAL) == -1 && errno == EPIPE, "to the stream that is gone: %d",
	           errno);
	zdtm_check(send(gone[SEQ], "x", 1, MSG_NOSIGNAL) == -1 && errno == EPIPE, "to the packets that are gone: %d",
	           errno);
	zdtm_check(send(gone[DGRAM], "x", 1, MSG_NOSIGNAL) == -1 && errno == ECONNREFUSED, "to the datagrams: %d",
	           errno);
	zdtm_check(send(gone[DGRAM], "x", 1, MSG_NOSIGNAL) == -1 && errno == ENOTCONN, "once more: %d", errno);
	for (int i = 0; i < 2; i++) {
		struct pollfd p = { .fd = reset[i], .events = POLLIN };

		zdtm_check(poll(&p, 1, 0) == 1 && (p.revents & POLLERR) && (p.revents & POLLHUP), "poll says %x",
		           p.revents);
		if (!i)
			hears("reset", reset[i], "unheard");
		zdtm_check(recv(reset[i], &c, 1, MSG_DONTWAIT) == -1 && errno == ECONNRESET, "no ECONNRESET: %d",
		           errno);
		ends("reset", reset[i]);
	}
	zdtm_check(fcntl(plain[DGRAM][1], F_GETFL) & O_NONBLOCK && !(fcntl(plain[DGRAM][0], F_GETFL) & O_NONBLOCK),
	           "O_NONBLOCK");
	zdtm_check(fcntl(plain[SEQ][0], F_GETFD) == FD_CLOEXEC && !fcntl(plain[SEQ][1], F_GETFD), "close-on-exec");
}

int main(void)
{
	int across[2], shared[2], status;
	struct sockaddr a;
	socklen_t len = sizeof(a);
	pid_t kid;

	setup();
	zdtm_must(!socketpair(AF_UNIX, SOCK_STREAM, 0, across) && !socketpair(AF_UNIX, SOCK_SEQPACKET, 0, shared));
	say(across[0], "for the child");
	zdtm_must((kid = fork()) >= 0);
	if (!kid) {
		close(across[0]);
		zdtm_wait();
		hears("child", across[1], "for the child");
		say(across[1], "for the parent");
		say(shared[1], "by the child");
		_exit(0);
	}
	close(across[1]);
	zdtm_ready();
	zdtm_wait();
	zdtm_check(waitpid(kid, &status, 0) == kid && !status, "child: %x", status);
	hears("parent", across[0], "for the parent");
	ends("parent, the child is gone", across[0]);
	hears("shared", shared[0], "by the child");
	empty("shared, we have it still", shared[0]);
	check_plain();
	check_others();
	zdtm_check(!getsockname(plain[0][0], &a, &len) && len == sizeof(sa_family_t), "a name of %u bytes", len);
	len = sizeof(a);
	zdtm_check(!getpeername(plain[0][0], &a, &len) && len == sizeof(sa_family_t), "a peer's name of %u bytes", len);
	len = sizeof(a);
	zdtm_check(getpeername(gone[DGRAM], &a, &len) == -1 && errno == ENOTCONN, "the one that is gone has a peer");
	zdtm_pass();
}
