/* SPDX-License-Identifier: GPL-2.0-only */
#include <netinet/tcp.h>
#include <string.h>
#include <sys/syscall.h>

#include "files/files.h"
#include "lib/fault.h"
#include "lib/log.h"
#include "lib/workers.h"
#include "netlock/net_lock.h"
#include "sock/tcp/tcp_read.h"
#include "sock/tcp/tcp_stream.h"
#include "sock/tcp/tcp_view.h"

/*
 * Worker threads read connections in jobs of a few, each job with an arena of its own, ahead of the images, which are
 * written in order. The limit on how far ahead bounds memory: queues may have megabytes.
 */
#define PER_JOB    4
#define JOBS_AHEAD 10

struct tcp_reading {
	struct dump *d;
	struct tcp_found *conns;
	size_t n;
	const struct fd_kind *kind;
	const struct tcp_dump_options *options;
	struct opts_view *view; /* NULL: each is asked for all its options */
	struct arena **arenas;  /* of each job: the options of its connections */
};

static int get_fd(int pidfd, int number)
{
	int fd = pidfd < 0 ? -1 : (int)syscall(SYS_pidfd_getfd, pidfd, number, 0);

	return fd < 0 ? -errno : fd;
}

/* ---- repair, with an undo entry ---- */

struct before_repair {
	int number, reuseaddr, peek_off;
};

/* The guardian's, when criu died while this socket was in repair. */
static int undo_repair(const struct undo *u)
{
	const struct before_repair *b = u->data;
	struct soccr_conn c = { .peek_off = b->peek_off, .peek_moved = true, .reuseaddr = b->reuseaddr };
	_cleanup_close_ int pidfd = b->number >= 0 ? (int)syscall(SYS_pidfd_open, u->pid, 0) : -1;
	_cleanup_close_ int fd = b->number >= 0 ? get_fd(pidfd, b->number) : dup(u->fd);

	return fd < 0 ? fd : soccr_resume(fd, &c);
}

