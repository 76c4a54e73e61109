/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Options of sockets: each that can be set to something else than a new socket has is set so, read, and is the same
 * after the restore; on UDP, TCP, raw and UDP-Lite sockets over IPv4 and IPv6, and on unix and netlink ones for what is
 * theirs.
 *
 * zdtm: exclusive
 * zdtm: needs-root
 * zdtm: no-userns sets what root alone may
 */
#include <arpa/inet.h>
#include <linux/filter.h>
#include <linux/net_tstamp.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <sys/socket.h>

#include "zdtm.h"

/* lint: table */
struct option {
	int level, name;
	const char *text;
	int value;
};

#define S(name, v)                                                                                                     \
	{                                                                                                              \
		SOL_SOCKET, name, #name, v                                                                             \
	}
#define I(name, v)                                                                                                     \
	{                                                                                                              \
		IPPROTO_IP, name, #name, v                                                                             \
	}
#define V6(name, v)                                                                                                    \
	{                                                                                                              \
		IPPROTO_IPV6, name, #name, v                                                                           \
	}
#define T(name, v)                                                                                                     \
	{                                                                                                              \
		IPPROTO_TCP, name, #name, v                                                                            \
	}
#define U(name, v)                                                                                                     \
	{                                                                                                              \
		IPPROTO_UDP, name, #name, v                                                                            \
	}

