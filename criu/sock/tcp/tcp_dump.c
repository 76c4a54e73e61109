/* SPDX-License-Identifier: GPL-2.0-only */
#include <linux/sockios.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>

#include "files/files.h"
#include "lib/fault.h"
#include "lib/log.h"
#include "proc/proc.h"
#include "lib/workers.h"
#include "sock/diag.h"
#include "sock/opts.h"
#include "sock/tcp/tcp.h"
#include "sock/tcp/tcp_ended.h"
#include "sock/tcp/tcp_lock.h"
#include "sock/tcp/tcp_tuple.h"
#include "soccr.h"
#include "tcp-stream.pb-c.h"

struct conn {
	struct task *task;
	uint64_t start_time; /* of the task */
	int number;          /* in the task, or -1: in flight */
	const char *what;    /* as fd_info has it */
	int held;            /* ours, where it is in flight: files_dump_in_flight() keeps it open */
	uint32_t id;
	InetSkEntry *m;
	const char *who;
	bool ended; /* at the first look: nothing to lock */
	enum tcp_bound bound;
	/* From read_one() to write_one(). */
	int fd, err;
	struct soccr_conn c;
};

/*
 * Connections are read by several threads, so many at a time, with memory of their own. What is read ahead of the
 * images stands in memory, too: queues may have megabytes.
 */
#define PER_JOB    4
#define JOBS_AHEAD 10

struct tcp_dump {
	struct conn *conns;
	size_t n;
	struct tcp_lock lock;
	tcp_dump_options_fn dump_options;
	enum tcp_bound lists_bound; /* whether diag lists sockets that are bound and no more */
	struct arena **arenas;      /* of each job: the options of its connections */
	pid_t pid;                  /* whose start_time was read last */
	uint64_t start_time;
};

extern const struct subsys tcp_dump_subsys;

bool tcp_is_connection(const InetSkEntry *m)
{
	return m->proto == IPPROTO_TCP && m->type == SOCK_STREAM && m->state != TCP_LISTEN && m->state != TCP_CLOSE;
}

/* Of the task whose connections are looked at, read once. */
static uint64_t start_time(struct tcp_dump *t, pid_t pid)
{
	if (t->pid != pid)
		t->start_time = proc_start_time(pid);
	t->pid = pid;
	return t->start_time;
}

static int read_later(struct dump *d, const struct fd_info *info, struct conn c)
{
	struct tcp_dump *t = dump_state(d, &tcp_dump_subsys);

	c.task = info->task;
	c.start_time = start_time(t, info->task->pid);
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
	struct conn c = { .m = m };

	c.who = arena_printf(d->arena, "%s: the connection %s", fd_name(info), tcp_tuple_text(m));
	if (d->opts->tcp_close) {
		m->ended = tcp_ended_instead(d->arena, m->state);
		m->state = TCP_CLOSE;
		return 0;
	}
	if (!d->opts->tcp_established) {
		log_refusal(-EBUSY, "%s: give --tcp-established to keep it, or --tcp-close to have it closed", c.who);
		return DUMP_REFUSED;
	}
	return read_later(d, info, c);
}

/* Asked with a socket of our own. */
static bool lists_bound(struct dump *d, int family)
{
	_cleanup_close_ int fd = -1;
	struct sockaddr_storage any = { .ss_family = (sa_family_t)family };
	struct tcp_dump *t = dump_state(d, &tcp_dump_subsys);
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
	struct conn c = { .m = m, .ended = true, .bound = TCP_BOUND_UNKNOWN };
	int unread = 0;

	c.who = arena_printf(d->arena, "%s: a connection that has ended", fd_name(info));
	if (listed)
		c.bound = TCP_BOUND_YES;
	else if (!m->src_port || lists_bound(d, (int)m->family))
		c.bound = TCP_BOUND_NO;
	if (ioctl(info->fd, SIOCINQ, &unread))
		return log_errno(-errno, "%s: how much is to be read", c.who);
	return unread ? read_later(d, info, c) : tcp_ended_look(d, info->fd, c.bound, m, c.who);
}

/* ---- reading ---- */

struct before {
	int number, reuseaddr, peek_off;
};

static int get_fd(int pidfd, int number)
{
	int fd = pidfd < 0 ? -1 : (int)syscall(SYS_pidfd_getfd, pidfd, number, 0);

	return fd < 0 ? -errno : fd;
}

/* A tool that died while this socket was in repair. */
static int undo_repair(const struct undo *u)
{
	const struct before *b = u->data;
	struct soccr_conn c = { .peek_off = b->peek_off, .reuseaddr = b->reuseaddr };
	_cleanup_close_ int pidfd = b->number >= 0 ? (int)syscall(SYS_pidfd_open, u->pid, 0) : -1;
	_cleanup_close_ int fd = b->number >= 0 ? get_fd(pidfd, b->number) : dup(u->fd);

	return fd < 0 ? fd : soccr_resume(fd, &c);
}

