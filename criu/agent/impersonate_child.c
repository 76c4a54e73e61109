/* SPDX-License-Identifier: GPL-2.0-only */
#include <linux/sched.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "agent/impersonate_call.h"
#include "arch/arch_start.h"
#include "lib/log.h"

#define CHILD_STACK (32UL << 10)

struct child {
	const struct ids *ids; /* NULL: the call tells them itself */
	const struct call *call;
	int dumpable;
	int64_t groups_err, ids_err, ret;
};

/*
 * Runs in our memory, while we wait: nothing but system calls. Those of the C library would change the ids of all of
 * criu's threads; these are this task's alone.
 */
static void child_main(void *arg)
{
	struct child *ch = arg;
	const struct ids *ids = ch->ids;
	const uint64_t *a = ch->call->arg;

	if (ids && ids->groups)
		ch->groups_err = impersonate_raw(syscall(SYS_setgroups, ids->as->n_groups, ids->as->groups));
	if (ids && ids->change) {
		ch->ids_err = impersonate_raw(syscall(SYS_setresgid, -1L, (long)ids->as->gid, -1L));
		ch->ids_err = ch->ids_err ?: impersonate_raw(syscall(SYS_setresuid, -1L, (long)ids->as->uid, -1L));
		syscall(SYS_setfsuid, (long)ids->uid);
		syscall(SYS_setfsgid, (long)ids->gid);
	}
	ch->ret = impersonate_raw(syscall(ch->call->nr, a[0], a[1], a[2], a[3], a[4], a[5]));
	/* It is the memory's, which is ours. */
	if (ch->dumpable == 1)
		syscall(SYS_prctl, PR_SET_DUMPABLE, 1);
	syscall(SYS_exit, 0);
}

int impersonate_call_in_child(const struct identity *as, const struct ids *ids, const struct call *c, const char *what,
                              int64_t *ret)
{
	_cleanup_free_ char *stack = aligned_alloc(16, CHILD_STACK);
	struct child ch = { .ids = ids, .call = c, .dumpable = prctl(PR_GET_DUMPABLE) };
	pid_t set_tid = as->pid.v;
	struct clone_args args = {
		.flags = CLONE_VM | CLONE_VFORK | CLONE_FILES | CLONE_FS,
		.stack = (uintptr_t)stack,
		.stack_size = CHILD_STACK,
		.set_tid = (uintptr_t)&set_tid,
		.set_tid_size = 1,
	};
	int status;
	long pid;

	if (!stack)
		return -ENOMEM;
	pid = arch_clone3(&args, child_main, &ch);
	if (pid < 0)
		return (int)pid;
	while (waitpid((pid_t)pid, &status, __WALL) < 0 && errno == EINTR)
		;
	if (ch.groups_err < 0)
		impersonate_note_groups(as, (int)ch.groups_err, what);
	if (ch.ids_err < 0)
		impersonate_warn_ids(as, (int)ch.ids_err, what);
	*ret = ch.ret;
	return 0;
}
