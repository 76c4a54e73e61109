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

/* Our number of a process or thread that has the given one in the tree; near: see proc/pid_ns.h. Logs its errors. */
pid_t build_pid_of(const struct build *b, pid_t number, pid_t near);

/* Our number of a process that its creator has just made (n->known). Logs its errors. */
pid_t build_child_of(const struct build *b, const struct node *n);

/* For clone3(2): the numbers of a process or thread in all namespaces from its own up to the root task's. */
raddr_t build_set_tid(const struct build *b, struct batch *batch, vpid_t vpid, uint64_t *size);

/* Joins a process group of the tree; 0: makes one. */
int build_set_group(struct build *b, struct node *n, vpid_t pgid);

/* Process groups, then zombies and helpers exit and are reaped where that is due. */
int build_groups(struct build *b);

/* Descriptors, directories, threads, and all rows of task_parts. */
int build_tasks(struct build *b);

/* Adds the creation of a thread to a batch; returns the index of the call. */
typedef int (*build_thread_fn)(struct build *b, struct thread *th, struct batch *batch, bool with_number);

/* One that may not be given a number. 0 or a negative errno (logged). */
int build_numbered_thread(struct build *b, struct thread *th, build_thread_fn add);

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
