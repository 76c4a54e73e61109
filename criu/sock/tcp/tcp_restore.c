/* SPDX-License-Identifier: GPL-2.0-only */
#include <fcntl.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <string.h>
#include <sys/resource.h>

#include "files/files.h"
#include "lib/fault.h"
#include "lib/log.h"
#include "lib/arena_hash.h"
#include "sock/tcp/tcp.h"
#include "sock/tcp/tcp_clear.h"
#include "sock/tcp/tcp_lock.h"
#include "sock/inet_proc.h"
#include "sock/tcp/tcp_stream.h"
#include "sock/tcp/tcp_table.h"
#include "sock/tcp/tcp_tuple.h"
#include "tree/subsys.h"
#include "soccr.h"

#define SHUT_RD_BIT 1 /* of SkShutdown */

/* Of one connection, from tcp_open() to release_all(). */
struct conn {
	uint32_t id;
	const InetSkEntry *m;
	struct soccr_conn c;
	const char *who;
	int fd, undo; /* from release_all() on: ours, so that the socket outlives its task */
};

/* A connection that comes back closed: --tcp-fallback close. */
struct given_up {
	uint32_t id;
	UT_hash_handle hh;
};

struct tcp_restore {
	struct tcp_table *here; /* what is on this host before anything is started */
	struct given_up *given_up;
	size_t n_checked;
	struct conn *conns;
	size_t n;
	struct net_tuple *tuples;
	size_t n_tuples;
	struct tcp_lock lock;
	tcp_options_fn set_options;
};

extern const struct subsys tcp_restore_subsys;

static struct tcp_restore *tcp_restore_of(struct restore *r)
{
	return restore_state(r, &tcp_restore_subsys);
}

/* hold() needs one for each; the tool has some of its own, and a pidfd for each task. Said once. */
static int check_descriptors(struct restore *r, struct tcp_restore *t, const char **why)
{
	struct rlimit most = { .rlim_cur = RLIM_INFINITY }, more;
	size_t others = 50 + 2 * r->tree.n_tasks;

	getrlimit(RLIMIT_NOFILE, &most);
	if (++t->n_checked + others != most.rlim_cur)
		return 0;
	more.rlim_cur = more.rlim_max = 2 * most.rlim_cur;
	if (!setrlimit(RLIMIT_NOFILE, &more))
		return 0;
	*why = arena_printf(
	    r->arena,
	    "%zu TCP connections, and perhaps more: each needs a descriptor of criu's until all are "
	    "restored, and the hard limit of open files is %llu here; restore with a higher one (ulimit -Hn)",
	    t->n_checked, (unsigned long long)most.rlim_cur);
	return -EMFILE;
}

int tcp_check(struct restore *r, const InetSkEntry *m, const char **why)
{
	union soccr_addr local, remote;
	int err;

	if (r->opts->tcp_close)
		return 0;
	if (!r->opts->tcp_established) {
		*why = arena_printf(r->arena,
		                    "the connection %s: give --tcp-established, or --tcp-close to have it closed",
		                    tcp_tuple_text(m));
		return -EBUSY;
	}
	if (tcp_addresses_of(m, &local, &remote) || m->state > TCP_CLOSING) {
		*why = arena_printf(r->arena, "its addresses or its state (%u) are impossible", m->state);
		return -EINVAL;
	}
	err = tcp_stream_check(r, m);
	if (err)
		*why = arena_printf(r->arena, "the connection %s: tcp-stream-%x.img is missing or damaged",
		                    tcp_tuple_text(m), m->ino);
	return err ?: check_descriptors(r, tcp_restore_of(r), why);
}

int tcp_check_free(struct restore *r, const InetSkEntry *m, const char **why)
{
	struct tcp_restore *t = tcp_restore_of(r);
	struct net_tuple tuple = tcp_tuple_of(m);
	uint32_t ino;
	const char *holder;

	/* Without diag, making the socket will tell. */
	if (!t->here && tcp_table_read(r->arena, &t->here))
		log_info("the kernel does not list its TCP sockets; whether connections are free is not checked");
	ino = t->here ? tcp_table_find(t->here, &tuple) : 0;
	if (!ino)
		return 0;
	holder = inet_proc_holder(r->arena, ino);
	*why = arena_printf(r->arena, "the connection %s is in use by %s; end who has it, or give --tcp-fallback close",
	                    tcp_tuple_text(m), holder ?: "another socket");
	return -EADDRINUSE;
}

void tcp_give_up(struct restore *r, const InetSkEntry *m)
{
	struct tcp_restore *t = tcp_restore_of(r);
	struct given_up *g = arena_new_of(r->arena, struct given_up);

	g->id = m->id;
	HASH_ADD_IN(r->arena, hh, t->given_up, id, sizeof(g->id), g);
}

