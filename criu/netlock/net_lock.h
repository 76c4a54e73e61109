/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The network lock: packets of the connections that are dumped or restored are dropped, in both directions, before
 * conntrack sees them. One table, one transaction, for any number of connections, over netlink (libnftnl).
 *
 * While the tool works its table is owned by its netlink socket (NFT_TABLE_F_OWNER of linux/netfilter/nf_tables.h): the
 * kernel removes it when the tool and its guardian are gone. What has to outlive a dump is handed over to a plain
 * table, without a moment in which neither stands.
 */
#ifndef CRIU_NETLOCK_NET_LOCK_H
#define CRIU_NETLOCK_NET_LOCK_H

#include "lib/arena.h"

/* A connection, seen from its socket here. Addresses and ports in network byte order; IPv4 ones in the first 4 bytes.
 */
struct net_tuple {
	int family; /* AF_INET, AF_INET6 */
	uint8_t local[16], remote[16];
	uint16_t local_port, remote_port;
};

enum net_lock_kind {
	NET_LOCK_DUMP,    /* nothing to our sockets is let through */
	NET_LOCK_RESTORE, /* packets with the mark are, and lose it behind all tables of restores: no later rule sees it
	                   */
	NET_LOCK_LASTING, /* left by a dump: a restore's packets with the mark pass, and keep it for the restore's own
	                     table */
};

struct net_lock_spec {
	const char *name; /* of the table (family inet) */
	enum net_lock_kind kind;
	uint32_t
	    mark; /* not 0. As if from our sockets all let it through: another tree, where the peer is, is restored */
	/* NET_LOCK_RESTORE alone: the mark that another lock lets through, where it is not the same; 0: none. */
	uint32_t before; /* one that looks at packets before this: our own lasting table */
	uint32_t behind; /* one that looks at them after this: CRIU's, or iptables */
};

struct net_lock;

/*
 * Locks. Owned by *lockp unless the kind is NET_LOCK_LASTING (lockp may be NULL then); the table must not be there yet
 * (-EEXIST). 0 or a negative errno (logged, with what is missing: CAP_NET_ADMIN, nf_tables).
 */
int net_lock_take(struct arena *a, const struct net_lock_spec *spec, const struct net_tuple *tuples, size_t n,
                  struct net_lock **lockp);

/*
 * Unlocks at once, together with a plain table (lasting: its name, or NULL; gone already: fine). 0 or a negative errno,
 * perhaps logged: what is ours goes with net_lock_drop() in any case.
 */
int net_lock_lift(struct net_lock *lock, const char *lasting);

/*
 * Closes the socket that owns the table, and so unlocks where net_lock_lift() did not: then the kernel waits for 10 to
 * 20 ms in it. NULL is nothing.
 */
void net_lock_drop(struct net_lock *lock);

/* Waits for packets that were past the hooks when the lock came (membarrier(2)): 10 to 20 ms. */
void net_lock_settle(void);

/* Removes a plain table. 0, -ENOENT (not logged) where there is none, or a negative errno (logged). */
int net_lock_remove(const char *name);

/* Whether a table of that name is there: 1, 0, or a negative errno (not logged: -EPERM, this is not ours to
 * see; no nf_tables). */
int net_lock_there(const char *name);

#endif
