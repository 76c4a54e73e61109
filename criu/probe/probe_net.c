/* SPDX-License-Identifier: GPL-2.0-only */
/* Probes of what TCP connections need. */
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <net/if.h>
#include <sched.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "helper/helper.h"
#include "lib/arena.h"
#include "lib/log.h"
#include "netlock/net_lock.h"
#include "options/options.h"
#include "probe/probe_fns.h"

/* CAP_NET_ADMIN, too. */
int probe_tcp_repair(void)
{
	_cleanup_close_ int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int on = 1;

	if (fd < 0 || setsockopt(fd, IPPROTO_TCP, TCP_REPAIR, &on, sizeof(on)))
		return -errno;
	return 0;
}

/* A whole lock, of connections that are not there. */
static int try_lock(void *unused)
{
	struct net_tuple tuples[2] = { { .family = AF_INET }, { .family = AF_INET6 } };
	struct net_lock_spec spec = { .kind = NET_LOCK_RESTORE, .mark = NETWORK_LOCK_MARK };
	struct arena *a = arena_new();
	struct net_lock *lock = NULL;
	int err;

	log_init(-1, 0); /* what is missing is the answer, no error */
	spec.name = a ? arena_printf(a, "CRIU-probe-%d", getpid()) : "CRIU-probe";
	err = a ? net_lock_take(a, &spec, tuples, ARRAY_SIZE(tuples), &lock) : -ENOMEM;
	net_lock_drop(lock);
	arena_free(a);
	return err;
}

/* In a network namespace of its own, where there may be one: the errors are those of clone(2). */
int probe_network_lock_nft(void)
{
	struct helper_spec spec = { .flags = CLONE_NEWNET };
	int err = helper_run(&spec, try_lock, NULL);

	if (err != -EPERM && err != -EINVAL && err != -ENOSPC)
		return err;
	log_debug("probing the network lock in the network namespace that is in use");
	spec.flags = 0;
	return helper_run(&spec, try_lock, NULL);
}

/* Both ends over the loopback device; one of them has shut its side when it goes into repair. */
static int try_half_closed(void *unused)
{
	struct ifreq lo = { .ifr_name = "lo", .ifr_flags = IFF_UP };
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(a);
	_cleanup_close_ int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	_cleanup_close_ int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int on = 1;

	if (listener < 0 || fd < 0 || ioctl(fd, SIOCSIFFLAGS, &lo) || bind(listener, (struct sockaddr *)&a, len) ||
	    listen(listener, 1) || getsockname(listener, (struct sockaddr *)&a, &len) ||
	    connect(fd, (struct sockaddr *)&a, len) || shutdown(fd, SHUT_WR) ||
	    setsockopt(fd, IPPROTO_TCP, TCP_REPAIR, &on, sizeof(on)))
		return -errno;
	return 0;
}

int probe_tcp_half_closed(void)
{
	return helper_run(&(struct helper_spec) { .flags = CLONE_NEWNET }, try_half_closed, NULL);
}
