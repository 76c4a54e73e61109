/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Requests in flight in rings of io_uring are waited for while the agents are in the task: their completions are work
 * that the kernel has a thread do when it is not stopped. And rings that a thread has registered, to name them without
 * a descriptor, which only the thread itself can see.
 */
#include <inttypes.h>
#include <linux/io_uring.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "agent/agent.h"
#include "fd/uring_parts.h"
#include "lib/clock.h"
#include "lib/log.h"
#include "proc/fdinfo.h"
#include "tree/task_part.h"
#include "uapi/io_uring_more.h"

#define TIMEOUT_DEFAULT 10 /* s; as in freeze/ */

extern const struct task_part uring_flight_part;

/* Of the task that was looked at last: threads of one are looked at in a row. */
struct uring_flight_state {
	const struct task *task;
	int *rings; /* numbers of its descriptors */
	size_t n_rings;
	struct uring_told *told;
};

const struct uring_told *uring_told(struct dump *d, const struct task *t, int number)
{
	const struct uring_flight_state *s = dump_state(d, &uring_flight_part);
	const struct uring_told *told = s->told;

	while (told && (told->task != t || told->number != number))
		told = told->next;
	return told;
}

static bool has_mapping(struct dump *d, const struct task *t)
{
	const struct task_maps *maps = &tree_first_vm(&d->tree, t)->dump->maps;
	bool found = false;

	for (size_t i = 0; i < maps->n && !found; i++)
		found = !strcmp(maps->v[i].name, URING_LINK);
	return found;
}

static bool is_ring(const struct task *t, int number)
{
	char path[32], link[64] = { 0 };

	snprintf(path, sizeof(path), "fd/%d", number);
	return readlinkat(t->dump->proc_fd, path, link, sizeof(link) - 1) > 0 && !strcmp(link, URING_LINK);
}

/* Descriptors are looked at only where a ring is mapped. */
static int find_rings(struct dump *d, const struct task *t)
{
	struct uring_flight_state *s = dump_state(d, &uring_flight_part);
	int *numbers, err;
	size_t n;

	if (s->task == t)
		return 0;
	s->task = t;
	s->rings = NULL;
	s->n_rings = 0;
	if (!has_mapping(d, t))
		return 0;
	err = proc_read_fd_numbers(t->dump->proc_fd, d->arena, &numbers, &n);
	if (err)
		return log_errno(err, "%s: reading /proc/PID/fd", task_name(t));
	for (size_t i = 0; i < n; i++)
		if (is_ring(t, numbers[i]))
			arena_push(d->arena, &s->rings, &s->n_rings, numbers[i]);
	return 0;
}

/* The first registered ring has the number 0; nothing is asked of it. */
static int uring_flight_ask(struct dump *d, struct thread *th, struct batch *b, void **datap)
{
	const struct uring_flight_state *s = dump_state(d, &uring_flight_part);
	int err = find_rings(d, th->task);

	if (!err && s->n_rings)
		batch_ask(b, SYS_io_uring_enter, 0, 0, 0, IORING_ENTER_REGISTERED_RING);
	return err;
}

/* As the kernel has it: what only waits can be submitted again. 0: busy; 1: not; or a negative errno: not known. */
static int is_idle(struct dump *d, const struct task *t, int number)
{
	struct uring_kernel *k = uring_kernel(d);
	_cleanup_close_ int fd = k ? (int)syscall(SYS_pidfd_getfd, t->dump->pidfd, number, 0) : -1;
	struct uring_state s;
	char text[2];
	int err = fd < 0 ? -EBADF : uring_kernel_read(d, k, fd, &s);

	if (err)
		return err == -EAGAIN ? 0 : err;
	return uring_again_all(d, t, &s, text, sizeof(text));
}

static bool is_busy(struct dump *d, const struct task *t, int number, struct text_buf *buf)
{
	struct uring_numbers n = { 0 };
	const char *text;
	char path[32];
	int idle = is_idle(d, t, number);

	if (idle >= 0)
		return !idle;
	snprintf(path, sizeof(path), "fdinfo/%d", number);
	text = proc_read_text(t->dump->proc_fd, path, d->arena, buf);
	return text && !uring_read_numbers(text, &n) && uring_in_flight(&n);
}

static int ask_one(struct thread *th, unsigned nr, const uint64_t arg[6], int64_t *ret)
{
	struct batch *b = agent_batch(th->dump->agent, "asking about an io_uring");
	int op = batch_add(b, nr, 0, arg), err = batch_run(b);

	*ret = batch_ret(b, op);
	return err;
}

/*
 * Lets the kernel finish what has ended. What is in flight still is refused where the descriptor is dumped.
 */
static int wait_for_ring(struct dump *d, struct thread *th, int number, int64_t until)
{
	const uint64_t arg[6] = { (uint64_t)number, 0, 0, IORING_ENTER_GETEVENTS };
	struct text_buf buf = { 0 };

	for (;; usleep(1000)) {
		int64_t ret;
		int err = ask_one(th, SYS_io_uring_enter, arg, &ret);

		if (err || ret < 0 || !is_busy(d, th->task, number, &buf) || clock_now_ms() >= until)
			return err;
	}
}

/* Calls of a batch with their data: the agent of a thread that is not the leader is small. */
#define MANY_CALLS 512U
#define FEW_CALLS  16U

