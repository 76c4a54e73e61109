/* SPDX-License-Identifier: GPL-2.0-only */
#include "ipc/mqueue_drain.h"

#include <mqueue.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "helper/helper.h"
#include "lib/fault.h"
#include "lib/log.h"
#include "proc/proc.h"

#define WAIT_STEP_NS 1000000
#define WAIT_STEPS   5000 /* 5 s: far longer than it takes */

/* In memory that criu, the process that does the work, and the guardian share. Messages stand behind it. */
struct drain {
	int fd;       /* of the queue, in criu's table */
	bool claimed; /* by the worker, or by what would not have it begin any more */
	pid_t worker;
	size_t msgsize, room; /* bytes for messages */
	uint32_t total;       /* what was in it: messages, */
	uint64_t qsize;       /* and their bytes */
	uint32_t n, back;     /* taken out; put back of those */
	uint32_t left;        /* in the queue when the first was put back */
	bool putting, finished;
	int err;
};

struct drained {
	uint32_t size, prio;
	char data[];
};

static struct drained *first_of(struct drain *w)
{
	return (struct drained *)(w + 1);
}

static struct drained *next_of(struct drained *m)
{
	return (struct drained *)((char *)m + round_up(sizeof(*m) + m->size, 8));
}

/* Where the next message goes. */
static struct drained *end_of(struct drain *w)
{
	struct drained *m = first_of(w);

	for (uint32_t i = 0; i < w->n; i++)
		m = next_of(m);
	return m;
}

static int take_out(struct drain *w)
{
	struct drained *m = end_of(w);

	for (;;) {
		ssize_t size;

		if ((size_t)((char *)m - (char *)first_of(w)) + sizeof(*m) + w->msgsize > w->room)
			return -ENOBUFS; /* more has come than there was */
		size = mq_receive(w->fd, m->data, w->msgsize, &m->prio);
		if (size < 0)
			return errno == EAGAIN ? 0 : -errno;
		m->size = (uint32_t)size;
		w->n++;
		m = next_of(m);
	}
}

/* From where an earlier attempt has ended. */
static int put_back(struct drain *w)
{
	struct drained *m = first_of(w);
	struct mq_attr attr;

	if (!w->putting) {
		if (mq_getattr(w->fd, &attr))
			return -errno;
		w->left = (uint32_t)attr.mq_curmsgs;
		__atomic_store_n(&w->putting, true, __ATOMIC_RELEASE);
	}
	for (uint32_t i = 0; i < w->n; i++, m = next_of(m)) {
		if (i < w->back)
			continue;
		if (mq_send(w->fd, m->data, m->size, m->prio))
			return -errno;
		w->back++;
	}
	return 0;
}

/* One that was taken out by a process that was killed before it could note that: what is missing is its size. */
static int add_unnoted(struct drain *w)
{
	struct drained *last = end_of(w);
	uint64_t sum = 0;
	unsigned long now;
	char text[64];
	ssize_t len = pread(w->fd, text, sizeof(text) - 1, 0);

	if (len <= 0)
		return -EIO;
	text[len] = '\0';
	if (sscanf(text, "QSIZE:%lu", &now) != 1)
		return -EIO;
	for (struct drained *m = first_of(w); m != last; m = next_of(m))
		sum += m->size;
	last->size = (uint32_t)(w->qsize - sum - now);
	w->n++;
	return 0;
}

/*
 * The worker was killed: most likely in a call, which it has finished without noting that. The queue tells how many
 * messages are there. Those that were not taken out yet go behind the others, as they were.
 */
static int go_on_alone(struct drain *w)
{
	struct mq_attr attr;
	int err = 0;

	if (mq_getattr(w->fd, &attr))
		return -errno;
	if (w->putting)
		w->back = (uint32_t)attr.mq_curmsgs - w->left;
	else if (w->total - (uint32_t)attr.mq_curmsgs == w->n + 1)
		err = add_unnoted(w);
	if (!err && !w->putting)
		err = take_out(w);
	return put_back(w) ?: err;
}

