/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Copying the receive queues of a dump's terminals. Reading a queue empties it, and if criu were killed between its
 * read(2) and a note of what it has read, the bytes would be lost. So a process of its own, which does not end when
 * criu dies, drains the queues and puts them back, a pair at a time, and leaves copies for criu; the guardian waits for
 * it. Tasks run on as soon as criu dies: what a task reads or writes in the fraction of a millisecond for which its
 * terminal is drained comes before what was queued.
 */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "helper/helper.h"
#include "undo/guardian.h"
#include "lib/fault.h"
#include "lib/log.h"
#include "tty/pty.h"
#include "tty/tty_queue.h"

/* Pairs for one such process; criu holds their descriptors at once. */
#define PAIRS     64
#define END_IN_MS 20000

struct queue_job {
	int master, err, put; /* errors of draining and of putting back */
	bool gone;            /* the slave is closed everywhere */
	struct tty_queue queue;
};

struct queue_batch {
	struct queue_job *jobs;
	size_t n;
};

/* ---- the process ---- */

static int copy_queues(struct queue_job *j, const struct tty_ends *e)
{
	struct tty_mode mode;
	int err = tty_mode_read(e, &mode);

	if (err)
		return err;
	err = tty_queue_drain(e, &mode, &j->queue);
	j->put = tty_queue_put(e, &mode, &j->queue);
	return err;
}

/* The tasks that share the open file are frozen, and do not notice O_NONBLOCK. */
static int copy_nonblocking(struct queue_job *j, const struct tty_ends *e)
{
	int flags = fcntl(e->master, F_GETFL), err;

	if (flags < 0 || fcntl(e->master, F_SETFL, flags | O_NONBLOCK))
		return -errno;
	err = copy_queues(j, e);
	if (fcntl(e->master, F_SETFL, flags))
		err = err ?: -errno;
	return err;
}

/* The slave of a locked terminal cannot be opened: it is unlocked for that. */
static int copy_pair(struct queue_job *j)
{
	struct tty_ends e = { .master = j->master };
	int locked = 0, open = 0, err;

	if (ioctl(e.master, TIOCGPTLCK, &locked) || (locked && ioctl(e.master, TIOCSPTLCK, &open)))
		return -errno;
	e.slave = ioctl(e.master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
	err = e.slave < 0 ? -errno : 0;
	if (locked && ioctl(e.master, TIOCSPTLCK, &locked))
		err = err ?: -errno;
	if (!err) {
		err = copy_nonblocking(j, &e);
		close(e.slave);
	}
	return err;
}

static int copy_pairs(void *arg)
{
	const struct queue_batch *b = arg;
	sigset_t all;

	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, NULL);
	setsid();
	for (size_t i = 0; i < b->n; i++)
		b->jobs[i].err = copy_pair(&b->jobs[i]);
	return 0;
}

/* ---- criu ---- */

static int wait_end(int pidfd)
{
	struct pollfd p = { .fd = pidfd, .events = POLLIN };
	int n;

	while ((n = poll(&p, 1, END_IN_MS)) < 0 && errno == EINTR)
		;
	return n > 0 ? 0 : -ETIMEDOUT;
}

/* That process takes less than a millisecond a pair. */
static int undo_wait(const struct undo *u)
{
	return wait_end(u->fd);
}

static int run_worker(struct dump *d, struct queue_job *jobs, size_t n)
{
	_cleanup_close_ int pidfd = -1;
	struct helper_spec spec = { .pidfd = &pidfd, .outlives = true };
	struct undo u = { .type = UNDO_CALL, .call = undo_wait };
	pid_t pid = helper_start(&spec, copy_pairs, &(struct queue_batch) { jobs, n });
	int number, err;

	if (pid < 0)
		return log_errno(pid, "clone3 of a process that copies the queues of terminals");
	u.fd = pidfd;
	number = guardian_note(d->guardian, &u);
	fault_point("terminals drained");
	err = wait_end(pidfd);
	if (err)
		helper_kill(pid);
	else
		helper_wait(pid);
	if (number >= 0)
		guardian_drop(d->guardian, number);
	return err ? log_errno(err, "waiting for the process that copies the queues of terminals") : MIN(number, 0);
}

