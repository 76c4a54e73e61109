/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Keys of a thread's own (thread and process keyring, keyrings(7)) are lost with it, and what is in them not all can be
 * read: refused by name. The session keyring is left to whoever restores: to ask for it would give the task one. Where
 * request_key(2) puts what it finds is a number, which comes back.
 */
#include <linux/keyctl.h>
#include <sys/syscall.h>

#include "lib/log.h"
#include "task/answer.h"

static const struct {
	int32_t id;
	const char *name;
} keyrings[] = {
	{ KEY_SPEC_THREAD_KEYRING, "thread" },
	{ KEY_SPEC_PROCESS_KEYRING, "process" },
};

static int keyring_ask(struct dump *d, struct thread *th, struct batch *b, void **datap)
{
	for (size_t i = 0; i < ARRAY_SIZE(keyrings); i++)
		batch_ask(b, SYS_keyctl, KEYCTL_READ, (uint64_t)(int64_t)keyrings[i].id, 0, 0);
	batch_ask(b, SYS_keyctl, KEYCTL_SET_REQKEY_KEYRING, (uint64_t)KEY_REQKEY_DEFL_NO_CHANGE);
	return 0;
}

/* Four bytes a key; ENOKEY: there is no such keyring. */
static int keyring_dump(struct dump *d, struct thread *th, const struct answers *ans)
{
	ThreadCoreEntry *core = th->core->thread_core;
	int64_t request = answer_ret(ans, ARRAY_SIZE(keyrings));

	core->has_request_key = request > KEY_REQKEY_DEFL_DEFAULT;
	core->request_key = core->has_request_key ? (int32_t)request : 0;

	for (size_t i = 0; i < ARRAY_SIZE(keyrings); i++)
		if (answer_ret(ans, (unsigned)i) > 0)
			log_refusal(-EOPNOTSUPP,
			            "%s: has %lld key%s in its %s keyring, which is not supported; remove them "
			            "(keyctl_unlink(3)), or use the user's keyring",
			            task_thread_name(th), (long long)answer_ret(ans, (unsigned)i) / 4,
			            answer_ret(ans, (unsigned)i) > 4 ? "s" : "", keyrings[i].name);
	return 0; /* there may be more reasons */
}

static int keyring_restore(struct restore *r, struct thread *th, struct batch *b)
{
	if (th->core->thread_core->has_request_key)
		batch_call(b, SYS_keyctl, KEYCTL_SET_REQKEY_KEYRING, (uint64_t)th->core->thread_core->request_key);
	return 0;
}

const struct task_part keyring_part = {
	.name = "keyrings",
	.per_thread = true,
	.ask = keyring_ask,
	.dump = keyring_dump,
	.restore = keyring_restore,
};
