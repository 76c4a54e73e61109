/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Executors: processes of criu's that live in a set of namespaces and run functions of criu's there.
 *
 * setns(2) moves the caller alone, and into most namespaces only a process without threads; criu has threads. So an
 * executor is forked from criu before any thread exists, or from another executor later on, and enters (or makes) its
 * namespaces once. As a fork it knows all functions by their addresses; arguments and results are copied, descriptors
 * are passed. It stands in "/", blocks all signals, is in a session of its own and has no descriptors but standard
 * input, output and error, the log's, and those that it is given.
 *
 * In a user namespace that it has entered, or whose maps were written for it, an executor has uid 0 and gid 0, without
 * groups, where these are mapped, and every capability. It is not dumpable then, so that root in there cannot trace it:
 * its own files below /proc belong to root outside (a function that writes one sets PR_SET_DUMPABLE for that time).
 * In a pid namespace it is seen by the processes there, which may kill it. The kernel lets the first process of a pid
 * namespace end only when all others in it have been waited for: executor_end() comes before a wait for that one.
 *
 * An executor dies with the thread that started the first one: by its death signal, and because it sees the end of
 * criu. One thread uses an executor at a time.
 */
#ifndef CRIU_HELPER_EXECUTOR_H
#define CRIU_HELPER_EXECUTOR_H

#include "common.h"
#include "lib/rights.h"

/* Bytes of arguments and results of one call. What may be larger goes by a descriptor. */
#define EXECUTOR_DATA_MAX ((size_t)1 << 20)

struct executor;

struct executor_spec {
	/*
	 * The executor that forks this one, which begins in its namespaces; not the first process of a pid namespace.
	 * NULL: criu forks it, and has no threads then (-EBUSY).
	 */
	struct executor *from;
	pid_t pid;      /* enters namespaces of this task (as criu sees it), */
	uint64_t enter; /* these: CLONE_NEW*; those that it is in already are passed over */
	const int *ns;  /* and the namespaces of these descriptors (nsfs) */
	size_t n_ns;
	uint64_t make; /* then makes new ones, CLONE_NEW*, owned by the user namespace that it is in by then */
	/*
	 * Of a new user namespace: what is written to its uid_map and gid_map (user_namespaces(7)) by `from` or criu,
	 * in whose ids they are; together, or NULL: nothing is written, and the executor has overflow ids.
	 */
	const char *uid_map, *gid_map;
	bool deny_setgroups;   /* "deny" is written to setgroups before */
	const uint32_t *owner; /* the user whom it is to belong to, in the ids of `from` or criu; NULL: theirs */
	int root; /* a directory, which becomes its root and cwd; 0: the root of its mount namespace stays */
};

/* 0 and *e, or a negative errno (logged). Everything in spec is the caller's to release. */
int executor_start(const struct executor_spec *spec, struct executor **e);

/* What fn gets to see, in the executor. */
struct executor_job {
	const void *arg;
	size_t arg_len;
	void *result; /* room for result_len bytes, which are 0 */
	size_t result_len;
	int *fds; /* given with the call; those that are not -1 at the end are closed then (move_fd() keeps one) */
	size_t n_fds;
	int out[RIGHTS_MAX]; /* go to the caller where fn succeeds; are closed here at any rate */
	size_t n_out;
};

/* Runs in the executor. 0, a number above 0, or a negative errno. It logs as criu does. */
typedef int (*executor_fn)(struct executor_job *job);

struct executor_call {
	executor_fn fn;
	const void *arg; /* flat: pointers in it lead to what was there when the executor was forked */
	size_t arg_len;
	void *result; /* filled where fn succeeds */
	size_t result_len;
	const int *fds; /* up to RIGHTS_MAX; the executor gets duplicates */
	size_t n_fds;
	int *out;       /* gets the descriptors that come back, close-on-exec; none come back where fn fails */
	size_t n_out;   /* in: how many there is room for; out: how many came */
	int timeout_ms; /* 0: as long as it takes */
};

/*
 * Runs call->fn in the executor. Returns what fn returned, whose errors are fn's to log; or, logged: -EFAULT: a signal
 * killed the executor; -ECANCELED: fn ended it; -ETIMEDOUT: not in time, and the executor was killed; -ESRCH: it is
 * gone since an earlier call; -E2BIG: too much data; -EMFILE: not all descriptors could be had.
 */
int executor_run(struct executor *e, struct executor_call *call);

/* Its pid as criu sees it. */
pid_t executor_pid(const struct executor *e);

/* Kills the executor and waits for it, and releases all that belongs to it. NULL is fine. */
void executor_end(struct executor *e);

#endif
