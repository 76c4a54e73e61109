/* SPDX-License-Identifier: GPL-2.0-only */
/* The connections of a tree: found, locked, dumped; locked, restored; and what is done to them at each stage. */
#include <linux/sched.h>
#include <linux/sockios.h>
#include <netinet/tcp.h>
#include <sys/ioctl.h>

#include "files/files.h"
#include "files/net_ns.h"
#include "lib/fault.h"
#include "lib/log.h"
#include "proc/proc.h"
#include "sock/diag.h"
#include "sock/tcp/tcp.h"
#include "sock/tcp/tcp_check.h"
#include "sock/tcp/tcp_entry.h"
#include "sock/tcp/tcp_lock.h"
#include "tree/ns_given.h"
#include "tree/subsys.h"

/* The connections of one network namespace. */
struct tcp_dump_net {
	uint32_t id; /* of the namespace */
	size_t first, n;
	struct tcp_lock lock;
};

struct tcp_dump {
	struct tcp_found *conns; /* from tcp_collected() on those of one namespace one after the other */
	size_t n;
	struct tcp_dump_net *nets;
	size_t n_nets;
	enum tcp_bound lists_bound; /* whether diag lists sockets that are only bound */
	pid_t pid;                  /* the task whose start_time was read last */
	uint64_t start_time;
};

struct tcp_restore_net {
	uint32_t id; /* of the namespace; 0: criu's own */
	struct tcp_built *conns;
	size_t n;
	struct tcp_tuples wanted, all; /* those that come back; all that the dump has locked */
	struct tcp_lock lock;
};

struct tcp_restore {
	struct tcp_restore_net **nets;
	size_t n_nets;
	tcp_options_fn set_options;
};

extern const struct subsys tcp_subsys;

/* ---- dump: the connections of the tree ---- */

/* Of the task whose connections are looked at, read once. */
static uint64_t task_start_time(struct tcp_dump *t, pid_t pid)
{
	if (t->pid != pid)
		t->start_time = proc_start_time(pid);
	t->pid = pid;
	return t->start_time;
}

static int read_later(struct dump *d, const struct fd_info *info, struct tcp_found c)
{
	struct tcp_dump *t = dump_state(d, &tcp_subsys);

	c.task = info->task;
	c.start_time = task_start_time(t, info->task->pid);
	c.what = info->what ? arena_strdup(d->arena, info->what) : NULL;
	c.fd = -1;
	c.number = info->number;
	c.held = info->number < 0 ? info->fd : -1;
	c.id = info->id;
	arena_push(d->arena, &t->conns, &t->n, c);
	return DUMP_LATER;
}

int tcp_dump(struct dump *d, const struct fd_info *info, InetSkEntry *m)
{
	struct tcp_found c = { .m = m };

	c.who = arena_printf(d->arena, "%s: the connection %s", fd_name(info), tcp_tuple_text(m));
	if (d->opts->tcp_close) {
		m->ended = tcp_ended_instead(d->arena, m->state, false);
		m->state = TCP_CLOSE;
		return 0;
	}
	if (!d->opts->tcp_established) {
		log_refusal(-EBUSY, "%s: give --tcp-established to keep it, or --tcp-close to have it closed", c.who);
		return DUMP_REFUSED;
	}
	return read_later(d, info, c);
}

/* Tried with a socket of our own. */
static bool lists_bound_sockets(struct dump *d, int family)
{
	_cleanup_close_ int fd = -1;
	struct sockaddr_storage any = { .ss_family = (sa_family_t)family };
	struct tcp_dump *t = dump_state(d, &tcp_subsys);
	const struct diag_inet *s;

	if (t->lists_bound != TCP_BOUND_UNKNOWN)
		return t->lists_bound == TCP_BOUND_YES;
	fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_TCP);
	t->lists_bound = TCP_BOUND_NO;
	if (fd >= 0 && !bind(fd, (struct sockaddr *)&any, sizeof(any)) &&
	    !diag_find_inet(d, fd, family, IPPROTO_TCP, &s))
		t->lists_bound = TCP_BOUND_YES;
	return t->lists_bound == TCP_BOUND_YES;
}

int tcp_dump_ended(struct dump *d, const struct fd_info *info, InetSkEntry *m, bool listed)
{
	struct tcp_found c = { .m = m, .ended = true, .bound = TCP_BOUND_UNKNOWN };
	int unread = 0;

	c.who = arena_printf(d->arena, "%s: a connection that has ended", fd_name(info));
	if (listed)
		c.bound = TCP_BOUND_YES;
	else if (!m->src_port || lists_bound_sockets(d, (int)m->family))
		c.bound = TCP_BOUND_NO;
	if (ioctl(info->fd, SIOCINQ, &unread))
		return log_errno(-errno, "%s: ioctl(SIOCINQ)", c.who);
	return unread ? read_later(d, info, c) : tcp_ended_dump(d, info->fd, c.bound, m, c.who);
}

static int compare_nets(const void *a, const void *b)
{
	const struct tcp_found *x = a, *y = b;

	if (x->m->ns_id != y->m->ns_id)
		return x->m->ns_id < y->m->ns_id ? -1 : 1;
	return x->id < y->id ? -1 : x->id > y->id;
}

