/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Datagram sockets: several connected to one, mutual, in a chain, to itself, to one that is gone; and what waits in
 * them with the names of the senders, who are connected to it, to others, to nobody, or are gone.
 *
 * zdtm: flavour ns
 * zdtm: iters 2
 */
#include <stddef.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "zdtm.h"

#define HEAD offsetof(struct sockaddr_un, sun_path)

static socklen_t address(struct sockaddr_un *a, const char *name)
{
	char abstract[60];

	memset(a, 0, sizeof(*a));
	a->sun_family = AF_UNIX;
	if (name[0] != '@') {
		strcpy(a->sun_path, name);
		return HEAD + strlen(name) + 1;
	}
	snprintf(abstract, sizeof(abstract), "%s of %d", name + 1, getpid());
	strcpy(a->sun_path + 1, abstract);
	return HEAD + 1 + strlen(abstract);
}

static int gram(const char *name)
{
	struct sockaddr_un a;
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0);

	zdtm_must(fd >= 0 && (!name || !bind(fd, (struct sockaddr *)&a, address(&a, name))));
	return fd;
}

static void join(int fd, const char *to)
{
	struct sockaddr_un a;

	zdtm_must(!connect(fd, (struct sockaddr *)&a, address(&a, to)));
}

static void say_to(int fd, const char *to, const char *what)
{
	struct sockaddr_un a;

	zdtm_check(sendto(fd, what, strlen(what), 0, (struct sockaddr *)&a, address(&a, to)) > 0, "to %s: %s", to,
	           strerror(errno));
}

static void say(int fd, const char *what)
{
	zdtm_check(send(fd, what, strlen(what), 0) > 0, "'%s': %s", what, strerror(errno));
}

static void hears(int fd, const char *what, const char *from)
{
	struct sockaddr_un a, want;
	socklen_t len = sizeof(a), want_len = from ? address(&want, from) : 0;
	char buf[100] = "";

	memset(&a, 0, sizeof(a));
	zdtm_check(recvfrom(fd, buf, sizeof(buf) - 1, 0, (struct sockaddr *)&a, &len) >= 0 && !strcmp(buf, what),
	           "'%s' instead of '%s': %s", buf, what, strerror(errno));
	zdtm_check(len == want_len && !memcmp(&a, &want, len), "'%s' is from '%s%s' (%u) instead of %s", what,
	           a.sun_path, len > HEAD ? a.sun_path + 1 : "", len, from ? from : "nobody");
}

static void silent(int fd)
{
	char c;

	zdtm_check(recv(fd, &c, 1, 0) == -1 && errno == EAGAIN, "there is more, or it blocks");
}

static int one, many[5], a, b, chain[3], self, lost, x, y, sv[2], out;

static void setup(void)
{
	int gone = gram("gone"), to_x = gram("to_x");

	one = gram("one");
	a = gram("@a");
	b = gram("b");
	self = gram("@self");
	lost = gram("lost");
	x = gram("@x");
	y = gram("@y");
	out = gram(NULL);
	for (int i = 0; i < 5; i++) {
		char name[20];

		snprintf(name, sizeof(name), i % 2 ? "sender%d" : "@sender%d", i);
		many[i] = gram(i == 4 ? NULL : name);
		join(many[i], "one");
		say(many[i], "many");
	}
	say_to(gone, "one", "from the one that is gone");
	join(lost, "gone");
	close(gone);
	join(a, "b");
	join(b, "@a");
	say(a, "to b");
	say(a, "to b again");
	say(b, "to a");
	for (int i = 0; i < 3; i++)
		chain[i] = gram(i == 0 ? "@chain0" : i == 1 ? "@chain1" : "@chain2");
	for (int i = 0; i < 2; i++) {
		join(chain[i], i ? "@chain2" : "@chain1");
		say(chain[i], "along");
	}
	join(self, "@self");
	say(self, "to myself");
	say_to(x, "@y", "x to y");
	say_to(to_x, "@x", "to x");
	zdtm_must(!socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0, sv));
	/* One half of a pair that has left its other half. */
	zdtm_must(
	    !connect(sv[1], (struct sockaddr *)&(struct sockaddr) { .sa_family = AF_UNSPEC }, sizeof(struct sockaddr)));
	say(sv[0], "to the half that left");
	say_to(out, "one", "without a name");
}

static void check_many(void)
{
	for (int i = 0; i < 5; i++) {
		char name[20];

		snprintf(name, sizeof(name), i % 2 ? "sender%d" : "@sender%d", i);
		hears(one, "many", i == 4 ? NULL : name);
	}
	hears(one, "from the one that is gone", "gone");
	hears(one, "without a name", NULL);
	silent(one);
	for (int i = 0; i < 5; i++)
		say(many[i], "still");
	for (int i = 0; i < 5; i++)
		hears(one, "still",
		      i == 4   ? NULL
		      : i == 0 ? "@sender0"
		      : i == 1 ? "sender1"
		      : i == 2 ? "@sender2"
		               : "sender3");
	hears(b, "to b", "@a");
	hears(b, "to b again", "@a");
	silent(b);
	hears(a, "to a", "b");
	silent(a);
	zdtm_check(sendto(out, "x", 1, 0, NULL, 0) == -1 && errno == ENOTCONN, "one that was not connected is");
}

static void check_others(void)
{
	struct sockaddr_un ad = { 0 };
	socklen_t len = sizeof(ad);

	for (int i = 0; i < 2; i++) {
		hears(chain[i + 1], "along", i ? "@chain1" : "@chain0");
		if (i) {
			say(chain[i], "again");
			hears(chain[i + 1], "again", "@chain1");
		}
	}
	zdtm_check(send(chain[0], "x", 1, 0) == -1 && errno == EPERM, "to one that is connected elsewhere: %d", errno);
	silent(chain[0]);
	hears(self, "to myself", "@self");
	say(self, "me");
	hears(self, "me", "@self");
	zdtm_check(!getpeername(lost, (struct sockaddr *)&ad, &len) && !strcmp(ad.sun_path, "gone"), "its name");
	zdtm_check(send(lost, "x", 1, 0) == -1 && errno == ECONNREFUSED, "to the one that is gone: %d", errno);
	zdtm_check(send(lost, "x", 1, 0) == -1 && errno == ENOTCONN, "to the one that is gone, again: %d", errno);
	hears(y, "x to y", "@x");
	hears(x, "to x", "to_x");
	say_to(y, "@x", "y to x");
	hears(x, "y to x", "@y");
	hears(sv[1], "to the half that left", NULL);
	zdtm_check(send(sv[1], "x", 1, 0) == -1 && errno == ENOTCONN, "the half that left is connected: %d", errno);
	say(sv[0], "more");
	hears(sv[1], "more", NULL);
}

int main(void)
{
	setup();
	zdtm_ready();
	zdtm_wait();
	check_many();
	check_others();
	zdtm_pass();
}
