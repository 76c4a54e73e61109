/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Raw and ping sockets over IPv4 and IPv6: protocol, addresses, connected without a port, IP_HDRINCL, filters of ICMP
 * types; they receive afterwards, and nothing of what the restore sent.
 *
 * zdtm: exclusive
 * zdtm: needs-root
 * zdtm: restores 2
 * zdtm: no-userns has raw sockets
 */
#include <arpa/inet.h>
#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/ip_icmp.h>
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

	if (family == AF_INET6)
		n.v6.sin6_addr = in6addr_loopback;
	else
		n.v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	n.v4.sin_port = htons(port);
	return n;
}

static int get(int fd, int level, int name)
{
	int v = -1;
	socklen_t len = sizeof(v);

	return getsockopt(fd, level, name, &v, &len) ? -1 : v;
}

/* An answer to an echo request: what is behind the IPv4 header, where there is one. */
static ssize_t next(int fd, int family, unsigned char *b, size_t size)
{
	unsigned char p[1000];
	ssize_t n = recv(fd, p, sizeof(p), MSG_DONTWAIT), skip = family == AF_INET ? 20 : 0;

	if (n < skip)
		return -1;
	memcpy(b, p + skip, n - skip < (ssize_t)size ? n - skip : (ssize_t)size);
	return n - skip;
}

/* Sends an echo request; the answer comes. `filtered`: the requests themselves are not shown. */
static void check_echo(const char *what, int fd, int family)
{
	unsigned char request[16] = { family == AF_INET6 ? ICMP6_ECHO_REQUEST : ICMP_ECHO, 0, 0, 0, 0x12, 0x34, 0, 7 };
	union name n = loopback(family, 0);
	unsigned char b[100];
	unsigned sum = 0;

	for (int i = 0; i < 16; i += 2)
		sum += request[i] << 8 | request[i + 1];
	sum = ~(sum + (sum >> 16)) & 0xffff;
	request[2] = sum >> 8;
	request[3] = sum;
	zdtm_check(sendto(fd, request, 16, 0, &n.any, LEN(n)) == 16, "%s: sending: %s", what, strerror(errno));
	zdtm_check(next(fd, family, b, sizeof(b)) == 16 &&
	               b[0] == (family == AF_INET6 ? ICMP6_ECHO_REPLY : ICMP_ECHOREPLY) && b[7] == 7,
	           "%s: no answer alone", what);
	zdtm_check(recv(fd, b, 1, MSG_DONTWAIT) == -1, "%s: more than the answer", what);
}

static int icmp(int family)
{
	int fd = socket(family, SOCK_RAW, family == AF_INET6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP);
	struct icmp6_filter f6;
	unsigned f4 = ~(1U << ICMP_ECHOREPLY);

	zdtm_must(fd >= 0);
	if (family == AF_INET) {
		zdtm_must(!setsockopt(fd, SOL_RAW, 1 /* ICMP_FILTER */, &f4, sizeof(f4)));
		return fd;
	}
	ICMP6_FILTER_SETBLOCKALL(&f6);
	ICMP6_FILTER_SETPASS(ICMP6_ECHO_REPLY, &f6);
	zdtm_must(!setsockopt(fd, IPPROTO_ICMPV6, ICMP6_FILTER, &f6, sizeof(f6)));
	return fd;
}

struct set {
	int family, icmp, protocol, whole, connected, udp, watch, ping, ping_port;
};

static void make(struct set *s, int family)
{
	union name n = loopback(family, 0);
	int on = 1;

	s->family = family;
	s->icmp = icmp(family);
	s->protocol = socket(family, SOCK_RAW | SOCK_NONBLOCK, 253);
	zdtm_must(!bind(s->protocol, &n.any, LEN(n)));
	s->whole = socket(family, SOCK_RAW, 252);
	zdtm_must(!setsockopt(s->whole, family == AF_INET6 ? IPPROTO_IPV6 : IPPROTO_IP,
	                      family == AF_INET6 ? IPV6_HDRINCL : IP_HDRINCL, &on, sizeof(on)));
	s->connected = socket(family, SOCK_RAW, 253);
	zdtm_must(!connect(s->connected, &n.any, LEN(n)));
	/* A datagram that will be sent again, and one who sees everything of UDP. */
	s->udp = socket(family, SOCK_DGRAM, 0);
	zdtm_must(!bind(s->udp, &n.any, LEN(n)));
	zdtm_must(!getsockname(s->udp, &n.any, &(socklen_t) { sizeof(n) }));
	zdtm_must(sendto(s->udp, "again", 5, 0, &n.any, LEN(n)) == 5);
	s->watch = socket(family, SOCK_RAW, IPPROTO_UDP);
	n = loopback(family, 0x1234);
	s->ping = socket(family, SOCK_DGRAM, family == AF_INET6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP);
	if (s->ping >= 0) /* net.ipv4.ping_group_range */
		zdtm_must(!bind(s->ping, &n.any, LEN(n)));
}

