/* SPDX-License-Identifier: GPL-2.0-only */
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/random.h>

#include "inventory.pb-c.h"
#include "helper/net_visit.h"
#include "lib/log.h"
#include "netlock/net_lock_explain.h"
#include "netlock/net_lock_criu.h"
#include "netlock/net_lock_ipt.h"
#include "sock/tcp/tcp_lock.h"
#include "tree/inventory.h"

/* ---- the guardian's part ---- */

static int undo_table(const struct undo *u)
{
	_cleanup_net_visit_ struct net_visit v = NET_VISIT_NONE;
	int err = u->fd < 0 ? 0 : net_visit_begin(u->fd, &v);

	return err ?: net_lock_remove(u->path);
}

/* Of iptables: the pid of criu and the namespace's descriptor (plus one) in one number, since fd is of a pipe. */
static uint64_t pid_and_net(pid_t pid, int net_fd)
{
	return (uint64_t)(uint32_t)(net_fd + 1) << 32 | (uint32_t)pid;
}

static int visit_net_of(const struct undo *u, struct net_visit *v)
{
	int net_fd = (int)(u->addr >> 32) - 1;

	return net_fd < 0 ? 0 : net_visit_begin(net_fd, v);
}

#define LONGEST_MS 20000 /* longer than one iptables waits for another */

/*
 * The iptables of a criu that was killed just now, or what it started, may still be adding rules: they are removed
 * after it has exited.
 */
static void wait_for_iptables(const struct undo *u)
{
	struct pollfd p = { .fd = u->fd };

	if (u->fd < 0 || (pid_t)(uint32_t)u->addr == getpid())
		return;
	close((int)u->size); /* criu's end of the pipe: criu is dead, and the guardian shares its descriptors */
	if (poll(&p, 1, LONGEST_MS) == 0)
		log_warn("iptables started by criu does not exit");
}

/* Chains with our name. */
static int undo_chains(const struct undo *u)
{
	_cleanup_net_visit_ struct net_visit v = NET_VISIT_NONE;
	int err = visit_net_of(u, &v);

	wait_for_iptables(u);
	return err ?: net_lock_ipt_remove(u->path);
}

/* Rules as CRIU's. */
static int undo_rules(const struct undo *u)
{
	_cleanup_net_visit_ struct net_visit v = NET_VISIT_NONE;
	int err = visit_net_of(u, &v);

	wait_for_iptables(u);
	return err ?: net_lock_criu_remove(u->data, u->data_len / sizeof(struct net_tuple));
}

static int note_table(struct guardian *g, enum undo_type type, const struct tcp_lock *lock, const char *name)
{
	struct undo u = { .type = type, .call = undo_table, .fd = lock->net_fd, .path = name };
	int number = guardian_note(g, &u);

	return MIN(number, 0);
}

static int note_iptables(struct guardian *g, struct undo u, const struct tcp_lock *lock)
{
	int number;

	u.fd = -1;
	if (lock->by_rules) {
		u.fd = lock->at_work[0];
		u.size = (uint64_t)lock->at_work[1];
	}
	u.addr = pid_and_net(getpid(), lock->net_fd);
	number = guardian_note(g, &u);
	return MIN(number, 0);
}

static int note_chains(struct guardian *g, enum undo_type type, const struct tcp_lock *lock, const char *name)
{
	return note_iptables(g, (struct undo) { .type = type, .call = undo_chains, .path = name }, lock);
}

static int note_rules(struct guardian *g, enum undo_type type, const struct tcp_lock *lock)
{
	const struct net_lock_left *left = &lock->left;
	struct undo u = { .type = type, .call = undo_rules, .data = left->criu_tuples };

	u.data_len = left->n_criu_tuples * sizeof(*left->criu_tuples);
	return note_iptables(g, u, lock);
}

/* Stays open until criu exits: its guardian may need the pipe until then. */
static int open_at_work(struct tcp_lock *lock)
{
	if (!lock->by_rules && pipe2(lock->at_work, O_CLOEXEC))
		return log_errno(-errno, "pipe2 for iptables");
	lock->by_rules = true;
	return 0;
}