bool tcp_given_up(struct restore *r, const InetSkEntry *m)
{
	struct given_up *g = NULL;

	HASH_FIND(hh, tcp_restore_of(r)->given_up, &m->id, sizeof(m->id), g);
	return g;
}

int tcp_check_ended(struct restore *r, const InetSkEntry *m, const char **why)
{
	int err = m->ended->unread ? tcp_stream_check(r, m) : 0;

	if (err)
		*why = arena_printf(r->arena, "%u bytes that it has not read: tcp-stream-%x.img is missing or damaged",
		                    m->ended->unread, m->ino);
	return err;
}

/* ---- the lock ---- */

static int note_tuple(struct restore *r, const void *msg, void *arg)
{
	struct tcp_restore *t = tcp_restore_of(r);
	const InetSkEntry *m = msg;

	if (tcp_is_connection(m) && !m->external && !tcp_given_up(r, m))
		arena_push(r->arena, &t->tuples, &t->n_tuples, tcp_tuple_of(m));
	return 0;
}

/* Where no connection comes back, the dump's lock has to go all the same. */
static bool may_be_locked(struct restore *r, const struct tcp_restore *t)
{
	return t->n_tuples || t->given_up || net_lock_left_promised(r->inventory);
}

int tcp_prepare(struct restore *r, const struct fd_kind *kind, tcp_options_fn set_options)
{
	bool own;
	struct tcp_restore *t = tcp_restore_of(r);
	int err;

	t->set_options = set_options;
	err = files_each(r, kind, note_tuple, NULL);
	own = t->n_tuples && !r->opts->tcp_close;
	if (!err && may_be_locked(r, t))
		err = tcp_lock_restore(r, &t->lock, t->tuples, t->n_tuples, own);
	fault_point("network locked");
	return err;
}

/* ---- building ---- */

static const char *way_out(int err)
{
	switch (err) {
	case -EADDRNOTAVAIL:
		return ": the address is not on this host; give it to an interface, or --tcp-fallback close";
	case -EADDRINUSE:
		return ": another socket has this connection's addresses; end who has it, or --tcp-fallback close";
	case -EPERM:
		return ": CAP_NET_ADMIN is needed here";
	case -EAGAIN:
	case -ENOMEM:
		return ": it is larger than this host lets it be (net.core.wmem_max and rmem_max, net.ipv4.tcp_mem)";
	default:
		return "";
	}
}

/* The same connection may have been here before, and the kernel remember it for a minute. */
static int connect_it(int fd, struct soccr_conn *c, const InetSkEntry *m)
{
	struct net_tuple t = tcp_tuple_of(m);
	int err = soccr_connect(fd, c);

	if (err != -EADDRNOTAVAIL)
		return err;
	err = tcp_clear_way(&t);
	if (err == -EADDRINUSE)
		return err;
	return soccr_connect(fd, c);
}

int tcp_open(struct restore *r, const InetSkEntry *m, int fd, const char *who)
{
	struct tcp_restore *t = tcp_restore_of(r);
	struct conn k = { .id = m->id, .m = m, .fd = -1, .undo = -1 };
	int err = tcp_stream_read(r, m, &k.c);

	k.who = arena_printf(r->arena, "%s: the connection %s", who, tcp_tuple_text(m));
	if (!err) {
		err = soccr_open(fd, &k.c) ?: connect_it(fd, &k.c, m) ?: soccr_fill(fd, &k.c);
		if (err && r->opts->tcp_fallback_close)
			log_warn("%s: %s: %s: it comes back closed (--tcp-fallback close)", k.who, k.c.step,
			         strerror(-err));
		else if (err)
			log_errno(err, "%s: %s%s", k.who, k.c.step, way_out(err));
	}
	if (!err)
		arena_push(r->arena, &t->conns, &t->n, k);
	else
		soccr_free(&k.c);
	return err;
}

/* ---- the end ---- */

static int undo_release(const struct undo *u)
{
	int on = 1;

	return setsockopt(u->fd, IPPROTO_TCP, TCP_REPAIR, &on, sizeof(on)) ? -errno : 0;
}

/* From here on the socket speaks for itself: if the restore ends before it is committed, it is silenced again. */
static int hold(struct restore *r, struct conn *k)
{
	struct undo u = { .type = UNDO_CALL, .call = undo_release };

	k->fd = files_borrow(r, k->id);
	if (k->fd < 0)
		return k->fd;
	u.fd = k->fd;
	k->undo = guardian_note(r->guardian, &u);
	return k->undo < 0 ? k->undo : 0;
}

/* A packet of ours that did not go out, or did not come in. */
static const char *why_refused(struct restore *r, const struct conn *k, int err)
{
	const IpOptsEntry *o = k->m->ip_opts;
	struct net_tuple t = tcp_tuple_of(k->m);

	if (strncmp(k->c.step, "sending", 7))
		return "";
	if (o && o->has_transparent && o->transparent && err != -EPERM)
		return "; it is a transparent proxy's (IP_TRANSPARENT): packets to its address come here by policy "
		       "routing. Give "
		       "--network-lock-mark with the mark that the rule asks for (ip rule)";
	if (err != -EPERM && err != -ETIMEDOUT)
		return "";
	return tcp_lock_blame(r, &tcp_restore_of(r)->lock, &t, err == -ETIMEDOUT);
}

