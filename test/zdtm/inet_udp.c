/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * UDP and UDP-Lite over IPv4 and IPv6: bound, connected, unbound, one that shares its port with a connected one,
 * SO_REUSEPORT groups, dual-stack, shut down, memberships of multicast groups, and queues with boundaries and senders.
 *
 * zdtm: exclusive
 * zdtm: restores 2
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include "zdtm.h"

union name {
	struct sockaddr any;
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
};

#define LEN(n) ((n).any.sa_family == AF_INET6 ? sizeof((n).v6) : sizeof((n).v4))

static union name loopback(int family, int port)
{
	union name n = { .any.sa_family = family };

	if (family == AF_INET6) {
		n.v6.sin6_addr = in6addr_loopback;
		n.v6.sin6_port = htons(port);
	} else {
		n.v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
		n.v4.sin_port = htons(port);
	}
	return n;
}

static int port_of(int fd)
{
	union name n = { 0 };
	socklen_t len = sizeof(n);

	getsockname(fd, &n.any, &len);
	return ntohs(n.v6.sin6_port);
}

static int bound(int family, int proto, int port, int option)
{
	union name n = loopback(family, port);
	int fd = socket(family, SOCK_DGRAM, proto), on = 1;

	zdtm_must(fd >= 0);
	if (option)
		zdtm_must(!setsockopt(fd, SOL_SOCKET, option, &on, sizeof(on)));
	zdtm_must(!bind(fd, &n.any, LEN(n)));
	return fd;
}

static void send_to(int from, int family, int port, const char *data, size_t len)
{
	union name n = loopback(family, port);

	zdtm_must(sendto(from, data, len, 0, &n.any, LEN(n)) == (ssize_t)len);
}

/* The next datagram is this, from this port. */
static void check_next(const char *what, int fd, const char *want, size_t len, int port)
{
	static char buf[70000];
	union name n = { 0 };
	socklen_t nlen = sizeof(n);
	ssize_t got = recvfrom(fd, buf, sizeof(buf), MSG_DONTWAIT, &n.any, &nlen);

	zdtm_check(got == (ssize_t)len && !memcmp(buf, want, len), "%s: %zd bytes instead of %zu, %s", what, got, len,
	           got < 0 ? strerror(errno) : "or other ones");
	zdtm_check(got < 0 || ntohs(n.v6.sin6_port) == port, "%s: from port %d, not %d", what, ntohs(n.v6.sin6_port),
	           port);
}

static void check_empty(const char *what, int fd)
{
	char c;

	zdtm_check(recv(fd, &c, 1, MSG_DONTWAIT) == -1 && errno == EAGAIN, "%s: there is more", what);
}

struct set {
	int family, proto;
	int server, client, loose, child, group[3], shut, group_senders[3], wild;
	int server_port, client_port, group_port, shut_port, wild_port;
};

static char big[40000];

static void make(struct set *s, int family, int proto)
{
	union name n;
	int on = 1;

	s->family = family;
	s->proto = proto;
	s->server = bound(family, proto, 0, SO_REUSEADDR);
	s->server_port = port_of(s->server);
	/* Connected by connect() alone. */
	s->client = socket(family, SOCK_DGRAM, proto);
	n = loopback(family, s->server_port);
	zdtm_must(s->client >= 0 && !connect(s->client, &n.any, LEN(n)));
	s->client_port = port_of(s->client);
	s->loose = socket(family, SOCK_DGRAM, proto);
	/* On the server's port, and connected to the client. */
	s->child = bound(family, proto, s->server_port, SO_REUSEADDR);
	n = loopback(family, s->client_port);
	zdtm_must(!connect(s->child, &n.any, LEN(n)));
	for (int i = 0; i < 3; i++)
		s->group[i] = bound(family, proto, i ? s->group_port : 0, SO_REUSEPORT),
		s->group_port = port_of(s->group[i]);
	s->shut = bound(family, proto, 0, 0);
	s->shut_port = port_of(s->shut);
	n = loopback(family, s->server_port);
	zdtm_must(!connect(s->shut, &n.any, LEN(n)) && !shutdown(s->shut, SHUT_WR));
	n = (union name) { .any.sa_family = family };
	s->wild = socket(family, SOCK_DGRAM, proto);
	zdtm_must(s->wild >= 0 && !setsockopt(s->wild, SOL_SOCKET, SO_RCVBUF, &on, sizeof(on)));
	zdtm_must(!bind(s->wild, &n.any, LEN(n)));
	s->wild_port = port_of(s->wild);

	/* Queues. */
	for (int i = 0; i < 3; i++)
		s->group_senders[i] = bound(family, proto, 0, 0);
	zdtm_must(send(s->client, "to the child", 12, 0) == 12 && send(s->client, "", 0, 0) == 0);
	zdtm_must(send(s->client, big, sizeof(big), 0) == sizeof(big));
	zdtm_must(send(s->child, "to the client", 13, 0) == 13);
	send_to(s->shut_port ? s->group_senders[0] : -1, family, s->server_port, "one", 3);
	send_to(s->group_senders[1], family, s->server_port, "two", 3);
	send_to(s->group_senders[1], family, s->wild_port, "wild", 4);
}

