/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Requests of asynchronous I/O that are in flight. The kernel shows them nowhere, but a context has a known number of
 * places, and a request has one until its event has been read. So the places that are free are taken, by polls of an
 * eventfd that is not ready, and counted. Then the eventfd becomes ready, which ends these polls at once, and their
 * events are taken out of the ring: what the task finds is the same events, further on in the ring.
 *
 * Places lie in a common store and, some, with each processor, where only requests made there find them: the leader
 * goes from one to the next. All of it is one batch: the agent of a criu that was killed comes to its end while the
 * guardian holds criu, and then the guardian takes the events out.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <sched.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "agent/agent.h"
#include "agent/code.h"
#include "lib/clock.h"
#include "lib/fault.h"
#include "lib/io.h"
#include "lib/log.h"
#include "mm/aio.h"
#include "proc/fdinfo.h"
#include "proc/proc.h"
#include "tree/task_part.h"

extern const struct task_part aio_flight_part;

#define CHUNK           4096U                        /* requests of one call */
#define MAX_OPS         1000U                        /* of a batch */
#define MARK            UINT64_C(0x637269752d61696f) /* aio_data of our requests */
#define UNDO_WAITS      200                          /* ms */
#define TIMEOUT_DEFAULT 10                           /* s; as in freeze/ */

/* ---- taking our events out ---- */

/* What the guardian needs to know. */
struct probe {
	raddr_t ring, iocb; /* iocb: in the agent's area, where nothing of the task's can be */
	uint64_t size;      /* of the ring */
	int fd;             /* the eventfd, the last thing that the batch closes */
	cpu_set_t cpus;     /* of the leader */
};

static bool is_ours(const struct probe *p, const struct io_event *e)
{
	return e->obj == p->iocb && e->data == MARK;
}

/* The others' events, at places up to the tail, and the head before them: one call, which a kill does not divide. */
static int write_kept(pid_t pid, const struct probe *p, const struct aio_ring_head *h, struct io_event *ev, uint32_t n)
{
	uint32_t head = (h->tail + h->nr - n) % h->nr, first = MIN(n, h->nr - head);
	raddr_t events = p->ring + sizeof(*h);
	struct iovec here[] = { { ev, n * sizeof(*ev) }, { &head, sizeof(head) } };
	struct iovec there[] = {
		{ (void *)(uintptr_t)(events + head * sizeof(*ev)), first * sizeof(*ev) },
		{ (void *)(uintptr_t)events, (n - first) * sizeof(*ev) },
		{ (void *)(uintptr_t)(p->ring + offsetof(struct aio_ring_head, head)), sizeof(head) },
	};
	ssize_t done = process_vm_writev(pid, here, 2, there, 3, 0);

	if (done < 0)
		return -errno;
	return (size_t)done == n * sizeof(*ev) + sizeof(head) ? 0 : -EFAULT;
}

/* *kept: the task's own events that are left. Nobody but the kernel writes to the ring now, and it does so at the tail.
 */
static int take_out(pid_t pid, const struct probe *p, uint32_t *kept, struct aio_ring_head *h)
{
	_cleanup_free_ struct io_event *ring = NULL, *ev = NULL;
	uint32_t n = 0, unread;
	int err = aio_ring_read(pid, p->ring, p->size, h);

	if (err)
		return err;
	unread = aio_ring_unread(h);
	ring = calloc(h->nr, sizeof(*ring));
	ev = calloc(unread + 1, sizeof(*ev));
	if (!ring || !ev)
		return -ENOMEM;
	err = agent_read_task(pid, p->ring + sizeof(*h), ring, h->nr * sizeof(*ring));
	if (err)
		return err;
	for (uint32_t i = 0; i < unread; i++) {
		const struct io_event *e = &ring[(h->head + i) % h->nr];

		if (!is_ours(p, e))
			ev[n++] = *e;
	}
	*kept = n;
	return n < unread ? write_kept(pid, p, h, ev, n) : 0;
}

