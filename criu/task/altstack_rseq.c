/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the C library told the kernel of each thread: alternate stack, robust futexes, the word that is cleared when it
 * ends, and its area for restartable sequences, rseq(2).
 */
#include <linux/rseq.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>

#include "agent/code.h"
#include "arch/arch.h"
#include "lib/log.h"
#include "task/answer.h"

#define ROBUST_HEAD_SIZE 24
#define SAS_AUTODISARM   (1U << 31)
#define SAS_DISABLE      2U

struct kernel_stack {
	uint64_t sp;
	uint32_t flags, pad;
	uint64_t size;
};

/* struct ptrace_rseq_configuration of linux/ptrace.h, which does not go with sys/ptrace.h. */
struct rseq_config {
	uint64_t addr;
	uint32_t size, signature, flags, pad;
};

/* ---- rseq: before the agent enters ---- */

/*
 * A thread that was caught in a critical section goes on at its abort handler: the kernel would have sent it there for
 * the interruption that a checkpoint is, and will not do so for one that comes back from somewhere else. Sections with
 * flags (before Linux 6.0) say that they do not want that: these are kept as they are.
 */
static int settle_section(struct thread *th, const struct rseq_config *conf, RseqEntry *e)
{
	raddr_t ip = arch_regs_ip(th->dump->regs);
	uint64_t at = 0;
	struct rseq_cs cs;
	uint32_t signature = 0;

	if (agent_read_task(th->tid, conf->addr + offsetof(struct rseq, rseq_cs), &at, sizeof(at)) || !at)
		return 0;
	if (agent_read_task(th->tid, at, &cs, sizeof(cs)) || cs.version || ip - cs.start_ip >= cs.post_commit_offset)
		return 0;
	if (cs.flags) {
		e->has_rseq_cs_pointer = true;
		e->rseq_cs_pointer = at;
		return 0;
	}
	if (agent_read_task(th->tid, cs.abort_ip - sizeof(signature), &signature, sizeof(signature)) ||
	    signature != conf->signature)
		return log_refusal(-EINVAL,
		                   "%s: is in a restartable sequence whose abort handler (%llx) lacks its signature",
		                   task_thread_name(th), (unsigned long long)cs.abort_ip);
	log_debug("%s: from %llx in a restartable sequence to its abort handler %llx", task_thread_name(th),
	          (unsigned long long)ip, (unsigned long long)cs.abort_ip);
	arch_regs_set_ip(th->dump->regs, cs.abort_ip);
	return 0;
}

static int thread_peek(struct dump *d, struct thread *th)
{
	struct rseq_config conf = { 0 };
	RseqEntry *e;

	/* Fails before Linux 5.13; nobody registers one by himself there but for tests. */
	if (ptrace(PTRACE_GET_RSEQ_CONFIGURATION, th->tid, (void *)sizeof(conf), &conf) < 0 || !conf.addr)
		return 0;
	e = arena_msg(d->arena, RseqEntry, rseq_entry);
	e->rseq_abi_pointer = conf.addr;
	e->rseq_abi_size = conf.size;
	e->signature = conf.signature;
	th->core->thread_core->rseq_entry = e;
	return settle_section(th, &conf, e);
}

/* ---- dump ---- */

struct asked {
	struct kernel_stack stack;
	uint64_t clear_tid;
};

static int thread_ask(struct dump *d, struct thread *th, struct batch *b, void **datap)
{
	raddr_t at = batch_space(b, sizeof(struct asked), datap);

	batch_ask(b, SYS_sigaltstack, 0, at + offsetof(struct asked, stack));
	batch_ask(b, SYS_prctl, PR_GET_TID_ADDRESS, at + offsetof(struct asked, clear_tid));
	return 0;
}

static int thread_dump(struct dump *d, struct thread *th, const struct answers *ans)
{
	const struct asked asked = *(const struct asked *)ans->data;
	ThreadCoreEntry *core = th->core->thread_core;
	uint64_t head = 0, len = 0;

	if (answer_ret(ans, 0) || answer_ret(ans, 1))
		return log_errno(
		    (int)(answer_ret(ans, 0) ?: answer_ret(ans, 1)),
		    "%s: reading its alternate stack and tid address (a kernel without CONFIG_CHECKPOINT_RESTORE?)",
		    task_thread_name(th));
	if (syscall(SYS_get_robust_list, th->tid, &head, &len))
		return log_errno(-errno, "%s: reading its robust futex list", task_thread_name(th));
	core->futex_rla = head;
	core->futex_rla_len = (uint32_t)len;
	core->sas = arena_msg(d->arena, ThreadSasEntry, thread_sas_entry);
	core->sas->ss_sp = asked.stack.sp;
	core->sas->ss_size = asked.stack.size;
	core->sas->ss_flags = asked.stack.flags;
	arch_core_set_clear_tid(d->arena, th->core, asked.clear_tid);
	return 0;
}

/* ---- restore ---- */

static int thread_check(struct restore *r, const struct thread *th)
{
	const ThreadCoreEntry *core = th->core->thread_core;

	if (core->futex_rla && core->futex_rla_len != ROBUST_HEAD_SIZE)
		return log_errno(-EINVAL, "%s: its image has a robust futex list of %u bytes", task_thread_name(th),
		                 core->futex_rla_len);
	return 0;
}

/* Only what a new thread does not have. */
static int thread_restore(struct restore *r, struct thread *th, struct batch *b)
{
	const ThreadCoreEntry *core = th->core->thread_core;
	const RseqEntry *rseq = core->rseq_entry;
	raddr_t clear_tid = arch_core_clear_tid(th->core);

	if (core->sas && !(core->sas->ss_flags & SAS_DISABLE) && core->sas->ss_size) {
		struct kernel_stack stack = { .sp = core->sas->ss_sp,
			                      .flags = core->sas->ss_flags & SAS_AUTODISARM,
			                      .size = core->sas->ss_size };
		raddr_t at = batch_data(b, &stack, sizeof(stack));

		batch_call(b, SYS_sigaltstack, at, 0);
	}
	if (core->futex_rla)
		batch_call(b, SYS_set_robust_list, core->futex_rla, core->futex_rla_len);
	if (clear_tid)
		batch_call(b, SYS_set_tid_address, clear_tid);
	if (rseq && rseq->rseq_abi_pointer)
		batch_call(b, SYS_rseq, rseq->rseq_abi_pointer, rseq->rseq_abi_size, 0, rseq->signature);
	return 0;
}

/* Registering clears the pointer in newer kernels. */
static int thread_finish(struct restore *r, struct thread *th)
{
	const RseqEntry *rseq = th->core->thread_core->rseq_entry;
	int err;

	if (!rseq || !rseq->has_rseq_cs_pointer || !rseq->rseq_cs_pointer)
		return 0;
	err = agent_write_task(th->tid, rseq->rseq_abi_pointer + offsetof(struct rseq, rseq_cs), &rseq->rseq_cs_pointer,
	                       sizeof(uint64_t));
	return err ? log_errno(err, "%s: setting the sequence that it was in", task_thread_name(th)) : 0;
}

const struct task_part altstack_rseq_part = {
	.name = "alternate stack, robust list, rseq",
	.per_thread = true,
	.peek = thread_peek,
	.ask = thread_ask,
	.dump = thread_dump,
	.check = thread_check,
	.restore = thread_restore,
	.finish = thread_finish,
};