static void sort_by_net(struct dump *d, struct tcp_dump *t)
{
	qsort(t->conns, t->n, sizeof(*t->conns), compare_nets);
	for (size_t i = 0; i < t->n; i++) {
		struct tcp_dump_net new = { .id = t->conns[i].m->ns_id, .first = i };

		if (!t->n_nets || t->nets[t->n_nets - 1].id != new.id)
			arena_push(d->arena, &t->nets, &t->n_nets, new);
		t->nets[t->n_nets - 1].n++;
	}
}

static int lock_net(struct dump *d, struct tcp_dump_net *net)
{
	const struct tcp_dump *t = dump_state(d, &tcp_subsys);
	_cleanup_net_visit_ struct net_visit v = NET_VISIT_NONE;
	struct net_tuple *tuples = arena_array(d->arena, struct net_tuple, net->n);
	size_t n = 0;
	int err = net_ns_visit_dumped(d, net->id, &v);

	for (size_t i = 0; i < net->n; i++)
		if (!t->conns[net->first + i].ended)
			tuples[n++] = tcp_tuple_of(t->conns[net->first + i].m);
	if (n && !err)
		err = tcp_lock_dump(d, &net->lock, net_ns_fd_dumped(d, net->id), tuples, n);
	if (n && !err && net->lock.method != NETWORK_LOCK_SKIP)
		log_info("%zu TCP connections are locked", n);
	return err;
}

static int read_net(struct dump *d, const struct tcp_dump_net *net, const struct fd_kind *kind,
                    const struct tcp_dump_options *options)
{
	const struct tcp_dump *t = dump_state(d, &tcp_subsys);
	_cleanup_net_visit_ struct net_visit v = NET_VISIT_NONE;
	int err = net_ns_visit_dumped(d, net->id, &v);

	return err ?: tcp_read_all(d, &t->conns[net->first], net->n, kind, options);
}

int tcp_collected(struct dump *d, const struct fd_kind *kind, const struct tcp_dump_options *options)
{
	struct tcp_dump *t = dump_state(d, &tcp_subsys);
	int err = 0;

	if (!t->n || log_refusals())
		return 0;
	sort_by_net(d, t);
	for (size_t i = 0; !err && i < t->n_nets; i++)
		err = lock_net(d, &t->nets[i]);
	fault_point("network locked");
	for (size_t i = 0; !err && i < t->n_nets; i++)
		err = read_net(d, &t->nets[i], kind, options);
	return err;
}

/* ---- dump: stages ---- */

static int tcp_before_commit(struct dump *d)
{
	struct tcp_dump *t = dump_state(d, &tcp_subsys);
	int err = 0;

	for (size_t i = 0; !err && dump_kills_tree(d) && i < t->n_nets; i++)
		err = tcp_lock_hand_over(d, &t->nets[i].lock);
	fault_point("lock handed over");
	return err;
}

static void unlock_nets(struct dump *d, bool all)
{
	struct tcp_dump *t = dump_state(d, &tcp_subsys);

	for (size_t i = 0; i < t->n_nets; i++)
		tcp_unlock_after_dump(&t->nets[i].lock, all);
}

/* The sockets of a tree that is killed must not send anything; those of one that runs on must be reachable again. */
static void tcp_after_commit(struct dump *d)
{
	struct tcp_dump *t = dump_state(d, &tcp_subsys);

	if (dump_kills_tree(d))
		tcp_silence_all(t->conns, t->n);
	else
		unlock_nets(d, true);
}

static void tcp_rollback(struct dump *d)
{
	unlock_nets(d, true);
}

/* Only the lock that ends with criu; closing it takes the kernel some milliseconds. */
static void tcp_end_dump(struct dump *d)
{
	struct tcp_dump *t = dump_state(d, &tcp_subsys);

	unlock_nets(d, false);
	for (size_t i = 0; i < t->n_nets; i++)
		tcp_lock_close(&t->nets[i].lock);
}

/* ---- restore ---- */

static struct tcp_restore_net *net_of(struct restore *r, uint32_t id)
{
	struct tcp_restore *t = restore_state(r, &tcp_subsys);
	struct tcp_restore_net *net;

	for (size_t i = 0; i < t->n_nets; i++)
		if (t->nets[i]->id == id)
			return t->nets[i];
	net = arena_new_of(r->arena, struct tcp_restore_net);
	net->id = id;
	arena_push(r->arena, &t->nets, &t->n_nets, net);
	return net;
}

static int note_tuple(struct restore *r, const void *msg, void *arg)
{
	const InetSkEntry *m = msg;
	struct tcp_restore_net *net;

	if (!tcp_is_connection(m) || m->external)
		return 0;
	net = net_of(r, net_ns_of_msg(r, m));
	arena_push(r->arena, &net->all.tuples, &net->all.n, tcp_tuple_of(m));
	if (!tcp_given_up(r, m))
		arena_push(r->arena, &net->wanted.tuples, &net->wanted.n, tcp_tuple_of(m));
	return 0;
}

