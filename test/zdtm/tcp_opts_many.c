/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Several hundred connections, so many that criu looks into the kernel's memory for those that have the same options:
 * plain ones with all kinds of traffic behind them, then of both families one for each number that the kernel takes as
 * an option, which is set at one end. All read back as they were, at both ends.
 *
 * zdtm: iters 2
 * zdtm: needs-root
 * zdtm: dump --tcp-established
 * zdtm: restore --tcp-established
 * zdtm: no-userns sets what root alone may
 */
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/time.h>

#include "zdtm.h"

#define PLAIN 100 /* pairs */
#define MAX   900
#define BYTES 32

struct level {
	int level, first, last;
	const char *name;
};

static const struct level levels[] = {
	{ SOL_SOCKET, 2, 89, "SOL_SOCKET" },
	{ IPPROTO_IP, 1, 52, "IPPROTO_IP" },
	{ IPPROTO_TCP, 1, 47, "IPPROTO_TCP" },
	{ IPPROTO_IPV6, 2, 80, "IPPROTO_IPV6" },
};

#define LEVELS (sizeof(levels) / sizeof(levels[0]))
#define LAST   90

struct number {
	int level, name;
};

/* What a connection shows of its traffic, its path or its peer, what asking changes, and what takes no number. */
static const struct number not_asked[] = {
	{ SOL_SOCKET, SO_ERROR },
	{ SOL_SOCKET, SO_MEMINFO },
	{ SOL_SOCKET, SO_INCOMING_CPU },
	{ SOL_SOCKET, SO_INCOMING_NAPI_ID },
	{ SOL_SOCKET, SO_COOKIE },
	{ SOL_SOCKET, SO_ATTACH_FILTER },
	{ SOL_SOCKET, SO_DETACH_FILTER },
	{ SOL_SOCKET, SO_ATTACH_BPF },
	{ SOL_SOCKET, SO_PEERSEC },
	{ SOL_SOCKET, SO_PEEK_OFF },
	{ SOL_SOCKET, SO_LINGER },
	{ IPPROTO_IP, IP_OPTIONS },
	{ IPPROTO_IP, IP_MTU },
	{ IPPROTO_IP, IP_PKTOPTIONS },
	{ IPPROTO_IPV6, IPV6_MTU },
	{ IPPROTO_IPV6, IPV6_PATHMTU },
	{ IPPROTO_IPV6, IPV6_2292PKTOPTIONS },
	{ IPPROTO_IPV6, IPV6_UNICAST_HOPS },
	/* A stream does nothing with them; bind() to an address changes the last. */
	{ IPPROTO_IP, IP_MULTICAST_TTL },
	{ IPPROTO_IPV6, IPV6_MULTICAST_HOPS },
	{ IPPROTO_IPV6, IPV6_MULTICAST_IF },
	{ IPPROTO_IPV6, IPV6_V6ONLY },
	/* A listening socket's. */
	{ IPPROTO_TCP, TCP_DEFER_ACCEPT },
	{ IPPROTO_TCP, TCP_SAVE_SYN },
	{ IPPROTO_TCP, TCP_MAXSEG },
	{ IPPROTO_TCP, TCP_INFO },
	{ IPPROTO_TCP, TCP_CC_INFO },
	{ IPPROTO_TCP, TCP_QUICKACK },
	{ IPPROTO_TCP, TCP_REPAIR },
	{ IPPROTO_TCP, TCP_REPAIR_QUEUE },
	{ IPPROTO_TCP, TCP_QUEUE_SEQ },
	{ IPPROTO_TCP, TCP_REPAIR_OPTIONS },
	{ IPPROTO_TCP, TCP_REPAIR_WINDOW },
	{ IPPROTO_TCP, TCP_TIMESTAMP },
	{ IPPROTO_TCP, TCP_ULP },
	{ IPPROTO_TCP, TCP_CONGESTION },
	{ IPPROTO_TCP, TCP_ZEROCOPY_RECEIVE },
	{ IPPROTO_TCP, TCP_SAVED_SYN },
	{ IPPROTO_TCP, TCP_MD5SIG },
};

struct answer {
	int err;
	socklen_t len;
	char bytes[BYTES];
};

struct conn {
	int fd, v6;
	char what[64];
	struct answer answers[LEVELS][LAST];
};

static struct conn conns[MAX];
static int n_conns;

static bool is_asked(int level, int name)
{
	for (size_t i = 0; i < sizeof(not_asked) / sizeof(not_asked[0]); i++)
		if (not_asked[i].level == level && not_asked[i].name == name)
			return false;
	return true;
}

