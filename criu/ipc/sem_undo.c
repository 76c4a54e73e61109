/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the kernel adds to semaphores when a process ends (SEM_UNDO). Nothing shows that number, but a process can be
 * made to find its own: an operation whose undo would leave the range of -32768 to 32767 fails with ERANGE, and one
 * that would have to sleep with EAGAIN. Operations of one semop(2) are all carried out or none; here the last one
 * cannot be carried out, so that nothing is changed, and the error tells whether the number is above a limit.
 */
#include <string.h>
#include <sys/sem.h>
#include <sys/syscall.h>

#include "agent/agent.h"
#include "agent/batch.h"
#include "ipc/sem_set.h"
#include "lib/log.h"
#include "tree/subsys.h"
#include "tree/task_part.h"

#define TRIES       20 /* other processes may change a value meanwhile */
#define OPS_MAX     5
#define CHUNK_MAX   32U
#define PROBE_SPACE 32 /* of its operations, as batch_data() rounds it up */

extern const struct task_part sem_undo_part;

struct sem_probe {
	struct task *task;
	const struct sem_set *set;
	unsigned short sem;
	int value;
};

static struct sembuf sem_step(const struct sem_probe *p, int op, int flags)
{
	return (struct sembuf) { p->sem, (short)op, (short)(flags | IPC_NOWAIT) };
}

/* Fails with ERANGE where the undo is `limit` (1 to 32767) or more. */
static int ask_above(const struct sem_probe *p, struct batch *b, int limit)
{
	struct sembuf ops[OPS_MAX];
	unsigned n = 0;

	if (p->value < SEM_VALUE_MAX_)
		ops[n++] = sem_step(p, SEM_VALUE_MAX_ - p->value, 0);
	ops[n++] = sem_step(p, limit - SEM_VALUE_MAX_ - 1, SEM_UNDO);
	ops[n++] = sem_step(p, -SEM_VALUE_MAX_, 0);
	return batch_ask(b, SYS_semop, p->set->desc.id, batch_data(b, ops, n * sizeof(*ops)), n);
}

/* Fails with ERANGE where the undo is -limit or less. */
static int ask_below(const struct sem_probe *p, struct batch *b, int limit)
{
	int op = SEM_VALUE_MAX_ + 1 - limit;
	struct sembuf ops[OPS_MAX];
	unsigned n = 0;

	if (p->value)
		ops[n++] = sem_step(p, -p->value, 0);
	ops[n++] = sem_step(p, op, SEM_UNDO);
	ops[n++] = sem_step(p, -op, 0);
	ops[n++] = sem_step(p, 1, SEM_UNDO);
	ops[n++] = sem_step(p, -SEM_VALUE_MAX_, 0);
	return batch_ask(b, SYS_semop, p->set->desc.id, batch_data(b, ops, n * sizeof(*ops)), n);
}

typedef int (*ask_fn)(const struct sem_probe *p, struct batch *b, int limit);

/* The highest limit that fails: *size. */
static int find_size(const struct sem_probe *p, struct batch *b, ask_fn ask, int *size)
{
	int low = 1, high = SEM_VALUE_MAX_, err = 0;

	while (!err && low < high) {
		int middle = (low + high + 1) / 2, op = ask(p, b, middle);

		err = batch_run(b);
		if (!err && batch_ret(b, op) == -ERANGE)
			low = middle;
		else
			high = middle - 1;
	}
	*size = low;
	return err;
}

/* One look: *adj, or -EAGAIN where the value has changed meanwhile, or why the task cannot tell. */
static int look_once(struct sem_probe *p, struct batch *b, int *adj)
{
	int above, below, err;
	int64_t up, down;

	*adj = 0;
	p->value = semctl((int)p->set->desc.id, p->sem, GETVAL);
	if (p->value < 0)
		return -errno;
	batch_reserve(b, 2, 2 * PROBE_SPACE);
	above = ask_above(p, b, 1);
	below = ask_below(p, b, 1);
	err = batch_run(b);
	if (err)
		return err;
	up = batch_ret(b, above);
	down = batch_ret(b, below);
	if (up == -ERANGE)
		err = find_size(p, b, ask_above, adj);
	else if (down == -ERANGE)
		err = find_size(p, b, ask_below, adj);
	else if (up != -EAGAIN || down != -EAGAIN)
		return up != -EAGAIN ? (int)up : (int)down;
	if (up != -ERANGE)
		*adj = -*adj;
	return err ?: semctl((int)p->set->desc.id, p->sem, GETVAL) == p->value ? 0 : -EAGAIN;
}

