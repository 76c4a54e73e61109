/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Queues of unix datagram and seqpacket sockets: boundaries, empty messages, one of 64 KiB, senders with names and
 * without, senders that are gone, several of them by turns, and a pair in both directions.
 *
 * zdtm: flavour ns
 * zdtm: iters 2
 */
#include "unix_queue.h"

static char large[65536];

static void fill(int fd)
{
	set(fd, SO_SNDBUF, 150000);
	put(fd, "one");
	put(fd, "");
	put(fd, "");
	put(fd, "four");
	zdtm_must(send(fd, large, sizeof(large), MSG_DONTWAIT) == sizeof(large));
	put(fd, "");
}

static void check(int fd, const char *what)
{
	expect(fd, "one", what);
	expect(fd, "", what);
	expect(fd, "", what);
	expect(fd, "four", what);
	zdtm_check(take(fd, sizeof(taken.text)) == sizeof(large) && !memcmp(taken.text, large, sizeof(large)),
	           "%s: the large one: %zd bytes", what, taken.n);
	expect(fd, "", what);
	expect_nothing(fd);
}

static int named(const char *name)
{
	int fd = socket(AF_UNIX, SOCK_DGRAM, 0);
	struct sockaddr_un a;
	socklen_t len = address(&a, name);

	zdtm_must(fd >= 0 && !bind(fd, (struct sockaddr *)&a, len));
	return fd;
}

static void put_to(int fd, const char *to, const char *text)
{
	struct sockaddr_un a;
	socklen_t len = address(&a, to);

	zdtm_must(sendto(fd, text, strlen(text), MSG_DONTWAIT, (struct sockaddr *)&a, len) == (ssize_t)strlen(text));
}

static void from_is(const char *name)
{
	struct sockaddr_un a;
	socklen_t len = address(&a, name ? name : "");

	if (name)
		zdtm_check(taken.from_len == len && !memcmp(&taken.from, &a, len), "'%s' is from '%s' (%d bytes)",
		           taken.text, taken.from.sun_path + 1, taken.from_len);
	else
		zdtm_check(taken.from_len <= sizeof(sa_family_t), "'%s' is from a name of %d bytes", taken.text,
		           taken.from_len);
}

/* As many as it takes from one that it does not answer to; one of them with a descriptor. */
static int fill_up(int from, const char *to, int passed)
{
	struct sockaddr_un a;
	socklen_t len = address(&a, to);
	char text[20];
	int n = 0;

	zdtm_must(!connect(from, (struct sockaddr *)&a, len));
	put_fds(from, "0", &passed, 1);
	do
		snprintf(text, sizeof(text), "%d", ++n);
	while (send(from, text, strlen(text), MSG_DONTWAIT) > 0);
	zdtm_must(errno == EAGAIN);
	return n;
}

static void check_full(int to, int from, int n)
{
	char text[20];

	zdtm_check(send(from, "x", 1, MSG_DONTWAIT) == -1 && errno == EAGAIN, "the full queue takes more");
	for (int i = 0; i < n; i++) {
		snprintf(text, sizeof(text), "%d", i);
		expect(to, text, "of the full queue");
		zdtm_check(taken.n_fds == !i, "%d descriptors", taken.n_fds);
		if (!i)
			zdtm_check(write(taken.fds[0], "p", 1) == 1, "the pipe in flight: %s", strerror(errno));
	}
	expect_nothing(to);
	put(from, "new");
	expect(to, "new", "of the queue that was full");
}

int main(void)
{
	int dgram[2], seq[2], end[2], to, a, b, nobody, gone, full, filler, pipefd[2], n;
	char c;

	memset(large, 'L', sizeof(large));
	zdtm_must(!socketpair(AF_UNIX, SOCK_DGRAM, 0, dgram) && !socketpair(AF_UNIX, SOCK_SEQPACKET, 0, seq));
	zdtm_must(!socketpair(AF_UNIX, SOCK_SEQPACKET, 0, end));
	fill(dgram[0]);
	fill(dgram[1]);
	fill(seq[0]);
	put(end[0], "");
	put(end[0], "end");
	close(end[0]);
	to = named("to");
	a = named("a");
	b = named("b");
	gone = named("gone");
	zdtm_must((nobody = socket(AF_UNIX, SOCK_DGRAM, 0)) >= 0);
	put_to(a, "to", "a1");
	put_to(b, "to", "b1");
	put_to(nobody, "to", "nobody");
	put_to(a, "to", "");
	put_to(gone, "to", "gone");
	put_to(b, "to", "b2");
	close(gone);
	close(nobody);
	full = named("full");
	filler = named("filler");
	zdtm_must(!pipe(pipefd));
	n = fill_up(filler, "full", pipefd[1]);
	close(pipefd[1]);
	zdtm_ready();
	zdtm_wait();
	check(dgram[1], "datagrams of a pair");
	check(dgram[0], "datagrams of a pair, back");
	check(seq[1], "packets");
	expect(end[1], "", "its writer is gone");
	expect(end[1], "end", "its writer is gone");
	zdtm_check(take(end[1], 1) == 0 && !taken.has_cred, "packets do not end");
	expect(to, "a1", "the first");
	from_is("a");
	expect(to, "b1", "by another");
	from_is("b");
	expect(to, "nobody", "by one without a name");
	from_is(NULL);
	expect(to, "", "an empty one");
	from_is("a");
	expect(to, "gone", "by one that is gone");
	from_is("gone");
	expect(to, "b2", "by another again");
	from_is("b");
	expect_nothing(to);
	put_to(a, "to", "new");
	expect(to, "new", "a new one");
	from_is("a");
	check_full(full, filler, n);
	zdtm_check(read(pipefd[0], &c, 1) == 1 && c == 'p', "the pipe whose writing end was in flight");
	zdtm_pass();
}
