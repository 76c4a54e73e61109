/* SPDX-License-Identifier: GPL-2.0-only */
/* What the files of executors share: executor.c and executor_start.c are criu's side, the others the process. */
#ifndef CRIU_HELPER_EXECUTOR_PARTS_H
#define CRIU_HELPER_EXECUTOR_PARTS_H

#include "helper/executor.h"
#include "lib/log.h"

#define EXECUTOR_NS_MAX 16
#define EXECUTOR_ALIGN  16

/* The byte of a message on the socket between the two. */
enum executor_word {
	EXECUTOR_WANTS_MAPS = 'm', /* from it: it has made a user namespace */
	EXECUTOR_HAS_MAPS = 'w',   /* to it */
	EXECUTOR_STANDS = 's',     /* from it: it is where it should be, or area->ret says why not */
	EXECUTOR_RUN = 'r',        /* to it: area->fn, with descriptors */
	EXECUTOR_DONE = 'd',       /* from it: area->ret; it has closed all descriptors of the call */
	EXECUTOR_OUT = 'o',        /* from it, before one of the others: descriptors */
};

/* Memory that both have. Written by the one that sends the next message. */
struct executor_area {
	executor_fn fn;
	size_t arg_len, result_len; /* the result lies behind the argument */
	int ret;
	struct log_tally tally; /* what was logged since the last message */
	_Alignas(EXECUTOR_ALIGN) char data[EXECUTOR_DATA_MAX];
};

/* What a new executor needs. Its descriptors: */
enum { BIRTH_SOCK, BIRTH_AREA, BIRTH_CRIU, BIRTH_NS };

struct executor_birth {
	int fd[BIRTH_NS + EXECUTOR_NS_MAX + 1]; /* the socket, the area, criu's pidfd, n_ns namespaces, the root */
	size_t n_ns;
	bool has_root;
	bool wants_maps;
	bool has_owner;
	uint32_t owner;
	uint64_t make;
};

static inline size_t executor_birth_fds(const struct executor_birth *b)
{
	return BIRTH_NS + b->n_ns + b->has_root;
}

struct executor {
	pid_t pid;
	pid_t pid_there; /* as the executor that forked it sees it */
	int pidfd;       /* -1: it is gone */
	int sock;
	struct executor_area *area;
};

/* ---- criu's side ---- */

/* Sends a message. 0 or a negative errno (logged), of an executor that is gone too. */
int executor_send(struct executor *e, enum executor_word word, const int *fds, size_t n);

/*
 * Waits for a message and the descriptors before it, with room for *n; *n: how many came. Counts what was logged there.
 * Returns its word or a negative errno (logged). timeout_ms: 0: as long as it takes; else the executor is killed then.
 */
int executor_receive(struct executor *e, int timeout_ms, int *fds, size_t *n);

/* Kills it, if it has not ended, and waits for it. Returns the signal of which it died, or 0. */
int executor_reap(struct executor *e);

/* ---- the process ---- */

/* Its life: a helper_fn with a struct executor_birth, which does not return. */
int executor_main(void *birth);

/*
 * Enters the namespaces of these descriptors, but for those that we are in already, and takes uid 0 in a user namespace
 * among them. Returns their kinds (CLONE_NEW*) in *entered. 0 or a negative errno (logged).
 */
int executor_enter(const int *fds, size_t n, uint64_t *entered);

/* Enters one, and changes nothing else. 0 or a negative errno (logged). */
int executor_join(uint64_t kind, int fd);

/* The calling thread alone, into a network namespace (helper/net_visit.h). 0 or a negative errno (not logged). */
int executor_enter_net(int fd);

/* A process that has its memory for itself, into a time namespace, also an ordinary user's. As above. */
int executor_enter_time(int fd);

/*
 * Enters one that belongs to a user namespace of ours, which is entered before. Ids stay what they are. 0 or a negative
 * errno (not logged).
 */
int executor_enter_as_we_are(int fd);

/* Whether the caller is in the namespace of a descriptor already. */
bool executor_is_in(int fd);

/* Makes new namespaces of these kinds, for ourselves or (pid, time) for our children. 0 or a negative errno (logged).
 */
int executor_unshare(uint64_t kinds);

/* Moves the calling thread alone, which the type has to allow. */
int executor_set_thread(int fd, uint64_t flag);

/* Uid 0 and gid 0, without groups, where these are mapped. */
void executor_become_root(void);

/* ---- both ---- */

/* The name of a kind of namespace below /proc/PID/ns: "?" of none. */
const char *executor_ns_name(uint64_t kind);

#endif
