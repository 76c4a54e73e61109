/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Threads of a task in a user namespace that does not own its pid namespace: the kernel lets such a task choose no
 * numbers, and what has threads can enter no user namespace. So the kernel's own choice is led to the wanted number
 * (ns_last_pid), and repeated where another process was faster.
 */
#include <fcntl.h>
#include <linux/sched.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>

#include "helper/helper.h"
#include "helper/ns_enter.h"
#include "lib/log.h"
#include "lib/own_pids.h"
#include "restore/build.h"
#include "restore/pids.h"
#include "tree/ns_ids.h"

#define RACES_MAX 1000

struct lead {
	int fd, pid_ns; /* of the file; of the namespace, where that is not criu's */
	pid_t to;
	pid_t before; /* what the kernel had come to */
};

static int write_last(void *arg)
{
	struct lead *l = arg;
	char text[16] = "";

	if (!l->before && pread(l->fd, text, sizeof(text) - 1, 0) > 0)
		l->before = atoi(text);
	snprintf(text, sizeof(text), "%d", l->to);
	return pwrite(l->fd, text, strlen(text), 0) < 0 ? -errno : 0;
}

/* The file is about the namespace of whoever writes to it, which only a child of whoever enters that one is in. */
static int write_inside(void *arg)
{
	const struct helper_spec child = { .flags = CLONE_VM | CLONE_FILES, .outlives = true };
	const struct lead *l = arg;
	int err = ns_enter_join(ns_type_of_flag(CLONE_NEWPID), l->pid_ns);

	return err ?: helper_run(&child, write_last, arg);
}

static int lead_to(const struct thread *th, struct lead *l, pid_t to)
{
	const struct helper_spec spec = { .flags = CLONE_VM | CLONE_FILES };
	int err;

	l->to = to;
	err = l->pid_ns < 0 ? write_last(l) : helper_run(&spec, write_inside, l);
	return err ? log_errno(err, "%s: write to " OWN_PIDS_LAST " for its thread %d", task_name(th->task), th->vtid.v)
	           : 0;
}

/* A thread with another number than the wanted one. Its agent's stack is free when it is gone. */
static int end_thread(const struct thread *th, pid_t tid)
{
	const struct timespec pause = { .tv_nsec = 50000 };
	struct agent *agent = th->restore->agent;
	struct batch *batch;
	int err;

	agent->tid = tid;
	err = agent_wait(agent);
	if (err)
		return err;
	batch = agent_batch(agent, "ending");
	batch_ask(batch, SYS_exit, 0);
	batch_start(batch);
	for (int i = 0; i < 100000 && !syscall(SYS_tgkill, th->task->pid, tid, 0); i++)
		nanosleep(&pause, NULL);
	agent->tid = 0;
	return 0;
}

static int64_t create_once(struct build *b, struct thread *th, build_thread_fn add, struct lead *l)
{
	struct batch *batch = agent_batch(th->task->restore->node->agent, "creating a thread");
	int op = add(b, th, batch, false), err = lead_to(th, l, th->vtid.v - 1);

	err = err ?: batch_run(batch);
	return err ?: batch_ret(batch, op);
}

int build_numbered_thread(struct build *b, struct thread *th, build_thread_fn add)
{
	_cleanup_close_ int fd = open(OWN_PIDS_LAST, O_RDWR | O_CLOEXEC);
	bool own = ns_ids_own_pids(b->r);
	struct lead lead = { .fd = fd, .pid_ns = own ? b->r->pid_ns : -1 };
	unsigned tries = 0;
	int64_t tid = 0;
	int err = 0;

	if (fd < 0)
		return log_errno(-errno, "open of " OWN_PIDS_LAST ", for threads in a user namespace");
	for (int i = 0; !err && i < RACES_MAX; i++) {
		tid = create_once(b, th, add, &lead);
		/* Other processes are not to have the tree's numbers next, when it is gone again. */
		if (tid == th->vtid.v)
			return lead.before > tid ? lead_to(th, &lead, lead.before) : 0;
		if (tid > 0)
			tid = build_pid_of(b, (pid_t)tid, th->task->pid);
		err = tid < 0 ? (int)tid : end_thread(th, (pid_t)tid);
		/* Taken, if that is no race. */
		if (!err && !own && !syscall(SYS_tgkill, th->vtid.v, th->vtid.v, 0))
			err = pids_wait_free(b->r, th->vtid, &tries);
	}
	return log_errno(err ?: -EEXIST, "%s: clone3 of its thread %d", task_name(th->task), th->vtid.v);
}
