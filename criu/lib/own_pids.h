/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Numbers for criu's own processes and threads at a restore: never one that the images name, since the task that it
 * belongs to would find it taken. While nothing is to be avoided (own_pids_avoid() was not called) all of this costs
 * nothing.
 */
#ifndef CRIU_LIB_OWN_PIDS_H
#define CRIU_LIB_OWN_PIDS_H

#include <linux/sched.h>
#include <pthread.h>

#include "common.h"

/* The number that the kernel gave last, in the pid namespace of the process that reads or writes. */
#define OWN_PIDS_LAST "/proc/sys/kernel/ns_last_pid"

/*
 * From now on these n numbers are not for criu: ascending, each once, in memory of the caller's, which stays until this
 * is called with n of 0.
 */
void own_pids_avoid(const pid_t *pids, size_t n);
bool own_pids_avoided(pid_t pid);
pid_t own_pids_last_avoided(void); /* 0: none is */

/*
 * The number of a new process: `do own_pids_set(&n, &args), pid = clone3(...); while (own_pids_again(&n, pid));`, with
 * n all zero before and pid a negative errno on failure. The kernel chooses where any number will do, or where criu may
 * not (in a pid namespace of others).
 */
struct own_pid {
	pid_t chosen;
	bool any;
};

void own_pids_set(struct own_pid *n, struct clone_args *args);
bool own_pids_again(struct own_pid *n, long pid);

/*
 * Takes the kernel's own choice of numbers past those to be avoided, as far as it may be set (ns_last_pid): for what
 * programs that criu runs start by themselves. No more than a hint.
 */
void own_pids_steer(void);

/* pthread_create(3) with usual attributes; the thread's number is none to be avoided. 0 or a negative errno. */
int own_pids_thread(pthread_t *thread, void *(*fn)(void *), void *arg);

#endif
