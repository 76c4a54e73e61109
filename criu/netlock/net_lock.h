/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The network lock: packets of the connections that are dumped or restored are dropped, in both directions, before
 * conntrack sees them. One table, one transaction, for any number of connections, over netlink (libnftnl).
 *
 * While criu works its table is owned by its netlink socket (NFT_TABLE_F_OWNER of linux/netfilter/nf_tables.h): the
 * kernel removes the table when criu and its guardian are gone. A lock that has to outlive a dump is a plain table,
 * which is made before the owned one goes: there is no moment without a lock.
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
	NET_LOCK_DUMP, /* lets nothing through to our sockets */
	/* Lets packets with the mark through, which lose it behind all tables of restores: no later rule sees it. */
	NET_LOCK_RESTORE,
	/*
	 * Left by a dump: lets a restore's packets with the mark through, which keep it for the restore's own table;
	 * and those with CRIU's mark, since CRIU may restore it.
	 */
	NET_LOCK_LASTING,
};

struct net_lock_spec {
	const char *name; /* of the table (family inet) */
	enum net_lock_kind kind;
	/* Not 0. All kinds let it through as if from our sockets: the peer may be in a tree that is restored now. */
	uint32_t mark;
	/* NET_LOCK_RESTORE alone: the mark that another lock lets through, where it is not the same; 0: none. */
	uint32_t before; /* of a lock that sees packets earlier: our own lasting table */
	uint32_t behind; /* of a lock that sees them later: CRIU's, or iptables */
};

struct net_lock;

/*
 * Locks. Owned by *lockp unless the kind is NET_LOCK_LASTING (lockp may be NULL then); the table must not exist yet
 * (-EEXIST). 0 or a negative errno (logged, with what is missing: CAP_NET_ADMIN, nf_tables).
 */
int net_lock_take(struct arena *a, const struct net_lock_spec *spec, const struct net_tuple *tuples, size_t n,
                  struct net_lock **lockp);

/*
 * Unlocks at once, together with a plain table (lasting: its name, or NULL; it may be gone already). 0 or a negative
 * errno, perhaps logged: the owned table goes with net_lock_drop() in any case.
 */
int net_lock_lift(struct net_lock *lock, const char *lasting);

/*
 * Closes the socket that owns the table, and so unlocks where net_lock_lift() did not: the close then takes 10 to
 * 20 ms. lock may be NULL.
 */
void net_lock_drop(struct net_lock *lock);

/*
 * Waits until packets that had passed the hooks before the lock have arrived: 0.1 ms, where criu may mount; else 10 to
 * 20 (membarrier(2)), which also is what is done where the former did not help: again is how often this has been called
 * for the packets. The second function does the former alone, and says whether.
 */
void net_lock_settle(unsigned again);
bool net_lock_settle_soon(void);

/* Removes a plain table. 0, -ENOENT (not logged) where it does not exist, or a negative errno (logged). */
int net_lock_remove(const char *name);

/* Whether a table of that name exists: 1, 0, or a negative errno (not logged: -EPERM; no nf_tables). */
int net_lock_exists(const char *name);

#endif
