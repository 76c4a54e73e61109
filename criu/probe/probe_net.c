/* SPDX-License-Identifier: GPL-2.0-only */
/* Probes of what TCP connections need. */
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <string.h>
#include <sys/socket.h>

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

/* A whole lock, of connections that are not there. In a network namespace of its own where there may be one. */
static int try_lock(void)
{
	struct net_tuple tuples[2] = { { .family = AF_INET }, { .family = AF_INET6 } };
	struct net_lock_spec spec = { .kind = NET_LOCK_RESTORE, .mark = NETWORK_LOCK_MARK };
	struct arena *a = arena_new();
	struct net_lock *lock = NULL;
	int err;

	log_init(-1, 0); /* what is missing is the answer, no error */
	if (!a || unshare(CLONE_NEWNET))
		log_debug("probing in the network namespace that is in use");
	spec.name = a ? arena_printf(a, "CRIU-probe-%d", getpid()) : "CRIU-probe";
	err = a ? net_lock_take(a, &spec, tuples, ARRAY_SIZE(tuples), &lock) : -ENOMEM;
	net_lock_drop(lock);
	arena_free(a);
	return err;
}

int probe_network_lock_nft(void)
{
	return probe_in_child(try_lock);
}
