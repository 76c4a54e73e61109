/* SPDX-License-Identifier: GPL-2.0-only */
/* The library alone: connections over the loopback of a network namespace of our own, out of their sockets and back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cmocka.h>

#include "soccr.h"

#define MARK 0x2000000

struct pair {
	int a, b;
};

static void loopback_up(void)
{
	struct ifreq ifr = { .ifr_flags = IFF_UP };
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	strcpy(ifr.ifr_name, "lo");
	assert_int_equal(ioctl(fd, SIOCSIFFLAGS, &ifr), 0);
	close(fd);
}

static void lock_net(bool on)
{
	if (on)
		assert_int_equal(system("nft 'table inet t { chain o { type filter hook output priority -450; "
		                        "meta mark 0x2000000 accept; drop; }; }'"),
		                 0);
	else
		assert_int_equal(system("nft delete table inet t"), 0);
}

static union soccr_addr address(int family, uint16_t port)
{
	union soccr_addr a = { .any.sa_family = (sa_family_t)family };

	if (family == AF_INET) {
		a.v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
		a.v4.sin_port = htons(port);
	} else {
		a.v6.sin6_addr = in6addr_loopback;
		a.v6.sin6_port = htons(port);
	}
	return a;
}

static struct pair connected(int family)
{
	socklen_t len = family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);
	union soccr_addr at = address(family, 0);
	int l = socket(family, SOCK_STREAM, 0);
	struct pair p = { .a = socket(family, SOCK_STREAM, 0) };

	assert_int_equal(bind(l, &at.any, len), 0);
	assert_int_equal(listen(l, 1), 0);
	assert_int_equal(getsockname(l, &at.any, &len), 0);
	assert_int_equal(connect(p.a, &at.any, len), 0);
	p.b = accept(l, NULL, NULL);
	assert_true(p.b >= 0);
	close(l);
	return p;
}

/*
 * A lock keeps back what is sent from now on. What had passed already lies in the backlog of a processor until the
 * kernel gets to it, which takes its time on a busy machine; soccr_read() says so (-EAGAIN), and is called again.
 */
static int read_settled(int fd, struct soccr_conn *c)
{
	int err = soccr_read(fd, c);

	for (int i = 0; err == -EAGAIN && i < 10000; i++) {
		soccr_free(c);
		usleep(1000);
		err = soccr_read(fd, c);
	}
	return err;
}

/* Out of both sockets, which are closed while they are in repair. */
static void take(struct pair *p, struct soccr_conn c[2])
{
	int fds[2] = { p->a, p->b };

	for (int i = 0; i < 2; i++) {
		int err = soccr_look(fds[i], &c[i]) ?: soccr_pause(fds[i], &c[i]);

		if (!err)
			err = read_settled(fds[i], &c[i]);
		if (err)
			fail_msg("reading: %s: %s", c[i].step, strerror(-err));
	}
	close(p->a);
	close(p->b);
}

static int step_of(int step, int fd, struct soccr_conn *c)
{
	switch (step) {
	case 0:
		return soccr_open(fd, c) ?: soccr_connect(fd, c);
	case 1:
		return soccr_fill(fd, c);
	case 2:
		return soccr_close_sides(fd, c, MARK);
	case 3:
		return soccr_release(fd, c);
	default:
		return soccr_go_on(fd, c, MARK);
	}
}

static struct pair put(struct soccr_conn c[2])
{
	int fds[2];

	for (int i = 0; i < 2; i++)
		fds[i] = socket(c[i].local.any.sa_family, SOCK_STREAM, 0);
	for (int step = 0; step < 5; step++)
		for (int i = 0; i < 2; i++) {
			int err = step_of(step, fds[i], &c[i]);

			if (err)
				fail_msg("socket %d, state %d: %s: %s", i, c[i].state, c[i].step, strerror(-err));
		}
	return (struct pair) { fds[0], fds[1] };
}

static int state_of(int fd)
{
	struct tcp_info info;
	socklen_t len = sizeof(info);

	assert_int_equal(getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len), 0);
	return info.tcpi_state;
}

static struct pair through(struct pair p)
{
	struct soccr_conn c[2] = { 0 };

	lock_net(true);
	take(&p, c);
	p = put(c);
	assert_int_equal(state_of(p.a), c[0].state);
	assert_int_equal(state_of(p.b), c[1].state);
	lock_net(false);
	soccr_free(&c[0]);
	soccr_free(&c[1]);
	return p;
}

