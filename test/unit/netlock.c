/* SPDX-License-Identifier: GPL-2.0-only */
/* The network lock alone, in a network namespace of our own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <arpa/inet.h>
#include <errno.h>
#include <linux/netlink.h>
#include <net/if.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sched.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "options/options.h"
#include "netlock/net_lock.h"
#include "segment.h"

static void loopback_up(void)
{
	struct ifreq ifr = { .ifr_flags = IFF_UP };
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	strcpy(ifr.ifr_name, "lo");
	assert_int_equal(ioctl(fd, SIOCSIFFLAGS, &ifr), 0);
	close(fd);
}

static void connected(int family, int fds[2])
{
	socklen_t len = family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);
	union soccr_addr at = { .any.sa_family = (sa_family_t)family };
	int l = socket(family, SOCK_STREAM, 0);

	if (family == AF_INET)
		at.v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	else
		at.v6.sin6_addr = in6addr_loopback;
	assert_int_equal(bind(l, &at.any, len), 0);
	assert_int_equal(listen(l, 1), 0);
	assert_int_equal(getsockname(l, &at.any, &len), 0);
	fds[0] = socket(family, SOCK_STREAM, 0);
	assert_int_equal(connect(fds[0], &at.any, len), 0);
	fds[1] = accept(l, NULL, NULL);
	close(l);
}

static struct net_tuple tuple_of(int fd)
{
	union soccr_addr a, b;
	socklen_t len = sizeof(a);
	struct net_tuple t;

	memset(&t, 0, sizeof(t));
	assert_int_equal(getsockname(fd, &a.any, &len), 0);
	len = sizeof(b);
	assert_int_equal(getpeername(fd, &b.any, &len), 0);
	t.family = a.any.sa_family;
	if (t.family == AF_INET) {
		memcpy(t.local, &a.v4.sin_addr, 4);
		memcpy(t.remote, &b.v4.sin_addr, 4);
	} else {
		memcpy(t.local, &a.v6.sin6_addr, 16);
		memcpy(t.remote, &b.v6.sin6_addr, 16);
	}
	t.local_port = a.any.sa_family == AF_INET ? a.v4.sin_port : a.v6.sin6_port;
	t.remote_port = b.any.sa_family == AF_INET ? b.v4.sin_port : b.v6.sin6_port;
	return t;
}

static int take(struct arena *a, const char *name, enum net_lock_kind kind, const struct net_tuple *t, size_t n,
                struct net_lock **lockp)
{
	struct net_lock_spec spec = { .name = name, .kind = kind, .mark = NETWORK_LOCK_MARK };

	return net_lock_take(a, &spec, t, n, lockp);
}

static bool goes_through(int fds[2], const char *text, int ms)
{
	struct pollfd p = { .fd = fds[1], .events = POLLIN };
	char buf[100];

	assert_int_equal(send(fds[0], text, strlen(text), 0), strlen(text));
	if (poll(&p, 1, ms) != 1)
		return false;
	return recv(fds[1], buf, sizeof(buf), 0) > 0;
}

static void locks_and_unlocks(void **state)
{
	struct arena *a = arena_new();

	for (int family = AF_INET;; family = AF_INET6) {
		struct net_lock *lock = NULL;
		struct net_tuple t;
		int locked[2], other[2];

		connected(family, locked);
		connected(family, other);
		t = tuple_of(locked[0]);
		assert_int_equal(take(a, "CRIU-test", NET_LOCK_DUMP, &t, 1, &lock), 0);
		assert_int_equal(net_lock_exists("CRIU-test"), 1);
		assert_false(goes_through(locked, "x", 100));
		assert_true(goes_through(other, "x", 60000));
		net_lock_drop(lock);
		for (int i = 0; i < 12000 && net_lock_exists("CRIU-test"); i++)
			usleep(5000);
		assert_int_equal(net_lock_exists("CRIU-test"), 0);
		assert_true(goes_through(locked, "y", 60000)); /* what was dropped is sent again */
		for (int i = 0; i < 2; i++) {
			close(locked[i]);
			close(other[i]);
		}
		if (family == AF_INET6)
			break;
	}
	arena_free(a);
}

/* From a plain table to an owned one beside it and back: at no time does a packet pass. */
static void handed_over(void **state)
{
	struct arena *a = arena_new();
	struct net_lock *lock = NULL;
	struct net_tuple t;
	int fds[2];

	connected(AF_INET, fds);
	t = tuple_of(fds[0]);
	assert_int_equal(take(a, "CRIU-own", NET_LOCK_DUMP, &t, 1, &lock), 0);
	assert_int_equal(take(a, "CRIU-last", NET_LOCK_LASTING, &t, 1, NULL), 0);
	assert_int_equal(take(a, "CRIU-last", NET_LOCK_LASTING, &t, 1, NULL), -EEXIST);
	net_lock_drop(lock);
	assert_false(goes_through(fds, "x", 300));
	assert_int_equal(take(a, "CRIU-back", NET_LOCK_RESTORE, &t, 1, &lock), 0);
	assert_int_equal(net_lock_remove("CRIU-last"), 0);
	assert_int_equal(net_lock_remove("CRIU-last"), -ENOENT);
	assert_false(goes_through(fds, "y", 100));
	net_lock_drop(lock);
	assert_true(goes_through(fds, "z", 60000));
	close(fds[0]);
	close(fds[1]);
	arena_free(a);
}