static int fail(struct restore *r, const struct conn *k, int err)
{
	return log_errno(err, "%s: %s%s", k->who, k->c.step, why_refused(r, k, err));
}

static int before_release(struct restore *r, struct conn *k)
{
	int err = hold(r, k);

	if (err)
		return err;
	err = soccr_close_sides(k->fd, &k->c, tcp_restore_of(r)->lock.mark);
	return err ? fail(r, k, err) : 0;
}

static int after_release(struct restore *r, struct conn *k)
{
	int err = soccr_go_on(k->fd, &k->c, tcp_restore_of(r)->lock.mark);

	soccr_free(&k->c);
	if (err)
		return fail(r, k, err);
	/* By the task itself; no packet says it. */
	if (k->m->shutdown & SHUT_RD_BIT && !soccr_fin_received(k->c.state) && shutdown(k->fd, SHUT_RD))
		return log_errno(-errno, "%s: shutting it down for reading", k->who);
	return tcp_restore_of(r)->set_options(r, k->fd, k->m);
}

/*
 * Leaving repair takes SO_REUSEADDR away, and the next system call gives it back. Whoever wants to listen at the port
 * between the two is refused, so no other task gets this processor there, where we may say so.
 */
static int release(struct restore *r, struct conn *conns, size_t n)
{
	const struct sched_param first = { .sched_priority = 1 }, usual = { 0 };
	int policy = sched_getscheduler(0), err = 0;
	bool alone = (policy == SCHED_OTHER || policy == SCHED_BATCH) && !sched_setscheduler(0, SCHED_FIFO, &first);
	size_t i = 0;

	while (!err && i < n) {
		err = soccr_release(conns[i].fd, &conns[i].c);
		i++;
	}
	if (alone && sched_setscheduler(0, policy, &usual))
		log_warn("the tool keeps its real-time priority: %s", strerror(errno));
	fault_point("connections are out of repair");
	return err ? fail(r, &conns[i - 1], err) : 0;
}

#define RELEASED_AT_ONCE 64

static int finish(struct restore *r, struct conn *conns, size_t n)
{
	int err = 0;

	for (size_t i = 0; !err && i < n; i++)
		err = before_release(r, &conns[i]);
	err = err ?: release(r, conns, n);
	for (size_t i = 0; !err && i < n; i++) {
		err = after_release(r, &conns[i]);
		fault_point("a connection is finished");
	}
	return err;
}

static int release_all(struct restore *r)
{
	struct tcp_restore *t = tcp_restore_of(r);
	int err = 0;

	for (size_t i = 0; !err && i < t->n; i += RELEASED_AT_ONCE)
		err = finish(r, &t->conns[i], MIN(t->n - i, (size_t)RELEASED_AT_ONCE));
	return err ?: tcp_lock_note_unlock(r, &t->lock);
}

static void let_go(struct restore *r)
{
	for (size_t i = 0; i < tcp_restore_of(r)->n; i++) {
		struct conn *k = &tcp_restore_of(r)->conns[i];

		soccr_free(&k->c);
		if (k->undo >= 0)
			guardian_drop(r->guardian, k->undo);
		if (k->fd >= 0)
			close(k->fd);
		k->fd = k->undo = -1;
	}
}

static void unlock_all(struct restore *r)
{
	tcp_unlock_after_restore(&tcp_restore_of(r)->lock, true);
	for (size_t i = 0; i < tcp_restore_of(r)->n; i++)
		if (tcp_restore_of(r)->conns[i].fd >= 0)
			soccr_push(tcp_restore_of(r)->conns[i].fd, &tcp_restore_of(r)->conns[i].c);
	let_go(r);
}

static void silence_all(struct restore *r)
{
	for (size_t i = 0; i < tcp_restore_of(r)->n; i++) {
		struct conn *k = &tcp_restore_of(r)->conns[i];
		struct undo u = { .fd = k->fd };

		if (k->fd >= 0 && undo_release(&u))
			log_warn("%s: it could not be silenced: %s", k->who, strerror(errno));
	}
	let_go(r);
	tcp_unlock_after_restore(&tcp_restore_of(r)->lock, false);
}

/* The kernel takes its time for it. */
static void close_lock(struct restore *r)
{
	tcp_lock_close(&tcp_restore_of(r)->lock);
}

const struct subsys tcp_restore_subsys = {
	.name = "TCP connections",
	.state = { .restore = sizeof(struct tcp_restore) },
	.all_standing = release_all,
	.committed = unlock_all,
	.undo = silence_all,
	.done = close_lock,
};
