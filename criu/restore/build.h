/* SPDX-License-Identifier: GPL-2.0-only */
/* Building the restored tree, stage by stage: processes, groups, threads, and the last instruction. */
#ifndef CRIU_RESTORE_BUILD_H
#define CRIU_RESTORE_BUILD_H

#include "restore/plan.h"

struct build {
	struct restore *r;
	struct plan *plan;
	int area_fd;            /* the area's file, inherited by every task until its descriptors are installed */
	uint8_t *area;          /* all of it, mapped here */
	struct liveness *death; /* agent/liveness.h */
};

/* Makes the area: the common part with the agent's text and the death word, and room for all regions. */
int build_open(struct restore *r, struct build *b);

/* Creates all processes of the plan with their memory; zombies and helpers stand by. */
int build_processes(struct build *b);

/* Process groups, then zombies and helpers exit and are reaped where that is due. */
int build_groups(struct build *b);

/* Descriptors, directories, threads, and all rows of task_parts. */
int build_tasks(struct build *b);

/* Seizes everything and brings every thread to its last instruction, the area unmapped. */
int build_finish(struct build *b);

/* Lets all go: EXITKILL off everywhere first. With stop: they stand stopped by SIGSTOP (--leave-stopped). */
int build_release(struct build *b, bool stop);

/* Kills all that was made; for a restore that fails. */
void build_abort(struct build *b);

/* Unmaps and closes. */
void build_close(struct build *b);

/* Where offset `off` of a family's regions lies: here, and in its members. */
static inline uint8_t *build_local(const struct build *b, const struct family *f, size_t off)
{
	return b->area + f->file_off + off;
}

static inline raddr_t build_remote(const struct build *b, const struct family *f, size_t off)
{
	return f->at + b->plan->common + off;
}

#endif