/* Our own packets pass both, and nobody after us sees the mark: a node's firewall that drops it stands behind. */
static void marked_pass(void **state)
{
	struct arena *a = arena_new();
	struct net_lock *lock = NULL;
	struct tcp_info info;
	socklen_t len = sizeof(info);
	union soccr_addr local, remote;
	struct soccr_segment rst = { .from = &remote, .to = &local, .flags = TH_RST };
	struct soccr_conn c = { 0 };
	struct net_tuple t;
	int fds[2];

	assert_int_equal(system("nft 'table ip kube { chain o { type filter hook output priority 0; "
	                        "meta mark & 0x2 == 0x2 drop; ct state invalid drop; }; }'"),
	                 0);
	connected(AF_INET, fds);
	t = tuple_of(fds[0]);
	assert_int_equal(take(a, "CRIU-last", NET_LOCK_LASTING, &t, 1, NULL), 0);
	assert_int_equal(take(a, "CRIU-back", NET_LOCK_RESTORE, &t, 1, &lock), 0);
	assert_int_equal(soccr_look(fds[0], &c) ?: soccr_pause(fds[0], &c) ?: soccr_read(fds[0], &c), 0);
	local = c.local;
	remote = c.remote;
	rst.seq = c.inq_seq;
	assert_int_equal(soccr_inject(&rst, NETWORK_LOCK_MARK + 1), -EPERM);
	assert_int_equal(getsockopt(fds[0], IPPROTO_TCP, TCP_INFO, &info, &len), 0);
	assert_int_equal(info.tcpi_state, TCP_ESTABLISHED);
	assert_int_equal(soccr_inject(&rst, NETWORK_LOCK_MARK), 0);
	for (int i = 0; i < 60000 && info.tcpi_state == TCP_ESTABLISHED; i++) {
		usleep(1000);
		assert_int_equal(getsockopt(fds[0], IPPROTO_TCP, TCP_INFO, &info, &len), 0);
	}
	assert_int_equal(info.tcpi_state, TCP_CLOSE);
	net_lock_drop(lock);
	assert_int_equal(net_lock_remove("CRIU-last"), 0);
	assert_int_equal(system("nft delete table ip kube"), 0);
	close(fds[0]);
	close(fds[1]);
	arena_free(a);
}

/* Netlink sockets of nf_tables in this namespace. */
static int sockets(void)
{
	FILE *f = fopen("/proc/thread-self/net/netlink", "r");
	char line[300];
	int n = 0, protocol;

	assert_non_null(f);
	while (fgets(line, sizeof(line), f))
		n += sscanf(line, "%*s %d", &protocol) == 1 && protocol == NETLINK_NETFILTER;
	fclose(f);
	return n;
}

/* By somebody else, whom nobody waits for; but it is closed. */
static void closed_later(void **state)
{
	struct arena *a = arena_new();
	struct net_tuple t = { .family = AF_INET };
	int before = sockets(), fd = dup(0);

	close(fd);
	for (int i = 0; i < 20; i++) {
		struct net_lock *lock;

		assert_int_equal(take(a, "CRIU-soon", NET_LOCK_DUMP, &t, 1, &lock), 0);
		assert_int_equal(net_lock_lift(lock, NULL), 0);
		net_lock_drop(lock);
	}
	assert_int_equal(dup(0), fd); /* and no descriptor is left */
	close(fd);
	for (int i = 0; i < 2000 && sockets() > before; i++)
		usleep(5000);
	assert_int_equal(sockets(), before);
	assert_int_equal(net_lock_exists("CRIU-soon"), 0);
	arena_free(a);
}

static void ten_thousand(void **state)
{
	struct arena *a = arena_new();
	struct net_tuple *t = calloc(20000, sizeof(*t));
	struct net_lock *lock = NULL;

	for (int i = 0; i < 20000; i++) {
		t[i].family = i % 2 ? AF_INET : AF_INET6;
		t[i].local[0] = 10;
		t[i].local[1] = (uint8_t)(i >> 8);
		t[i].local[2] = (uint8_t)i;
		t[i].remote_port = htons(80);
	}
	assert_int_equal(take(a, "CRIU-many", NET_LOCK_DUMP, t, 20000, &lock), 0);
	assert_int_equal(system("test $(nft list table inet CRIU-many | tr , '\\n' | grep -c ' \\. ') -ge 20000"), 0);
	net_lock_drop(lock);
	free(t);
	arena_free(a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(locks_and_unlocks), cmocka_unit_test(handed_over),  cmocka_unit_test(marked_pass),
		cmocka_unit_test(closed_later),      cmocka_unit_test(ten_thousand),
	};

	if (unshare(CLONE_NEWNET)) {
		printf("1..0 # SKIP no network namespace of our own: %s\n", strerror(errno));
		return 0;
	}
	loopback_up();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