static int note_undo(struct dump *d, const struct conn *k)
{
	struct before b = { .number = k->number, .reuseaddr = k->c.reuseaddr, .peek_off = k->c.peek_off };
	struct undo u = { .type = UNDO_CALL,
		          .while_stopped = true,
		          .call = undo_repair,
		          .fd = k->held,
		          .pid = k->task->pid,
		          .start_time = k->start_time,
		          .data = &b,
		          .data_len = sizeof(b) };

	return guardian_note(d->guardian, &u);
}

static int write_stream(struct dump *d, const struct conn *k)
{
	const struct soccr_conn *c = &k->c;
	_cleanup_image_ struct image *img = NULL;
	TcpStreamEntry e = TCP_STREAM_ENTRY__INIT;
	const TcpOptsEntry *o = k->m->tcp_opts;
	int err = image_create(d->dir, IMG_TCP_STREAM, k->m->ino, &img);

	e.inq_len = c->inq_len;
	e.inq_seq = c->inq_seq;
	e.outq_len = c->outq_len;
	e.outq_seq = c->outq_seq;
	e.has_unsq_len = true;
	e.unsq_len = c->unsq_len;
	e.opt_mask = c->options;
	e.snd_wscale = c->snd_wscale;
	e.has_rcv_wscale = true;
	e.rcv_wscale = c->rcv_wscale;
	e.mss_clamp = c->mss_clamp;
	e.has_timestamp = c->options & TCPI_OPT_TIMESTAMPS;
	e.timestamp = c->timestamp;
	e.has_cork = e.has_nodelay = true;
	e.cork = o && o->cork;
	e.nodelay = o && o->nodelay;
	e.has_snd_wl1 = e.has_snd_wnd = e.has_max_window = e.has_rcv_wnd = e.has_rcv_wup = c->has_window;
	e.snd_wl1 = c->window.snd_wl1;
	e.snd_wnd = c->window.snd_wnd;
	e.max_window = c->window.max_window;
	e.rcv_wnd = c->window.rcv_wnd;
	e.rcv_wup = c->window.rcv_wup;
	if (!err)
		err = image_write(img, &e);
	if (!err)
		err = image_write_raw(img, c->inq, c->inq_len);
	if (!err)
		err = image_write_raw(img, c->outq, c->outq_len);
	return err ?: image_close(move_ptr(img));
}

static const char *why_not(int err)
{
	switch (err) {
	case -EPERM:
		return " (CAP_NET_ADMIN is needed in its network namespace)";
	default:
		return "";
	}
}

/* How often, when packets come in that were past the lock's hooks before it came. */
#define READ_AGAIN 20

static int complain(const struct conn *k, int err)
{
	if (err == -ENODATA)
		return log_refusal(err, "%s: %s waits, which cannot be put back; dump when the program has read it",
		                   k->who, k->c.step);
	return err ? log_errno(err, "%s: %s%s", k->who, k->c.step, why_not(err)) : 0;
}

/* In repair for as long as it is read: a tool that is killed meanwhile leaves its guardian few sockets to put back. */
static int read_in_repair(int fd, struct soccr_conn *c)
{
	int err = soccr_pause(fd, c), part;

	fault_point("socket in repair");
	if (err)
		return err;
	err = soccr_read(fd, c);
	for (int again = 0; err == -EAGAIN && again < READ_AGAIN; again++) {
		soccr_free(c);
		net_lock_settle();
		err = soccr_read(fd, c);
	}
	part = soccr_resume(fd, c);
	return err ?: part;
}

static int read_state(struct dump *d, struct conn *k)
{
	int undo, err;

	k->c.local.any.sa_family = (sa_family_t)k->m->family; /* addresses are known */
	err = soccr_look(k->fd, &k->c);
	if (err)
		return complain(k, err);
	undo = note_undo(d, k);
	if (undo < 0)
		return undo;
	err = read_in_repair(k->fd, &k->c);
	guardian_drop(d->guardian, undo);
	return complain(k, err);
}

/* By any thread: all that it writes is the connection's. */
static int read_one(struct dump *d, struct arena *a, struct conn *k)
{
	const struct tcp_dump *t = dump_state(d, &tcp_dump_subsys);
	struct fd_info info = { .task = k->task, .number = k->number, .what = k->what };
	int err;

	info.fd = k->fd = k->number >= 0 ? get_fd(k->task->dump->pidfd, k->number) : k->held;
	if (k->fd < 0)
		return log_errno(k->fd, "%s: getting a duplicate", k->who);
	err = read_state(d, k);
	if (err)
		return err;
	k->m->state = k->c.state; /* it may have changed between the first look and the lock */
	err = sock_opts_dump(a, &info, &k->m->opts);
	return err ?: t->dump_options(a, &info, k->m);
}

static void close_conn(struct conn *k)
{
	soccr_free(&k->c);
	if (k->fd >= 0 && k->fd != k->held)
		close(k->fd);
	k->fd = -1;
}

static int write_one(struct dump *d, struct conn *k, const struct fd_kind *kind)
{
	int err = k->err;

	if (!err && k->c.state == TCP_CLOSE)
		err = tcp_ended_look(d, k->fd, k->bound, k->m, k->who);
	if (!err && (k->c.state != TCP_CLOSE || k->c.inq_len))
		err = write_stream(d, k);
	err = err ?: files_write_entry(d, kind, k->id, k->m);
	close_conn(k);
	return err;
}