static bool has_fd(pid_t pid, int fd)
{
	char path[48];

	snprintf(path, sizeof(path), "/proc/%d/fd/%d", pid, fd);
	return !faccessat(AT_FDCWD, path, F_OK, AT_SYMLINK_NOFOLLOW);
}

/* The guardian's, when criu died meanwhile. The agent's batch, which runs on, takes some microseconds. */
static int undo_probe(const struct undo *u)
{
	int64_t until = clock_now_ms() + UNDO_WAITS;
	struct aio_ring_head h;
	uint32_t kept;
	struct probe p;

	memcpy(&p, u->data, sizeof(p));
	while (has_fd(u->pid, p.fd) && clock_now_ms() < until)
		usleep(1000);
	sched_setaffinity(u->pid, sizeof(p.cpus), &p.cpus);
	return take_out(u->pid, &p, &kept, &h);
}

/* ---- taking places ---- */

struct counting {
	struct task *t;
	int64_t until; /* of the waiting */
	struct probe probe;
	struct aio_ring_head head;
	unsigned possible; /* processors that the kernel has room for */
	uint64_t submitted;
	int ops[MAX_OPS];
	unsigned n_ops;
	int err;
};

/* The last number in the list of processors, which begins with 0. */
static unsigned possible_cpus(void)
{
	_cleanup_fclose_ FILE *f = fopen("/sys/devices/system/cpu/possible", "re");
	unsigned last = 0;

	while (f && fscanf(f, "%*[^0-9]") != EOF && fscanf(f, "%u", &last) == 1)
		;
	return last + 1;
}

static uint32_t places_at_once(const struct counting *c)
{
	return MAX((c->head.nr - 1) / (c->possible * 4), 1U);
}

/* What of a context's places can be had: the rest of the last portion cannot. */
static uint64_t places_of(const struct counting *c)
{
	return (c->head.nr - 1) / places_at_once(c) * places_at_once(c);
}

static void add_submits(struct counting *c, struct batch *b, raddr_t list, uint64_t n)
{
	for (uint64_t done = 0; done < n && c->n_ops < MAX_OPS / 2; done += CHUNK)
		c->ops[c->n_ops++] = batch_ask(b, SYS_io_submit, c->probe.ring, CHUNK, list);
}

/* All places with the first processor, then what others have of their own. */
static void add_processors(struct counting *c, struct batch *b, raddr_t list)
{
	uint64_t wanted = places_of(c) + CHUNK;

	for (size_t cpu = 0; cpu < CPU_SETSIZE && c->n_ops < MAX_OPS / 2; cpu++) {
		uint64_t *mask;
		raddr_t at;

		if (!CPU_ISSET(cpu, &c->probe.cpus))
			continue;
		at = batch_space(b, (cpu / 64 + 1) * 8, &mask);
		mask[cpu / 64] = UINT64_C(1) << (cpu % 64);
		batch_ask(b, SYS_sched_setaffinity, 0, (cpu / 64 + 1) * 8, at);
		add_submits(c, b, list, wanted);
		wanted = 2 * places_at_once(c);
	}
}

/* The lowest free number: the one that the eventfd gets. */
static int lowest_free(struct dump *d, const struct task *t, int *fd)
{
	int *numbers, err;
	size_t n;

	err = proc_read_fd_numbers(t->dump->proc_fd, d->arena, &numbers, &n);
	*fd = 0;
	while (!err && (size_t)*fd < n && numbers[*fd] == *fd)
		(*fd)++;
	return err;
}