static void fill(char *buf, size_t len, unsigned seed)
{
	for (size_t i = 0; i < len; i++)
		buf[i] = (char)(seed = seed * 1103515245 + 12345, seed >> 16);
}

/* Reads to the end (eof) or so many bytes, within some seconds. */
static void expect(int fd, const char *bytes, size_t len, bool eof)
{
	char *got = malloc(len + 1);
	size_t n = 0;

	while (n < len || eof) {
		struct pollfd pfd = { .fd = fd, .events = POLLIN };
		ssize_t r;

		assert_int_equal(poll(&pfd, 1, 60000), 1);
		r = recv(fd, got + n, len + 1 - n, MSG_DONTWAIT);
		if (r <= 0) {
			assert_int_equal(r, 0);
			break;
		}
		n += (size_t)r;
		assert_true(n <= len);
	}
	assert_int_equal(n, len);
	assert_memory_equal(got, bytes, len);
	free(got);
}

static void works_on(struct pair p)
{
	assert_int_equal(send(p.a, "ping", 4, 0), 4);
	expect(p.b, "ping", 4, false);
	assert_int_equal(send(p.b, "pong", 4, 0), 4);
	expect(p.a, "pong", 4, false);
}

/* The size of segments is the one that was agreed on, not the smallest that there is. */
static int mss_of(int fd)
{
	socklen_t len = sizeof(int);
	int mss;

	assert_int_equal(getsockopt(fd, IPPROTO_TCP, TCP_MAXSEG, &mss, &len), 0);
	return mss;
}

static void both_families(void **state)
{
	for (int i = 0; i < 2; i++) {
		struct pair p = connected(i ? AF_INET6 : AF_INET);
		int mss = mss_of(p.a);

		works_on(p);
		p = through(through(p));
		assert_in_range(mss_of(p.a), mss - 100, mss + 100);
		works_on(p);
		close(p.a);
		expect(p.b, "", 0, true);
		close(p.b);
	}
}

/* As much as goes in, both ways, to the last byte. */
static void full_queues(void **state)
{
	struct pair p = connected(AF_INET);
	size_t size = 64 << 20, sent[2] = { 0 };
	char *bytes = malloc(size);

	fill(bytes, size, 1);
	for (int i = 0; i < 2; i++)
		for (int idle = 0; idle < 50;) {
			ssize_t n = send(i ? p.b : p.a, bytes + sent[i], 1 << 20, MSG_DONTWAIT);

			idle = n > 0 ? 0 : idle + 1;
			sent[i] += n > 0 ? (size_t)n : 0;
			if (n < 0)
				usleep(2000);
		}
	p = through(p);
	expect(p.b, bytes, sent[0], false);
	expect(p.a, bytes, sent[1], false);
	works_on(p);
	close(p.a);
	close(p.b);
	free(bytes);
}

/* a has sent its FIN; then b has answered with its own, or not, or both at once, with data before each or without. */
static void half_closed(struct pair p, const char *from_a, const char *from_b, int want_a, int want_b)
{
	for (int i = 0; i < 60000 && (state_of(p.a) != want_a || state_of(p.b) != want_b); i++)
		usleep(1000);
	assert_int_equal(state_of(p.a), want_a);
	assert_int_equal(state_of(p.b), want_b);
	p = through(p);
	expect(p.b, from_a, strlen(from_a), true);
	if (want_b == TCP_CLOSE_WAIT) {
		assert_int_equal(send(p.b, "more", 4, MSG_NOSIGNAL), 4);
		shutdown(p.b, SHUT_WR);
	}
	(void)from_b;
	close(p.b);
	expect(p.a, want_b == TCP_CLOSE_WAIT ? "more" : from_b, strlen(want_b == TCP_CLOSE_WAIT ? "more" : from_b),
	       true);
	close(p.a);
}

static void one_side(void **state)
{
	for (int i = 0; i < 2; i++) {
		struct pair p = connected(i ? AF_INET6 : AF_INET);

		shutdown(p.a, SHUT_WR);
		half_closed(p, "", "", TCP_FIN_WAIT2, TCP_CLOSE_WAIT);
		p = connected(i ? AF_INET6 : AF_INET);
		assert_int_equal(send(p.a, "last words", 10, 0), 10);
		shutdown(p.a, SHUT_WR);
		half_closed(p, "last words", "", TCP_FIN_WAIT2, TCP_CLOSE_WAIT);
	}
}