/* ---- dump ---- */

/*
 * Rules have no owner that the kernel would remove them with: the ones made now are also the ones that stay. They are
 * CRIU's, so that either can restore the checkpoint.
 */
static int lock_by_rules(struct dump *d, struct tcp_lock *lock)
{
	int err;

	lock->mark = NETWORK_LOCK_CRIU_MARK;
	lock->left.criu_tuples = lock->tuples;
	lock->left.n_criu_tuples = lock->n;
	err = open_at_work(lock) ?: note_rules(d->guardian, UNDO_CALL, lock);
	if (!err && !dump_kills_tree(d))
		err = note_rules(d->guardian, FORWARD_CALL, lock);
	if (!err)
		err = net_lock_criu_take(lock->tuples, lock->n, lock->at_work[1]);
	if (!err)
		lock->left.method = NETWORK_LOCK_IPTABLES;
	return err;
}

int tcp_lock_dump(struct dump *d, struct tcp_lock *lock, int net_fd, const struct net_tuple *tuples, size_t n)
{
	struct net_lock_spec spec = { .kind = NET_LOCK_DUMP, .mark = d->opts->network_lock_mark };
	int err;

	*lock = (struct tcp_lock) { .net_fd = net_fd, .tuples = tuples, .n = n, .mark = d->opts->network_lock_mark };
	lock->method = d->opts->network_lock ?: NETWORK_LOCK_NFTABLES;
	lock->left.method = NETWORK_LOCK_SKIP;
	net_lock_left_name(lock->left.name, d->run_id);
	if (lock->method == NETWORK_LOCK_SKIP)
		return 0;
	spec.name = arena_printf(d->arena, "CRIU-dump-%s", d->run_id);
	err = lock->method == NETWORK_LOCK_IPTABLES ? lock_by_rules(d, lock)
	                                            : net_lock_take(d->arena, &spec, tuples, n, &lock->own);
	if (!err && dump_kills_tree(d))
		d->inventory->network_lock_mark = lock->mark;
	if (!err)
		net_lock_settle_soon();
	return err;
}

int tcp_lock_hand_over(struct dump *d, struct tcp_lock *lock)
{
	struct net_lock_spec spec = { .name = lock->left.name, .kind = NET_LOCK_LASTING, .mark = lock->mark };
	_cleanup_net_visit_ struct net_visit v = NET_VISIT_NONE;
	int err;

	if (!lock->own)
		return 0;
	err = lock->net_fd < 0 ? 0 : net_visit_begin(lock->net_fd, &v);
	if (err)
		return log_errno(err, "setns into the network namespace of locked connections");
	err = note_table(d->guardian, UNDO_CALL, lock, lock->left.name);
	if (!err)
		err = net_lock_take(d->arena, &spec, lock->tuples, lock->n, NULL);
	if (!err)
		lock->left.method = NETWORK_LOCK_NFTABLES;
	return err;
}

/* Removes both tables at once, or the one that exists. The socket is closed later, when no task waits for it. */
static void lift_locks(struct tcp_lock *lock, bool all)
{
	_cleanup_net_visit_ struct net_visit v = NET_VISIT_NONE;
	bool left = all && lock->method && lock->left.method != NETWORK_LOCK_SKIP, both;
	int err;

	if (!lock->method && !lock->own)
		return;
	err = lock->net_fd < 0 ? 0 : net_visit_begin(lock->net_fd, &v);
	if (err)
		log_warn("setns into the network namespace of locked connections: %s", strerror(-err));
	both = left && lock->own && lock->left.method == NETWORK_LOCK_NFTABLES;
	if (lock->own && !lock->lifted)
		net_lock_lift(lock->own, both ? lock->left.name : NULL);
	lock->lifted = true;
	if (left && !both)
		net_lock_left_remove(&lock->left);
	if (left)
		lock->left.method = NETWORK_LOCK_SKIP;
}