static int note_repair(struct dump *d, const struct tcp_found *k)
{
	struct before_repair b = { .number = k->number, .reuseaddr = k->c.reuseaddr, .peek_off = k->c.peek_off };
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

static int log_read_error(const struct tcp_found *k, int err)
{
	if (err == -ENODATA)
		return log_refusal(err, "%s: %s waits, which cannot be put back; dump when the program has read it",
		                   k->who, k->c.step);
	return err ? log_errno(err, "%s: %s%s", k->who, k->c.step,
	                       err == -EPERM ? " (CAP_NET_ADMIN is needed in its network namespace)" : "")
	           : 0;
}

/* How often, when packets arrive that had passed the lock's hooks before the lock existed. */
#define READ_AGAIN 20

/* Only while it is read: where criu is killed then, its guardian has few sockets to take out of repair. */
static int read_in_repair(int fd, struct soccr_conn *c)
{
	int err = soccr_pause(fd, c), part;

	fault_point("socket in repair");
	if (err)
		return err;
	err = soccr_read(fd, c);
	for (int again = 0; err == -EAGAIN && again < READ_AGAIN; again++) {
		soccr_free(c);
		net_lock_settle((unsigned)again);
		err = soccr_read(fd, c);
	}
	part = soccr_resume(fd, c);
	return err ?: part;
}

static int read_conn(struct dump *d, struct tcp_found *k)
{
	int undo, err;

	k->c.local.any.sa_family = (sa_family_t)k->m->family; /* addresses are known */
	err = soccr_look(k->fd, &k->c);
	if (err)
		return log_read_error(k, err);
	undo = note_repair(d, k);
	if (undo < 0)
		return undo;
	err = read_in_repair(k->fd, &k->c);
	guardian_drop(d->guardian, undo);
	return log_read_error(k, err);
}

/* ---- one connection ---- */

/* By any thread: writes nothing but the connection's own. */
static int read_with_options(struct tcp_reading *t, struct arena *a, struct tcp_found *k)
{
	struct fd_info info = { .task = k->task, .number = k->number, .what = k->what };
	int err;

	info.fd = k->fd = k->number >= 0 ? get_fd(k->task->dump->pidfd, k->number) : k->held;
	if (k->fd < 0)
		return log_errno(k->fd, "%s: pidfd_getfd", k->who);
	err = read_conn(t->d, k);
	if (err)
		return err;
	k->m->state = k->c.state; /* it may have changed between the first look and the lock */
	return tcp_view_dump_options(t->view, a, &info, k->m, t->options);
}

static void close_conn(struct tcp_found *k)
{
	soccr_free(&k->c);
	if (k->fd >= 0 && k->fd != k->held)
		close(k->fd);
	k->fd = -1;
}

static int write_conn(struct tcp_reading *t, struct tcp_found *k)
{
	int err = k->err;

	if (!err && k->c.state == TCP_CLOSE)
		err = tcp_ended_dump(t->d, k->fd, k->bound, k->m, k->who);
	if (!err && (k->c.state != TCP_CLOSE || k->c.inq_len))
		err = tcp_stream_write(t->d, k->m, &k->c);
	err = err ?: files_write_entry(t->d, t->kind, k->id, k->m);
	close_conn(k);
	return err;
}

/* ---- many of them ---- */

static size_t jobs_for(size_t n)
{
	return (n + PER_JOB - 1) / PER_JOB;
}

static void read_job(void *arg, size_t job)
{
	struct tcp_reading *t = arg;
	struct arena *a = t->arenas[job] = arena_new();

	for (size_t i = job * PER_JOB; i < MIN(t->n, (job + 1) * PER_JOB); i++)
		t->conns[i].err =
		    a ? read_with_options(t, a, &t->conns[i]) : log_errno(-ENOMEM, "out of memory for connections");
}

/* Writes what a job has read, unless there is an error already; frees it. */
static int end_job(struct tcp_reading *t, size_t job, int err)
{
	for (size_t i = job * PER_JOB; i < MIN(t->n, (job + 1) * PER_JOB); i++) {
		struct tcp_found *k = &t->conns[i];
		int part = err ? 0 : write_conn(t, k);

		close_conn(k);
		/* After a refusal it goes on: there may be more of them to report. */
		err = err ?: part == -ENODATA || part == DUMP_REFUSED ? 0 : part;
		k->m->opts = NULL;
		k->m->ip_opts = NULL;
		k->m->tcp_opts = NULL;
	}
	arena_free(t->arenas[job]);
	return err;
}

int tcp_read_all(struct dump *d, struct tcp_found *conns, size_t n, const struct fd_kind *kind,
                 const struct tcp_dump_options *options)
{
	struct tcp_reading t = { .d = d, .conns = conns, .n = n, .kind = kind, .options = options };
	size_t jobs = jobs_for(n), done = 0, begun;
	struct workers *pool;
	int err = 0;

	t.arenas = arena_array(d->arena, struct arena *, jobs);
	t.view = tcp_view_open(n);
	pool = workers_start(jobs, MIN(JOBS_AHEAD, files_spare() / PER_JOB), read_job, &t);
	for (; !err && done < jobs; done++) {
		workers_wait(pool, done);
		err = end_job(&t, done, 0);
	}
	begun = workers_end(pool);
	for (; done < begun; done++)
		end_job(&t, done, err);
	opts_view_close(t.view);
	return err;
}

/* ---- silence ---- */

static void silence_job(void *arg, size_t job)
{
	const struct tcp_reading *t = arg;
	int on = 1;

	for (size_t i = job * PER_JOB; i < MIN(t->n, (job + 1) * PER_JOB); i++) {
		const struct tcp_found *k = &t->conns[i];
		_cleanup_close_ int ours = k->number >= 0 ? get_fd(k->task->dump->pidfd, k->number) : -1;
		int fd = k->number >= 0 ? ours : k->held;

		/* Too late to go back. */
		if (fd < 0 || setsockopt(fd, IPPROTO_TCP, TCP_REPAIR, &on, sizeof(on)))
			log_warn("%s: could not put it into TCP_REPAIR; its peer may see a FIN or RST: %s", k->who,
			         strerror(errno));
	}
}

void tcp_silence_all(struct tcp_found *conns, size_t n)
{
	struct tcp_reading t = { .conns = conns, .n = n };
	size_t jobs = jobs_for(n);
	struct workers *pool = jobs ? workers_start(jobs, jobs, silence_job, &t) : NULL;

	for (size_t i = 0; i < jobs; i++)
		workers_wait(pool, i);
	workers_end(pool);
}