/* What the group's members have: which has what, the kernel chose by its hash. */
struct member {
	char data[8];
	int len, port;
} members[4][3];

static void fill_group(struct set *s, struct member *m)
{
	for (int i = 0; i < 3; i++) {
		union name n = { 0 };
		socklen_t len = sizeof(n);

		send_to(s->group_senders[i], s->family, s->group_port, "group", 5);
		for (int j = 0; j < 3; j++)
			if (!m[j].len) {
				m[j].len = recvfrom(s->group[j], m[j].data, 8, MSG_PEEK | MSG_DONTWAIT, &n.any, &len);
				m[j].port = ntohs(n.v6.sin6_port);
				m[j].len = m[j].len < 0 ? 0 : m[j].len;
			}
	}
}

static void check_names(const char *what, const struct set *s)
{
	union name n = { 0 };
	socklen_t len = sizeof(n);

	zdtm_check(port_of(s->server) == s->server_port && port_of(s->client) == s->client_port, "%s: ports", what);
	zdtm_check(!getpeername(s->client, &n.any, &len) && ntohs(n.v6.sin6_port) == s->server_port,
	           "%s: client's peer", what);
	len = sizeof(n);
	zdtm_check(!getpeername(s->child, &n.any, &len) && ntohs(n.v6.sin6_port) == s->client_port, "%s: child's peer",
	           what);
	len = sizeof(n);
	zdtm_check(getpeername(s->server, &n.any, &len) == -1 && errno == ENOTCONN, "%s: the server is connected",
	           what);
	zdtm_check(port_of(s->loose) == 0, "%s: the unbound one has a port", what);
	zdtm_check(send(s->shut, "x", 1, MSG_NOSIGNAL) == -1 && errno == EPIPE, "%s: the shut one can send", what);
}

static void check_set(const char *what, struct set *s, const struct member *m)
{
	int on;
	socklen_t len;

	check_names(what, s);
	check_next(what, s->child, "to the child", 12, s->client_port);
	check_next(what, s->child, "", 0, s->client_port);
	check_next(what, s->child, big, sizeof(big), s->client_port);
	check_empty(what, s->child);
	check_next(what, s->client, "to the client", 13, s->server_port);
	check_next(what, s->server, "one", 3, port_of(s->group_senders[0]));
	check_next(what, s->server, "two", 3, port_of(s->group_senders[1]));
	check_empty(what, s->server);
	check_next(what, s->wild, "wild", 4, port_of(s->group_senders[1]));
	for (int i = 0; i < 3; i++) {
		if (m[i].len)
			check_next("a member of the group", s->group[i], m[i].data, m[i].len, m[i].port);
		len = sizeof(on);
		zdtm_check(!getsockopt(s->group[i], SOL_SOCKET, SO_REUSEPORT, &on, &len) && on, "%s: SO_REUSEPORT",
		           what);
		zdtm_check(!getsockopt(s->group[i], SOL_SOCKET, SO_REUSEADDR, &on, &len) && !on, "%s: SO_REUSEADDR",
		           what);
	}
	zdtm_check(!getsockopt(s->child, SOL_SOCKET, SO_REUSEADDR, &on, &len) && on, "%s: SO_REUSEADDR of the child",
	           what);
	/* New work: from two senders to the wild one, to the pair, and a new connection of the client. */
	for (int i = 0; i < 2; i++) {
		send_to(s->group_senders[i], s->family, s->wild_port, "new", 3);
		check_next(what, s->wild, "new", 3, port_of(s->group_senders[i]));
	}
	zdtm_check(send(s->client, "again", 5, 0) == 5, "%s: the client cannot send", what);
	check_next(what, s->child, "again", 5, s->client_port);
}