/* As has_provided_buffers() of uring.c, by the only thread that may ask. */
static int ask_for_buffers(struct thread *th, struct uring_told *told)
{
	unsigned at_once = batch_capacity(&th->dump->agent->batch) > MANY_CALLS ? MANY_CALLS : FEW_CALLS;
	int err = 0, ops[MANY_CALLS];

	for (unsigned first = 0; !err && first <= UINT16_MAX && !told->has_buffers; first += at_once) {
		struct batch *b = agent_batch(th->dump->agent, "asking for buffers of an io_uring");

		for (unsigned i = 0; i < at_once; i++) {
			struct uring_buf_status status = { .group = first + i };

			ops[i] = batch_ask(b, SYS_io_uring_register, (uint64_t)told->number, URING_REGISTER_PBUF_STATUS,
			                   batch_data(b, &status, sizeof(status)), 1);
		}
		err = batch_run(b);
		for (unsigned i = 0; i < at_once; i++)
			told->has_buffers |= batch_ret(b, ops[i]) != -ENOENT;
		if (batch_ret(b, ops[0]) == -EINVAL && batch_ret(b, ops[1]) == -EINVAL && !first) {
			told->has_buffers = false; /* a kernel before 6.8 */
			break;
		}
	}
	return err;
}

/* A ring of this thread alone (SINGLE_ISSUER), or any other. */
static int ask_owner(struct dump *d, struct thread *th, int number)
{
	struct uring_flight_state *s = dump_state(d, &uring_flight_part);
	static const int no_fd = -1;
	struct uring_told *told;
	struct batch *b;
	int op, err;

	if (uring_told(d, th->task, number))
		return 0;
	told = arena_new_of(d->arena, struct uring_told);
	*told = (struct uring_told) { .task = th->task, .number = number, .next = s->told };
	b = agent_batch(th->dump->agent, "asking about an io_uring");
	op = batch_ask(b, SYS_io_uring_register, (uint64_t)number, IORING_REGISTER_EVENTFD,
	               batch_data(b, &no_fd, sizeof(no_fd)), 1);
	err = batch_run(b);
	told->has_eventfd = batch_ret(b, op) == -EBUSY;
	if (err || batch_ret(b, op) == -EEXIST) /* it is of another thread */
		return err;
	s->told = told;
	return err ?: ask_for_buffers(th, told);
}

static bool is_single_issuer(struct thread *th, int number)
{
	_cleanup_close_ int fd = (int)syscall(SYS_pidfd_getfd, th->task->dump->pidfd, number, 0);
	static const int no_fd = -1;

	return fd >= 0 && syscall(SYS_io_uring_register, fd, IORING_REGISTER_EVENTFD, &no_fd, 1) < 0 && errno == EEXIST;
}

static int look_at_rings(struct dump *d, struct thread *th)
{
	const struct uring_flight_state *s = dump_state(d, &uring_flight_part);
	int64_t until = clock_now_ms() + (d->opts->timeout ?: TIMEOUT_DEFAULT) * 1000LL;
	int err = 0;

	for (size_t i = 0; !err && i < s->n_rings; i++) {
		bool single = is_single_issuer(th, s->rings[i]);

		if (single || th == th->task->threads)
			err = wait_for_ring(d, th, s->rings[i], until);
		if (!err && single && !uring_kernel(d))
			err = ask_owner(d, th, s->rings[i]);
	}
	return err;
}

/* As far as one of the rings that the process has leads to the thread. */
static void check_registered(struct dump *d, const struct thread *th)
{
	const struct uring_flight_state *s = dump_state(d, &uring_flight_part);
	const char *why = NULL;

	for (size_t i = 0; !why && i < s->n_rings; i++) {
		_cleanup_close_ int fd = (int)syscall(SYS_pidfd_getfd, th->task->dump->pidfd, s->rings[i], 0);
		struct uring_state ring;

		if (fd >= 0 && !uring_kernel_read(d, uring_kernel(d), fd, &ring))
			why = uring_register_lost(d, &ring, th);
	}
	if (why)
		log_refusal(-EOPNOTSUPP, "%s: %s", task_thread_name(th), why);
}

static int uring_flight_dump(struct dump *d, struct thread *th, const struct answers *answers)
{
	const struct uring_flight_state *s = dump_state(d, &uring_flight_part);
	int64_t ret = answers->op->ret;
	int err = find_rings(d, th->task);

	if (err || !s->n_rings)
		return err;
	if (uring_kernel(d))
		check_registered(d, th);
	else if (ret != -EBADF && ret != -EINVAL && ret != -ENOSYS)
		log_refusal(-EOPNOTSUPP,
		            "%s: has registered the descriptor of an io_uring (IORING_REGISTER_RING_FDS), which is not "
		            "supported where criu cannot read what the kernel keeps; unregister it before the dump",
		            task_thread_name(th));
	return look_at_rings(d, th);
}

const struct task_part uring_flight_part = {
	.name = "io_uring requests",
	.state = { .dump = sizeof(struct uring_flight_state), .restore = sizeof(struct uring_again_state) },
	.per_thread = true,
	.ask = uring_flight_ask,
	.dump = uring_flight_dump,
	.restore = uring_again_submit,
};
