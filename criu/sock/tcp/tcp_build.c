/* SPDX-License-Identifier: GPL-2.0-only */
#include <netinet/tcp.h>
#include <sched.h>
#include <string.h>

#include "files/files.h"
#include "lib/fault.h"
#include "lib/log.h"
#include "sock/tcp/tcp_build.h"
#include "sock/tcp/tcp_entry.h"
#include "sock/tcp/tcp_stream.h"
#include "sock/tcp/tcp_table.h"

#define SHUT_RD_BIT 1 /* of SkShutdown */

/* ---- building ---- */

static const char *build_hint(int err)
{
	switch (err) {
	case -EADDRNOTAVAIL:
		return ": the address is not on this host; give it to an interface, or --tcp-fallback close";
	case -EADDRINUSE:
		return ": another socket has this connection's addresses; end its process, or give --tcp-fallback "
		       "close";
	case -EPERM:
		return ": CAP_NET_ADMIN is needed here";
	case -EAGAIN:
	case -ENOMEM:
		return ": larger than this host allows (net.core.wmem_max and rmem_max, net.ipv4.tcp_mem)";
	default:
		return "";
	}
}

/* The kernel may still remember the same connection from an earlier restore, for a minute (TIME_WAIT). */
static int connect_in_repair(int fd, struct soccr_conn *c, const InetSkEntry *m)
{
	struct net_tuple t = tcp_tuple_of(m);
	int err = soccr_connect(fd, c);

	if (err != -EADDRNOTAVAIL)
		return err;
	err = tcp_table_clear(&t);
	if (err == -EADDRINUSE)
		return err;
	return soccr_connect(fd, c);
}

int tcp_build(struct restore *r, const InetSkEntry *m, int fd, const char *who, struct tcp_built *k)
{
	int err;

	*k = (struct tcp_built) { .id = m->id, .m = m, .fd = -1, .undo = -1 };
	err = tcp_stream_read(r, m, &k->c);
	k->who = arena_printf(r->arena, "%s: the connection %s", who, tcp_tuple_text(m));
	if (!err) {
		err = soccr_open(fd, &k->c) ?: connect_in_repair(fd, &k->c, m) ?: soccr_fill(fd, &k->c);
		if (err && r->opts->tcp_fallback_close)
			log_warn("%s: %s: %s: restored closed (--tcp-fallback close)", k->who, k->c.step,
			         strerror(-err));
		else if (err)
			log_errno(err, "%s: %s%s", k->who, k->c.step, build_hint(err));
	}
	if (err)
		soccr_free(&k->c);
	return err;
}

/* ---- the release ---- */

struct release {
	struct restore *r;
	const struct tcp_lock *lock;
	tcp_options_fn set_options;
};

static int undo_release(const struct undo *u)
{
	int on = 1;

	return setsockopt(u->fd, IPPROTO_TCP, TCP_REPAIR, &on, sizeof(on)) ? -errno : 0;
}

/* Once out of repair the socket answers its peer: if the restore ends before the commit, it goes back into repair. */
static int note_release(struct restore *r, struct tcp_built *k)
{
	struct undo u = { .type = UNDO_CALL, .call = undo_release };

	k->fd = files_borrow(r, k->id);
	if (k->fd < 0)
		return k->fd;
	u.fd = k->fd;
	k->undo = guardian_note(r->guardian, &u);
	return k->undo < 0 ? k->undo : 0;
}

/* Why a packet from criu could not be sent, or did not arrive. */
static const char *why_dropped(const struct release *x, const struct tcp_built *k, int err)
{
	const IpOptsEntry *o = k->m->ip_opts;
	struct net_tuple t = tcp_tuple_of(k->m);

	if (strncmp(k->c.step, "sending", 7))
		return "";
	if (o && o->has_transparent && o->transparent && err != -EPERM)
		return "; it is a transparent proxy's (IP_TRANSPARENT): packets to its address come here by policy "
		       "routing. Give --network-lock-mark with the mark that the rule asks for (ip rule)";
	if (err != -EPERM && err != -ETIMEDOUT)
		return "";
	return tcp_lock_explain(x->r, x->lock, &t, err == -ETIMEDOUT);
}

static int log_release_error(const struct release *x, const struct tcp_built *k, int err)
{
	return log_errno(err, "%s: %s%s", k->who, k->c.step, why_dropped(x, k, err));
}

static int before_release(const struct release *x, struct tcp_built *k)
{
	int err = note_release(x->r, k);

	if (err)
		return err;
	err = soccr_close_sides(k->fd, &k->c, x->lock->mark);
	return err ? log_release_error(x, k, err) : 0;
}

static int after_release(const struct release *x, struct tcp_built *k)
{
	int err = soccr_go_on(k->fd, &k->c, x->lock->mark);

	soccr_free(&k->c);
	if (err)
		return log_release_error(x, k, err);
	/* A shutdown() for reading by the task itself, which no packet tells of. */
	if (k->m->shutdown & SHUT_RD_BIT && !soccr_fin_received(k->c.state) && shutdown(k->fd, SHUT_RD))
		return log_errno(-errno, "%s: shutdown(SHUT_RD)", k->who);
	return x->set_options(x->r, k->fd, k->m);
}

/*
 * Leaving repair clears SO_REUSEADDR, and the next system call sets it again. A process that calls listen() at the port
 * between the two is refused, so we keep this processor with real-time priority there, where we may.
 */
static int leave_repair(const struct release *x, struct tcp_built *conns, size_t n)
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
		log_warn("criu keeps its real-time priority: sched_setscheduler: %s", strerror(errno));
	fault_point("connections are out of repair");
	return err ? log_release_error(x, &conns[i - 1], err) : 0;
}

#define RELEASED_AT_ONCE 64

static int release_some(const struct release *x, struct tcp_built *conns, size_t n)
{
	int err = 0;

	for (size_t i = 0; !err && i < n; i++)
		err = before_release(x, &conns[i]);
	err = err ?: leave_repair(x, conns, n);
	for (size_t i = 0; !err && i < n; i++) {
		err = after_release(x, &conns[i]);
		fault_point("a connection is finished");
	}
	return err;
}

int tcp_release_all(struct restore *r, struct tcp_built *conns, size_t n, const struct tcp_lock *lock,
                    tcp_options_fn set_options)
{
	const struct release x = { .r = r, .lock = lock, .set_options = set_options };
	int err = 0;

	for (size_t i = 0; !err && i < n; i += RELEASED_AT_ONCE)
		err = release_some(&x, &conns[i], MIN(n - i, (size_t)RELEASED_AT_ONCE));
	return err;
}

/* ---- the end ---- */

static void close_ours(struct restore *r, struct tcp_built *conns, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct tcp_built *k = &conns[i];

		soccr_free(&k->c);
		if (k->undo >= 0)
			guardian_drop(r->guardian, k->undo);
		if (k->fd >= 0)
			close(k->fd);
		k->fd = k->undo = -1;
	}
}

void tcp_push_all(struct restore *r, struct tcp_built *conns, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (conns[i].fd >= 0)
			soccr_push(conns[i].fd, &conns[i].c);
	close_ours(r, conns, n);
}

void tcp_take_back_all(struct restore *r, struct tcp_built *conns, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct tcp_built *k = &conns[i];
		struct undo u = { .fd = k->fd };

		if (k->fd >= 0 && undo_release(&u))
			log_warn("%s: could not put it back into TCP_REPAIR; its peer may see a FIN or RST: %s", k->who,
			         strerror(errno));
	}
	close_ours(r, conns, n);
}