/* ---- into messages ---- */

/* The slave's queue goes into the slave's message, if the slave is open in the tree. */
static void keep_queues(struct dump *d, struct terminal *master, const struct queue_job *j)
{
	const struct tty_queue *q = &j->queue;
	TtyInfoEntry *e = master->entry;

	e->has_slave_gone = e->slave_gone = j->gone;
	e->has_stopped = e->stopped = q->stopped;
	e->has_packet_status = q->packet_status;
	e->packet_status = q->packet_status;
	if (q->n_master)
		master->data = tty_queue_to_data(d->arena, e->id, q, true);
	if (q->n_slave && master->peer)
		master->peer->data = tty_queue_to_data(d->arena, master->peer->entry->id, q, false);
	else if (q->n_slave)
		log_warn("%s: terminal %u: its slave is not open; %u bytes that can be read there are lost",
		         master->who, master->index, q->n_slave);
}

static int keep_pair(struct dump *d, struct terminal *master, const struct queue_job *j)
{
	if (j->put)
		return log_errno(j->put, "%s: terminal %u: putting its queues back", master->who, master->index);
	if (!j->err)
		keep_queues(d, master, j);
	if (!j->err)
		return 0;
	return log_errno(j->err, "%s: terminal %u: draining its queues", master->who, master->index);
}

/*
 * Whether a pair has queues to copy: 1, 0, or a negative errno (logged). A slave that is not open in the tree is not
 * looked at: its master would take it for a hang-up when it is opened and closed again.
 */
static int prepare_job(struct terminal *master, struct queue_job *j)
{
	struct pollfd p = { .fd = pty_duplicate(master), .events = POLLIN };

	j->master = p.fd;
	if (p.fd < 0)
		return p.fd;
	j->gone = poll(&p, 1, 0) > 0 && (p.revents & POLLHUP);
	if (master->peer || j->gone)
		return 1;
	if (p.revents & POLLIN)
		log_refusal(
		    -EAGAIN,
		    "%s: %s: terminal %u has bytes that were not read yet, and its slave is not open in the tree: "
		    "they cannot be kept; try again when they have been read",
		    master->who, master->link, master->index);
	close(p.fd);
	return 0;
}

static int copy_batch(struct dump *d, struct queue_job *jobs, struct terminal **masters, size_t n)
{
	int err = n ? run_worker(d, jobs, n) : 0, one;

	for (size_t i = 0; i < n; i++) {
		close(jobs[i].master);
		one = err ? 0 : keep_pair(d, masters[i], &jobs[i]);
		err = err ?: one;
	}
	memset(jobs, 0, n * sizeof(*jobs));
	return err;
}

static int copy_all(struct dump *d, struct tty_dump *td, struct queue_job *jobs)
{
	struct terminal *masters[PAIRS];
	size_t n = 0;
	int err = 0;

	for (size_t i = 0; !err && i < td->n; i++) {
		int wanted = td->all[i]->master ? prepare_job(td->all[i], &jobs[n]) : 0;

		if (wanted > 0)
			masters[n++] = td->all[i];
		if (wanted < 0 || n == PAIRS) {
			err = copy_batch(d, jobs, masters, n);
			err = err ?: MIN(wanted, 0);
			n = 0;
		}
	}
	return err ?: copy_batch(d, jobs, masters, n);
}

int tty_queue_dump(struct dump *d)
{
	struct queue_job *jobs = mmap(NULL, PAIRS * sizeof(*jobs), PROT_READ | PROT_WRITE,
	                              MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	int err;

	if (jobs == MAP_FAILED)
		return log_errno(-errno, "mmap for the queues of terminals");
	err = copy_all(d, tty_dump_of(d), jobs);
	munmap(jobs, PAIRS * sizeof(*jobs));
	return err;
}
