/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * To have an agent in each thread takes a dozen calls of criu's, as many of the thread's, and four changes from one
 * process to another: most of what a thread costs. But what a thread says about itself comes from its task_struct, and
 * that has been read (threads_alike.c). One thread is asked, the model. Another one in which all is the same that the
 * answers come from (thread_seen.fixed) would say the same to the same calls, but for what is each thread's own: its
 * name, its tid address and its alternate stack are filled in.
 *
 * A row may ask for more some day: only calls that are known here are answered, and with any other one among them each
 * thread is asked. (Where they come from in Linux 5.15 to 6.18: kernel/sys.c, mempolicy.c, ioprio.c, keyctl.c,
 * kernel/futex/syscalls.c, process.c and bugs.c of x86.)
 */
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "agent/agent.h"
#include "arch/arch.h"
#include "arch/arch_abi.h"
#include "arch/arch_cpu.h"
#include "dump/answer_alike.h"
#include "uapi/prctl_new.h"

#define SAS_DISABLE    2U
#define SAS_AUTODISARM (1U << 31)

struct alike {
	struct agent *agent; /* of no thread */
	uint8_t own[AGENT_SMALL] __attribute__((aligned(16))), model[AGENT_SMALL];
	unsigned n; /* operations of the model */
	size_t used;
	uint16_t ops_at, space_at; /* in both */
};

const struct thread *answer_alike_model(const struct task *t)
{
	/* The kernel keeps more of a 32-bit program. */
	if (t->n_threads < 3 || t->compat || !t->threads[1].dump->seen)
		return NULL;
	return &t->threads[1];
}

bool answer_alike_is(const struct thread *model, const struct thread *th)
{
	const struct thread_seen *a = model ? model->dump->seen : NULL, *b = th->dump->seen;

	return a && b && th != model && th != th->task->threads && !memcmp(&a->fixed, &b->fixed, sizeof(a->fixed));
}

/* Of prctl(2): what it looks at is in thread_seen. */
static bool is_known_prctl(uint64_t what)
{
	static const int known[] = {
		PR_GET_NAME,     PR_GET_TIMERSLACK,  PR_GET_SPECULATION_CTRL, PR_GET_IO_FLUSHER, PR_GET_TSC,
		PR_MCE_KILL_GET, PR_GET_TID_ADDRESS, PR_GET_SECUREBITS,       PR_GET_PDEATHSIG,
	};

	for (size_t i = 0; i < ARRAY_SIZE(known); i++)
		if (what == (uint64_t)known[i])
			return true;
	return what == (uint64_t)-1; /* asked where there is no other call */
}

static bool is_known(const struct agent_op *op)
{
	struct arch_call cpuid;

	if (op->flags & ~(uint32_t)AGENT_OP_DONE)
		return false;
	switch (op->nr) {
	case SYS_prctl:
		return is_known_prctl(op->arg[0]);
	case SYS_get_mempolicy:
		return !op->arg[3] && !op->arg[4]; /* the thread's, not an address's */
	case SYS_personality:
	case SYS_ioprio_get:
	case SYS_sigaltstack:
	case SYS_get_robust_list:
	case SYS_keyctl:
		return true;
	default:
		return arch_cpuid_ask(&cpuid) && op->nr == (uint32_t)cpuid.nr && op->arg[0] == cpuid.arg[0];
	}
}

static struct agent_op *ops_of(struct alike *k, uint8_t *region)
{
	return (struct agent_op *)(region + k->ops_at);
}

struct alike *answer_alike_keep(struct arena *a, const struct thread *model)
{
	const struct agent *said = model->dump->agent;
	struct alike *k = arena_new_of(a, struct alike);

	memcpy(k->model, said->slot, AGENT_SMALL);
	k->agent = agent_new(a, NULL, k->own, said->slot_at, AGENT_SMALL, 0, AGENT_DIE_EXIT);
	k->ops_at = (uint16_t)((uint8_t *)said->ops - (uint8_t *)said->slot);
	k->space_at = (uint16_t)(said->space - (uint8_t *)said->slot);
	k->n = said->batch.n;
	k->used = said->batch.used;
	for (unsigned i = 0; i < k->n; i++)
		if (!(ops_of(k, k->model)[i].flags & AGENT_OP_DONE) || !is_known(&ops_of(k, k->model)[i]))
			return NULL;
	return k;
}

struct batch *answer_alike_batch(struct alike *k, struct thread *th)
{
	k->agent->th = th;
	k->agent->tid = th->tid;
	th->dump->agent = k->agent;
	memset(k->own + k->space_at, 0, sizeof(k->own) - k->space_at);
	return agent_batch(k->agent, "asking for its state");
}

/* Where it would have been written; the addresses are those of the model's space. */
static void put_at(struct alike *k, raddr_t at, const void *data, size_t len)
{
	uint64_t offset = at - k->agent->slot_at;

	if (offset >= k->space_at && offset <= AGENT_SMALL - len)
		memcpy(k->own + offset, data, len);
}

static void put_own(struct alike *k, const struct agent_op *op, const struct thread_seen *seen)
{
	struct arch_stack stack = {
		.sp = seen->sas_sp,
		.size = seen->sas_size,
		.flags = (seen->sas_flags & SAS_AUTODISARM) | (seen->sas_size ? 0 : SAS_DISABLE),
	};

	if (op->nr == SYS_sigaltstack)
		put_at(k, op->arg[1], &stack, sizeof(stack));
	else if (op->nr == SYS_prctl && op->arg[0] == PR_GET_NAME)
		put_at(k, op->arg[1], seen->comm, sizeof(seen->comm));
	else if (op->nr == SYS_prctl && op->arg[0] == PR_GET_TID_ADDRESS)
		put_at(k, op->arg[1], &seen->clear_tid, sizeof(seen->clear_tid));
}

bool answer_alike_say(struct alike *k, struct thread *th)
{
	struct agent_op *own = ops_of(k, k->own);
	const struct agent_op *model = ops_of(k, k->model);
	const struct batch *b = &k->agent->batch;

	th->dump->agent = NULL;
	if (b->err || b->ran || b->n != k->n || b->used != k->used)
		return false;
	for (unsigned i = 0; i < k->n; i++)
		if (own[i].nr != model[i].nr || own[i].flags != (model[i].flags & ~(uint32_t)AGENT_OP_DONE) ||
		    memcmp(own[i].arg, model[i].arg, sizeof(own[i].arg)) ||
		    memcmp(own[i].ref, model[i].ref, sizeof(own[i].ref)))
			return false;
	memcpy(k->own + k->ops_at, k->model + k->ops_at, k->n * sizeof(*own));
	memcpy(k->own + k->space_at, k->model + k->space_at, k->used);
	for (unsigned i = 0; i < k->n; i++)
		if (!own[i].ret)
			put_own(k, &own[i], th->dump->seen);
	return true;
}

const struct agent_op *answer_alike_ops(const struct alike *k)
{
	return k->agent->ops;
}
