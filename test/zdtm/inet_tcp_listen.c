/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * TCP sockets without a connection: new, bound, bound and sharing the port with one that listens, listening (IPv4,
 * IPv6, both at once, a SO_REUSEPORT group, an address that is only freely bound), one whose connection has ended.
 *
 * zdtm: exclusive
 * zdtm: restores 2
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

#include "zdtm.h"

#define FREE -1 /* IP_FREEBIND, which has the number of SO_REUSEPORT at another level */

union name {
	struct sockaddr any;
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
};

#define LEN(n) ((n).any.sa_family == AF_INET6 ? sizeof((n).v6) : sizeof((n).v4))

static union name name_of(int fd)
{
	union name n = { 0 };
	socklen_t len = sizeof(n);

	getsockname(fd, &n.any, &len);
	return n;
}

static int on(int fd, int level, int name)
{
	int v = 1;

	return setsockopt(fd, level, name, &v, sizeof(v));
}

static int get(int fd, int level, int name)
{
	int v = -1;
	socklen_t len = sizeof(v);

	return getsockopt(fd, level, name, &v, &len) ? -1 : v;
}

static int bound(int family, const char *addr, int port, int option)
{
	union name n = { .any.sa_family = family };
	int fd = socket(family, SOCK_STREAM, 0);

	zdtm_must(fd >= 0);
	zdtm_must(inet_pton(family, addr, family == AF_INET6 ? (void *)&n.v6.sin6_addr : &n.v4.sin_addr) == 1);
	n.v4.sin_port = port;
	if (option)
		zdtm_must(!on(fd, option == FREE ? IPPROTO_IP : SOL_SOCKET, option == FREE ? IP_FREEBIND : option));
	zdtm_must(!bind(fd, &n.any, LEN(n)));
	return fd;
}

/* A client gets through to it, and it accepts. */
static void check_accepts(const char *what, int listener, int family, const char *addr)
{
	union name n = { .any.sa_family = family };
	int client = socket(family, SOCK_STREAM, 0), child;
	char c = 0;

	zdtm_check(get(listener, SOL_SOCKET, SO_ACCEPTCONN) == 1, "%s: it does not listen", what);
	inet_pton(family, addr, family == AF_INET6 ? (void *)&n.v6.sin6_addr : &n.v4.sin_addr);
	n.v4.sin_port = name_of(listener).v4.sin_port;
	zdtm_check(!connect(client, &n.any, LEN(n)), "%s: connecting: %s", what, strerror(errno));
	child = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
	zdtm_check(child >= 0 && write(child, "x", 1) == 1 && read(client, &c, 1) == 1 && c == 'x',
	           "%s: no service: %s", what, strerror(errno));
	close(child);
	close(client);
}

/* How many may wait. */
static int backlog_of(int fd)
{
	struct tcp_info i;
	socklen_t len = sizeof(i);

	return getsockopt(fd, IPPROTO_TCP, TCP_INFO, &i, &len) ? -1 : (int)i.tcpi_sacked;
}

/* Its peer has reset the connection, and the error was read. */
static int dead_connection(int listener)
{
	struct linger hard = { .l_onoff = 1 };
	union name n = name_of(listener);
	int fd = socket(AF_INET, SOCK_STREAM, 0), child;
	char c;

	zdtm_must(!connect(fd, &n.any, LEN(n)) && (child = accept(listener, NULL, NULL)) >= 0);
	zdtm_must(!setsockopt(child, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard)) && !close(child));
	zdtm_must(read(fd, &c, 1) == -1 && errno == ECONNRESET);
	return fd;
}

