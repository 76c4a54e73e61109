/* SPDX-License-Identifier: GPL-2.0-only */
/* What an architecture has beside all that and cannot be saved (arch/arch_odd.h). */
#include "arch/arch.h"
#include "arch/arch_odd.h"
#include "lib/log.h"
#include "task/answer.h"

static void refuse_odd(const struct thread *th, const char *what)
{
	if (what)
		log_refusal(-EOPNOTSUPP, "%s: %s, which is not supported; have that taken off before the dump",
		            task_thread_name(th), what);
}

static int arch_odd_peek(struct dump *d, struct thread *th)
{
	const struct thread_seen *seen = th->dump->seen;

	if (!seen || !(seen->shown & SHOWN_PORTS) || seen->ports)
		refuse_odd(th, arch_odd_refused_thread(th->tid));
	return 0;
}

static int arch_odd_ask_all(struct dump *d, struct thread *th, struct batch *b, void **datap)
{
	raddr_t at = batch_space(b, ARCH_ODD_MAX * ARCH_ODD_SIZE, datap);
	struct arch_call call;

	for (unsigned i = 0; is_leader(th) && arch_odd_ask(i, at + i * ARCH_ODD_SIZE, &call); i++)
		batch_add(b, (unsigned)call.nr, 0, call.arg);
	return 0;
}

static int arch_odd_dump(struct dump *d, struct thread *th, const struct answers *ans)
{
	const uint8_t *out = ans->data;
	struct arch_call call;

	for (unsigned i = 0; is_leader(th) && arch_odd_ask(i, 0, &call); i++, out += ARCH_ODD_SIZE)
		refuse_odd(th, arch_odd_refused(i, answer_ret(ans, i), out));
	return 0;
}

const struct task_part arch_odd_part = {
	.name = "seldom state of the architecture",
	.per_thread = true,
	.peek = arch_odd_peek,
	.ask = arch_odd_ask_all,
	.dump = arch_odd_dump,
};