void tcp_unlock_after_dump(struct tcp_lock *lock, bool all)
{
	lift_locks(lock, all);
}

void tcp_lock_close(struct tcp_lock *lock)
{
	net_lock_drop(lock->own);
	lock->own = NULL;
}

/* ---- restore ---- */

/*
 * The method of the dump, unless an option names another. (CRIU's inventory says iptables where nothing was chosen:
 * then it is no wish.)
 */
static enum network_lock method_to_use(const struct restore *r)
{
	enum network_lock dump = inventory_network_lock(r->inventory);

	if (dump == NETWORK_LOCK_IPTABLES && !r->inventory->tool_version)
		dump = NETWORK_LOCK_DEFAULT;
	return r->opts->network_lock ?: dump ?: NETWORK_LOCK_NFTABLES;
}

static int find_left(struct restore *r, struct tcp_lock *lock, const struct tcp_tuples *left)
{
	int err = net_lock_left_find(r->inventory, r->tree.tasks[0]->vpid, &lock->left);

	/* Without CAP_NET_ADMIN connections can still be closed. */
	if (err && lock->method == NETWORK_LOCK_SKIP && net_lock_left_promised(r->inventory))
		log_warn(
		    "cannot look for the network lock that the dump left (%s): %s. If it still exists, remove it with "
		    "criu unlock",
		    lock->left.name, strerror(-err));
	if (err && lock->method == NETWORK_LOCK_SKIP)
		return 0;
	if (err)
		return log_errno(err, "looking for the network lock that the dump left (%s)", lock->left.name);
	if (lock->left.method == NETWORK_LOCK_SKIP)
		err = net_lock_left_find_criu(r->inventory, left->tuples, left->n, &lock->left);
	if (err)
		return err;
	if (lock->left.method == NETWORK_LOCK_SKIP && net_lock_left_promised(r->inventory))
		log_warn("the network lock that the dump left (%s) is not here: it was removed, or this is another "
		         "host. Peers that have sent anything since may have received a reset",
		         lock->left.name);
	return 0;
}

/* Random, since criu processes of several pid namespaces, with the same pid, may share one network namespace. */
static const char *random_name(struct restore *r)
{
	unsigned random[2] = { (unsigned)getpid(), 0 };

	if (getrandom(random, sizeof(random), GRND_NONBLOCK) < 0)
		log_debug("getrandom for the name of a table: %s", strerror(errno));
	return arena_printf(r->arena, "CRIU-restore-%08x%04x", random[0], random[1] & 0xffff);
}

/* The mark that our packets have behind our own lock, where other locks have to let them through. */
static uint32_t mark_behind(const struct restore *r, const struct tcp_lock *lock)
{
	bool ours = r->inventory->tool_version;

	if (lock->method == NETWORK_LOCK_SKIP)
		return lock->mark;
	if (lock->method == NETWORK_LOCK_IPTABLES && lock->left.criu_tuples)
		return NETWORK_LOCK_MARK;
	if (lock->left.method == NETWORK_LOCK_IPTABLES || (lock->left.method == NETWORK_LOCK_NFTABLES && !ours))
		return lock->left.mark;
	return 0;
}

/* By nftables; what the dump left has to let our packets through as well. */
static int lock_by_table(struct restore *r, struct tcp_lock *lock)
{
	struct net_lock_spec spec = { .kind = NET_LOCK_RESTORE, .mark = lock->mark };
	bool ours = r->inventory->tool_version;

	spec.name = random_name(r);
	spec.behind = mark_behind(r, lock);
	if (lock->left.method == NETWORK_LOCK_NFTABLES && ours && lock->left.mark != lock->mark)
		spec.before = lock->left.mark;
	lock->own_name = spec.name;
	return net_lock_take(r->arena, &spec, lock->tuples, lock->n, &lock->own);
}

/*
 * By iptables. These rules stand before those that a dump left, and before CRIU's table; but behind a table that our
 * dump left, so that then its mark is the one to use. Where a dump left CRIU's rules, our packets pass the table
 * "filter" with the mark of which no rule of others has a bit.
 */