int main(void)
{
	int fresh, only_bound, four, six, both, group[2], beside, far, dead, off = 0, fours = 0, group_port;
	union name any = { .v6 = { .sin6_family = AF_INET6 } }, was;
	char c;

	fresh = socket(AF_INET, SOCK_STREAM, 0);
	only_bound = bound(AF_INET6, "::1", 0, 0);
	four = bound(AF_INET, "127.0.0.1", 0, SO_REUSEADDR);
	fours = name_of(four).v4.sin_port;
	beside = bound(AF_INET, "127.0.0.1", fours, SO_REUSEADDR);
	zdtm_must(!listen(four, 7));
	six = bound(AF_INET6, "::1", 0, 0);
	zdtm_must(!listen(six, 5) && !fcntl(six, F_SETFL, O_NONBLOCK));
	both = socket(AF_INET6, SOCK_STREAM, 0);
	zdtm_must(!setsockopt(both, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off)) &&
	          !bind(both, &any.any, sizeof(any.v6)));
	zdtm_must(!listen(both, 50));
	group[0] = bound(AF_INET, "0.0.0.0", 0, SO_REUSEPORT);
	group_port = name_of(group[0]).v4.sin_port;
	zdtm_must(!listen(group[0], 1));
	group[1] = bound(AF_INET, "0.0.0.0", group_port, SO_REUSEPORT);
	zdtm_must(!listen(group[1], 2));
	far = bound(AF_INET, "192.0.2.77", 0, FREE);
	zdtm_must(!listen(far, 3));
	dead = dead_connection(four);
	was = name_of(six);

	zdtm_ready();
	zdtm_wait();

	any = name_of(six);

	check_accepts("IPv4", four, AF_INET, "127.0.0.1");
	check_accepts("IPv6", six, AF_INET6, "::1");
	check_accepts("both, IPv4", both, AF_INET, "127.0.0.1");
	check_accepts("both, IPv6", both, AF_INET6, "::1");
	zdtm_check(name_of(four).v4.sin_port == fours && name_of(beside).v4.sin_port == fours, "ports");
	zdtm_check(!memcmp(&was.v6, &any.v6, sizeof(any.v6)), "the name of the IPv6 one");
	zdtm_check(get(beside, SOL_SOCKET, SO_ACCEPTCONN) == 0, "the one beside it listens");
	zdtm_check(backlog_of(four) == 7 && backlog_of(six) == 5 && backlog_of(both) == 50 && backlog_of(far) == 3,
	           "backlogs %d %d %d %d", backlog_of(four), backlog_of(six), backlog_of(both), backlog_of(far));
	zdtm_check(get(four, SOL_SOCKET, SO_REUSEADDR) == 1 && get(six, SOL_SOCKET, SO_REUSEADDR) == 0, "SO_REUSEADDR");
	zdtm_check(get(both, IPPROTO_IPV6, IPV6_V6ONLY) == 0, "IPV6_V6ONLY");
	zdtm_check(fcntl(six, F_GETFL) & O_NONBLOCK, "O_NONBLOCK");
	for (int i = 0; i < 2; i++)
		zdtm_check(name_of(group[i]).v4.sin_port == group_port && backlog_of(group[i]) == i + 1 &&
		               get(group[i], SOL_SOCKET, SO_REUSEPORT) == 1 &&
		               get(group[i], SOL_SOCKET, SO_REUSEADDR) == 0,
		           "member %d of the group", i);
	zdtm_check(name_of(far).v4.sin_addr.s_addr == inet_addr("192.0.2.77") && get(far, IPPROTO_IP, IP_FREEBIND) == 1,
	           "the freely bound one");
	zdtm_check(!listen(only_bound, 1), "the bound one cannot listen: %s", strerror(errno));
	check_accepts("bound", only_bound, AF_INET6, "::1");
	zdtm_check(name_of(fresh).v4.sin_port == 0, "the new one is bound");
	any = name_of(four);
	zdtm_check(!connect(fresh, &any.any, LEN(any)), "the new one cannot connect: %s", strerror(errno));
	zdtm_check(read(dead, &c, 1) == 0, "the dead one: %s", strerror(errno));
	zdtm_check(send(dead, "x", 1, MSG_NOSIGNAL) == -1 && errno == EPIPE, "the dead one can send: %s",
	           strerror(errno));
	zdtm_pass();
}
