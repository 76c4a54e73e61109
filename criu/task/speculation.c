/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What each thread has asked for against side channels of speculative execution: PR_SET_SPECULATION_CTRL. Only what
 * the processor and the kernel leave to threads (PR_SPEC_PRCTL) can be, and has to be, set.
 */
#include <string.h>
#include <sys/syscall.h>

#include "lib/log.h"
#include "task/answer.h"
#include "task/speculation.h"
#include "tree/inventory.h"
#include "uapi/prctl_new.h"

extern const struct task_part speculation_part;

/* What criu has, and so a new thread. */
struct own_speculation {
	bool asked;
	int64_t now[SPECULATION_KINDS];
};

static const char *const names[SPECULATION_KINDS] = {
	[PR_SPEC_STORE_BYPASS] = "speculative store bypass",
	[PR_SPEC_INDIRECT_BRANCH] = "indirect branch speculation",
	[PR_SPEC_L1D_FLUSH] = "flushing of the L1D cache",
};

static int speculation_ask(struct dump *d, struct thread *th, struct batch *b, void **datap)
{
	for (unsigned kind = 0; kind < SPECULATION_KINDS; kind++)
		batch_ask(b, SYS_prctl, PR_GET_SPECULATION_CTRL, kind);
	return 0;
}

/* The message's field of a kind; *has tells whether it is there. */
static uint32_t *field_of(ThreadCoreEntry *core, unsigned kind, protobuf_c_boolean **has)
{
	switch (kind) {
	case PR_SPEC_STORE_BYPASS:
		*has = &core->has_spec_store_bypass;
		return &core->spec_store_bypass;
	case PR_SPEC_INDIRECT_BRANCH:
		*has = &core->has_spec_indirect_branch;
		return &core->spec_indirect_branch;
	default:
		*has = &core->has_spec_l1d_flush;
		return &core->spec_l1d_flush;
	}
}

bool speculation_is_default(unsigned kind, int64_t answer)
{
	uint32_t usual = kind == PR_SPEC_L1D_FLUSH ? PR_SPEC_DISABLE : PR_SPEC_ENABLE;

	return answer < 0 || !(answer & PR_SPEC_PRCTL) || answer == (int64_t)(PR_SPEC_PRCTL | usual);
}

static int speculation_dump(struct dump *d, struct thread *th, const struct answers *ans)
{
	for (unsigned kind = 0; kind < SPECULATION_KINDS; kind++) {
		protobuf_c_boolean *has;
		uint32_t *field = field_of(th->core->thread_core, kind, &has);

		if (speculation_is_default(kind, answer_ret(ans, kind)))
			continue;
		*has = true;
		*field = (uint32_t)answer_ret(ans, kind);
		inventory_only_ours(d);
	}
	return 0;
}

uint32_t speculation_to_set(unsigned kind, uint32_t wanted, int64_t now)
{
	static const uint32_t states =
	    PR_SPEC_ENABLE | PR_SPEC_DISABLE | PR_SPEC_FORCE_DISABLE | PR_SPEC_DISABLE_NOEXEC;

	if (!wanted)
		wanted = PR_SPEC_PRCTL | (kind == PR_SPEC_L1D_FLUSH ? PR_SPEC_DISABLE : PR_SPEC_ENABLE);
	return now < 0 || !(now & PR_SPEC_PRCTL) || (uint32_t)now == wanted ? 0 : wanted & states;
}

/* Where threads have no say here: 0 is a processor that is not affected, and what is off for all is off for this one.
 */
static bool is_lost(uint32_t wanted, int64_t now)
{
	static const uint32_t off = PR_SPEC_DISABLE | PR_SPEC_FORCE_DISABLE | PR_SPEC_DISABLE_NOEXEC;

	return wanted & off && (now < 0 || (!(now & PR_SPEC_PRCTL) && now & PR_SPEC_ENABLE));
}

static void restore_kind(struct thread *th, struct batch *b, unsigned kind, int64_t now)
{
	protobuf_c_boolean *has;
	uint32_t *field = field_of(th->core->thread_core, kind, &has), set;

	if (*has && is_lost(*field, now))
		log_warn("%s: had %s off (PR_SET_SPECULATION_CTRL), which no thread can choose on this machine",
		         task_thread_name(th), names[kind]);
	set = speculation_to_set(kind, *has ? *field : 0, now);
	if (set)
		batch_call(b, SYS_prctl, PR_SET_SPECULATION_CTRL, kind, set);
}

static int speculation_restore(struct restore *r, struct thread *th, struct batch *b)
{
	struct own_speculation *own = restore_state(r, &speculation_part);

	for (unsigned kind = 0; !own->asked && kind < SPECULATION_KINDS; kind++)
		own->now[kind] = prctl(PR_GET_SPECULATION_CTRL, kind, 0, 0, 0);
	own->asked = true;
	for (unsigned kind = 0; kind < SPECULATION_KINDS; kind++)
		restore_kind(th, b, kind, own->now[kind]);
	return 0;
}

const struct task_part speculation_part = {
	.name = "speculation controls",
	.state = { .restore = sizeof(struct own_speculation) },
	.per_thread = true,
	.ask = speculation_ask,
	.dump = speculation_dump,
	.restore = speculation_restore,
};
