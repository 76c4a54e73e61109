/* SPDX-License-Identifier: GPL-2.0-only */
/* PTRACE_SEIZE that never waits for longer than the freezer's deadline; see seize_call.c for what it would wait for. */
#ifndef CRIU_FREEZE_SEIZE_CALL_H
#define CRIU_FREEZE_SEIZE_CALL_H

#include <setjmp.h>
#include <signal.h>
#include <time.h>

#include "common.h"

struct freezer;
struct proc;

struct seize_watch {
	const struct proc *volatile seizing; /* NULL: no call is under way */
	volatile unsigned ticks;             /* of the timer, during this call */
	sigjmp_buf jump;
	timer_t timer;
	struct sigaction old_action;
	sigset_t old_mask;
	bool on;
};

/*
 * Around all calls of seize_call(): a timer, by SIGRTMIN, of this thread alone. Where no timer can be had, a call
 * may wait for longer.
 */
void seize_watch(struct freezer *f);
void seize_unwatch(struct freezer *f);

/* 0 or a negative errno. Logged is -ETIMEDOUT alone: the deadline has come while it waited for an execve(). */
int seize_call(struct freezer *f, const struct proc *p, pid_t tid);

/* Waits for threads that have exited, but the leader; their states stay. Fit for a signal's handler. */
void seize_reap_dead(const struct proc *p);

#endif
