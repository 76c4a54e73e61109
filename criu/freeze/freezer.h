/* SPDX-License-Identifier: GPL-2.0-only */
/* What the files of freezing share: freeze.c (rounds), seize.c (threads), thaw.c. */
#ifndef CRIU_FREEZE_FREEZER_H
#define CRIU_FREEZE_FREEZER_H

#include "lib/clock.h"
#include "freeze/freeze.h"
#include "freeze/freeze_cgroup.h"
#include "freeze/seize_call.h"
#include "proc/proc.h"
#include "lib/arena_hash.h"

struct proc;

enum seized_state {
	SEIZED_PENDING,     /* interrupted, its stop has not been seen */
	SEIZED_STOPPED,     /* in PTRACE_EVENT_STOP */
	SEIZED_DEAD_LEADER, /* has exited, other threads live: it will not stop */
	SEIZED_GONE,
};

/* A thread that we trace. */
struct seized {
	pid_t tid;
	struct proc *proc;
	enum seized_state state;
	int stop_signo; /* of a job control stop, else 0 */
	bool had_children;
	bool urged;      /* it was interrupted once more */
	int64_t look_at; /* its cgroups are looked at next, CLOCK_MONOTONIC, ms */
	struct seized *next_pending;
	UT_hash_handle hh;
};

/* A process below the root. */
struct proc {
	pid_t pid;
	struct proc *parent;
	char comm[16];
	struct proc_stat stat; /* of the last look; when it is closed, of one while all its threads stood */
	bool zombie, gone;
	pid_t living; /* of a leader that has ended: a thread that stands for it */
	bool looked;  /* at its cgroups */
	bool noticed; /* freeze_notice was called */
	bool closed;  /* all its threads are stopped and its children known */
	size_t place; /* in freezer.procs, when the tree is made */
	struct seized **threads;
	size_t n_threads;
	UT_hash_handle hh;
};

struct freezer {
	struct arena *arena;
	pid_t self;
	int64_t deadline;    /* CLOCK_MONOTONIC, ms */
	unsigned timeout;    /* s, for messages */
	struct proc **procs; /* parents before their children */
	size_t n_procs;
	unsigned levels; /* pid namespaces from ours down to the root's */
	struct proc *by_pid;
	struct seized *by_tid;
	struct seized *pending;
	bool frozen; /* by the cgroup's freezer, at this moment */
	struct unfreezer unfreezer;
	const char *cgroups_seen; /* the last that were not frozen */
	struct seize_watch watch;
	const struct freeze_notice *notice; /* may be NULL */
};

/* ---- seize.c ---- */

/*
 * Seizes a thread that is not known yet, interrupts it and notes it as pending (stopped, if it was). *fresh is set when
 * it is now traced. 0 also when it is gone; a negative errno (logged) when it cannot be traced.
 */
int seize_thread(struct freezer *f, struct proc *p, pid_t tid, bool *fresh);

/*
 * Looks again at what is known of a process's threads: one that calls execve() ends all others and takes over the id of
 * the leader (leader_dead says whether that is a zombie now), and anybody may kill. *news is set when something was not
 * as it was known; then the process is to be looked at once more. A negative errno (logged).
 */
int seize_check(struct freezer *f, struct proc *p, bool leader_dead, bool *news);

/* Waits for all that is pending. A negative errno (logged, with each thread that does not stop and why) at the
 * deadline. */
int seize_wait(struct freezer *f);

/* Lets go what has been seized, after a failure. */
void seize_release(struct freezer *f);

#endif
