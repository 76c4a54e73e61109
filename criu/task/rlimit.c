/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Resource limits: prlimit(2), by the task itself, which may read and lower its own without CAP_SYS_RESOURCE.
 * RLIM_INFINITY is all ones, for the kernel and in the images.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include "lib/log.h"
#include "proc/proc.h"
#include "task/answer.h"

#define VALUE_AT 26 /* the column of /proc/PID/limits behind the names */

static const char *const names[RLIM_NLIMITS] = {
	[RLIMIT_CPU] = "RLIMIT_CPU",           [RLIMIT_FSIZE] = "RLIMIT_FSIZE",
	[RLIMIT_DATA] = "RLIMIT_DATA",         [RLIMIT_STACK] = "RLIMIT_STACK",
	[RLIMIT_CORE] = "RLIMIT_CORE",         [RLIMIT_RSS] = "RLIMIT_RSS",
	[RLIMIT_NPROC] = "RLIMIT_NPROC",       [RLIMIT_NOFILE] = "RLIMIT_NOFILE",
	[RLIMIT_MEMLOCK] = "RLIMIT_MEMLOCK",   [RLIMIT_AS] = "RLIMIT_AS",
	[RLIMIT_LOCKS] = "RLIMIT_LOCKS",       [RLIMIT_SIGPENDING] = "RLIMIT_SIGPENDING",
	[RLIMIT_MSGQUEUE] = "RLIMIT_MSGQUEUE", [RLIMIT_NICE] = "RLIMIT_NICE",
	[RLIMIT_RTPRIO] = "RLIMIT_RTPRIO",     [RLIMIT_RTTIME] = "RLIMIT_RTTIME",
};

static int rlimit_ask(struct dump *d, struct thread *th, struct batch *b, void **datap)
{
	raddr_t at = batch_space(b, sizeof(struct rlimit64) * RLIM_NLIMITS, datap);

	for (unsigned i = 0; i < RLIM_NLIMITS; i++)
		batch_ask(b, SYS_prlimit64, 0, i, 0, at + i * sizeof(struct rlimit64));
	return 0;
}

static int rlimit_dump(struct dump *d, struct thread *th, const struct answers *ans)
{
	const struct rlimit64 *limits = ans->data;
	TaskRlimitsEntry *all = arena_msg(d->arena, TaskRlimitsEntry, task_rlimits_entry);

	for (unsigned i = 0; i < RLIM_NLIMITS; i++) {
		RlimitEntry *e = arena_msg(d->arena, RlimitEntry, rlimit_entry);

		if (answer_ret(ans, i))
			return log_errno((int)answer_ret(ans, i), "%s: prlimit of %s", task_name(th->task), names[i]);
		e->cur = limits[i].rlim_cur;
		e->max = limits[i].rlim_max;
		arena_push(d->arena, &all->rlimits, &all->n_rlimits, e);
	}
	th->core->tc->rlimits = all;
	return 0;
}

static int rlimit_check(struct restore *r, const struct thread *th)
{
	const TaskRlimitsEntry *all = th->core->tc->rlimits;

	for (size_t i = 0; all && i < all->n_rlimits; i++)
		if (all->rlimits[i]->cur > all->rlimits[i]->max)
			return log_errno(-EINVAL, "%s: its image has a limit (number %zu) above its maximum",
			                 task_name(th->task), i);
	if (all && all->n_rlimits > RLIM_NLIMITS)
		return log_refusal(-EOPNOTSUPP, "%s: has %zu kinds of limits, criu knows %d", task_name(th->task),
		                   all->n_rlimits, RLIM_NLIMITS);
	return 0;
}