/* Whatever a kind of socket does not take is left out there. Numbers for what headers may lack. */
static const struct option options[] = {
	S(SO_DEBUG, 1),
	S(SO_REUSEADDR, 1),
	S(SO_DONTROUTE, 1),
	S(SO_BROADCAST, 1),
	S(SO_SNDBUF, 30000),
	S(SO_RCVBUF, 50000),
	S(SO_KEEPALIVE, 1),
	S(SO_OOBINLINE, 1),
	S(SO_NO_CHECK, 1),
	S(SO_PRIORITY, 5),
	S(SO_REUSEPORT, 1),
	S(SO_RCVLOWAT, 17),
	S(SO_MARK, 77),
	S(SO_RXQ_OVFL, 1),
	S(SO_WIFI_STATUS, 1),
	S(SO_NOFCS, 1),
	S(SO_SELECT_ERR_QUEUE, 1),
	S(SO_BUSY_POLL, 50),
	S(SO_ZEROCOPY, 1),
	S(SO_PEEK_OFF, 3),
	S(69 /* SO_PREFER_BUSY_POLL */, 1),
	S(70 /* SO_BUSY_POLL_BUDGET */, 0),
	S(72 /* SO_BUF_LOCK */, 3),
	S(73 /* SO_RESERVE_MEM */, 4096),
	S(74 /* SO_TXREHASH */, 0),
	S(75 /* SO_RCVMARK */, 1),
	S(82 /* SO_RCVPRIORITY */, 1),
	S(SO_PASSCRED, 1),
	S(SO_PASSSEC, 1),
	S(76 /* SO_PASSPIDFD */, 1),
	S(83 /* SO_PASSRIGHTS */, 0),
	I(IP_TOS, 0x10),
	I(IP_TTL, 33),
	I(IP_MTU_DISCOVER, IP_PMTUDISC_PROBE),
	I(IP_RECVERR, 1),
	I(IP_RECVTTL, 1),
	I(IP_RECVTOS, 1),
	I(IP_RECVOPTS, 1),
	I(IP_RETOPTS, 1),
	I(IP_RECVORIGDSTADDR, 1),
	I(IP_MINTTL, 3),
	I(IP_FREEBIND, 1),
	I(IP_TRANSPARENT, 1),
	I(IP_PKTINFO, 1),
	I(IP_BIND_ADDRESS_NO_PORT, 1),
	I(IP_RECVFRAGSIZE, 1),
	I(26 /* IP_RECVERR_RFC4884 */, 1),
	I(IP_CHECKSUM, 1),
	I(IP_PASSSEC, 1),
	I(IP_MULTICAST_TTL, 9),
	I(IP_MULTICAST_LOOP, 0),
	I(IP_MULTICAST_ALL, 0),
	I(IP_UNICAST_IF, 0x01000000 /* the loopback interface */),
	I(51 /* IP_LOCAL_PORT_RANGE */, 0x9c40 | 0xc350 << 16),
	I(IP_HDRINCL, 1),
	I(IP_NODEFRAG, 1),
	V6(IPV6_UNICAST_HOPS, 44),
	V6(IPV6_MULTICAST_HOPS, 11),
	V6(IPV6_MULTICAST_LOOP, 0),
	V6(29 /* IPV6_MULTICAST_ALL */, 0),
	V6(IPV6_MULTICAST_IF, 1),
	V6(IPV6_UNICAST_IF, 0x01000000),
	V6(IPV6_MTU_DISCOVER, IPV6_PMTUDISC_DO),
	V6(IPV6_V6ONLY, 1),
	V6(IPV6_RECVERR, 1),
	V6(IPV6_RECVPKTINFO, 1),
	V6(IPV6_RECVHOPLIMIT, 1),
	V6(IPV6_RECVTCLASS, 1),
	V6(IPV6_TCLASS, 0x20),
	V6(IPV6_FREEBIND, 1),
	V6(IPV6_DONTFRAG, 1),
	V6(IPV6_RECVPATHMTU, 1),
	V6(IPV6_RECVRTHDR, 1),
	V6(IPV6_RECVHOPOPTS, 1),
	V6(IPV6_RECVDSTOPTS, 1),
	V6(11 /* IPV6_FLOWINFO */, 1),
	V6(33 /* IPV6_FLOWINFO_SEND */, 1),
	V6(IPV6_AUTOFLOWLABEL, 0),
	V6(IPV6_RECVORIGDSTADDR, 1),
	V6(IPV6_RECVFRAGSIZE, 1),
	V6(IPV6_ADDR_PREFERENCES, 1),
	V6(IPV6_MINHOPCOUNT, 2),
	V6(31 /* IPV6_RECVERR_RFC4884 */, 1),
	V6(30 /* IPV6_ROUTER_ALERT_ISOLATE */, 1),
	V6(IPV6_2292PKTINFO, 1),
	V6(IPV6_2292HOPOPTS, 1),
	V6(IPV6_2292DSTOPTS, 1),
	V6(IPV6_2292RTHDR, 1),
	V6(IPV6_2292HOPLIMIT, 1),
	V6(IPV6_HDRINCL, 1),
	V6(IPV6_CHECKSUM, 4),
	T(TCP_NODELAY, 1),
	T(TCP_CORK, 1),
	T(TCP_KEEPIDLE, 100),
	T(TCP_KEEPINTVL, 20),
	T(TCP_KEEPCNT, 4),
	T(TCP_DEFER_ACCEPT, 5),
	T(TCP_USER_TIMEOUT, 7000),
	T(TCP_MAXSEG, 1000),
	T(TCP_SYNCNT, 3),
	T(TCP_LINGER2, 12),
	T(TCP_WINDOW_CLAMP, 30000),
	T(TCP_THIN_LINEAR_TIMEOUTS, 1),
	T(TCP_FASTOPEN, 6),
	T(TCP_FASTOPEN_NO_COOKIE, 1),
	T(30 /* TCP_FASTOPEN_CONNECT */, 1),
	T(37 /* TCP_TX_DELAY */, 1000),
	T(TCP_NOTSENT_LOWAT, 5000),
	T(TCP_SAVE_SYN, 1),
	T(TCP_INQ, 1),
	T(44 /* TCP_RTO_MAX_MS */, 60000),
	T(45 /* TCP_RTO_MIN_US */, 100000),
	T(46 /* TCP_DELACK_MAX_US */, 20000),
	U(101 /* UDP_NO_CHECK6_TX */, 1),
	U(102 /* UDP_NO_CHECK6_RX */, 1),
	U(103 /* UDP_SEGMENT */, 1200),
	U(104 /* UDP_GRO */, 1),
	U(100 /* UDP_ENCAP */, 2),
	U(UDP_CORK, 1),
	{ IPPROTO_UDPLITE, 10, "UDPLITE_SEND_CSCOV", 12 },
	{ IPPROTO_UDPLITE, 11, "UDPLITE_RECV_CSCOV", 16 },
};

#define N (sizeof(options) / sizeof(*options))