/*
 * Where no connection is restored, the lock that the dump left has to be removed all the same; in a new network
 * namespace there is none.
 */
static bool is_new_net(struct restore *r, const struct tcp_restore_net *net)
{
	return net->id && ns_given_fd(r, ns_type_of_flag(CLONE_NEWNET), net->id) < 0;
}

static bool may_be_locked(struct restore *r, const struct tcp_restore_net *net)
{
	const struct tcp_restore *t = restore_state(r, &tcp_subsys);
	bool is_elsewhere = !net->all.n && t->n_nets > 1;

	if (net->wanted.n || is_new_net(r, net) || is_elsewhere)
		return net->wanted.n;
	return tcp_gave_up_any(r) || net_lock_left_promised(r->inventory);
}

static int lock_restored_net(struct restore *r, struct tcp_restore_net *net)
{
	_cleanup_net_visit_ struct net_visit v = NET_VISIT_NONE;
	bool own = net->wanted.n && !r->opts->tcp_close;
	int err = net_ns_visit(r, net->id, &v);

	if (!err && may_be_locked(r, net))
		err = tcp_lock_restore(r, &net->lock, net_ns_fd(r, net->id), is_new_net(r, net),
		                       own ? &net->wanted : NULL, &net->all);
	return err;
}

static int lock_restored(struct restore *r, bool new_nets)
{
	const struct tcp_restore *t = restore_state(r, &tcp_subsys);
	int err = 0;

	for (size_t i = 0; !err && i < t->n_nets; i++)
		if (!t->nets[i]->id == !new_nets)
			err = lock_restored_net(r, t->nets[i]);
	return err;
}

/* A new namespace is locked before it has a device: from then on packets come, and there is no socket for them yet. */
static int tcp_before_start(struct restore *r)
{
	int err = files_each(r, kind_by_fd_type(FD_TYPES__INETSK), note_tuple, NULL);

	net_of(r, 0);
	err = err ?: lock_restored(r, true);
	fault_point("new network namespaces are locked");
	return err;
}

int tcp_prepare(struct restore *r, tcp_options_fn set_options)
{
	struct tcp_restore *t = restore_state(r, &tcp_subsys);
	int err;

	t->set_options = set_options;
	err = lock_restored(r, false);
	fault_point("network locked");
	return err;
}

int tcp_open(struct restore *r, const InetSkEntry *m, int fd, const char *who)
{
	struct tcp_restore_net *net = net_of(r, net_ns_of_msg(r, m));
	struct tcp_built k;
	int err = tcp_build(r, m, fd, who, &k);

	if (!err)
		arena_push(r->arena, &net->conns, &net->n, k);
	return err;
}

static int release_net(struct restore *r, struct tcp_restore_net *net)
{
	const struct tcp_restore *t = restore_state(r, &tcp_subsys);
	_cleanup_net_visit_ struct net_visit v = NET_VISIT_NONE;
	int err = net_ns_visit(r, net->id, &v);

	err = err ?: tcp_release_all(r, net->conns, net->n, &net->lock, t->set_options);
	return err ?: tcp_lock_note_unlock(r, &net->lock);
}

static int tcp_all_standing(struct restore *r)
{
	const struct tcp_restore *t = restore_state(r, &tcp_subsys);
	int err = 0;

	for (size_t i = 0; !err && i < t->n_nets; i++)
		err = release_net(r, t->nets[i]);
	return err;
}

static void tcp_committed(struct restore *r)
{
	const struct tcp_restore *t = restore_state(r, &tcp_subsys);

	for (size_t i = 0; i < t->n_nets; i++)
		tcp_unlock_after_restore(&t->nets[i]->lock, true);
	for (size_t i = 0; i < t->n_nets; i++)
		tcp_push_all(r, t->nets[i]->conns, t->nets[i]->n);
}

/* Namespaces that were made stay locked until they have ended (netdev/net_end.c), or tcp_close_lock(). */
static void tcp_undo_restore(struct restore *r)
{
	const struct tcp_restore *t = restore_state(r, &tcp_subsys);

	for (size_t i = 0; i < t->n_nets; i++) {
		tcp_take_back_all(r, t->nets[i]->conns, t->nets[i]->n);
		if (!t->nets[i]->id)
			tcp_unlock_after_restore(&t->nets[i]->lock, false);
	}
}

/* Takes the kernel some milliseconds. */
static void tcp_close_lock(struct restore *r)
{
	const struct tcp_restore *t = restore_state(r, &tcp_subsys);

	for (size_t i = 0; i < t->n_nets; i++)
		tcp_lock_close(&t->nets[i]->lock);
}

const struct subsys tcp_subsys = {
	.name = "TCP connections",
	.state = { .dump = sizeof(struct tcp_dump), .restore = sizeof(struct tcp_restore) },
	.before_commit = tcp_before_commit,
	.after_commit = tcp_after_commit,
	.rollback = tcp_rollback,
	.end = tcp_end_dump,
	.before_start = tcp_before_start,
	.all_standing = tcp_all_standing,
	.committed = tcp_committed,
	.undo = tcp_undo_restore,
	.done = tcp_close_lock,
};