/* Without CAP_SYS_RESOURCE: the maximum stays, and the limit goes as near to the old one as it can. */
static int set_clamped(struct thread *th, struct batch *b, unsigned what, const RlimitEntry *want)
{
	struct rlimit64 *now, set;
	raddr_t at;
	int err;

	batch_reserve(b, 2, 2 * sizeof(*now));
	at = batch_space(b, sizeof(*now), &now);
	batch_call(b, SYS_prlimit64, 0, what, 0, at);
	err = batch_run(b);
	if (err)
		return err;
	set = *now;
	log_warn("%s: %s: the maximum stays %" PRIu64 ", it was %" PRIu64 " (CAP_SYS_RESOURCE is needed to raise it)",
	         task_name(th->task), names[what], set.rlim_max, want->max);
	set.rlim_cur = MIN(want->cur, set.rlim_max);
	batch_call(b, SYS_prlimit64, 0, what, batch_data(b, &set, sizeof(set)), 0);
	return batch_run(b);
}

static int raise_from_outside(const struct thread *th, unsigned what, const RlimitEntry *want)
{
	const struct rlimit64 set = { .rlim_cur = want->cur, .rlim_max = want->max };

	return syscall(SYS_prlimit64, th->tid, what, &set, NULL) ? -errno : 0;
}

static uint64_t limit_of_word(const char *word)
{
	return strncmp(word, "unlimited", 9) ? strtoull(word, NULL, 10) : RLIM_INFINITY;
}

/*
 * What the limits are now: false where /proc does not show them, in the kernel's order of them. What waits in the batch
 * changes none.
 */
static bool limits_now(const struct thread *th, struct rlimit64 now[RLIM_NLIMITS])
{
	_cleanup_free_ char *text = NULL;
	char path[32], *line;
	size_t i = 0;

	snprintf(path, sizeof(path), "/proc/%d/limits", th->tid);
	if (proc_read(AT_FDCWD, path, &text, NULL))
		return false;
	line = strchr(text, '\n'); /* behind the heading */
	for (; line && i < RLIM_NLIMITS; line = strchr(line, '\n'), i++) {
		char cur[24], max[24];

		if (strnlen(++line, VALUE_AT) < VALUE_AT || sscanf(line + VALUE_AT, "%23s %23s", cur, max) != 2)
			break;
		now[i] = (struct rlimit64) { limit_of_word(cur), limit_of_word(max) };
	}
	return i == RLIM_NLIMITS;
}

static int rlimit_restore(struct restore *r, struct thread *th, struct batch *b)
{
	const TaskRlimitsEntry *all = th->core->tc->rlimits;
	struct rlimit64 now[RLIM_NLIMITS];
	int op[RLIM_NLIMITS], err, n = 0;
	bool denied[RLIM_NLIMITS] = { 0 }, known = limits_now(th, now);

	if (!all)
		return 0;
	batch_reserve(b, RLIM_NLIMITS, RLIM_NLIMITS * sizeof(struct rlimit64));
	for (unsigned i = 0; i < all->n_rlimits; i++) {
		struct rlimit64 want = { .rlim_cur = all->rlimits[i]->cur, .rlim_max = all->rlimits[i]->max };

		op[i] = -1;
		if (known && now[i].rlim_cur == want.rlim_cur && now[i].rlim_max == want.rlim_max)
			continue;
		op[i] = batch_ask(b, SYS_prlimit64, 0, i, batch_data(b, &want, sizeof(want)), 0);
		n++;
	}
	if (!n)
		return 0;
	err = batch_run(b);
	for (unsigned i = 0; !err && i < all->n_rlimits; i++) {
		int64_t ret = op[i] < 0 ? 0 : batch_ret(b, op[i]);

		/* In a user namespace the task has no right to raise a maximum; criu may have. */
		if (ret == -EPERM && !raise_from_outside(th, i, all->rlimits[i]))
			ret = 0;
		denied[i] = ret == -EPERM;
		if (ret && !denied[i])
			return log_errno((int)ret, "%s: prlimit of %s", task_name(th->task), names[i]);
	}
	for (unsigned i = 0; !err && i < all->n_rlimits; i++)
		if (denied[i])
			err = set_clamped(th, b, i, all->rlimits[i]);
	return err;
}

const struct task_part rlimit_part = {
	.name = "resource limits",
	.ask = rlimit_ask,
	.dump = rlimit_dump,
	.check = rlimit_check,
	.restore = rlimit_restore,
};