static void check_ping(const char *what, const struct set *s)
{
	unsigned char request[16] = { s->family == AF_INET6 ? ICMP6_ECHO_REQUEST : ICMP_ECHO, 0, 0, 0, 0, 0, 0, 9 },
	              b[100];
	union name n = loopback(s->family, 0), own = { 0 };

	if (s->ping < 0)
		return;
	zdtm_check(!getsockname(s->ping, &own.any, &(socklen_t) { sizeof(own) }) && ntohs(own.v4.sin_port) == 0x1234,
	           "%s: the number of its ping socket", what);
	zdtm_check(sendto(s->ping, request, 16, 0, &n.any, LEN(n)) == 16 && recv(s->ping, b, 100, MSG_DONTWAIT) == 16 &&
	               b[7] == 9,
	           "%s: its ping is not answered: %s", what, strerror(errno));
}

static void check(const char *what, const struct set *s)
{
	union name n = loopback(s->family, 0);
	unsigned char b[200];

	zdtm_check(recv(s->watch, b, 1, MSG_DONTWAIT) == -1, "%s: the restore's own packets are in a queue", what);
	zdtm_check(recv(s->udp, b, 100, MSG_DONTWAIT) == 5 && !memcmp(b, "again", 5), "%s: what waited", what);
	check_echo(what, s->icmp, s->family);
	zdtm_check(fcntl(s->protocol, F_GETFL) & O_NONBLOCK, "%s: O_NONBLOCK", what);
	zdtm_check(get(s->whole, s->family == AF_INET6 ? IPPROTO_IPV6 : IPPROTO_IP,
	               s->family == AF_INET6 ? IPV6_HDRINCL : IP_HDRINCL) == 1,
	           "%s: headers are not its own any more", what);
	zdtm_check(get(s->whole, SOL_SOCKET, SO_PROTOCOL) == 252, "%s: protocol", what);
	/* The connected one has a peer to send to; the bound one gets it. */
	zdtm_check(send(s->connected, "to 253", 6, 0) == 6, "%s: the connected one: %s", what, strerror(errno));
	zdtm_check(next(s->protocol, s->family, b, sizeof(b)) == 6 && !memcmp(b, "to 253", 6), "%s: nothing came",
	           what);
	zdtm_check(next(s->connected, s->family, b, sizeof(b)) == 6, "%s: nothing came to the connected one", what);
	if (s->family == AF_INET) {
		n.v4.sin_addr.s_addr = htonl(0x7f000002);
		zdtm_check(sendto(s->protocol, "elsewhere", 9, 0, &n.any, LEN(n)) == 9 &&
		               next(s->protocol, s->family, b, sizeof(b)) == -1,
		           "%s: it is not bound to its address", what);
	}
	check_ping(what, s);
}

/* Those of protocol 6 are no TCP sockets. */
static void make_raw_tcp(int family, int fds[2])
{
	union name n = loopback(family, 0);

	for (int i = 0; i < 2; i++)
		zdtm_must((fds[i] = socket(family, SOCK_RAW, IPPROTO_TCP)) >= 0);
	zdtm_must(!bind(fds[1], &n.any, LEN(n)));
}

/* The segments of a connect() that is refused. */
static void check_raw_tcp(const char *what, int family, const int fds[2])
{
	union name n = loopback(family, 9);
	int fd = socket(family, SOCK_STREAM, 0);
	unsigned char b[100];

	for (int i = 0; i < 2; i++)
		zdtm_check(recv(fds[i], b, 1, MSG_DONTWAIT) == -1, "%s: the restore's own segments", what);
	zdtm_check(connect(fd, &n.any, LEN(n)) && errno == ECONNREFUSED, "%s: connect: %s", what, strerror(errno));
	close(fd);
	for (int i = 0; i < 2; i++) {
		zdtm_check(get(fds[i], SOL_SOCKET, SO_PROTOCOL) == IPPROTO_TCP &&
		               get(fds[i], SOL_SOCKET, SO_TYPE) == SOCK_RAW,
		           "%s: type or protocol of %d", what, i);
		zdtm_check(next(fds[i], family, b, sizeof(b)) >= 20 && b[3] == 9 && b[13] == 2, "%s: no SYN to %d",
		           what, i);
		zdtm_check(next(fds[i], family, b, sizeof(b)) >= 20 && b[1] == 9 && b[13] == 0x14, "%s: no RST to %d",
		           what, i);
	}
}

int main(void)
{
	struct set four, six;
	int tcp4[2], tcp6[2];

	make(&four, AF_INET);
	make(&six, AF_INET6);
	make_raw_tcp(AF_INET, tcp4);
	make_raw_tcp(AF_INET6, tcp6);
	zdtm_ready();
	zdtm_wait();
	check("IPv4", &four);
	check("IPv6", &six);
	check_raw_tcp("raw TCP over IPv4", AF_INET, tcp4);
	check_raw_tcp("raw TCP over IPv6", AF_INET6, tcp6);
	zdtm_pass();
}