/* ---- many of them ---- */

static size_t jobs_of(const struct tcp_dump *t)
{
	return (t->n + PER_JOB - 1) / PER_JOB;
}

static void read_job(void *arg, size_t job)
{
	struct dump *d = arg;
	struct tcp_dump *t = dump_state(d, &tcp_dump_subsys);
	struct arena *a = t->arenas[job] = arena_new();

	for (size_t i = job * PER_JOB; i < MIN(t->n, (job + 1) * PER_JOB); i++)
		t->conns[i].err = a ? read_one(d, a, &t->conns[i]) : log_errno(-ENOMEM, "memory for connections");
}

/* What came out of a job, written or not. */
static int end_job(struct dump *d, size_t job, const struct fd_kind *kind, int err)
{
	struct tcp_dump *t = dump_state(d, &tcp_dump_subsys);

	for (size_t i = job * PER_JOB; i < MIN(t->n, (job + 1) * PER_JOB); i++) {
		struct conn *k = &t->conns[i];
		int part = err ? 0 : write_one(d, k, kind);

		close_conn(k);
		/* Of refusals there may be more. */
		err = err ?: part == -ENODATA || part == DUMP_REFUSED ? 0 : part;
		k->m->opts = NULL;
		k->m->ip_opts = NULL;
		k->m->tcp_opts = NULL;
	}
	arena_free(t->arenas[job]);
	return err;
}

static int read_all(struct dump *d, const struct fd_kind *kind)
{
	struct tcp_dump *t = dump_state(d, &tcp_dump_subsys);
	size_t n = jobs_of(t), done = 0, begun;
	struct workers *team;
	int err = 0;

	t->arenas = arena_array(d->arena, struct arena *, n);
	team = workers_start(n, MIN(JOBS_AHEAD, files_spare() / PER_JOB), read_job, d);
	for (; !err && done < n; done++) {
		workers_wait(team, done);
		err = end_job(d, done, kind, 0);
	}
	begun = workers_end(team);
	for (; done < begun; done++)
		end_job(d, done, kind, err);
	return err;
}

static int lock(struct dump *d)
{
	struct tcp_dump *t = dump_state(d, &tcp_dump_subsys);
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
	struct tcp_dump *t = dump_state(d, &tcp_dump_subsys);
	int err;

	if (!t->n || log_refusals())
		return 0;
	t->dump_options = dump_options;
	err = lock(d);
	fault_point("network locked");
	return err ?: read_all(d, kind);
}

/* ---- the commit ---- */

static void silence_job(void *arg, size_t job)
{
	const struct tcp_dump *t = arg;
	int on = 1;

	for (size_t i = job * PER_JOB; i < MIN(t->n, (job + 1) * PER_JOB); i++) {
		const struct conn *k = &t->conns[i];
		_cleanup_close_ int ours = k->number >= 0 ? get_fd(k->task->dump->pidfd, k->number) : -1;
		int fd = k->number >= 0 ? ours : k->held;

		/* Too late to go back; without it the socket's end would try to tell the peer, behind the lock. */
		if (fd < 0 || setsockopt(fd, IPPROTO_TCP, TCP_REPAIR, &on, sizeof(on)))
			log_warn("%s: it could not be silenced: %s", k->who, strerror(errno));
	}
}

static void silence(struct dump *d)
{
	struct tcp_dump *t = dump_state(d, &tcp_dump_subsys);
	size_t n = jobs_of(t);
	struct workers *team = n ? workers_start(n, n, silence_job, t) : NULL;

	for (size_t i = 0; i < n; i++)
		workers_wait(team, i);
	workers_end(team);
}

/* ---- stages ---- */

static int before_commit(struct dump *d)
{
	struct tcp_dump *t = dump_state(d, &tcp_dump_subsys);
	int err = dump_kills_tree(d) ? tcp_lock_hand_over(d, &t->lock) : 0;

	fault_point("lock handed over");
	return err;
}

/* The tree's sockets must not say anything when it is killed; where it runs on, they are to be heard again. */
static void after_commit(struct dump *d)
{
	struct tcp_dump *t = dump_state(d, &tcp_dump_subsys);

	if (dump_kills_tree(d))
		silence(d);
	else
		tcp_unlock_after_dump(&t->lock, true);
}

static void unlock_all(struct dump *d)
{
	struct tcp_dump *t = dump_state(d, &tcp_dump_subsys);

	tcp_unlock_after_dump(&t->lock, true);
}

/* Our own part only; closing it takes the kernel its time. */
static void unlock_own(struct dump *d)
{
	struct tcp_dump *t = dump_state(d, &tcp_dump_subsys);

	tcp_unlock_after_dump(&t->lock, false);
	tcp_lock_close(&t->lock);
}

const struct subsys tcp_dump_subsys = {
	.name = "TCP connections",
	.state = { .dump = sizeof(struct tcp_dump) },
	.before_commit = before_commit,
	.after_commit = after_commit,
	.rollback = unlock_all,
	.end = unlock_own,
};
