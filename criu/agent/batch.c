/* SPDX-License-Identifier: GPL-2.0-only */
#include <linux/futex.h>
#include <linux/sched.h>
#include <string.h>
#include <sys/syscall.h>

#include "agent/agent.h"
#include "lib/log.h"

static struct agent *agent_of(const struct batch *b)
{
	return (struct agent *)((char *)b - offsetof(struct agent, batch));
}

void batch_what(struct batch *b, const char *what)
{
	b->what = what;
}

unsigned batch_capacity(const struct batch *b)
{
	return agent_of(b)->max_ops;
}

/* Runs the operations added so far. Space stays taken: the operation that is about to be added may have its data in it
 * already. */
static void flush_batch(struct batch *b)
{
	int err = batch_run(b);

	b->err = err;
	b->n = 0;
	b->ran = false;
}

static void renew_batch(struct batch *b)
{
	if (b->ran) {
		b->n = 0;
		b->used = 0;
		b->ran = false;
	}
}

int batch_add(struct batch *b, unsigned nr, unsigned flags, const uint64_t arg[6])
{
	struct agent *a = agent_of(b);
	struct agent_op *op;

	renew_batch(b);
	if (b->n == a->max_ops)
		flush_batch(b);
	op = &a->ops[b->n];
	memset(op, 0, sizeof(*op));
	op->nr = nr;
	op->flags = flags;
	memcpy(op->arg, arg, sizeof(op->arg));
	b->whats[b->n] = b->what;
	return (int)b->n++;
}

void batch_ref(struct batch *b, unsigned arg, int op)
{
	agent_of(b)->ops[b->n - 1].ref[arg] = (uint16_t)(op + 1);
}

void batch_reserve(struct batch *b, unsigned n, size_t size)
{
	struct agent *a = agent_of(b);

	renew_batch(b);
	if (b->n + n > a->max_ops || b->used + round_up(size, 16) > a->space_size) {
		flush_batch(b);
		b->used = 0;
	}
}

raddr_t batch_space(struct batch *b, size_t size, void *localp)
{
	struct agent *a = agent_of(b);
	raddr_t at;

	renew_batch(b);
	size = round_up(size ? size : 1, 16);
	if (size > a->space_size) {
		/* The caller gets some place to write to; the batch will not run. */
		b->err = log_errno(-EFBIG, "%s: %s: %zu bytes for one call", agent_name(a), b->what, size);
		size = a->space_size;
		b->used = 0;
	} else if (b->used + size > a->space_size) {
		flush_batch(b);
		b->used = 0;
	}
	at = a->space_at + b->used;
	memset(a->space + b->used, 0, size);
	*(void **)localp = a->space + b->used;
	b->used += size;
	return at;
}

raddr_t batch_data(struct batch *b, const void *data, size_t size)
{
	size_t room = agent_of(b)->space_size;
	void *local;
	raddr_t at = batch_space(b, size, &local);

	memcpy(local, data, MIN(size, room));
	return at;
}

raddr_t batch_string(struct batch *b, const char *s)
{
	return batch_data(b, s, strlen(s) + 1);
}

int batch_clone(struct batch *b, struct clone_args *args, const struct agent *child, unsigned flags)
{
	uint64_t stack = child->stack_top - 16;
	uint64_t *local_top = (uint64_t *)((char *)child->slot + (stack - child->slot_at));

	/* The child wakes with its stack pointer at stack + stack_size, where its slot's address stands. */
	*local_top = child->slot_at;
	args->stack = child->slot_at;
	args->stack_size = stack - child->slot_at;
	__atomic_store_n(&child->slot->done, 0, __ATOMIC_RELEASE);
	return batch_add(b, SYS_clone3, flags | AGENT_OP_FORK,
	                 (const uint64_t[6]) { batch_data(b, args, sizeof(*args)), sizeof(*args) });
}

void batch_start(struct batch *b)
{
	struct agent *a = agent_of(b);

	b->ran = true;
	if (b->err || !b->n)
		return;
	a->slot->n_ops = b->n;
	__atomic_store_n(&a->slot->done, 0, __ATOMIC_RELEASE);
	__atomic_store_n(&a->slot->cmd, AGENT_RUN, __ATOMIC_RELEASE);
	syscall(SYS_futex, &a->slot->cmd, FUTEX_WAKE, 1, NULL, NULL, 0);
}

static int op_error(const struct agent *a, unsigned i)
{
	struct agent_op op = a->ops[i];

	return log_errno((int)op.ret, "%s: %s: system call %u(0x%llx, 0x%llx, 0x%llx, 0x%llx, 0x%llx, 0x%llx)",
	                 agent_name(a), a->batch.whats[i], op.nr, (unsigned long long)op.arg[0],
	                 (unsigned long long)op.arg[1], (unsigned long long)op.arg[2], (unsigned long long)op.arg[3],
	                 (unsigned long long)op.arg[4], (unsigned long long)op.arg[5]);
}

int batch_finish(struct batch *b)
{
	struct agent *a = agent_of(b);
	int err = b->err;

	b->err = 0;
	if (err || !b->n)
		return err;
	err = agent_wait(a);
	for (unsigned i = 0; !err && i < b->n; i++)
		if ((a->ops[i].flags & AGENT_OP_STOP) && a->ops[i].ret < 0 && a->ops[i].ret > -4096)
			err = op_error(a, i);
	return err;
}

int batch_run(struct batch *b)
{
	batch_start(b);
	return batch_finish(b);
}

int64_t batch_ret(const struct batch *b, int op)
{
	const struct agent *a = agent_of(b);

	if (op < 0 || (unsigned)op >= b->n || !(a->ops[op].flags & AGENT_OP_DONE))
		return -ECANCELED;
	return a->ops[op].ret;
}