static void add_calls(struct counting *c, struct batch *b)
{
	struct iocb *iocb;
	uint64_t *list;
	int made;
	raddr_t at, one = batch_data(b, &(uint64_t) { 1 }, sizeof(uint64_t));

	c->probe.iocb = batch_space(b, sizeof(*iocb), &iocb);
	*iocb = (struct iocb) { .aio_data = MARK,
		                .aio_lio_opcode = IOCB_CMD_POLL,
		                .aio_fildes = (uint32_t)c->probe.fd,
		                .aio_buf = POLLIN };
	at = batch_space(b, CHUNK * sizeof(*list), &list);
	for (size_t i = 0; i < CHUNK; i++)
		list[i] = c->probe.iocb;
	made = batch_call(b, SYS_eventfd2, 0, EFD_CLOEXEC | EFD_NONBLOCK);
	add_processors(c, b, at);
	batch_ask(b, SYS_sched_setaffinity, 0, sizeof(c->probe.cpus),
	          batch_data(b, &c->probe.cpus, sizeof(c->probe.cpus)));
	batch_ask(b, SYS_write, 0, one, 8);
	batch_ref(b, 0, made);
	batch_ask(b, SYS_close, 0);
	batch_ref(b, 0, made);
}

static void read_answers(struct counting *c, const struct batch *b)
{
	for (unsigned i = 0; i < c->n_ops; i++) {
		int64_t ret = batch_ret(b, c->ops[i]);

		if (ret > 0)
			c->submitted += (uint64_t)ret;
		else if (ret != -EAGAIN)
			c->err = (int)ret;
	}
}

static int take_places(struct dump *d, struct counting *c)
{
	struct undo u = { .type = UNDO_CALL,
		          .while_stopped = true,
		          .call = undo_probe,
		          .fd = -1,
		          .pid = c->t->pid,
		          .start_time = proc_start_time(c->t->pid) };
	struct batch *b = agent_batch(c->t->threads[0].dump->agent, "counting AIO requests in flight");
	int undo, err;

	add_calls(c, b);
	u.data = &c->probe;
	u.data_len = sizeof(c->probe);
	undo = guardian_note(d->guardian, &u);
	if (undo < 0)
		return undo;
	err = batch_run(b);
	fault_point("AIO requests counted");
	read_answers(c, b);
	if (!err && (c->submitted || !c->err)) {
		uint32_t kept;

		err = take_out(c->t->pid, &c->probe, &kept, &c->head);
		if (err)
			log_errno(err, "%s: AIO context %" PRIx64 ": process_vm_writev to its ring", task_name(c->t),
			          c->probe.ring);
		c->head.head = (c->head.tail + c->head.nr - kept) % c->head.nr;
	}
	if (!err)
		guardian_drop(d->guardian, undo);
	return err;
}

/* ---- waiting ---- */

static unsigned time_limit(const struct dump *d)
{
	return d->opts->timeout ?: TIMEOUT_DEFAULT;
}

/* The requests end by themselves, also in a frozen task; their events come one after the other. */
static int wait_for_events(const struct counting *c, uint64_t in_flight, uint64_t *left)
{
	uint32_t before = aio_ring_unread(&c->head);
	struct aio_ring_head h;

	for (;; usleep(1000)) {
		int err = aio_ring_read(c->t->pid, c->probe.ring, c->probe.size, &h);

		if (err)
			return log_errno(err, "%s: AIO context %" PRIx64 ": process_vm_readv of its ring",
			                 task_name(c->t), c->probe.ring);
		*left = in_flight - MIN(in_flight, (uint64_t)(aio_ring_unread(&h) - before));
		if (!*left || clock_now_ms() >= c->until)
			return 0;
	}
}

static bool sees_all_cpus(const struct counting *c)
{
	long online = sysconf(_SC_NPROCESSORS_ONLN);

	return CPU_COUNT(&c->probe.cpus) >= online;
}

