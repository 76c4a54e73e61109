/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Helpers: short-lived processes of criu's, for what must be done by another process: with a pid, root, namespace,
 * descriptor table or credentials of its own, or in order to be looked at from outside.
 *
 * A helper shares what spec->flags say. Of the two ways to be born
 * - with CLONE_VM the helper works in criu's memory and on the caller's stack, and the calling thread sleeps until it
 *   has ended or has executed a program (CLONE_VFORK is implied). Cheap, however much memory criu has. For the C
 *   library fn is the calling thread, so that fn may use it, but for what acts on all threads of a process (setuid(3)
 *   and its like: use syscall(2)) or makes new ones;
 * - without, it is a fork. Where criu has threads, a fork has their locks as they were: fn then does only what is safe
 *   in a signal handler (signal-safety(7)), neither logs nor allocates. What a fork logs is written, but not counted.
 *
 * No helper gives criu a signal at its end unless spec says so: waits for any other child do not see it (only those
 * with __WALL do), and it waits for criu even where SIGCHLD is ignored. (Of one that executes a program the kernel
 * makes it SIGCHLD.)
 */
#ifndef CRIU_HELPER_HELPER_H
#define CRIU_HELPER_HELPER_H

#include "common.h"

struct helper_spec {
	uint64_t flags; /* CLONE_* of clone(2): what is shared, which namespaces are new */
	pid_t pid; /* the number that the helper is to have (needs CAP_CHECKPOINT_RESTORE); 0: any (lib/own_pids.h) */
	/* The namespace that the helper is born in, and `pid` is of; NULL: ours. helper_run() with CLONE_VM alone. */
	const int *pid_ns;
	const pid_t
	    *inner; /* with pid_ns: the numbers in it and in those above, innermost first, up to that of `pid` */
	size_t n_inner;
	int *pidfd; /* gets a pidfd of it; NULL: none is wanted. helper_start() alone */
	/*
	 * By default a helper is killed when the thread that started it ends, by SIGKILL too. Not this one: it ends by
	 * itself. Required with CLONE_PARENT and CLONE_NEWPID, in which a helper cannot see its parent.
	 */
	bool outlives;
	int exit_signal; /* what the parent gets at its end; 0: nothing. helper_start() alone */
};

/* What a helper does. 0, a number above 0, or a negative errno. */
typedef int (*helper_fn)(void *arg);

/*
 * Runs fn(arg) in a helper and waits for its end. Returns what fn returned, or the negative errno of clone3(2)
 * (-EEXIST: the pid is taken), -EFAULT: a signal killed it, -ECANCELED: it ended without returning from fn. Not logged.
 */
int helper_run(const struct helper_spec *spec, helper_fn fn, void *arg);

/*
 * Starts a helper that is waited for later, or by others; with CLONE_VM it must execute a program. It exits with the
 * low byte of what fn returns. Returns its pid or a negative errno (not logged).
 */
pid_t helper_start(const struct helper_spec *spec, helper_fn fn, void *arg);

/* Waits for the end of a helper. Returns its status as wait(2) has it, or a negative errno (not logged). */
int helper_wait(pid_t pid);

/* Ends a helper, which helper_wait() was not called for, and waits for it. */
void helper_kill(pid_t pid);

#endif
