/* SPDX-License-Identifier: GPL-2.0-only */
/* The network lock of all connections of a dump or restore, by nftables, iptables or not at all. */
#ifndef CRIU_SOCK_TCP_TCP_LOCK_H
#define CRIU_SOCK_TCP_TCP_LOCK_H

#include "tree/dump.h"
#include "netlock/net_lock_left.h"
#include "sock/tcp/tcp_entry.h"
#include "tree/restore.h"

struct tcp_lock {
	enum network_lock method;
	int net_fd; /* of the network namespace, where it is not criu's own; -1 */
	const struct net_tuple *tuples;
	size_t n;
	uint32_t mark;        /* restore: of the packets that criu sends */
	struct net_lock *own; /* nftables: the table of this criu, which the kernel removes with it */
	bool lifted;
	const char *own_name; /* restore: the name of that table */
	const char *rules;    /* iptables: the name of this criu's chains, which the guardian removes */
	bool by_rules;
	int at_work[2]; /* by_rules: a pipe, whose second end every iptables process inherits until the last has exited
	                 */
	/* Dump: the lock that outlives it; restore: the one that it found. method NETWORK_LOCK_SKIP: none. */
	struct net_lock_left left;
};

/* At the very end, when no task waits for criu any more: the close takes 10 to 20 ms in the kernel. */
void tcp_lock_close(struct tcp_lock *lock);

/* ---- dump ---- */

/*
 * Locks them, in their network namespace (net_fd: see above), where the caller is. Packets that have passed the hooks
 * before may still arrive, and one that finds no socket any more is answered with a reset: they are waited for where
 * that takes 0.1 ms (net_lock_settle_soon()). Elsewhere soccr_read() notices that a connection changed, and the caller
 * reads it again (net_lock_settle()). What arrives after the read is lost to the image, but no ACK leaves: it is
 * resent.
 */
int tcp_lock_dump(struct dump *d, struct tcp_lock *lock, int net_fd, const struct net_tuple *tuples, size_t n);

/* Before the commit: makes the lock that outlives criu. */
int tcp_lock_hand_over(struct dump *d, struct tcp_lock *lock);

/* Unlocks; all: also the lock that was to outlive criu. May be called again. */
void tcp_unlock_after_dump(struct tcp_lock *lock, bool all);

/* ---- restore ---- */

/* Finds the lock that the dump left, of the connections `left`; own: and makes one, of these. */
int tcp_lock_restore(struct restore *r, struct tcp_lock *lock, int net_fd, bool is_new, const struct tcp_tuples *own,
                     const struct tcp_tuples *left);

/*
 * A packet from criu to t->local was refused (EPERM), or sent and never received: which firewall rule is likely to have
 * dropped it, and what to do, for an error message. In the arena.
 */
const char *tcp_lock_explain(struct restore *r, const struct tcp_lock *lock, const struct net_tuple *t, bool sent);

/* Before the commit: a criu that is killed after it must not leave the restored tree locked. */
int tcp_lock_note_unlock(struct restore *r, const struct tcp_lock *lock);

/* Unlocks; all: also the lock that the dump left. May be called again. */
void tcp_unlock_after_restore(struct tcp_lock *lock, bool all);

#endif