static int refuse_in_flight(const struct counting *c, uint64_t left, unsigned timeout)
{
	static const char hidden[] = " (or fewer are: places that the kernel keeps with processors that this task may "
	                             "not use cannot be counted; give it all of them, by taskset or its cpuset)";

	log_refusal(-EBUSY,
	            "%s: AIO context %" PRIx64 ": %" PRIu64 " requests are in flight (io_submit), and were not done "
	            "within %u s (--timeout): let them end, or io_cancel() them, before the dump%s",
	            task_name(c->t), c->probe.ring, left, timeout, sees_all_cpus(c) ? "" : hidden);
	return 0;
}

static int refuse_probe(const struct counting *c)
{
	if (c->err == -EINVAL)
		log_refusal(c->err,
		            "%s: mapping %" PRIx64
		            " of /[aio]: a ring of another process, inherited by fork(2), is not "
		            "supported; munmap() it before the dump",
		            task_name(c->t), c->probe.ring);
	else
		log_refusal(c->err, "%s: AIO context %" PRIx64 ": io_submit, to count what is in flight",
		            task_name(c->t), c->probe.ring);
	return 0;
}

static int count_context(struct dump *d, struct counting *c, const AioRingEntry *e)
{
	uint64_t taken, left = 0;
	int err;

	c->probe.ring = e->id;
	c->probe.size = e->ring_len;
	c->submitted = c->n_ops = 0;
	c->err = 0;
	err = aio_ring_read(c->t->pid, e->id, e->ring_len, &c->head);
	if (err)
		return log_errno(err, "%s: AIO context %" PRIx64 ": process_vm_readv of its ring", task_name(c->t),
		                 e->id);
	err = take_places(d, c);
	if (err || c->err)
		return err ?: refuse_probe(c);
	taken = places_of(c) - MIN(places_of(c), c->submitted + aio_ring_unread(&c->head));
	log_debug("%s: AIO context %" PRIx64 ": %u events unread, %" PRIu64 " requests in flight", task_name(c->t),
	          e->id, aio_ring_unread(&c->head), taken);
	if (taken)
		err = wait_for_events(c, taken, &left);
	return err ?: left ? refuse_in_flight(c, left, time_limit(d)) : 0;
}

/*
 * A mask that was set holds on when the cpuset of the task grows. Where the leader may use all that its cpuset has, the
 * mask of all processors does as if none had been set.
 */
static int settle_cpus(const struct counting *c)
{
	cpu_set_t all, now;

	memset(&all, 0xff, sizeof(all));
	if (!sched_setaffinity(c->t->pid, sizeof(all), &all) && !sched_getaffinity(c->t->pid, sizeof(now), &now) &&
	    CPU_EQUAL(&now, &c->probe.cpus))
		return 0;
	if (sched_setaffinity(c->t->pid, sizeof(c->probe.cpus), &c->probe.cpus))
		return log_errno(-errno, "%s: sched_setaffinity", task_name(c->t));
	return 0;
}

static int count_contexts(struct dump *d, struct task *t)
{
	struct counting *c = arena_new_of(d->arena, struct counting);
	int err = lowest_free(d, t, &c->probe.fd), part;

	if (err)
		return log_errno(err, "%s: reading /proc/PID/fd", task_name(t));
	c->t = t;
	c->until = clock_now_ms() + time_limit(d) * 1000LL;
	c->possible = possible_cpus();
	if (sched_getaffinity(t->pid, sizeof(c->probe.cpus), &c->probe.cpus))
		return log_errno(-errno, "%s: sched_getaffinity", task_name(t));
	for (size_t i = 0; !err && i < t->mm->n_aios; i++)
		err = count_context(d, c, t->mm->aios[i]);
	part = settle_cpus(c);
	return err ?: part;
}

/* Runs batches of its own: the answers to all others have been read. */
static int aio_flight_dump(struct dump *d, struct thread *th, const struct answers *answers)
{
	const struct task *first = tree_first_vm(&d->tree, th->task);

	return first == th->task && first->mm->n_aios ? count_contexts(d, th->task) : 0;
}

const struct task_part aio_flight_part = {
	.name = "AIO requests",
	.dump = aio_flight_dump,
};
