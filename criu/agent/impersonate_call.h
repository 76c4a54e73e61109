/* SPDX-License-Identifier: GPL-2.0-only */
/* What the files of agent/impersonate.h share: impersonate.c chooses the process that makes a call, impersonate_task.c
 * has a task of the tree make it, impersonate_child.c a process made for it. */
#ifndef CRIU_AGENT_IMPERSONATE_CALL_H
#define CRIU_AGENT_IMPERSONATE_CALL_H

#include "agent/impersonate.h"

/* A call that another process makes: in a task of the tree with the descriptor's number there and the data's address.
 */
struct call {
	long nr;
	int fd; /* of ours, the first argument; -1: it has none */
	uint64_t arg[6];
	int data_arg; /* the argument that is an address; 0: none */
	void *data;
	size_t data_len;
	bool comes_back;  /* data is filled by the call */
	int dir;          /* where a path begins, a second descriptor of ours */
	const char *path; /* from there; NULL: no path */
	int64_t ret;      /* what came of it: a negative errno where it failed */
	void *in_task;    /* used while it is made: the data there */
};

/* Calls that one task makes in one turn, at most; those with a path begin at the same directory. */
#define CALLS_AT_ONCE 100

/* Effective ids to put on and to go back to. */
struct ids {
	const struct identity *as;
	bool change, groups;
	uint32_t uid, gid; /* ours */
	gid_t *own_groups;
	int n_own_groups;
};

/* A path below a descriptor. Returns the length of the address. */
struct sockaddr_un;
socklen_t impersonate_path_below(struct sockaddr_un *addr, int dir, const char *path);

/* What syscall(2) returned, as a negative errno where it failed. */
int64_t impersonate_raw(long ret);

/* Ids that could not be taken on. */
void impersonate_note_groups(const struct identity *as, int err, const char *what);
void impersonate_warn_ids(const struct identity *as, int err, const char *what);

/* Makes the calls: their results are in them, and what they filled in their data. 0 or a negative errno (logged). */
int impersonate_calls_in_task(struct restore *r, struct task *t, const struct ids *ids, struct call *c, size_t n,
                              const char *what);

/* Takes descriptors out of a task, which closes them. In fds -1 of all that are not ours yet. Not logged. */
int impersonate_fetch(struct task *t, const int *numbers, int *fds, size_t n);

/*
 * One call by a task that is made for it; its result in *ret. ids: NULL where the call tells them itself. 0 or a
 * negative errno where there could be no such task: -EEXIST: the pid is taken.
 */
int impersonate_call_in_child(struct restore *r, const struct identity *as, const struct ids *ids, const struct call *c,
                              const char *what, int64_t *ret);

#endif