struct sock {
	const char *name;
	int family, type, proto, fd;
	int value[N]; /* -1: not there */
	int set;
};

static struct sock socks[] = {
	{ "UDP", AF_INET, SOCK_DGRAM, 0, 0, { 0 }, 0 },
	{ "UDP over IPv6", AF_INET6, SOCK_DGRAM, 0, 0, { 0 }, 0 },
	{ "TCP", AF_INET, SOCK_STREAM, 0, 0, { 0 }, 0 },
	{ "TCP over IPv6", AF_INET6, SOCK_STREAM, 0, 0, { 0 }, 0 },
	{ "raw", AF_INET, SOCK_RAW, 253, 0, { 0 }, 0 },
	{ "raw over IPv6", AF_INET6, SOCK_RAW, 253, 0, { 0 }, 0 },
	{ "UDP-Lite", AF_INET, SOCK_DGRAM, IPPROTO_UDPLITE, 0, { 0 }, 0 },
	{ "UDP-Lite over IPv6", AF_INET6, SOCK_DGRAM, IPPROTO_UDPLITE, 0, { 0 }, 0 },
};

#define SOCKS (int)(sizeof(socks) / sizeof(*socks))

static int get(int fd, const struct option *o)
{
	int v = 0;
	socklen_t len = sizeof(v);

	return getsockopt(fd, o->level, o->name, &v, &len) ? -1 : v;
}

static void set_all(struct sock *s)
{
	s->fd = socket(s->family, s->type, s->proto);
	if (s->fd < 0)
		return;
	for (size_t i = 0; i < N; i++) {
		const struct option *o = &options[i];
		int before = get(s->fd, o);

		if (s->family == AF_UNIX && o->level != SOL_SOCKET)
			continue;
		if (before != -1 || o->name == SO_PEEK_OFF)
			s->set += !setsockopt(s->fd, o->level, o->name, &o->value, sizeof(o->value)) &&
			          get(s->fd, o) != before;
	}
	/* Some change others. */
	for (size_t i = 0; i < N; i++)
		s->value[i] = get(s->fd, &options[i]);
}

static void check_all(const struct sock *s)
{
	for (size_t i = 0; s->fd >= 0 && i < N; i++)
		zdtm_check(get(s->fd, &options[i]) == s->value[i], "%s: %s is %d, it was %d", s->name, options[i].text,
		           get(s->fd, &options[i]), s->value[i]);
}

/* ---- those that are more than a number, one socket each ---- */

static struct sock_filter filter[] = {
	{ BPF_LD | BPF_W | BPF_LEN, 0, 0, 0 },
	{ BPF_JMP | BPF_JGT | BPF_K, 1, 0, 12 }, /* 8 of UDP's header, and 4 */
	{ BPF_RET | BPF_K, 0, 0, 0xffffffff },
	{ BPF_RET | BPF_K, 0, 0, 0 },
};

static void check_filter(const char *what, int fd)
{
	struct sock_filter now[10];
	socklen_t n = 10;
	int locked = 0;

	zdtm_check(!getsockopt(fd, SOL_SOCKET, SO_GET_FILTER, now, &n) && n == 4 &&
	               !memcmp(now, filter, sizeof(filter)),
	           "%s: the filter: %u instructions", what, n);
	n = sizeof(locked);
	zdtm_check(!getsockopt(fd, SOL_SOCKET, SO_LOCK_FILTER, &locked, &n) && locked, "%s: it is not locked", what);
	zdtm_check(setsockopt(fd, SOL_SOCKET, SO_DETACH_FILTER, &locked, sizeof(locked)) == -1 && errno == EPERM,
	           "%s: a locked filter comes off", what);
}