static int lock_by_own_rules(struct restore *r, struct tcp_lock *lock)
{
	struct net_lock_ipt_marks marks = { 0 };
	bool ours = r->inventory->tool_version;
	int err;

	if (lock->left.method == NETWORK_LOCK_NFTABLES && ours)
		lock->mark = lock->left.mark;
	else if (lock->left.method == NETWORK_LOCK_NFTABLES)
		marks.behind = lock->left.mark;
	else if (lock->left.criu_tuples)
		marks.behind = NETWORK_LOCK_MARK;
	marks.ours = lock->mark;
	marks.pass_filter = lock->left.criu_tuples;
	lock->rules = random_name(r);
	err = open_at_work(lock) ?: note_chains(r->guardian, UNDO_CALL, lock, lock->rules);
	return err ?: net_lock_ipt_take(lock->rules, &marks, lock->tuples, lock->n, lock->at_work[1]);
}

int tcp_lock_restore(struct restore *r, struct tcp_lock *lock, int net_fd, bool is_new, const struct tcp_tuples *own,
                     const struct tcp_tuples *left)
{
	int err;

	*lock = (struct tcp_lock) { .net_fd = net_fd, .mark = r->opts->network_lock_mark };
	if (own) {
		lock->tuples = own->tuples;
		lock->n = own->n;
	}
	lock->method = own ? method_to_use(r) : NETWORK_LOCK_SKIP;
	err = is_new ? 0 : find_left(r, lock, left); /* in a new namespace there is none */
	if (is_new)
		lock->left.method = NETWORK_LOCK_SKIP;
	if (err || lock->method == NETWORK_LOCK_SKIP) {
		if (lock->left.method != NETWORK_LOCK_SKIP)
			lock->mark = lock->left.mark;
		return err;
	}
	return lock->method == NETWORK_LOCK_IPTABLES ? lock_by_own_rules(r, lock) : lock_by_table(r, lock);
}

const char *tcp_lock_explain(struct restore *r, const struct tcp_lock *lock, const struct net_tuple *t, bool sent)
{
	struct dropped_packet p = { .t = *t, .mark = lock->mark, .behind = mark_behind(r, lock), .sent = sent };
	const char *rule;

	p.untracked = lock->method != NETWORK_LOCK_SKIP;
	p.except[0] = lock->own_name;
	p.except[1] = lock->left.method == NETWORK_LOCK_NFTABLES ? lock->left.name : NULL;
	rule = net_lock_explain_drop(r->arena, &p);
	if (!rule)
		return "; a firewall drops criu's packets: no rule of nf_tables looks like it (iptables-legacy-save "
		       "shows older ones)";
	return arena_printf(
	    r->arena,
	    "; a firewall rule drops criu's packets, which have the mark 0x%x: most likely %s. Remove it "
	    "while restoring, or choose a mark that it lets through (--network-lock-mark)",
	    lock->mark, rule);
}

int tcp_lock_note_unlock(struct restore *r, const struct tcp_lock *lock)
{
	int err = 0;

	if (lock->rules)
		err = note_chains(r->guardian, FORWARD_CALL, lock, lock->rules);
	if (!err && lock->left.criu_tuples)
		return note_rules(r->guardian, FORWARD_CALL, lock);
	if (err || !lock->method || lock->left.method == NETWORK_LOCK_SKIP)
		return err;
	return lock->left.method == NETWORK_LOCK_IPTABLES
	           ? note_chains(r->guardian, FORWARD_CALL, lock, lock->left.name)
	           : note_table(r->guardian, FORWARD_CALL, lock, lock->left.name);
}

void tcp_unlock_after_restore(struct tcp_lock *lock, bool all)
{
	_cleanup_net_visit_ struct net_visit v = NET_VISIT_NONE;

	lift_locks(lock, all);
	if (lock->rules && (lock->net_fd < 0 || !net_visit_begin(lock->net_fd, &v)))
		net_lock_ipt_remove(lock->rules);
	lock->rules = NULL;
}
