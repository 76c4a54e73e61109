/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * 30,000 unix sockets in three processes, more than criu may have open at once where the limit is 20,000: pairs with
 * bytes, datagram sockets with abstract names and others connected to them, listeners with files, and connections
 * accepted there. Each still leads to its other end.
 *
 * zdtm: slow
 * zdtm: timeout 300
 */
#include <stddef.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "zdtm.h"

#define PROCESSES 3
#define TENS      1000 /* of each */

struct ten {
	int pair[2], packets[2], named, to_named, listener, client, accepted, abstract;
};

static struct ten all[TENS];

static socklen_t address(struct sockaddr_un *a, int i, const char *what)
{
	*a = (struct sockaddr_un) { .sun_family = AF_UNIX };
	if (!what)
		return offsetof(struct sockaddr_un, sun_path) + (socklen_t)sprintf(a->sun_path, "s%d.%d", getpid(), i) +
		       1;
	return offsetof(struct sockaddr_un, sun_path) + 1 +
	       (socklen_t)sprintf(a->sun_path + 1, "many %s %d %d", what, getpid(), i);
}

static int bound(int type, const struct sockaddr_un *a, socklen_t len)
{
	int fd = socket(AF_UNIX, type, 0);

	zdtm_must(fd >= 0 && !bind(fd, (const struct sockaddr *)a, len));
	return fd;
}

static int connected(int type, const struct sockaddr_un *a, socklen_t len)
{
	int fd = socket(AF_UNIX, type, 0);

	zdtm_must(fd >= 0 && !connect(fd, (const struct sockaddr *)a, len));
	return fd;
}

static void make_ten(int i)
{
	struct ten *t = &all[i];
	struct sockaddr_un a;
	socklen_t len;

	zdtm_must(!socketpair(AF_UNIX, SOCK_STREAM, 0, t->pair) && !socketpair(AF_UNIX, SOCK_SEQPACKET, 0, t->packets));
	zdtm_must(send(t->pair[0], &i, sizeof(i), 0) == sizeof(i));
	len = address(&a, i, "datagrams");
	t->named = bound(SOCK_DGRAM, &a, len);
	t->to_named = connected(SOCK_DGRAM, &a, len);
	len = address(&a, i, "streams");
	t->abstract = bound(SOCK_STREAM, &a, len);
	zdtm_must(!listen(t->abstract, 1));
	len = address(&a, i, NULL);
	t->listener = bound(SOCK_STREAM, &a, len);
	zdtm_must(!listen(t->listener, 3));
	t->client = connected(SOCK_STREAM, &a, len);
	zdtm_must((t->accepted = accept(t->listener, NULL, NULL)) >= 0);
}

static void speak(const char *what, int from, int to, int i)
{
	int got = -1;

	zdtm_check(send(from, &i, sizeof(i), 0) == sizeof(i) &&
	               recv(to, &got, sizeof(got), MSG_DONTWAIT) == sizeof(got) && got == i,
	           "%s %d: %d: %s", what, i, got, strerror(errno));
}

static void check_ten(int i)
{
	struct ten *t = &all[i];
	struct sockaddr_un a;
	socklen_t len;
	int fd, got = -1;

	zdtm_check(recv(t->pair[1], &got, sizeof(got), MSG_DONTWAIT) == sizeof(got) && got == i, "bytes %d: %d", i,
	           got);
	speak("pair", t->pair[1], t->pair[0], i);
	speak("packets", t->packets[0], t->packets[1], i);
	speak("datagrams", t->to_named, t->named, i);
	speak("connection", t->accepted, t->client, i);
	len = address(&a, i, NULL);
	fd = connected(SOCK_STREAM, &a, len);
	zdtm_check((got = accept(t->listener, NULL, NULL)) >= 0, "accept %d", i);
	close(fd);
	close(got);
	len = address(&a, i, "streams");
	fd = connected(SOCK_STREAM, &a, len);
	zdtm_check((got = accept(t->abstract, NULL, NULL)) >= 0, "accept, abstract %d", i);
	close(fd);
	close(got);
}

static void one_process(const char *ready)
{
	for (int i = 0; i < TENS; i++)
		make_ten(i);
	zdtm_touch(ready);
	zdtm_wait();
	for (int i = 0; i < TENS; i++)
		check_ten(i);
	_exit(0);
}

int main(void)
{
	struct rlimit lim = { 11 * TENS, 11 * TENS };
	pid_t kids[PROCESSES];
	char ready[PROCESSES][16];
	int status;

	if (setrlimit(RLIMIT_NOFILE, &lim))
		zdtm_skip("%d descriptors are not allowed: %s", 11 * TENS, strerror(errno));
	for (int i = 0; i < PROCESSES; i++) {
		snprintf(ready[i], sizeof(ready[i]), "made.%d", i);
		zdtm_must((kids[i] = fork()) >= 0);
		if (!kids[i])
			one_process(ready[i]);
	}
	for (int i = 0; i < PROCESSES; i++)
		while (access(zdtm_path(ready[i]), F_OK))
			zdtm_nap();
	zdtm_ready();
	zdtm_wait();
	for (int i = 0; i < PROCESSES; i++)
		zdtm_check(waitpid(kids[i], &status, 0) == kids[i] && !status, "process %d: %x", i, status);
	zdtm_pass();
}
