/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Descriptors in flight: a pipe's end, a file with its position, an eventfd that we have as well, a socket pair that
 * exists nowhere else, with messages of its own, a socket in its own queue, two in each other's, three deep, a
 * listening one, and many in one message; and the byte of a stream with which they come.
 *
 * zdtm: flavour ns
 * zdtm: iters 2
 */
#include <sys/eventfd.h>

#include "unix_queue.h"

#define PASSRIGHTS 83 /* SO_PASSRIGHTS of Linux 6.16 */

static void pair(int type, int p[2])
{
	zdtm_must(!socketpair(AF_UNIX, type, 0, p));
}

/* Passes them on and has them no more. */
static void give(int fd, const char *text, const int *fds, int n)
{
	put_fds(fd, text, fds, n);
	for (int i = 0; i < n; i++)
		close(fds[i]);
}

static int got(int fd, const char *text, int n)
{
	take(fd, strlen(text) ? strlen(text) : 1);
	zdtm_check(!strcmp(taken.text, text) && taken.n_fds == n, "'%s' with %d descriptors, not '%s' with %d",
	           taken.text, taken.n_fds, text, n);
	if (taken.n_fds < 1)
		zdtm_pass(); /* has failed */
	return taken.fds[0];
}

/* ---- files and pipes ---- */

struct plain {
	int to[2], event;
};

static void fill_plain(struct plain *p)
{
	int fds[8], pipefd[2];

	pair(SOCK_STREAM, p->to);
	zdtm_must(!pipe(pipefd) && write(pipefd[1], "in the pipe", 11) == 11);
	put(p->to[0], "first,");
	give(p->to[0], "pipe,", pipefd, 1);
	close(pipefd[1]);
	zdtm_must((fds[0] = open("file", O_RDWR | O_CREAT | O_CLOEXEC, 0600)) >= 0);
	zdtm_must(write(fds[0], "0123456789", 10) == 10 && lseek(fds[0], 4, SEEK_SET) == 4);
	zdtm_must((p->event = fds[1] = eventfd(5, 0)) >= 0);
	for (int i = 2; i < 8; i++)
		fds[i] = fds[i % 2];
	put_fds(p->to[0], "many", fds, 8);
	close(fds[0]);
	put(p->to[0], ",last");
}

static void check_plain(struct plain *p)
{
	uint64_t v = 0;
	char buf[20] = "";
	int fds[8];

	zdtm_check(take(p->to[1], 6) == 6 && !strcmp(taken.text, "first,") && !taken.n_fds, "first: '%s', %d",
	           taken.text, taken.n_fds);
	got(p->to[1], "p", 1);
	zdtm_check(read(taken.fds[0], buf, 20) == 11 && !strcmp(buf, "in the pipe"), "the pipe has '%s'", buf);
	zdtm_check(read(taken.fds[0], buf, 20) == 0, "the pipe has a writer");
	zdtm_check(take(p->to[1], 4) == 4 && !strcmp(taken.text, "ipe,") && !taken.n_fds, "then '%s', %d", taken.text,
	           taken.n_fds);
	got(p->to[1], "many", 8);
	memcpy(fds, taken.fds, sizeof(fds));
	zdtm_check(read(fds[0], buf, 3) == 3 && !memcmp(buf, "456", 3), "the file reads '%.3s'", buf);
	zdtm_check(lseek(fds[4], 0, SEEK_CUR) == 7, "the same file twice is at %ld", (long)lseek(fds[4], 0, SEEK_CUR));
	zdtm_check(write(fds[3], &(uint64_t) { 10 }, 8) == 8 && read(p->event, &v, 8) == 8 && v == 15,
	           "the eventfd has %d", (int)v);
	zdtm_check(take(p->to[1], 10) == 5 && !strcmp(taken.text, ",last") && !taken.n_fds, "last: '%s'", taken.text);
}

/* ---- sockets ---- */

struct nested {
	int alone[2], self[2], a[2], b[2], deep[2], listener[2];
};

