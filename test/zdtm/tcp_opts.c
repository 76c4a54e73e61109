/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Every option of connections is as it was, set or not, with bytes in both queues, which small buffers would not take
 * again; also of those that have ended.
 *
 * zdtm: iters 2
 * zdtm: restores 2
 * zdtm: needs-root
 * zdtm: dump --tcp-established
 * zdtm: restore --tcp-established
 * zdtm: no-userns sets what root alone may
 */
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/time.h>

#include "zdtm.h"

/* linux: what the libc's headers may lack */
#define BUF_LOCK      72 /* SO_BUF_LOCK */
#define RTO_MAX_MS    44 /* TCP_RTO_MAX_MS */
#define RTO_MIN_US    45
#define DELACK_MAX_US 46
/* TCP_MAXSEG of a restored connection: what can be set; and the options of a header count in another order. */
#define MSS_MAX       32767
#define NEAR          100

struct option {
	int level, name;
	const char *text;
	int value; /* set to this; -1: left alone */
	int v6;    /* of IPv6 sockets only */
};

#define O(level, name, value)                                                                                          \
	{                                                                                                              \
		level, name, #name, value, 0                                                                           \
	}
#define V6(name, value)                                                                                                \
	{                                                                                                              \
		IPPROTO_IPV6, name, #name, value, 1                                                                    \
	}

static const struct option options[] = {
	O(SOL_SOCKET, SO_REUSEADDR, 1),
	O(SOL_SOCKET, SO_REUSEPORT, 1),
	O(SOL_SOCKET, SO_MARK, 0x77),
	O(SOL_SOCKET, SO_DONTROUTE, -1),
	O(SOL_SOCKET, SO_KEEPALIVE, 1),
	O(SOL_SOCKET, SO_OOBINLINE, 1),
	O(SOL_SOCKET, SO_RCVLOWAT, 3),
	O(SOL_SOCKET, SO_TIMESTAMP, 1),
	O(SOL_SOCKET, SO_ZEROCOPY, 1),
	O(SOL_SOCKET, SO_MAX_PACING_RATE, 100000000),
	O(IPPROTO_IP, IP_TOS, 0x10),
	O(SOL_SOCKET, SO_PRIORITY, 5), /* behind IP_TOS, which sets it too */
	O(IPPROTO_IP, IP_TTL, 77),
	O(IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DO),
	O(IPPROTO_IP, IP_RECVERR, 1),
	O(IPPROTO_IP, IP_MINTTL, 3),
	O(IPPROTO_IP, IP_RECVTTL, 1),
	V6(IPV6_TCLASS, 0x20),
	V6(IPV6_UNICAST_HOPS, 66),
	V6(IPV6_MTU_DISCOVER, IPV6_PMTUDISC_DO),
	V6(IPV6_RECVTCLASS, 1),
	V6(IPV6_RECVERR, 1),
	O(IPPROTO_TCP, TCP_NODELAY, 1),
	O(IPPROTO_TCP, TCP_CORK, 1),
	O(IPPROTO_TCP, TCP_KEEPIDLE, 555),
	O(IPPROTO_TCP, TCP_KEEPINTVL, 56),
	O(IPPROTO_TCP, TCP_KEEPCNT, 7),
	O(IPPROTO_TCP, TCP_USER_TIMEOUT, 123456),
	O(IPPROTO_TCP, TCP_SYNCNT, 3),
	O(IPPROTO_TCP, TCP_LINGER2, 33),
	O(IPPROTO_TCP, TCP_NOTSENT_LOWAT, 4096),
	O(IPPROTO_TCP, TCP_INQ, 1),
	O(IPPROTO_TCP, TCP_THIN_LINEAR_TIMEOUTS, 1),
	O(IPPROTO_TCP, RTO_MAX_MS, 20000),
	O(IPPROTO_TCP, RTO_MIN_US, 150000),
	O(IPPROTO_TCP, DELACK_MAX_US, 30000),
	O(IPPROTO_TCP, TCP_WINDOW_CLAMP, 30000),
	O(IPPROTO_TCP, TCP_MAXSEG, -1),
	O(SOL_SOCKET, SO_SNDBUF, 20000),
	O(SOL_SOCKET, SO_RCVBUF, 30000),
	O(SOL_SOCKET, BUF_LOCK, -1),
};

#define OPTIONS (sizeof(options) / sizeof(options[0]))

struct sock {
	int fd, v6, set, ended;
	int value[OPTIONS], there[OPTIONS];
	struct linger linger;
	struct timeval receive, send;
	char congestion[16], device[16];
};

static struct sock socks[16];
static int n_socks;

