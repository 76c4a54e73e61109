/* SPDX-License-Identifier: GPL-2.0-only */
/* Inside of task/creds*.c. */
#ifndef CRIU_TASK_CREDS_H
#define CRIU_TASK_CREDS_H

#include "tree/kind.h"
#include "proc/proc.h"

#define CREDS_GROUPS_MAX 16384 /* as many as one batch holds */
#define CAP_BIT(n)       (1ULL << (n))
#define CAP_MAX          63

/* The ids of a status, by name. */
enum { REAL, EFFECTIVE, SAVED, FS };

struct caps {
	uint64_t inh, prm, eff, bnd, amb;
};

/* The five sets of an image. */
struct caps creds_caps(const CredsEntry *e);

/* "cap_sys_admin, cap_net_raw" */
const char *creds_cap_names(struct arena *a, uint64_t set);

/* Whether the supplementary groups are those of a status, in whatever order. */
bool creds_same_groups(const CredsEntry *e, const struct proc_status *now);

/* The row's check(): what this tool cannot give, by name. */
int creds_check(struct restore *r, const struct thread *th);

#endif
