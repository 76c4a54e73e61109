/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The guardian: a process forked before the first change, which shares criu's descriptors (CLONE_FILES), watches it
 * by pidfd, and holds an undo log in shared memory. If criu dies before the commit it rolls back; after it,
 * forward.
 *
 * Nothing reversible is done before its undo entry stands: guardian_note() first, then the change, then, when the
 * change has been taken back or made for good, guardian_drop().
 */
#ifndef CRIU_UNDO_GUARDIAN_H
#define CRIU_UNDO_GUARDIAN_H

#include "common.h"

struct guardian;

/* The name of the thread that guardian_start() makes. */
#define GUARDIAN_SIGNAL_THREAD "criu-signals"

enum undo_type {
	UNDO_NONE,
	UNDO_UNLINK,      /* path: remove the file; fd: the directory, where the path is a name in it */
	UNDO_CGROUP_THAW, /* path: the freezer's file; text: what to write */
	UNDO_CALL,        /* call: a function of criu's, with this entry (the guardian has the same text) */
	UNDO_KILL,        /* pid (and its start time): a half-made task of a restore, and its children */
	UNDO_KILL_BELOW,  /* with all that descends from it and what fell to criu: a script that is waited for */
	FORWARD_CALL,     /* as UNDO_CALL, after the commit */
	FORWARD_KILL,     /* pid and start time: after the commit, a task that must not run on */
};

/* The name of a child that does the work of criu's thread while that sleeps (helper/detour.h): it ends first. */
#define GUARDIAN_DETOUR "criu-detour"

struct undo;
typedef int (*undo_fn)(const struct undo *u);

struct undo {
	enum undo_type type;
	bool while_stopped; /* before the tasks of a dead criu run on; not for what traces them. UNDO_CALL, FORWARD_CALL
	                     */
	undo_fn call; /* 0 or a negative errno; -ESRCH, -ENOENT: what it would undo is gone. Nothing may wait in it */
	int fd;       /* stays open in criu until the entry is dropped: the guardian shares the table */
	pid_t pid;
	uint64_t start_time; /* of pid, field 22 of /proc/PID/stat: a reused pid is left alone */
	uint64_t addr, size;
	const char *path, *text; /* copied into the log */
	const void *data;        /* copied too: bytes that a call needs */
	size_t data_len;
};

/*
 * Forks the guardian, and starts the thread that takes SIGINT, SIGTERM, SIGHUP and SIGQUIT (undo/signal_thread.h),
 * which are blocked in the caller until guardian_stop(). The guardian ignores terminal signals, has a session of its
 * own, closes nothing, and ends when told, or after its work when criu dies: until then the end of criu is not seen by
 * its parent, where criu may be traced. It traces the calling thread, which has to be the one that traces the tasks:
 * should that be killed, its tasks stay stopped until the entries marked while_stopped have been undone. SIGCHLD is
 * blocked meanwhile. Called before any thread exists. criu must never wait for it with waitpid(-1).
 */
int guardian_start(struct guardian **gp);

/* Enters an undo; returns its number (>= 0) or -ENOSPC (logged) when the log is full. Newest entries are undone first.
 */
int guardian_note(struct guardian *g, const struct undo *u);

/* The change was taken back, or is for good: forget the entry. */
void guardian_drop(struct guardian *g, int number);

/*
 * From here on the guardian rolls forward: undo entries are void, FORWARD_ entries are carried out. One atomic step.
 * Where a signal that ends criu came before this does not return. Afterwards all signals are blocked in the caller:
 * what has been committed is finished, and the exit status says so.
 */
void guardian_commit(struct guardian *g);

/* While tasks stand still for criu, which text says, ^Z does not stop criu. */
void guardian_hold_stops(struct guardian *g, const char *text);

/* Between the two no signal ends criu (SIGKILL does): what was begun is noted before the second. Nothing waits there.
 */
void guardian_hold_end(struct guardian *g);
void guardian_allow_end(struct guardian *g);

/* Whether it still watches: 0, or -ESRCH (logged) when the guardian was killed. guardian_note() asks the same. */
int guardian_check(const struct guardian *g);

/*
 * Whether it traces criu (known when something was noted with while_stopped): then no task of a criu that is killed
 * runs on before such entries have been carried out.
 */
bool guardian_holds_criu(const struct guardian *g);

/* Its pid. */
pid_t guardian_pid(const struct guardian *g);

/*
 * Ends the guardian: entries still noted are undone by the caller first (in criu itself) when rollback is set. Signals
 * are as they were before guardian_start(); after a commit those that end criu leave it a moment, and its exit status
 * is 0.
 */
void guardian_stop(struct guardian *g, bool rollback);

/* The signal that has come since then and that criu has not ended of yet; 0: none has. */
int guardian_late_signal(void);

#endif