static void set_all(const struct sock *s)
{
	struct linger linger = { .l_onoff = 1, .l_linger = 7 };
	struct timeval t = { .tv_sec = 3, .tv_usec = 500000 };

	for (size_t i = 0; i < OPTIONS; i++)
		if (options[i].value >= 0 && (s->v6 || !options[i].v6))
			zdtm_must(
			    !setsockopt(s->fd, options[i].level, options[i].name, &options[i].value, sizeof(int)) ||
			    errno == ENOPROTOOPT);
	zdtm_must(!setsockopt(s->fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)));
	zdtm_must(!setsockopt(s->fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof(t)));
	zdtm_must(!setsockopt(s->fd, SOL_SOCKET, SO_SNDTIMEO, &t, sizeof(t)));
	zdtm_must(!setsockopt(s->fd, IPPROTO_TCP, TCP_CONGESTION, "reno", 4));
	zdtm_must(!setsockopt(s->fd, SOL_SOCKET, SO_BINDTODEVICE, "lo", 3));
}

static void get_all(struct sock *s)
{
	socklen_t len;

	for (size_t i = 0; i < OPTIONS; i++) {
		len = sizeof(int);
		s->there[i] = !getsockopt(s->fd, options[i].level, options[i].name, &s->value[i], &len);
	}
	len = sizeof(s->linger);
	zdtm_must(!getsockopt(s->fd, SOL_SOCKET, SO_LINGER, &s->linger, &len));
	len = sizeof(s->receive);
	zdtm_must(!getsockopt(s->fd, SOL_SOCKET, SO_RCVTIMEO, &s->receive, &len));
	len = sizeof(s->send);
	zdtm_must(!getsockopt(s->fd, SOL_SOCKET, SO_SNDTIMEO, &s->send, &len));
	len = sizeof(s->congestion);
	zdtm_must(!getsockopt(s->fd, IPPROTO_TCP, TCP_CONGESTION, s->congestion, &len));
	len = sizeof(s->device);
	zdtm_must(!getsockopt(s->fd, SOL_SOCKET, SO_BINDTODEVICE, s->device, &len));
}

static void add(int fd, int v6, int set, int ended)
{
	struct sock *s = &socks[n_socks++];

	*s = (struct sock) { .fd = fd, .v6 = v6, .set = set, .ended = ended };
	if (set)
		set_all(s);
}

/* Both ends, with something in all four queues. */
static void make(int v6, int set, int ended)
{
	struct sockaddr_storage at = { .ss_family = v6 ? AF_INET6 : AF_INET };
	socklen_t len = v6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
	struct linger none = { .l_onoff = 1 };
	int l = socket(at.ss_family, SOCK_STREAM, 0), c = socket(at.ss_family, SOCK_STREAM, 0), a;
	char bytes[9000];

	memset(bytes, 'x', sizeof(bytes));
	zdtm_must(!bind(l, (struct sockaddr *)&at, len) && !listen(l, 1));
	zdtm_must(!getsockname(l, (struct sockaddr *)&at, &len) && !connect(c, (struct sockaddr *)&at, len));
	zdtm_must((a = accept(l, NULL, NULL)) >= 0 && !close(l));
	zdtm_must(send(a, bytes, sizeof(bytes), 0) > 0 && send(c, bytes, sizeof(bytes), 0) > 0);
	usleep(1000);
	add(c, v6, set, ended);
	if (ended)
		zdtm_must(!setsockopt(a, SOL_SOCKET, SO_LINGER, &none, sizeof(none)) && !close(a));
	else
		add(a, v6, set, 0);
}

static void compare(const struct sock *was, int i)
{
	struct sock is = *was;

	get_all(&is);
	for (size_t k = 0; k < OPTIONS; k++) {
		const struct option *o = &options[k];

		if (o->name == TCP_MAXSEG && o->level == IPPROTO_TCP) {
			zdtm_check(was->ended || (is.value[k] < was->value[k] + NEAR &&
			                          (is.value[k] > was->value[k] - NEAR || is.value[k] > MSS_MAX - NEAR)),
			           "socket %d: segments of %d, not %d bytes", i, is.value[k], was->value[k]);
			continue;
		}
		zdtm_check(is.there[k] == was->there[k] && (!is.there[k] || is.value[k] == was->value[k]),
		           "socket %d: %s is %d, not %d", i, o->text, is.value[k], was->value[k]);
	}
	zdtm_check(!memcmp(&is.linger, &was->linger, sizeof(is.linger)), "socket %d: SO_LINGER", i);
	zdtm_check(!memcmp(&is.receive, &was->receive, sizeof(is.receive)), "socket %d: SO_RCVTIMEO", i);
	zdtm_check(!memcmp(&is.send, &was->send, sizeof(is.send)), "socket %d: SO_SNDTIMEO", i);
	zdtm_check(!strcmp(is.congestion, was->congestion), "socket %d: TCP_CONGESTION is %s, not %s", i, is.congestion,
	           was->congestion);
	zdtm_check(!strcmp(is.device, was->device), "socket %d: SO_BINDTODEVICE is %s, not %s", i, is.device,
	           was->device);
}

int main(void)
{
	for (int v6 = 0; v6 < 2; v6++)
		for (int set = 0; set < 2; set++) {
			make(v6, set, 0);
			make(v6, set, 1);
		}
	usleep(10000);
	for (int i = 0; i < n_socks; i++)
		get_all(&socks[i]);
	zdtm_ready();
	zdtm_wait();
	for (int i = 0; i < n_socks; i++)
		compare(&socks[i], i);
	zdtm_pass();
}
