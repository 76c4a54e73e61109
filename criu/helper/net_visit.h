/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A stay in another network namespace: the kernel lets each thread be in one of its own, so criu's main thread (or the
 * guardian) goes there for a moment and makes, asks or binds sockets in plain C. Threads that are made and helpers that
 * are cloned meanwhile start there. An ordinary user's criu makes a detour (helper/detour.h). Files of it are below
 * /proc/thread-self/net and /proc/sys/net.
 */
#ifndef CRIU_HELPER_NET_VISIT_H
#define CRIU_HELPER_NET_VISIT_H

#include "common.h"

struct net_visit {
	int back;            /* the namespace to go back to; -1: nothing was entered */
	bool is_detour;      /* helper/detour.h, where an ordinary user may not go any other way */
	int from;            /* where that was before */
	uint32_t *here, was; /* files/net_ns.c: what it takes for the number of the namespace that we are in */
};

#define NET_VISIT_NONE      ((struct net_visit) { .back = -1 })
#define _cleanup_net_visit_ __attribute__((cleanup(net_visit_end)))

/* Goes into the namespace of a descriptor (nsfs). 0 or a negative errno (not logged). */
int net_visit_begin(int fd, struct net_visit *v);

/* Makes a new one, and goes there. */
int net_visit_new(struct net_visit *v);

/* A criu that could not go back would work in the wrong namespace: it ends then, and its guardian takes all back. */
void net_visit_end(struct net_visit *v);

#endif
