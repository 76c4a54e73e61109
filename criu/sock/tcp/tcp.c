/* SPDX-License-Identifier: GPL-2.0-only */
/* The connections of a tree: found, locked, dumped; locked, restored; and what is done to them at each stage. */
#include <linux/sockios.h>
#include <netinet/tcp.h>
#include <sys/ioctl.h>

#include "files/files.h"
#include "lib/fault.h"
#include "lib/log.h"
#include "proc/proc.h"
#include "sock/diag.h"
#include "sock/tcp/tcp.h"
#include "sock/tcp/tcp_check.h"
#include "sock/tcp/tcp_entry.h"
#include "sock/tcp/tcp_lock.h"
#include "tree/subsys.h"

struct tcp_dump {
	struct tcp_found *conns;
	size_t n;
	struct tcp_lock lock;
	enum tcp_bound lists_bound; /* whether diag lists sockets that are only bound */
	pid_t pid;                  /* the task whose start_time was read last */
	uint64_t start_time;
};

struct tcp_restore {
	struct tcp_built *conns;
	size_t n;
	struct tcp_tuples wanted, all; /* those that come back; all that the dump has locked */
	struct tcp_lock lock;
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

static int lock_found(struct dump *d)
{
	struct tcp_dump *t = dump_state(d, &tcp_subsys);
	struct net_tuple *tuples = arena_array(d->arena, struct net_tuple, t->n);
	size_t n = 0;
	int err = 0;

	for (size_t i = 0; i < t->n; i++)
		if (!t->conns[i].ended)
			tuples[n++] = tcp_tuple_of(t->conns[i].m);
	if (n)
		err = tcp_lock_dump(d, &t->lock, tuples, n);
	if (n && !err && t->lock.method != NETWORK_LOCK_SKIP)
		log_info("%zu TCP connections are locked", n);
	return err;
}

int tcp_collected(struct dump *d, const struct fd_kind *kind, tcp_dump_options_fn dump_options)
{
	struct tcp_dump *t = dump_state(d, &tcp_subsys);
	int err;

	if (!t->n || log_refusals())
		return 0;
	err = lock_found(d);
	fault_point("network locked");
	return err ?: tcp_read_all(d, t->conns, t->n, kind, dump_options);
}

/* ---- dump: stages ---- */

static int tcp_before_commit(struct dump *d)
{
	struct tcp_dump *t = dump_state(d, &tcp_subsys);
	int err = dump_kills_tree(d) ? tcp_lock_hand_over(d, &t->lock) : 0;

	fault_point("lock handed over");
	return err;
}

/* The sockets of a tree that is killed must not send anything; those of one that runs on must be reachable again. */
static void tcp_after_commit(struct dump *d)
{
	struct tcp_dump *t = dump_state(d, &tcp_subsys);

	if (dump_kills_tree(d))
		tcp_silence_all(t->conns, t->n);
	else
		tcp_unlock_after_dump(&t->lock, true);
}

static void tcp_rollback(struct dump *d)
{
	struct tcp_dump *t = dump_state(d, &tcp_subsys);

	tcp_unlock_after_dump(&t->lock, true);
}

/* Only the lock that ends with criu; closing it takes the kernel some milliseconds. */
static void tcp_end_dump(struct dump *d)
{
	struct tcp_dump *t = dump_state(d, &tcp_subsys);

	tcp_unlock_after_dump(&t->lock, false);
	tcp_lock_close(&t->lock);
}

/* ---- restore ---- */

static int note_tuple(struct restore *r, const void *msg, void *arg)
{
	struct tcp_restore *t = restore_state(r, &tcp_subsys);
	const InetSkEntry *m = msg;

	if (!tcp_is_connection(m) || m->external)
		return 0;
	arena_push(r->arena, &t->all.tuples, &t->all.n, tcp_tuple_of(m));
	if (!tcp_given_up(r, m))
		arena_push(r->arena, &t->wanted.tuples, &t->wanted.n, tcp_tuple_of(m));
	return 0;
}

/* Where no connection is restored, the lock that the dump left has to be removed all the same. */
static bool may_be_locked(struct restore *r, const struct tcp_restore *t)
{
	return t->wanted.n || tcp_gave_up_any(r) || net_lock_left_promised(r->inventory);
}

int tcp_prepare(struct restore *r, const struct fd_kind *kind, tcp_options_fn set_options)
{
	struct tcp_restore *t = restore_state(r, &tcp_subsys);
	bool own;
	int err;

	t->set_options = set_options;
	err = files_each(r, kind, note_tuple, NULL);
	own = t->wanted.n && !r->opts->tcp_close;
	if (!err && may_be_locked(r, t))
		err = tcp_lock_restore(r, &t->lock, own ? &t->wanted : NULL, &t->all);
	fault_point("network locked");
	return err;
}

int tcp_open(struct restore *r, const InetSkEntry *m, int fd, const char *who)
{
	struct tcp_restore *t = restore_state(r, &tcp_subsys);
	struct tcp_built k;
	int err = tcp_build(r, m, fd, who, &k);

	if (!err)
		arena_push(r->arena, &t->conns, &t->n, k);
	return err;
}

static int tcp_all_standing(struct restore *r)
{
	struct tcp_restore *t = restore_state(r, &tcp_subsys);
	int err = tcp_release_all(r, t->conns, t->n, &t->lock, t->set_options);

	return err ?: tcp_lock_note_unlock(r, &t->lock);
}

static void tcp_committed(struct restore *r)
{
	struct tcp_restore *t = restore_state(r, &tcp_subsys);

	tcp_unlock_after_restore(&t->lock, true);
	tcp_push_all(r, t->conns, t->n);
}

static void tcp_undo_restore(struct restore *r)
{
	struct tcp_restore *t = restore_state(r, &tcp_subsys);

	tcp_take_back_all(r, t->conns, t->n);
	tcp_unlock_after_restore(&t->lock, false);
}

/* Takes the kernel some milliseconds. */
static void tcp_close_lock(struct restore *r)
{
	struct tcp_restore *t = restore_state(r, &tcp_subsys);

	tcp_lock_close(&t->lock);
}

const struct subsys tcp_subsys = {
	.name = "TCP connections",
	.state = { .dump = sizeof(struct tcp_dump), .restore = sizeof(struct tcp_restore) },
	.before_commit = tcp_before_commit,
	.after_commit = tcp_after_commit,
	.rollback = tcp_rollback,
	.end = tcp_end_dump,
	.all_standing = tcp_all_standing,
	.committed = tcp_committed,
	.undo = tcp_undo_restore,
	.done = tcp_close_lock,
};
