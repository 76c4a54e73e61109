/* SPDX-License-Identifier: GPL-2.0-only */
/* Each thread's area for restartable sequences: rseq(2). */
#include <linux/rseq.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>

#include "agent/code.h"
#include "arch/arch.h"
#include "lib/log.h"
#include "task/answer.h"

/*
 * A thread that was stopped inside a critical section goes on at the section's abort handler: the kernel would have
 * sent it there for the interruption that a checkpoint is, but does not do so for a thread that comes back from
 * somewhere else. Sections with flags (before Linux 6.0) ask not to be aborted: they are kept as they are.
 */
static int settle_section(struct thread *th, const struct __ptrace_rseq_configuration *conf, RseqEntry *e)
{
	raddr_t ip = arch_regs_ip(th->dump->regs);
	uint64_t at = 0;
	struct rseq_cs cs;
	uint32_t signature = 0;

	if (agent_read_task(th->tid, conf->rseq_abi_pointer + offsetof(struct rseq, rseq_cs), &at, sizeof(at)) || !at)
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

/* Fails before Linux 5.13. There only tests register an area: the C library uses rseq from 5.13 on. */
static bool has_area(const struct thread *th, struct __ptrace_rseq_configuration *conf)
{
	const struct thread_seen *seen = th->dump->seen;

	if (!seen || !(seen->shown & SHOWN_RSEQ))
		return ptrace(PTRACE_GET_RSEQ_CONFIGURATION, th->tid, (void *)sizeof(*conf), conf) >= 0 &&
		       conf->rseq_abi_pointer;
	conf->rseq_abi_pointer = seen->rseq;
	conf->rseq_abi_size = seen->rseq_len;
	conf->signature = seen->rseq_signature;
	return seen->rseq != 0;
}

static int rseq_peek(struct dump *d, struct thread *th)
{
	struct __ptrace_rseq_configuration conf = { 0 };
	RseqEntry *e;

	if (!has_area(th, &conf))
		return 0;
	e = arena_msg(d->arena, RseqEntry, rseq_entry);
	e->rseq_abi_pointer = conf.rseq_abi_pointer;
	e->rseq_abi_size = conf.rseq_abi_size;
	e->signature = conf.signature;
	th->core->thread_core->rseq_entry = e;
	return settle_section(th, &conf, e);
}

static int rseq_restore(struct restore *r, struct thread *th, struct batch *b)
{
	const RseqEntry *e = th->core->thread_core->rseq_entry;

	if (e && e->rseq_abi_pointer)
		batch_call(b, SYS_rseq, e->rseq_abi_pointer, e->rseq_abi_size, 0, e->signature);
	return 0;
}

/* Registering an area clears the pointer to the current section in newer kernels, so the pointer is set afterwards. */
static int rseq_finish(struct restore *r, struct thread *th)
{
	const RseqEntry *e = th->core->thread_core->rseq_entry;
	int err;

	if (!e || !e->has_rseq_cs_pointer || !e->rseq_cs_pointer)
		return 0;
	err = agent_write_task(th->tid, e->rseq_abi_pointer + offsetof(struct rseq, rseq_cs), &e->rseq_cs_pointer,
	                       sizeof(uint64_t));
	return err ? log_errno(err, "%s: writing the pointer to its restartable sequence", task_thread_name(th)) : 0;
}

const struct task_part rseq_part = {
	.name = "rseq",
	.per_thread = true,
	.peek = rseq_peek,
	.restore = rseq_restore,
	.finish = rseq_finish,
};