static void ask(const struct conn *c, struct answer (*answers)[LAST])
{
	memset(answers, 0, LEVELS * sizeof(*answers));
	for (size_t l = 0; l < LEVELS; l++)
		for (int name = levels[l].first; name <= levels[l].last; name++) {
			struct answer *a = &answers[l][name];

			a->len = sizeof(a->bytes);
			if (!is_asked(levels[l].level, name))
				continue;
			a->err = getsockopt(c->fd, levels[l].level, name, a->bytes, &a->len) ? errno : 0;
			if (a->err)
				memset(a->bytes, 0, sizeof(a->bytes));
		}
}

static void make_pair(int v6, int sv[2])
{
	struct sockaddr_storage at = { .ss_family = v6 ? AF_INET6 : AF_INET };
	socklen_t len = v6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
	int l = socket(at.ss_family, SOCK_STREAM, 0);

	sv[0] = socket(at.ss_family, SOCK_STREAM, 0);
	if (v6)
		((struct sockaddr_in6 *)&at)->sin6_addr = in6addr_loopback;
	else
		((struct sockaddr_in *)&at)->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	zdtm_must(sv[0] >= 0 && !bind(l, (struct sockaddr *)&at, len) && !listen(l, 1));
	zdtm_must(!getsockname(l, (struct sockaddr *)&at, &len) && !connect(sv[0], (struct sockaddr *)&at, len));
	zdtm_must((sv[1] = accept(l, NULL, NULL)) >= 0 && !close(l));
}

static void keep(const int sv[2], int v6, const char *text)
{
	zdtm_must(n_conns + 2 <= MAX);
	for (int i = 0; i < 2; i++) {
		struct conn *c = &conns[n_conns++];

		c->fd = sv[i];
		c->v6 = v6;
		snprintf(c->what, sizeof(c->what), "%s, %s", text, i ? "accepted" : "connected");
	}
}

/* To and fro, some of it not read. */
static void talk(const int sv[2], int n)
{
	static char bytes[65536];

	for (int i = 0; i < n % 7; i++) {
		size_t len = (size_t)(n * 131 + i * 977) % sizeof(bytes) + 1;

		zdtm_must(send(sv[i & 1], bytes, len, 0) == (ssize_t)len);
		if (i % 3 != 2)
			zdtm_must(recv(sv[!(i & 1)], bytes, len, MSG_WAITALL) == (ssize_t)len);
	}
}

static void make_plain(void)
{
	int sv[2];
	char text[32];

	for (int i = 0; i < PLAIN; i++) {
		make_pair(i & 1, sv);
		talk(sv, i);
		snprintf(text, sizeof(text), "plain pair %d", i);
		keep(sv, i & 1, text);
	}
}

static bool set_number(int fd, const struct level *l, int name)
{
	struct timeval t = { 3, 0 };

	if (l->level == SOL_SOCKET && (name == SO_RCVTIMEO || name == SO_SNDTIMEO))
		return !setsockopt(fd, l->level, name, &t, sizeof(t));
	for (int value = 1; value <= 4096; value *= 8)
		if (!setsockopt(fd, l->level, name, &value, sizeof(value)))
			return true;
	return false;
}

static void make_with(int v6, const struct level *l, int name)
{
	int sv[2];
	char text[48];

	make_pair(v6, sv);
	if (!set_number(sv[name & 1], l, name)) {
		close(sv[0]);
		close(sv[1]);
		return;
	}
	snprintf(text, sizeof(text), "%s, %s %d", v6 ? "IPv6" : "IPv4", l->name, name);
	keep(sv, v6, text);
}

static void make_all(void)
{
	for (int v6 = 0; v6 < 2; v6++)
		for (size_t l = 0; l < LEVELS - !v6; l++)
			for (int name = levels[l].first; name <= levels[l].last; name++)
				if (is_asked(levels[l].level, name))
					make_with(v6, &levels[l], name);
}

static void compare(const struct conn *c)
{
	static struct answer now[LEVELS][LAST];

	ask(c, now);
	for (size_t l = 0; l < LEVELS - !c->v6; l++)
		for (int name = levels[l].first; name <= levels[l].last; name++) {
			const struct answer *a = &c->answers[l][name], *b = &now[l][name];

			zdtm_check(a->err == b->err && a->len == b->len && !memcmp(a->bytes, b->bytes, BYTES),
			           "%s: %s %d reads as %d, %u bytes, it was %d, %u bytes", c->what, levels[l].name,
			           name, b->err ?: *(const int *)(const void *)b->bytes, b->len,
			           a->err ?: *(const int *)(const void *)a->bytes, a->len);
		}
}

int main(void)
{
	struct rlimit lim = { 2000, 2000 };

	zdtm_must(!setrlimit(RLIMIT_NOFILE, &lim));
	make_plain();
	make_all();
	usleep(100000);
	for (int i = 0; i < n_conns; i++)
		ask(&conns[i], conns[i].answers);
	zdtm_ready();
	zdtm_wait();
	zdtm_check(n_conns > 2 * PLAIN + 300, "only %d connections", n_conns);
	for (int i = 0; i < n_conns; i++)
		compare(&conns[i]);
	zdtm_pass();
}
