/* SPDX-License-Identifier: GPL-2.0-only */
/* Inside of criu/sock/tcp*.c: the network lock of all connections of a dump or restore, whatever the method. */
#ifndef CRIU_SOCK_TCP_TCP_LOCK_H
#define CRIU_SOCK_TCP_TCP_LOCK_H

#include "tree/dump.h"
#include "netlock/net_lock_left.h"
#include "tree/restore.h"

struct tcp_lock {
	enum network_lock method;
	const struct net_tuple *tuples;
	size_t n;
	uint32_t mark;        /* restore: of the packets that we send */
	struct net_lock *own; /* nftables: ours, and goes with us */
	bool lifted;
	const char *own_name; /* restore: of its table */
	const char *rules;    /* iptables: ours, and the guardian's to remove */
	bool by_rules;
	int at_work[2]; /* by_rules: a pipe; whoever makes rules has its second end, until the last of them has ended */
	struct net_lock_left
	    left; /* dump: what outlives it; restore: what it found. method NETWORK_LOCK_SKIP: nothing */
};

/* At the very end, when nobody waits for it any more: the kernel takes 10 to 20 ms to close. */
void tcp_lock_close(struct tcp_lock *lock);

/* ---- dump ---- */

/*
 * Locks them. Packets that are past the hooks already still come in: waiting for them here takes a grace period of the
 * kernel (10 to 20 ms, frozen); a connection that changes while it is read tells of it, and is read again
 * (net_lock_settle()). One that has been read may still get some: they are lost, and sent again, for no ACK leaves.
 */
int tcp_lock_dump(struct dump *d, struct tcp_lock *lock, const struct net_tuple *tuples, size_t n);

/* Before the commit: makes the lock that outlives the tool. */
int tcp_lock_hand_over(struct dump *d, struct tcp_lock *lock);

/* Unlocks; all: what was to outlive the tool as well. Again is nothing. */
void tcp_unlock_after_dump(struct tcp_lock *lock, bool all);

/* ---- restore ---- */

/* Finds what the dump left; own: and locks as well. */
int tcp_lock_restore(struct restore *r, struct tcp_lock *lock, const struct net_tuple *tuples, size_t n, bool own);

/*
 * A packet of ours to t->local was refused (EPERM), or sent and never came: which firewall rule is likely to have done
 * it, and what to do, for an error message. In the arena.
 */
const char *tcp_lock_blame(struct restore *r, const struct tcp_lock *lock, const struct net_tuple *t, bool sent);

/* Before the commit: a tool that is killed behind it must not leave a restored tree behind locks. */
int tcp_lock_note_unlock(struct restore *r, const struct tcp_lock *lock);

/* Unlocks; all: what the dump left as well. Again is nothing. */
void tcp_unlock_after_restore(struct tcp_lock *lock, bool all);

#endif