static void fill_nested(struct nested *n, int type)
{
	int p[2], q[2], l = socket(AF_UNIX, SOCK_STREAM, 0), c = socket(AF_UNIX, SOCK_STREAM, 0);
	struct sockaddr_un addr;
	socklen_t len = address(&addr, type == SOCK_STREAM ? "listener" : "listener2");

	/* Both ends of a pair that nobody has, with a message each way. */
	pair(type, n->alone);
	pair(type, p);
	put(p[0], "there");
	put(p[1], "back");
	give(n->alone[0], "pair", p, 2);
	/* In its own queue; and two in each other's. */
	pair(type, n->self);
	put_fds(n->self[0], "itself", &n->self[1], 1);
	pair(type, n->a);
	pair(type, n->b);
	put_fds(n->a[0], "b in a", &n->b[1], 1);
	put_fds(n->b[0], "a in b", &n->a[1], 1);
	/* p[1] in the queue of q[1], which is in that of deep[1]. */
	pair(type, n->deep);
	pair(type, p);
	pair(type, q);
	put(p[0], "at the bottom");
	close(p[0]);
	give(q[0], "two", &p[1], 1);
	close(q[0]);
	give(n->deep[0], "one", &q[1], 1);
	/* Somebody waits to be accepted. */
	pair(type, n->listener);
	zdtm_must(!bind(l, (struct sockaddr *)&addr, len) && !listen(l, 3));
	zdtm_must(!connect(c, (struct sockaddr *)&addr, len));
	give(n->listener[0], "listener", (int[]) { l, c }, 2);
}

static void check_nested(struct nested *n)
{
	int fd, fds[2], conn;

	got(n->alone[1], "pair", 2);
	memcpy(fds, taken.fds, sizeof(fds));
	expect(fds[1], "there", "of the pair in flight");
	expect(fds[0], "back", "of the pair in flight");
	put(fds[0], "new");
	expect(fds[1], "new", "of the pair that was in flight");
	fd = got(n->self[1], "itself", 1);
	put(n->self[0], "for itself");
	expect(fd, "for itself", "of the socket that was in its own queue");
	fd = got(n->a[1], "b in a", 1);
	fd = got(fd, "a in b", 1);
	put(n->a[0], "round");
	expect(fd, "round", "of sockets that were in each other's queues");
	fd = got(n->deep[1], "one", 1);
	fd = got(fd, "two", 1);
	expect(fd, "at the bottom", "three deep");
	zdtm_check(take(fd, 1) == 0, "the peer of the one at the bottom is there");
	got(n->listener[1], "listener", 2);
	memcpy(fds, taken.fds, sizeof(fds));
	zdtm_check((conn = accept(fds[0], NULL, NULL)) >= 0, "accept: %s", strerror(errno));
	put(fds[1], "hello");
	expect(conn, "hello", "of the connection that waited");
	put(conn, "welcome");
	expect(fds[1], "welcome", "of the connection that waited");
}

/* A receiver that takes no descriptors any more, but has one that was sent before. */
static void fill_closed(int p[2])
{
	int zero = 0;

	pair(SOCK_STREAM, p);
	put_fds(p[0], "before", p, 1);
	setsockopt(p[1], SOL_SOCKET, PASSRIGHTS, &zero, sizeof(zero));
}

static void check_closed(int p[2], int was)
{
	zdtm_check(get(p[1], PASSRIGHTS) == was, "SO_PASSRIGHTS is %d, not %d", get(p[1], PASSRIGHTS), was);
	got(p[1], "before", 1);
	put(p[1], "way back");
	expect(taken.fds[0], "way back", "the peer, in flight to its peer");
}

int main(void)
{
	struct nested stream, seq;
	struct plain plain;
	int closed[2], was;

	fill_closed(closed);
	was = get(closed[1], PASSRIGHTS);
	fill_plain(&plain);
	fill_nested(&stream, SOCK_STREAM);
	fill_nested(&seq, SOCK_SEQPACKET);
	zdtm_ready();
	zdtm_wait();
	check_closed(closed, was);
	check_plain(&plain);
	check_nested(&stream);
	check_nested(&seq);
	zdtm_pass();
}