/* FINs that did not arrive before the lock. */
static void fin_in_flight(void **state)
{
	struct pair p = connected(AF_INET);
	struct soccr_conn c[2] = { 0 };

	lock_net(true);
	assert_int_equal(send(p.a, "behind the lock", 15, 0), 15);
	shutdown(p.a, SHUT_WR);
	assert_int_equal(state_of(p.a), TCP_FIN_WAIT1);
	take(&p, c);
	assert_int_equal(c[0].outq_len, 15);
	p = put(c);
	assert_int_equal(state_of(p.a), TCP_FIN_WAIT1);
	lock_net(false);
	expect(p.b, "behind the lock", 15, true);
	close(p.a);
	close(p.b);
	soccr_free(&c[0]);
	soccr_free(&c[1]);
}

static void both_fins_in_flight(void **state)
{
	struct pair p = connected(AF_INET);
	struct soccr_conn c[2] = { 0 };

	lock_net(true);
	assert_int_equal(send(p.a, "a", 1, 0), 1);
	shutdown(p.a, SHUT_WR);
	assert_int_equal(send(p.b, "bb", 2, 0), 2);
	shutdown(p.b, SHUT_WR);
	take(&p, c);
	p = put(c);
	lock_net(false);
	expect(p.b, "a", 1, true);
	expect(p.a, "bb", 2, true);
	close(p.a);
	close(p.b);
	soccr_free(&c[0]);
	soccr_free(&c[1]);
}

/* Its SYN is on the way, to a listener that sees it after all. */
static void syn_sent(void **state)
{
	union soccr_addr at = address(AF_INET, 4321);
	int l = socket(AF_INET, SOCK_STREAM, 0), fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), other;
	struct soccr_conn c = { 0 };
	int err;

	assert_int_equal(bind(l, &at.any, sizeof(at.v4)), 0);
	assert_int_equal(listen(l, 1), 0);
	lock_net(true);
	assert_int_equal(connect(fd, &at.any, sizeof(at.v4)), -1);
	assert_int_equal(state_of(fd), TCP_SYN_SENT);
	assert_int_equal(soccr_look(fd, &c) ?: soccr_pause(fd, &c) ?: read_settled(fd, &c), 0);
	close(fd);
	c.remote = at;
	fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	for (int step = 0; step < 5; step++) {
		err = step_of(step, fd, &c);
		if (err)
			fail_msg("%s: %s", c.step, strerror(-err));
	}
	assert_int_equal(state_of(fd), TCP_SYN_SENT);
	lock_net(false);
	other = accept(l, NULL, NULL);
	works_on((struct pair) { fd, other });
	close(fd);
	close(other);
	close(l);
}

/* What a dump leaves behind when the victim runs on. */
static void resumed(void **state)
{
	struct pair p = connected(AF_INET);
	struct soccr_conn c = { 0 };
	int one = 1, off = 2, got;
	socklen_t len = sizeof(int);

	assert_int_equal(setsockopt(p.a, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)), 0);
	assert_int_equal(send(p.b, "queued", 6, 0), 6);
	while (!ioctl(p.a, SIOCINQ, &got) && got < 6)
		usleep(100);
	if (!setsockopt(p.a, SOL_SOCKET, SO_PEEK_OFF, &off, sizeof(off)))
		assert_int_equal(getsockopt(p.a, SOL_SOCKET, SO_PEEK_OFF, &off, &len), 0);
	assert_int_equal(soccr_look(p.a, &c) ?: soccr_pause(p.a, &c) ?: read_settled(p.a, &c), 0);
	assert_int_equal(c.inq_len, 6);
	assert_memory_equal(c.inq, "queued", 6);
	assert_int_equal(soccr_resume(p.a, &c), 0);
	soccr_free(&c);
	assert_int_equal(getsockopt(p.a, SOL_SOCKET, SO_REUSEADDR, &got, &len), 0);
	assert_int_equal(got, 1);
	if (!getsockopt(p.a, SOL_SOCKET, SO_PEEK_OFF, &got, &len))
		assert_int_equal(got, off);
	expect(p.a, "queued", 6, false);
	works_on(p);
	close(p.a);
	close(p.b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(both_families),       cmocka_unit_test(full_queues), cmocka_unit_test(one_side),
		cmocka_unit_test(fin_in_flight),       cmocka_unit_test(syn_sent),    cmocka_unit_test(resumed),
		cmocka_unit_test(both_fins_in_flight),
	};

	if (unshare(CLONE_NEWNET)) {
		printf("1..0 # SKIP no network namespace of our own: %s\n", strerror(errno));
		return 0;
	}
	loopback_up();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