/* Drops what is longer than 4 bytes; one datagram of 3 and one of 4 wait. */
static int filtered(int family)
{
	union {
		struct sockaddr any;
		struct sockaddr_in v4;
		struct sockaddr_in6 v6;
	} n = { .any.sa_family = family };
	struct sock_fprog p = { .len = 4, .filter = filter };
	int fd = socket(family, SOCK_DGRAM, 0), on = 1;
	socklen_t len = sizeof(n);

	if (family == AF_INET6)
		n.v6.sin6_addr = in6addr_loopback;
	else
		n.v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	zdtm_must(!bind(fd, &n.any, sizeof(n)) && !getsockname(fd, &n.any, &len) && !connect(fd, &n.any, len));
	zdtm_must(!setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &p, sizeof(p)));
	zdtm_must(!setsockopt(fd, SOL_SOCKET, SO_LOCK_FILTER, &on, sizeof(on)));
	zdtm_must(send(fd, "abc", 3, 0) == 3 && send(fd, "abcdefgh", 8, 0) == 8 && send(fd, "abcd", 4, 0) == 4);
	return fd;
}

static void check_filtered(const char *what, int fd)
{
	char b[20];

	check_filter(what, fd);
	zdtm_check(send(fd, "too long", 8, 0) == 8 && send(fd, "xy", 2, 0) == 2, "%s: sending", what);
	zdtm_check(recv(fd, b, 20, MSG_DONTWAIT) == 3 && recv(fd, b, 20, MSG_DONTWAIT) == 4, "%s: what waited", what);
	zdtm_check(recv(fd, b, 20, MSG_DONTWAIT) == 2 && recv(fd, b, 20, MSG_DONTWAIT) == -1,
	           "%s: what it lets through", what);
}

static int stamp(int name, int value)
{
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	zdtm_must(fd >= 0 && !setsockopt(fd, SOL_SOCKET, name, &value, sizeof(value)));
	return fd;
}

static void check_stamp(const char *what, int fd, int name, int value)
{
	static const int names[] = { SO_TIMESTAMP_OLD, SO_TIMESTAMPNS_OLD, SO_TIMESTAMP_NEW, SO_TIMESTAMPNS_NEW };
	struct option o = { SOL_SOCKET, name, what, value };

	zdtm_check(get(fd, &o) == value, "%s: %d", what, get(fd, &o));
	for (int i = 0; i < 4; i++) {
		o.name = names[i];
		/* With nanoseconds the new one without reads as on, too. */
		zdtm_check(names[i] == name || !get(fd, &o) || (name == SO_TIMESTAMPNS_NEW && i == 2),
		           "%s: option %d is on", what, names[i]);
	}
}

struct others {
	int timeouts, linger, txtime, pacing, device, congestion, options, mcast_if, four, six, stamps[6];
};

static const struct timeval receive = { 12, 340000 }, send_time = { 7, 80000 };
static const struct linger lingering = { 1, 33 };
static const struct sock_txtime tx = { .clockid = 11 /* CLOCK_TAI */, .flags = 2 };
static const uint64_t rate = 123456789012ULL;
static const uint8_t ip_options[] = { 1, 1, 1, 0 };
static const int stamping = SOF_TIMESTAMPING_RX_SOFTWARE | SOF_TIMESTAMPING_SOFTWARE;

static int with(int type, int level, int name, const void *v, socklen_t len)
{
	int fd = socket(AF_INET, type, 0);

	zdtm_must(fd >= 0 && !setsockopt(fd, level, name, v, len));
	return fd;
}

static void make_others(struct others *o)
{
	struct in_addr lo = { htonl(INADDR_LOOPBACK) };
	const char *cc = "reno";

	o->timeouts = with(SOCK_STREAM, SOL_SOCKET, SO_RCVTIMEO, &receive, sizeof(receive));
	zdtm_must(!setsockopt(o->timeouts, SOL_SOCKET, SO_SNDTIMEO, &send_time, sizeof(send_time)));
	o->linger = with(SOCK_STREAM, SOL_SOCKET, SO_LINGER, &lingering, sizeof(lingering));
	o->txtime = with(SOCK_DGRAM, SOL_SOCKET, SO_TXTIME, &tx, sizeof(tx));
	o->pacing = with(SOCK_DGRAM, SOL_SOCKET, SO_MAX_PACING_RATE, &rate, sizeof(rate));
	o->device = with(SOCK_DGRAM, SOL_SOCKET, SO_BINDTODEVICE, "lo", 2);
	o->congestion = with(SOCK_STREAM, IPPROTO_TCP, TCP_CONGESTION, cc, strlen(cc));
	o->options = with(SOCK_DGRAM, IPPROTO_IP, IP_OPTIONS, ip_options, sizeof(ip_options));
	o->mcast_if = with(SOCK_DGRAM, IPPROTO_IP, IP_MULTICAST_IF, &lo, sizeof(lo));
	o->four = filtered(AF_INET);
	o->six = filtered(AF_INET6);
	o->stamps[0] = stamp(SO_TIMESTAMP_OLD, 1);
	o->stamps[1] = stamp(SO_TIMESTAMPNS_OLD, 1);
	o->stamps[2] = stamp(SO_TIMESTAMP_NEW, 1);
	o->stamps[3] = stamp(SO_TIMESTAMPNS_NEW, 1);
	o->stamps[4] = stamp(SO_TIMESTAMPING_OLD, stamping);
	o->stamps[5] = stamp(SO_TIMESTAMPING_NEW, stamping);
}

