/* SPDX-License-Identifier: GPL-2.0-only */
#include <fcntl.h>
#include <linux/futex.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#include "agent/agent.h"
#include "freeze/freeze.h"
#include "freeze/ptrace.h"
#include "lib/clock.h"
#include "lib/fiber.h"
#include "lib/log.h"
#include "proc/proc.h"

#define OPS_OFFSET     256
#define SMALL_OPS      24
#define SMALL_SPACE    1024
#define LARGE_OPS      1024
#define LARGE_SPACE    (BATCH_SPACE_MAX + (32UL << 10))
#define WAIT_SLICE_NS  (20 * 1000 * 1000)
/* So long an answer is looked for before criu sleeps. */
#define ANSWER_US      40

/* After so many, a look whether the task's cgroup was frozen in the middle. */
#define FREEZER_SLICES 5
/* So long may an agent wait for a file system. */
#define ASLEEP_SLICES  250

_Static_assert(sizeof(struct agent_slot) <= OPS_OFFSET, "a slot fits before the operations");
_Static_assert(OPS_OFFSET + SMALL_OPS * sizeof(struct agent_op) + SMALL_SPACE + 768 <= AGENT_SMALL, "small region");
_Static_assert(OPS_OFFSET + LARGE_OPS * sizeof(struct agent_op) + LARGE_SPACE + 8192 <= AGENT_LARGE, "large region");

struct agent *agent_new(struct arena *arena, const struct thread *th, void *local, raddr_t at, size_t size,
                        raddr_t death, unsigned on_death)
{
	struct agent *a = arena_new_of(arena, struct agent);
	bool small = size == AGENT_SMALL;
	size_t space;

	a->th = th;
	a->slot = local;
	a->slot_at = at;
	a->ops = (struct agent_op *)((char *)local + OPS_OFFSET);
	a->ops_at = at + OPS_OFFSET;
	a->max_ops = small ? SMALL_OPS : LARGE_OPS;
	space = OPS_OFFSET + a->max_ops * sizeof(struct agent_op);
	a->space = (uint8_t *)local + space;
	a->space_at = at + space;
	a->space_size = small ? SMALL_SPACE : LARGE_SPACE;
	a->stack_top = at + size;
	a->batch.whats = arena_array(arena, const char *, a->max_ops);
	a->batch.what = "";
	a->slot->ops = a->ops_at;
	a->slot->death = death;
	a->slot->on_death = on_death;
	return a;
}

const char *agent_name(const struct agent *a)
{
	return a->th ? task_thread_name(a->th) : "a helper task";
}

/* An unexpected stop of a traced agent: 0 when it goes on, -ESRCH when it will not. */
static int unexpected_stop(struct agent *a, int status)
{
	if (!WIFSTOPPED(status))
		return log_errno(-ESRCH, "%s: died while the agent was inside", agent_name(a));
	if (WSTOPSIG(status) == SIGSTOP && !stop_event(status)) {
		a->stop_came = true;
		return ptrace_cont(a->tid, 0);
	}
	if (stop_event(status))
		return ptrace_cont(a->tid, 0);
	return log_errno(-ESRCH, "%s: the agent stopped with signal %d", agent_name(a), WSTOPSIG(status));
}

/* Functions of the kernel in which it waits for another program or machine: FUSE, NFS, 9p, SMB, Ceph. */
static bool is_foreign_wait(const char *wchan)
{
	static const char *const names[] = { "request_wait_answer", "fuse_", "rpc_", "nfs",  "p9_",
		                             "wait_for_response",   "cifs_", "smb",  "ceph_" };

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (!strncmp(wchan, names[i], strlen(names[i])))
			return true;
	return false;
}

/* A restored task closes duplicates of what it gets, and a file system that does not answer keeps it in that call. */
static int check_asleep(struct agent *a)
{
	_cleanup_free_ char *wchan = NULL;
	char path[40];

	if (++a->asleep < ASLEEP_SLICES)
		return 0;
	a->asleep = 0;
	snprintf(path, sizeof(path), "/proc/%d/wchan", a->tid);
	if (proc_read(AT_FDCWD, path, &wchan, NULL) || !is_foreign_wait(wchan))
		return 0;
	return log_errno(-ETIMEDOUT,
	                 "%s: its agent sleeps in the kernel (%s) in a call to a file system that does not "
	                 "answer (%s)",
	                 agent_name(a), wchan, a->batch.what ?: "");
}

/* A SIGSTOP from outside before it is traced: the agent has work to do first. */
static int go_on_if_stopped(struct agent *a)
{
	struct proc_stat st;

	if (proc_stat_of(a->tid, &st))
		return 0;
	if (st.state == 'D')
		return check_asleep(a);
	a->asleep = 0;
	if (st.state != 'T')
		return 0;
	a->stop_came = true;
	return kill(a->tid, SIGCONT) && errno != ESRCH ? log_errno(-errno, "%s: kill(SIGCONT)", agent_name(a)) : 0;
}

static int check_alive(struct agent *a)
{
	int status;

	if (a->traced) {
		pid_t pid = waitpid(a->tid, &status, WNOHANG | __WALL);

		if (pid == a->tid)
			return unexpected_stop(a, status);
		if (pid < 0)
			return log_errno(-ESRCH, "%s: process disappeared while the agent was inside", agent_name(a));
		return proc_is_exiting(a->tid)
		           ? log_errno(-ESRCH, "%s: is ended while the agent is inside", agent_name(a))
		           : 0;
	}
	if (!proc_alive(a->tid))
		return log_errno(-ESRCH, "%s: died while being restored", agent_name(a));
	return go_on_if_stopped(a);
}

static bool has_answered(const struct agent *a)
{
	return __atomic_load_n(&a->slot->done, __ATOMIC_ACQUIRE);
}

/* Most answers come before this thread could sleep and be woken, and to wake it would cost the agent time as well. */
static bool answers_at_once(const struct agent *a)
{
	uint64_t until = clock_now_us() + ANSWER_US;

	while (!has_answered(a))
		if (clock_now_us() >= until)
			return false;
	return true;
}

int agent_wait(struct agent *a)
{
	static const struct timespec slice = { .tv_nsec = WAIT_SLICE_NS };
	unsigned slices = 0, looks = 0;

	while (!has_answered(a)) {
		if (fiber_yield(&looks) || answers_at_once(a))
			continue;
		if (syscall(SYS_futex, &a->slot->done, FUTEX_WAIT, 0, &slice, NULL, 0) && errno == ETIMEDOUT) {
			int err = check_alive(a);

			if (!err && a->unfreezer && ++slices % FREEZER_SLICES == 0)
				err = MIN(freeze_thaw_cgroups(a->unfreezer, a->tid, a->tid, NULL), 0);
			if (err)
				return err;
		}
	}
	return 0;
}

struct batch *agent_batch(struct agent *a, const char *what)
{
	struct batch *b = &a->batch;

	b->n = 0;
	b->used = 0;
	b->ran = false;
	b->err = 0;
	b->what = what;
	return b;
}
