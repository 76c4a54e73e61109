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

#include "agent/batch.h"
#include "fd/uring.h"
#include "lib/clock.h"
#include "lib/log.h"
#include "proc/fdinfo.h"
#include "tree/task_part.h"

#define TIMEOUT_DEFAULT 10 /* s; as in freeze/ */

extern const struct task_part uring_flight_part;

/* Of the task that was looked at last: threads of one are looked at in a row. */
struct uring_flight_state {
	const struct task *task;
	bool has_rings;
};

static bool has_rings(struct dump *d, const struct task *t)
{
	struct uring_flight_state *s = dump_state(d, &uring_flight_part);
	const struct task_maps *maps = &tree_first_vm(&d->tree, t)->dump->maps;

	if (s->task == t)
		return s->has_rings;
	s->task = t;
	s->has_rings = false;
	for (size_t i = 0; i < maps->n && !s->has_rings; i++)
		s->has_rings = !strcmp(maps->v[i].name, URING_LINK);
	return s->has_rings;
}

/* The first registered ring has the number 0; nothing is asked of it. */
static int uring_flight_ask(struct dump *d, struct thread *th, struct batch *b, void **datap)
{
	if (has_rings(d, th->task))
		batch_ask(b, SYS_io_uring_enter, 0, 0, 0, IORING_ENTER_REGISTERED_RING);
	return 0;
}

static bool is_busy(const struct task *t, const char *path, struct dump *d, struct text_buf *buf)
{
	const char *text = proc_read_text(t->dump->proc_fd, path, d->arena, buf);
	struct uring_numbers n = { 0 };

	return text && !uring_read_numbers(text, &n) && uring_in_flight(&n);
}

static int wait_for_ring(struct dump *d, const struct task *t, int number, int64_t until)
{
	struct text_buf buf = { 0 };
	char path[32], link[64] = { 0 };

	snprintf(path, sizeof(path), "fd/%d", number);
	if (readlinkat(t->dump->proc_fd, path, link, sizeof(link) - 1) < 0 || strcmp(link, URING_LINK))
		return 0;
	snprintf(path, sizeof(path), "fdinfo/%d", number);
	while (is_busy(t, path, d, &buf) && clock_now_ms() < until)
		usleep(1000);
	return 0;
}

/* What is in flight still is refused where the descriptor is dumped. */
static int wait_for_rings(struct dump *d, const struct task *t)
{
	int64_t until = clock_now_ms() + (d->opts->timeout ?: TIMEOUT_DEFAULT) * 1000LL;
	int *numbers, err;
	size_t n;

	err = proc_read_fd_numbers(t->dump->proc_fd, d->arena, &numbers, &n);
	if (err)
		return log_errno(err, "%s: reading /proc/PID/fd", task_name(t));
	for (size_t i = 0; !err && i < n; i++)
		err = wait_for_ring(d, t, numbers[i], until);
	return err;
}

static int uring_flight_dump(struct dump *d, struct thread *th, const struct answers *answers)
{
	int64_t ret = answers->op->ret;

	if (!has_rings(d, th->task))
		return 0;
	if (ret != -EBADF && ret != -EINVAL && ret != -ENOSYS)
		log_refusal(-EOPNOTSUPP,
		            "%s: has registered the descriptor of an io_uring (IORING_REGISTER_RING_FDS), which is not "
		            "supported yet; unregister it before the dump",
		            task_thread_name(th));
	return th == th->task->threads ? wait_for_rings(d, th->task) : 0;
}

const struct task_part uring_flight_part = {
	.name = "io_uring requests",
	.state = { .dump = sizeof(struct uring_flight_state) },
	.per_thread = true,
	.ask = uring_flight_ask,
	.dump = uring_flight_dump,
};
