/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Listening unix sockets: the backlog, and connections that wait to be accepted, in their order, from this process and
 * another, from one that is gone (it has sent nothing), with the client's shutdown.
 *
 * zdtm: flavour ns
 * zdtm: dump --skip-in-flight
 * zdtm: iters 2
 */
#include <stddef.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "zdtm.h"

static struct sockaddr_un addr[3];
static const socklen_t len = sizeof(struct sockaddr_un);

static int listener(int i, int type, int backlog)
{
	int fd = socket(AF_UNIX, type, 0);

	addr[i].sun_family = AF_UNIX;
	snprintf(addr[i].sun_path + 1, 50, "%d of %d", i, getpid());
	zdtm_must(strlen(zdtm_dir) < 90);
	if (!i)
		strcat(strcpy(addr[i].sun_path, zdtm_dir), "/listener");
	zdtm_must(fd >= 0 && !bind(fd, (struct sockaddr *)&addr[i], len) && !listen(fd, backlog));
	return fd;
}

static int client(int i, int type)
{
	int fd = socket(AF_UNIX, type, 0);

	zdtm_must(fd >= 0 && !connect(fd, (struct sockaddr *)&addr[i], len));
	return fd;
}

static int accepted(const char *what, int l)
{
	int fd = accept4(l, NULL, NULL, SOCK_NONBLOCK);

	zdtm_check(fd >= 0, "%s: nothing to accept: %s", what, strerror(errno));
	return fd;
}

/* The other end of what was accepted is this client. */
static void joined(const char *what, int fd, int c)
{
	char buf[2] = "";

	zdtm_check(send(c, "q", 1, MSG_NOSIGNAL) == 1 && recv(fd, buf, 2, 0) == 1 && buf[0] == 'q', "%s: %s", what,
	           strerror(errno));
	zdtm_check(send(fd, "a", 1, MSG_NOSIGNAL) == 1 && recv(c, buf, 2, MSG_DONTWAIT) == 1 && buf[0] == 'a',
	           "%s, back: %s", what, strerror(errno));
}

int main(void)
{
	int l[3], c[4], fd, full, status;
	pid_t kid;
	char b;

	l[0] = listener(0, SOCK_STREAM, 2);
	l[1] = listener(1, SOCK_SEQPACKET, 50);
	l[2] = listener(2, SOCK_STREAM, 5);
	for (int i = 0; i < 3; i++)
		zdtm_must(!fcntl(l[i], F_SETFL, O_NONBLOCK));
	c[0] = client(0, SOCK_STREAM);
	c[1] = client(0, SOCK_STREAM);
	zdtm_must((kid = fork()) >= 0);
	if (!kid) {
		int mine = client(1, SOCK_SEQPACKET);

		zdtm_touch("connected");
		zdtm_wait();
		zdtm_check(recv(mine, &b, 1, 0) == 1 && b == 'k' && send(mine, "K", 1, 0) == 1, "child: %s",
		           strerror(errno));
		_exit(0);
	}
	while (access(zdtm_path("connected"), F_OK))
		zdtm_nap();
	c[2] = client(1, SOCK_SEQPACKET);
	close(client(2, SOCK_STREAM)); /* gone before it was accepted */
	c[3] = client(2, SOCK_STREAM);
	zdtm_must(!shutdown(c[3], SHUT_WR) && !listen(l[2], 0)); /* a smaller backlog than what waits already */
	zdtm_ready();
	zdtm_wait();

	/* Two wait, one more is let in (the kernel counts so), then it is full. */
	full = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
	zdtm_check(!connect(full, (struct sockaddr *)&addr[0], len), "the third: %s", strerror(errno));
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
	zdtm_check(connect(fd, (struct sockaddr *)&addr[0], len) == -1 && errno == EAGAIN, "the backlog is larger: %d",
	           errno);
	joined("first", accepted("first", l[0]), c[0]);
	joined("second", accepted("second", l[0]), c[1]);
	joined("third", accepted("third", l[0]), full);
	zdtm_check(accept(l[0], NULL, NULL) == -1 && errno == EAGAIN, "more than three, or it blocks");

	fd = accepted("the child's", l[1]);
	zdtm_check(send(fd, "k", 1, MSG_NOSIGNAL) == 1, "to the child: %s", strerror(errno));
	zdtm_check(waitpid(kid, &status, 0) == kid && !status, "child: %x", status);
	zdtm_check(recv(fd, &b, 1, 0) == 1 && b == 'K', "from the child: %s", strerror(errno));
	joined("after the child", accepted("after the child", l[1]), c[2]);

	fd = accepted("the one that is gone", l[2]);
	zdtm_check(recv(fd, &b, 1, 0) == 0, "the one that is gone is not: %s", strerror(errno));
	fd = accepted("half shut", l[2]);
	zdtm_check(recv(fd, &b, 1, 0) == 0, "half shut: %s", strerror(errno));
	zdtm_check(send(fd, "z", 1, MSG_NOSIGNAL) == 1 && recv(c[3], &b, 1, 0) == 1 && b == 'z', "half: %s",
	           strerror(errno));
	zdtm_pass();
}