static void check_bytes(const char *what, int fd, int level, int name, const void *want, size_t len)
{
	char buf[64] = "";
	socklen_t n = sizeof(buf);

	zdtm_check(!getsockopt(fd, level, name, buf, &n) && n >= len && !memcmp(buf, want, len), "%s differs", what);
}

static void check_pacing(int fd)
{
	uint64_t now = 0;
	socklen_t len = sizeof(now);

	zdtm_check(!getsockopt(fd, SOL_SOCKET, SO_MAX_PACING_RATE, &now, &len) && now == rate,
	           "SO_MAX_PACING_RATE %llu", (unsigned long long)now);
}

static void check_others(const struct others *o)
{
	struct in_addr lo = { htonl(INADDR_LOOPBACK) };

	check_bytes("SO_RCVTIMEO", o->timeouts, SOL_SOCKET, SO_RCVTIMEO, &receive, sizeof(receive));
	check_bytes("SO_SNDTIMEO", o->timeouts, SOL_SOCKET, SO_SNDTIMEO, &send_time, sizeof(send_time));
	check_bytes("SO_LINGER", o->linger, SOL_SOCKET, SO_LINGER, &lingering, sizeof(lingering));
	check_bytes("SO_TXTIME", o->txtime, SOL_SOCKET, SO_TXTIME, &tx, sizeof(tx));
	check_pacing(o->pacing);
	check_bytes("SO_BINDTODEVICE", o->device, SOL_SOCKET, SO_BINDTODEVICE, "lo", 3);
	check_bytes("TCP_CONGESTION", o->congestion, IPPROTO_TCP, TCP_CONGESTION, "reno", 5);
	check_bytes("IP_OPTIONS", o->options, IPPROTO_IP, IP_OPTIONS, ip_options, sizeof(ip_options));
	check_bytes("IP_MULTICAST_IF", o->mcast_if, IPPROTO_IP, IP_MULTICAST_IF, &lo, sizeof(lo));
	check_filtered("IPv4", o->four);
	check_filtered("IPv6", o->six);
	check_stamp("SO_TIMESTAMP_OLD", o->stamps[0], SO_TIMESTAMP_OLD, 1);
	check_stamp("SO_TIMESTAMPNS_OLD", o->stamps[1], SO_TIMESTAMPNS_OLD, 1);
	check_stamp("SO_TIMESTAMP_NEW", o->stamps[2], SO_TIMESTAMP_NEW, 1);
	check_stamp("SO_TIMESTAMPNS_NEW", o->stamps[3], SO_TIMESTAMPNS_NEW, 1);
	check_stamp("SO_TIMESTAMPING_OLD", o->stamps[4], SO_TIMESTAMPING_OLD, stamping);
	check_stamp("SO_TIMESTAMPING_NEW", o->stamps[5], SO_TIMESTAMPING_NEW, stamping);
}

int main(void)
{
	struct others others;

	for (int i = 0; i < SOCKS; i++) {
		set_all(&socks[i]);
		/* So that it is known when nothing was set at all. */
		zdtm_must(socks[i].fd < 0 || socks[i].set >= 25);
	}
	make_others(&others);
	zdtm_ready();
	zdtm_wait();
	for (int i = 0; i < SOCKS; i++)
		check_all(&socks[i]);
	check_others(&others);
	zdtm_pass();
}
