/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Options that were set when a socket was bound, and cleared since: SO_REUSEPORT of one or all of those that have a
 * port together (TCP, UDP, three of them, any address beside one): the same of them as before get what comes;
 * IP_FREEBIND of sockets at addresses that this host does not have.
 *
 * zdtm: exclusive
 * zdtm: iters 2
 * zdtm: restores 2
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include "zdtm.h"

static const struct group {
	int type, n;
	unsigned cleared; /* a bit for each */
	const char *address[3];
} groups[] = {
	{ SOCK_STREAM, 2, 1, { "127.0.0.1", "127.0.0.1" } }, { SOCK_STREAM, 2, 2, { "127.0.0.1", "127.0.0.1" } },
	{ SOCK_STREAM, 2, 3, { "127.0.0.1", "127.0.0.1" } }, { SOCK_STREAM, 3, 5, { "0.0.0.0", "0.0.0.0", "0.0.0.0" } },
	{ SOCK_STREAM, 3, 7, { "::1", "::1", "::1" } },      { SOCK_STREAM, 2, 3, { "0.0.0.0", "127.0.0.1" } },
	{ SOCK_DGRAM, 2, 1, { "127.0.0.1", "127.0.0.1" } },  { SOCK_DGRAM, 2, 3, { "127.0.0.1", "127.0.0.1" } },
	{ SOCK_DGRAM, 3, 7, { "::", "::", "::" } },
};
#define GROUPS (sizeof(groups) / sizeof(groups[0]))

static const struct single {
	int type, protocol;
	const char *address;
} singles[] = {
	{ SOCK_STREAM, 0, "192.0.2.77" },
	{ SOCK_STREAM, 0, "2001:db8::77" },
	{ SOCK_DGRAM, 0, "192.0.2.77" },
	{ SOCK_DGRAM, 0, "2001:db8::77" },
};
#define SINGLES (sizeof(singles) / sizeof(singles[0]))

union name {
	struct sockaddr any;
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
};

static unsigned get_some[GROUPS];
static int fds[GROUPS][3], free_fds[SINGLES];
static union name names[GROUPS], free_names[SINGLES];

static union name name_at(const char *address, int port)
{
	union name n = { .v4.sin_port = port };

	n.any.sa_family = strchr(address, ':') ? AF_INET6 : AF_INET;
	zdtm_must(inet_pton(n.any.sa_family, address,
	                    n.any.sa_family == AF_INET6 ? (void *)&n.v6.sin6_addr : &n.v4.sin_addr) == 1);
	return n;
}

static void set(int fd, int level, int option, int value)
{
	zdtm_must(!setsockopt(fd, level, option, &value, sizeof(value)));
}

static int get(int fd, int level, int option)
{
	int value = -1;
	socklen_t len = sizeof(value);

	return getsockopt(fd, level, option, &value, &len) ? -1 : value;
}

static union name name_of(int fd)
{
	union name n = { 0 };
	socklen_t len = sizeof(n);

	zdtm_must(!getsockname(fd, &n.any, &len));
	return n;
}

static void make_group(size_t g)
{
	int port = 0;

	for (int i = 0; i < groups[g].n; i++) {
		union name n = name_at(groups[g].address[i], port);

		fds[g][i] = socket(n.any.sa_family, groups[g].type | SOCK_NONBLOCK, 0);
		set(fds[g][i], SOL_SOCKET, SO_REUSEPORT, 1);
		zdtm_must(!bind(fds[g][i], &n.any, sizeof(n)));
		zdtm_must(groups[g].type == SOCK_DGRAM || !listen(fds[g][i], 100));
		names[g] = name_of(fds[g][i]);
		port = names[g].v4.sin_port;
	}
	for (int i = 0; i < groups[g].n; i++)
		if (groups[g].cleared & 1U << i)
			set(fds[g][i], SOL_SOCKET, SO_REUSEPORT, 0);
}

static void make_single(size_t i)
{
	union name n = name_at(singles[i].address, 0);
	int fd = free_fds[i] = socket(n.any.sa_family, singles[i].type, singles[i].protocol);

	set(fd, IPPROTO_IP, IP_FREEBIND, 1);
	zdtm_must(!bind(fd, &n.any, sizeof(n)));
	zdtm_must(singles[i].type == SOCK_DGRAM || !listen(fd, 5));
	set(fd, IPPROTO_IP, IP_FREEBIND, 0);
	free_names[i] = name_of(fd);
}

/* Sends something from many ports; returns who of the group gets some, a bit for each. */
static unsigned who_gets_some(size_t g)
{
	static const char *loopback[] = { "127.0.0.1", "::1" };
	union name to = name_at(loopback[names[g].any.sa_family == AF_INET6], names[g].v4.sin_port);
	unsigned who = 0;
	char c;

	for (int k = 0; k < 200; k++) {
		int from = socket(to.any.sa_family, groups[g].type, 0);

		zdtm_must(!connect(from, &to.any, sizeof(to)) && send(from, "x", 1, 0) == 1);
		for (int tries = 0, got = 0; !got && tries < 1000; tries++) {
			for (int i = 0; !got && i < groups[g].n; i++) {
				int new = groups[g].type == SOCK_DGRAM ? -1 : accept(fds[g][i], NULL, NULL);

				got = new >= 0 || (groups[g].type == SOCK_DGRAM && recv(fds[g][i], &c, 1, 0) == 1);
				who |= got ? 1U << i : 0;
				if (new >= 0)
					close(new);
			}
			if (!got)
				usleep(1000);
		}
		close(from);
	}
	return who;
}

static void check_group(size_t g)
{
	unsigned now_get;

	for (int i = 0; i < groups[g].n; i++) {
		int want = !(groups[g].cleared & 1U << i), now = get(fds[g][i], SOL_SOCKET, SO_REUSEPORT);

		zdtm_check(now == want, "group %zu: SO_REUSEPORT of %d is %d", g, i, now);
		zdtm_check(!get(fds[g][i], SOL_SOCKET, SO_REUSEADDR), "group %zu: SO_REUSEADDR of %d", g, i);
		zdtm_check(name_of(fds[g][i]).v4.sin_port == names[g].v4.sin_port, "group %zu: the port of %d", g, i);
	}
	now_get = who_gets_some(g);
	zdtm_check(now_get == get_some[g], "group %zu: %x get some, it was %x", g, now_get, get_some[g]);
}

int main(void)
{
	for (size_t g = 0; g < GROUPS; g++)
		make_group(g);
	for (size_t i = 0; i < SINGLES; i++)
		make_single(i);
	for (size_t g = 0; g < GROUPS; g++)
		get_some[g] = who_gets_some(g);
	zdtm_ready();
	zdtm_wait();
	for (size_t g = 0; g < GROUPS; g++)
		check_group(g);
	for (size_t i = 0; i < SINGLES; i++) {
		union name now = name_of(free_fds[i]);

		zdtm_check(!memcmp(&now, &free_names[i], sizeof(now)), "%zu: its name", i);
		zdtm_check(!get(free_fds[i], IPPROTO_IP, IP_FREEBIND), "%zu: IP_FREEBIND", i);
	}
	zdtm_pass();
}