static bool claim_drain(struct drain *w)
{
	return !__atomic_exchange_n(&w->claimed, true, __ATOMIC_ACQ_REL);
}

static int work_alone(void *arg)
{
	struct drain *w = arg;
	int err, put;

	w->worker = getpid();
	if (!claim_drain(w))
		return -ECANCELED;
	err = take_out(w);
	put = put_back(w);
	w->err = put ?: err;
	__atomic_store_n(&w->finished, true, __ATOMIC_RELEASE);
	return w->err;
}

static bool is_finished(const struct drain *w)
{
	return __atomic_load_n(&w->finished, __ATOMIC_ACQUIRE);
}

/* In the guardian, when criu has died: the worker goes on by itself; should it be gone too, the rest is done here. */
static int finish_drain(const struct undo *u)
{
	size_t size = u->size;
	struct drain *w = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, u->fd, 0);
	int err = 0;

	if (w == MAP_FAILED)
		return -errno;
	if (!claim_drain(w)) {
		for (int i = 0; i < WAIT_STEPS && !is_finished(w) && proc_alive(w->worker); i++)
			nanosleep(&(struct timespec) { .tv_nsec = WAIT_STEP_NS }, NULL);
		if (!is_finished(w) && !proc_alive(w->worker))
			err = go_on_alone(w);
	}
	munmap(w, size);
	return err;
}

static void copy_out(struct dump *d, struct drain *w, MqueueEntry *m)
{
	struct drained *from = first_of(w);

	m->messages = arena_array(d->arena, MqueueMsg *, w->n);
	m->n_messages = w->n;
	m->curmsgs = w->n;
	for (uint32_t i = 0; i < w->n; i++, from = next_of(from)) {
		MqueueMsg *to = m->messages[i] = arena_msg(d->arena, MqueueMsg, mqueue_msg);

		to->prio = from->prio;
		to->data.data = arena_memdup(d->arena, from->data, from->size);
		to->data.len = from->size;
	}
}

static int run_worker(struct dump *d, struct drain *w, int memory, size_t size, const MqueueEntry *m)
{
	const struct helper_spec spec = { .outlives = true };
	const struct undo undo = {
		.type = UNDO_CALL, .while_stopped = true, .call = finish_drain, .fd = memory, .size = size
	};
	int number = guardian_note(d->guardian, &undo), err;

	if (number < 0)
		return number;
	err = helper_run(&spec, work_alone, w);
	fault_point("messages taken out and put back");
	if (!is_finished(w) && !claim_drain(w))
		err = go_on_alone(w);
	guardian_drop(d->guardian, number);
	if (w->back != w->n)
		return log_errno(err ?: -EIO, "message queue %s: mq_send: %u of %u messages could not be put back",
		                 m->name, w->n - w->back, w->n);
	return err ? log_errno(err, "message queue %s: mq_receive, mq_send of its messages", m->name) : 0;
}

int mqueue_drain_copy(struct dump *d, int fd, MqueueEntry *m)
{
	size_t room = m->qsize + (m->curmsgs + 1) * (sizeof(struct drained) + 8) + m->msgsize;
	size_t size = sizeof(struct drain) + room;
	_cleanup_close_ int memory = memfd_create("criu-messages", MFD_CLOEXEC);
	struct drain *w;
	int err;

	if (memory < 0 || ftruncate(memory, (off_t)size))
		return log_errno(-errno, "message queue %s: memfd_create or ftruncate", m->name);
	w = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, memory, 0);
	if (w == MAP_FAILED)
		return log_errno(-errno, "message queue %s: mmap", m->name);
	w->fd = fd;
	w->room = room;
	w->msgsize = m->msgsize;
	w->total = m->curmsgs;
	w->qsize = m->qsize;
	err = run_worker(d, w, memory, size, m);
	if (!err)
		copy_out(d, w, m);
	munmap(w, size);
	return err;
}