/* A process that may not change a set has not changed it: no undo. */
static int find_undo(struct sem_probe *p, struct batch *b, int *adj)
{
	int err = -EAGAIN;

	for (int i = 0; err == -EAGAIN && i < TRIES; i++)
		err = look_once(p, b, adj);
	if (err == -EACCES || err == -EIDRM || err == -EINVAL)
		*adj = err = 0;
	if (err && p->set->used) /* others' sets may be busy: then they are as if they had not been asked */
		log_warn("%s: semaphore %u of set %u: semop: %s: whether it has to be changed when this process ends "
		         "(SEM_UNDO) is not known, and is lost",
		         task_name(p->task), p->sem, p->set->desc.id, strerror(-err));
	return err == -ESRCH ? err : 0;
}

static int note_undo(struct dump *d, struct thread *th, struct sem_set *s, unsigned sem)
{
	struct batch *b = agent_batch(th->dump->agent, "undo of its semaphores");
	struct sem_probe p = { th->task, s, (unsigned short)sem, 0 };
	IpcSemUndo *u;
	int adj = 0, err = find_undo(&p, b, &adj);

	if (err || !adj)
		return err;
	u = arena_msg(d->arena, IpcSemUndo, ipc_sem_undo);
	u->has_pid = u->has_sem = u->has_adj = true;
	u->pid = (uint32_t)th->task->vpid.v;
	u->sem = sem;
	u->adj = adj;
	arena_push(d->arena, &s->entry.undo, &s->entry.n_undo, u);
	return 0;
}

/* Many at once: `clean` of those whose undo is 0 for certain, if their values are the same afterwards. */
static int look_at_many(struct thread *th, const struct sem_set *s, unsigned from, unsigned n, const uint16_t *values,
                        bool *clean)
{
	struct batch *b = agent_batch(th->dump->agent, "undo of its semaphores");
	int ops[CHUNK_MAX][2], err;

	batch_reserve(b, 2 * n, 2 * n * PROBE_SPACE);
	for (unsigned i = 0; i < n; i++) {
		struct sem_probe p = { th->task, s, (unsigned short)(from + i), values[from + i] };

		ops[i][0] = ask_above(&p, b, 1);
		ops[i][1] = ask_below(&p, b, 1);
	}
	err = batch_run(b);
	for (unsigned i = 0; i < n; i++)
		clean[from + i] = !err && batch_ret(b, ops[i][0]) == -EAGAIN && batch_ret(b, ops[i][1]) == -EAGAIN;
	return err;
}

static int look_at_set(struct dump *d, struct thread *th, struct sem_set *s)
{
	unsigned n = s->entry.nsems, chunk = batch_capacity(agent_batch(th->dump->agent, "its semaphores")) / 2;
	uint16_t *before = arena_array(d->arena, uint16_t, n), *after = arena_array(d->arena, uint16_t, n);
	bool *clean = arena_array(d->arena, bool, n);
	int err = 0;

	chunk = MIN(chunk, CHUNK_MAX);
	if (semctl((int)s->desc.id, 0, GETALL, before))
		return !s->used ? 0 : log_errno(-errno, "semaphore set %u: semctl(GETALL)", s->desc.id);
	for (unsigned i = 0; !err && i < n; i += chunk)
		err = look_at_many(th, s, i, MIN(chunk, n - i), before, clean);
	if (!err && semctl((int)s->desc.id, 0, GETALL, after))
		return !s->used ? 0 : log_errno(-errno, "semaphore set %u: semctl(GETALL)", s->desc.id);
	for (unsigned i = 0; !err && i < n; i++)
		if (!clean[i] || before[i] != after[i])
			err = note_undo(d, th, s, i);
	return err;
}

static int look_at_space(struct dump *d, struct thread *th, struct ipc_ns *ns)
{
	struct sem_space *space;
	int err = sem_set_list(d, ns, &space);

	for (struct sem_set *s = space->sets; !err && s; s = s->next)
		if (s->used || space->few)
			err = look_at_set(d, th, s);
	return err;
}

static int sem_undo_dump(struct dump *d, struct thread *th, const struct answers *answers)
{
	struct ipc_ns *ns = ipc_ns_of_dumped(d, th->task);
	int err = ipc_ns_enter(ns);

	return err ?: ipc_ns_leave(ns, look_at_space(d, th, ns));
}

const struct task_part sem_undo_part = {
	.name = "undo of semaphores",
	.dump = sem_undo_dump,
};
