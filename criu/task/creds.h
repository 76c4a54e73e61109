/* SPDX-License-Identifier: GPL-2.0-only */
/* Credentials as images have them, and whether criu can give them to a task that it restores. */
#ifndef CRIU_TASK_CREDS_H
#define CRIU_TASK_CREDS_H

#include "proc/own_rights.h"
#include "tree/restore.h"
#include "tree/task.h"
#include "tree/user_ns.h"

#define CREDS_CAP_MAX    63
#define CREDS_CAP_BIT(n) (1ULL << (n))

/* The ids of a status, by name. */
enum { CREDS_REAL, CREDS_EFFECTIVE, CREDS_SAVED, CREDS_FS };

struct creds_caps {
	uint64_t inh, prm, eff, bnd, amb;
};

struct creds_caps creds_caps_of(const CredsEntry *e);

/* Names, with commas between them; in the arena. */
const char *creds_cap_names(struct arena *a, uint64_t set);

/* Whether a list of supplementary groups is that of a process; in whatever order the image has them. */
bool creds_same_groups(const CredsEntry *e, const struct proc_status *now);

/*
 * What a task begins with that is entering its user namespace: ids and groups as they are seen inside, all capabilities
 * of this kernel.
 */
void creds_of_entrant(struct arena *a, const struct user_ns *ns, const struct own_rights *own, struct own_rights *out);

/* The same credentials, with ids as they are seen inside. In the arena. */
void creds_see_inside(struct arena *a, const struct user_ns *ns, struct proc_status *st);

/*
 * At restore, and at dump, which tells what a restore by the same user on this machine would do: whether criu can give
 * the thread its credentials, or (ns is not NULL) its user namespace can. Refuses (log_refusal) what it cannot.
 */
int creds_can_give(struct arena *a, const struct own_rights *own, const struct user_ns *ns, const struct thread *th);

/*
 * Restore: the status with which a process starts, with credentials as they are seen inside; read once for all its
 * threads, before anything of the leader's is changed. NULL: the error is logged.
 */
const struct proc_status *creds_at_birth(struct restore *r, struct thread *th);

/* Whether two are the same in all that creds_can_give() looks at. */
bool creds_same(const CredsEntry *e, const CredsEntry *f);

#endif