int main(void)
{
	static const int kinds[][2] = { { AF_INET, IPPROTO_UDP },
		                        { AF_INET6, IPPROTO_UDP },
		                        { AF_INET, IPPROTO_UDPLITE },
		                        { AF_INET6, IPPROTO_UDPLITE } };
	static const char *const names[] = { "IPv4", "IPv6", "UDP-Lite", "UDP-Lite over IPv6" };
	struct ip_mreqn v4 = { .imr_multiaddr.s_addr = htonl(0xef010203) };
	struct ipv6_mreq v6 = { .ipv6mr_interface = 1 };
	struct set sets[4];
	int dual, both = 0, n = 0, off = 0, in = socket(AF_INET6, SOCK_DGRAM, 0);
	union name any = { .v6 = { .sin6_family = AF_INET6 } };
	struct ip_mreq_source source = { .imr_multiaddr.s_addr = htonl(0xe8010203) };

	for (size_t i = 0; i < sizeof(big); i++)
		big[i] = i % 251;
	for (int i = 0; i < 4; i++) {
		int fd = socket(kinds[i][0], SOCK_DGRAM, kinds[i][1]);

		if (fd < 0)
			break; /* a kernel without UDP-Lite */
		close(fd);
		make(&sets[n], kinds[i][0], kinds[i][1]);
		fill_group(&sets[n], members[n]);
		n++;
	}
	zdtm_must(n >= 2);
	/* IPv4 comes to it as mapped addresses. */
	dual = socket(AF_INET6, SOCK_DGRAM, 0);
	zdtm_must(!setsockopt(dual, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off)) &&
	          !bind(dual, &any.any, sizeof(any.v6)));
	send_to(sets[0].group_senders[0], AF_INET, port_of(dual), "mapped", 6);
	send_to(sets[1].group_senders[0], AF_INET6, port_of(dual), "six", 3);
	both = port_of(dual);
	/* Groups, on the loopback interface, which has index 1 everywhere. */
	v4.imr_ifindex = 1;
	zdtm_must(!setsockopt(in, IPPROTO_IP, IP_ADD_MEMBERSHIP, &v4, sizeof(v4)));
	inet_pton(AF_INET6, "ff02::4711", &v6.ipv6mr_multiaddr);
	zdtm_must(!setsockopt(in, IPPROTO_IPV6, IPV6_JOIN_GROUP, &v6, sizeof(v6)));
	source.imr_interface.s_addr = htonl(INADDR_LOOPBACK);
	source.imr_sourceaddr.s_addr = htonl(0x0a000001);
	zdtm_must(!setsockopt(in, IPPROTO_IP, IP_ADD_SOURCE_MEMBERSHIP, &source, sizeof(source)));
	source.imr_sourceaddr.s_addr = htonl(0x0a000002);
	zdtm_must(!setsockopt(in, IPPROTO_IP, IP_ADD_SOURCE_MEMBERSHIP, &source, sizeof(source)));

	zdtm_ready();
	zdtm_wait();

	for (int i = 0; i < n; i++)
		check_set(names[i], &sets[i], members[i]);
	zdtm_check(port_of(dual) == both, "port of the one with both");
	check_next("both", dual, "mapped", 6, port_of(sets[0].group_senders[0]));
	check_next("both", dual, "six", 3, port_of(sets[1].group_senders[0]));
	zdtm_check(setsockopt(in, IPPROTO_IP, IP_ADD_MEMBERSHIP, &v4, sizeof(v4)) == -1 && errno == EADDRINUSE,
	           "it is not in the IPv4 group");
	zdtm_check(!setsockopt(in, IPPROTO_IPV6, IPV6_LEAVE_GROUP, &v6, sizeof(v6)), "it is not in the IPv6 group");
	for (int i = 0; i < 2; i++) {
		source.imr_sourceaddr.s_addr = htonl(0x0a000001 + i);
		zdtm_check(!setsockopt(in, IPPROTO_IP, IP_DROP_SOURCE_MEMBERSHIP, &source, sizeof(source)), "source %d",
		           i);
	}
	zdtm_pass();
}
