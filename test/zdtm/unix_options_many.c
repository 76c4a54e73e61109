/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * 1,500 unix sockets, so many that criu looks into the kernel's memory for those that have the options of a new one;
 * among the last are some with one option each, and in each state. All read back as they were.
 */
#include <linux/filter.h>
#include <net/if.h>
#include <stdbool.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>

#include "zdtm.h"

#define PLAIN 600 /* pairs that come first */
#define FIRST 2   /* options that any socket has */
#define LAST  90
#define MAX   400
#define BYTES 64

struct answer {
	int err;
	socklen_t len;
	char bytes[BYTES];
};

static int fds[MAX], n_fds;
static char what[MAX][64];
static struct answer before[MAX][LAST];

/* Not the error, which asking clears, nor what is counted. */
static bool is_asked(int opt)
{
	return opt != SO_ERROR && opt != SO_MEMINFO && opt != SO_INCOMING_CPU && opt != SO_COOKIE &&
	       opt != SO_PEERSEC && opt != 77 /* SO_PEERPIDFD */ && opt != SO_INCOMING_NAPI_ID;
}

static void ask(int fd, struct answer *a)
{
	for (int opt = FIRST; opt < LAST; opt++) {
		struct answer *p = &a[opt];

		memset(p, 0, sizeof(*p));
		p->len = sizeof(p->bytes);
		if (!is_asked(opt))
			continue;
		p->err = getsockopt(fd, SOL_SOCKET, opt, p->bytes, &p->len) ? errno : 0;
		if (p->err)
			memset(p->bytes, 0, sizeof(p->bytes));
	}
}

static int keep(int fd, const char *name, int opt, const char *state)
{
	zdtm_must(fd >= 0 && n_fds < MAX);
	snprintf(what[n_fds], sizeof(what[n_fds]), "%s %d, %s", name, opt, state);
	fds[n_fds++] = fd;
	return fd;
}

static void make_with(const char *name, int opt, const void *value, socklen_t len)
{
	int sv[2], fd;

	fd = socket(AF_UNIX, SOCK_DGRAM, 0);
	if (setsockopt(fd, SOL_SOCKET, opt, value, len)) {
		close(fd);
		return;
	}
	keep(fd, name, opt, "datagrams");
	zdtm_must(!socketpair(AF_UNIX, SOCK_STREAM, 0, sv) && !setsockopt(sv[1], SOL_SOCKET, opt, value, len));
	keep(sv[0], name, opt, "its peer");
	keep(sv[1], name, opt, "a pair");
}

/* One of each number that the kernel takes. */
static void make_all(void)
{
	struct timeval t = { 3, 0 };
	struct linger linger = { 1, 7 };
	struct sock_filter code[] = { { BPF_RET | BPF_K, 0, 0, 0xffff } };
	struct sock_fprog filter = { 1, code };
	uint64_t rate = 1000000;

	for (int opt = FIRST; opt < LAST; opt++) {
		int value = opt == SO_RCVLOWAT ? 5 : opt == 83 /* SO_PASSRIGHTS */ ? 0 : 1;

		if (is_asked(opt) && opt != SO_ATTACH_FILTER && opt != SO_DETACH_FILTER && opt != SO_LINGER &&
		    opt != SO_ATTACH_BPF && opt != SO_MAX_PACING_RATE)
			make_with("option", opt, &value, sizeof(value));
	}
	make_with("linger", SO_LINGER, &linger, sizeof(linger));
	make_with("timeout", SO_RCVTIMEO_OLD, &t, sizeof(t));
	make_with("timeout", SO_SNDTIMEO_OLD, &t, sizeof(t));
	make_with("filter", SO_ATTACH_FILTER, &filter, sizeof(filter));
	make_with("rate", SO_MAX_PACING_RATE, &rate, sizeof(rate));
	make_with("device", SO_BINDTODEVICE, "lo", 3);
	make_with("size", SO_SNDBUF, &(int) { 20000 }, sizeof(int));
	make_with("size", SO_RCVBUF, &(int) { 30000 }, sizeof(int));
}

static void compare(int i)
{
	static struct answer now[LAST];

	ask(fds[i], now);
	for (int opt = FIRST; opt < LAST; opt++) {
		struct answer *a = &before[i][opt], *b = &now[opt];

		zdtm_check(a->err == b->err && a->len == b->len && !memcmp(a->bytes, b->bytes, BYTES),
		           "%s: option %d reads as %d, %u bytes, it was %d, %u bytes", what[i], opt,
		           b->err ?: *(int *)(void *)b->bytes, b->len, a->err ?: *(int *)(void *)a->bytes, a->len);
	}
}

int main(void)
{
	struct rlimit lim = { 2000, 2000 };
	int sv[2];

	zdtm_must(!setrlimit(RLIMIT_NOFILE, &lim));
	for (int i = 0; i < PLAIN; i++)
		zdtm_must(!socketpair(AF_UNIX, i % 2 ? SOCK_STREAM : SOCK_DGRAM, 0, sv));
	keep(sv[1], "nothing", 0, "a pair");
	make_all();
	for (int i = 0; i < n_fds; i++)
		ask(fds[i], before[i]);
	zdtm_ready();
	zdtm_wait();
	zdtm_check(n_fds > 60, "only %d sockets with an option", n_fds);
	for (int i = 0; i < n_fds; i++)
		compare(i);
	zdtm_pass();
}
