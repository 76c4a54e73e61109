/* SPDX-License-Identifier: GPL-2.0-only */
/* Single threads: seizing, waiting for their stops, and saying why one does not stop. */
#include <linux/kcmp.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#include "freeze/freezer.h"
#include "freeze/ptrace.h"
#include "lib/log.h"
#include "proc/proc.h"

/* How long to wait for one stop before looking at what the thread does. */
#define SLICE_MS        2

/* How often a thread that does not stop is asked whether its cgroup is frozen. */
#define FREEZER_LOOK_MS 50

/* How often SEIZE is tried without a reason why it should be forbidden. */
#define SEIZE_TRIES     10

/* This many threads are named one by one. */
#define NAMES_MAX       16

#define PF_KTHREAD      0x00200000 /* linux/include/linux/sched.h of the kernel, since 2.6.27 */

/*
 * Why SEIZE was not permitted. 0: it has exited, or is traced by us already. -EAGAIN: no reason is seen, which is an
 * error when it is final.
 */
static int not_permitted(struct freezer *f, const struct proc *p, pid_t tid, bool final, bool *ours)
{
	_cleanup_close_ int fd = proc_open(p->pid);
	struct proc_status status;
	struct proc_stat st;
	char comm[16] = "?";

	if (fd < 0 || proc_read_stat(fd, tid, &st) || proc_read_status(fd, tid, NULL, &status))
		return 0;
	if (status.tracer == f->self) {
		*ours = true;
		return 0;
	}
	if (status.tracer > 0) {
		proc_comm(status.tracer, comm, sizeof(comm));
		return log_errno(-EBUSY, "pid %d (%s): thread %d is traced by pid %d (%s); end that first", p->pid,
		                 p->comm, tid, status.tracer, comm);
	}
	if (st.state == 'Z' || st.state == 'X')
		return 0;
	if (st.flags & PF_KTHREAD)
		return log_errno(-EPERM, "pid %d (%s) is a kernel thread", p->pid, p->comm);
	if (!final)
		return -EAGAIN;
	return log_errno(
	    -EPERM,
	    "pid %d (%s): thread %d may not be traced; criu needs CAP_SYS_PTRACE in its user namespace, "
	    "and no security module that forbids it: dump it as root, or setcap cap_sys_ptrace,...+ep criu",
	    p->pid, p->comm, tid);
}

static void push_pending(struct freezer *f, struct seized *s)
{
	s->state = SEIZED_PENDING;
	s->next_pending = f->pending;
	f->pending = s;
}

/* The pid exists again: a thread that called execve() has taken over the id of its leader. */
static struct seized *entry_of(struct freezer *f, struct proc *p, pid_t tid)
{
	struct seized *s;

	HASH_FIND_INT(f->by_tid, &tid, s);
	if (s)
		return s;
	s = arena_new_of(f->arena, struct seized);
	s->tid = tid;
	s->proc = p;
	s->state = SEIZED_GONE;
	HASH_ADD_IN(f->arena, hh, f->by_tid, tid, sizeof(s->tid), s);
	arena_push(f->arena, &p->threads, &p->n_threads, s);
	return s;
}

/*
 * A signal that was on its way to its handler goes on: the interrupt, which any stop takes back and which is asked for
 * once more, stops the thread behind it.
 */
static int continue_seized(pid_t tid, int sig)
{
	int err = ptrace_interrupt(tid);

	if (!err)
		err = ptrace_cont(tid, sig);
	return err == -ESRCH ? 0 : err; /* killed: the wait will say so */
}

/*
 * A stop of a thread; true when it is the one that was waited for. After a second interrupt another stop may be queued
 * behind it, which would come when the thread runs the agent: it is let on to that one, at once.
 */
static int take_stop(struct seized *s, int status, bool *stopped)
{
	bool event = stop_event(status) == PTRACE_EVENT_STOP;
	int sig = WSTOPSIG(status);

	*stopped = event && !s->urged;
	if (event)
		s->urged = false;
	if (*stopped) {
		s->stop_signo = sig == SIGTRAP ? 0 : sig;
		return 0;
	}
	return continue_seized(s->tid, stop_event(status) ? 0 : sig);
}

/* Waits for a stop at most timeout_ms, passing other stops over. -ESRCH when it has exited; not logged. */
static int wait_stop(struct seized *s, int timeout_ms)
{
	int64_t deadline = clock_now_ms() + timeout_ms;

	for (;;) {
		int64_t left = deadline - clock_now_ms();
		bool stopped;
		int status, err = ptrace_wait(s->tid, (int)MAX(left, 0), &status);

		if (!err)
			err = take_stop(s, status, &stopped);
		if (err)
			return err == -ECHILD ? -ESRCH : err;
		if (stopped)
			return 0;
	}
}

/* A stop that was there without waiting. */
static int stopped_already(struct freezer *f, struct seized *s, int status)
{
	bool stopped;
	int err = take_stop(s, status, &stopped);

	s->state = SEIZED_STOPPED;
	if (!err && !stopped)
		push_pending(f, s);
	return err;
}

/*
 * A task under job control stop comes to its ptrace stop by SEIZE alone, and before SEIZE returns; an interrupt would
 * queue a second stop.
 */
static int interrupt_seized(struct freezer *f, struct seized *s)
{
	int status, err = ptrace_wait(s->tid, 0, &status);

	if (!err)
		return stopped_already(f, s, status);
	if (err == -ETIMEDOUT) {
		err = ptrace_interrupt(s->tid);
		push_pending(f, s);
	}
	return err == -ESRCH || err == -ECHILD ? 0 : err;
}

/*
 * *ours: it is traced by us now. Where nothing forbids it, EPERM was for a leader that another thread, calling
 * execve(), has done away with: that thread has its id now.
 */
static int try_seize(struct freezer *f, struct seized *s, bool *ours)
{
	const struct proc *p = s->proc;

	s->urged = false;
	for (int tries = 0;; tries++) {
		int err = seize_call(f, p, s->tid);

		*ours = !err;
		if (!err || err == -ESRCH)
			return 0;
		if (err == -ETIMEDOUT)
			return err;
		if (err != -EPERM)
			return log_errno(err, "pid %d (%s): seizing thread %d", p->pid, p->comm, s->tid);
		err = not_permitted(f, p, s->tid, tries >= SEIZE_TRIES, ours);
		s->urged = *ours; /* it has been interrupted, under its id of before */
		if (err != -EAGAIN)
			return err;
	}
}

int seize_thread(struct freezer *f, struct proc *p, pid_t tid, bool *fresh)
{
	struct seized *s = entry_of(f, p, tid);
	bool ours;
	int err;

	if (s->state != SEIZED_GONE)
		return 0;
	if (strangers_take(f->unfreezer.tree->frozen, tid)) {
		s->stop_signo = 0;
		s->urged = false;
		push_pending(f, s);
		*fresh = true;
		return 0;
	}
	err = try_seize(f, s, &ours);
	if (err || !ours)
		return err;
	s->stop_signo = 0;
	*fresh = true;
	err = interrupt_seized(f, s);
	return err ? log_errno(err, "pid %d (%s): interrupting thread %d", p->pid, p->comm, tid) : 0;
}

/* A look at one that had stopped; *news when it is not as it was. */
static int check_stop(struct freezer *f, struct seized *s, bool *news)
{
	int status, err = ptrace_wait(s->tid, 0, &status);

	if (err == -ETIMEDOUT && ptrace_is_stopped(s->tid))
		return 0;
	*news = true;
	s->urged = true; /* under its id of before, maybe */
	if (!err)
		return stopped_already(f, s, status);
	s->state = SEIZED_GONE;
	return err == -ETIMEDOUT || err == -ESRCH || err == -ECHILD ? 0 : err;
}

int seize_check(struct freezer *f, struct proc *p, bool leader_dead, bool *news)
{
	int err = 0;

	for (size_t i = 0; !err && i < p->n_threads; i++) {
		struct seized *s = p->threads[i];

		if (s->state == SEIZED_STOPPED) {
			err = check_stop(f, s, news);
		} else if (s->state == SEIZED_DEAD_LEADER && !leader_dead) {
			s->state = SEIZED_GONE;
			*news = true;
		}
		if (err)
			log_errno(err, "pid %d (%s): looking at thread %d again", p->pid, p->comm, s->tid);
	}
	return err;
}

/* ---- why does it not stop? ---- */

/* The child for which a vfork() waits: it lives in the same memory. 0: none. */
static pid_t vfork_child(struct freezer *f, const struct seized *s)
{
	_cleanup_close_ int fd = proc_open(s->proc->pid);
	pid_t *children = NULL;
	size_t n = 0;

	if (fd < 0 || proc_read_children(fd, s->tid, f->arena, &children, &n))
		return 0;
	for (size_t i = 0; i < n; i++)
		if (syscall(SYS_kcmp, s->tid, children[i], KCMP_VM, 0, 0) == 0)
			return children[i];
	return 0;
}

static void read_wchan(const struct seized *s, char *where, size_t size)
{
	_cleanup_free_ char *text = NULL;
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/task/%d/wchan", s->proc->pid, s->tid);
	if (proc_read(-1, path, &text, NULL) || !*text)
		text = NULL;
	snprintf(where, size, "%s", text ?: "?");
}

static void say_why(struct freezer *f, const struct seized *s)
{
	pid_t child = vfork_child(f, s);
	char comm[16] = "?", where[64];
	struct proc_stat st;

	if (proc_stat_of(s->tid, &st))
		st.state = '?';
	if (st.state == 'D' && child) {
		proc_comm(child, comm, sizeof(comm));
		log_errno(
		    -ETIMEDOUT,
		    "pid %d (%s): thread %d is in vfork() and waits for its child %d (%s) to execute a program or "
		    "to exit; try again then",
		    s->proc->pid, s->proc->comm, s->tid, child, comm);
		return;
	}
	read_wchan(s, where, sizeof(where));
	log_errno(-ETIMEDOUT,
	          "pid %d (%s): thread %d does not stop within %u s (--timeout): state %c%s, in the kernel at %s",
	          s->proc->pid, s->proc->comm, s->tid, f->timeout, st.state,
	          strstr(where, "refrigerator") ? ", frozen by its cgroup"
	          : st.state == 'D'             ? ", uninterruptible"
	                                        : "",
	          where);
}

static int give_up(struct freezer *f)
{
	size_t n = 0;

	for (const struct seized *s = f->pending; s; s = s->next_pending)
		if (n++ < NAMES_MAX)
			say_why(f, s);
	if (n > NAMES_MAX)
		log_errno(-ETIMEDOUT, "%zu more threads do not stop", n - NAMES_MAX);
	return -ETIMEDOUT;
}

/* No tracer is told of a leader that ends before its other threads. */
static bool is_dead_leader(const struct seized *s)
{
	struct proc_stat st;

	return s->tid == s->proc->pid && proc_stat_of(s->tid, &st) == 0 && st.state == 'Z';
}

/* Its id may have passed to one that we have not seized. */
static bool is_traced_by_us(const struct freezer *f, const struct seized *s)
{
	_cleanup_close_ int fd = proc_open(s->proc->pid);
	struct proc_status status;

	return fd >= 0 && proc_read_status(fd, s->tid, NULL, &status) == 0 && status.tracer == f->self;
}

/*
 * execve() waits until the threads that it has killed are gone, and forgets an interrupt of before (zap_other_threads()
 * in kernel/signal.c).
 */
static int interrupt_again(struct seized *s)
{
	int err = ptrace_interrupt(s->tid);

	s->urged = true;
	seize_reap_dead(s->proc);
	return err == -ESRCH ? 0 : err;
}

/* One of the process is gone, or has the leader's id now, and may have been interrupted twice. */
static void has_gone(struct freezer *f, struct seized *s)
{
	struct seized *leader;

	s->state = SEIZED_GONE;
	HASH_FIND_INT(f->by_tid, &s->proc->pid, leader);
	if (leader)
		leader->urged = true;
}

/* A thread can be in a frozen cgroup of version 1 of its own, or one may have been frozen since. 1: it was, and comes
 * to its stop now. */
static int thaw_its_cgroup(struct freezer *f, struct seized *s)
{
	int64_t now = clock_now_ms();

	if (now < s->look_at || f->frozen)
		return 0;
	s->look_at = now + FREEZER_LOOK_MS;
	return freeze_thaw_cgroups(&f->unfreezer, s->proc->pid, s->tid, NULL);
}

/* 1: not yet. */
static int wait_one(struct freezer *f, struct seized *s)
{
	int64_t left = f->deadline - clock_now_ms();
	int err = wait_stop(s, (int)MIN(MAX(left, 0), SLICE_MS));

	if (!err)
		s->state = SEIZED_STOPPED;
	else if (err == -ESRCH)
		has_gone(f, s);
	else if (err == -ETIMEDOUT && is_dead_leader(s))
		s->state = SEIZED_DEAD_LEADER;
	else if (err != -ETIMEDOUT)
		return log_errno(err, "pid %d (%s): waiting for thread %d to stop", s->proc->pid, s->proc->comm,
		                 s->tid);
	else if (!is_traced_by_us(f, s))
		s->state = SEIZED_GONE;
	else if ((err = thaw_its_cgroup(f, s)))
		return err;
	else
		return interrupt_again(s) ?: 1;
	return 0;
}

int seize_wait(struct freezer *f)
{
	while (f->pending) {
		struct seized *left = NULL, *s;

		while ((s = f->pending)) {
			int err = wait_one(f, s);

			if (err < 0)
				return err;
			f->pending = s->next_pending;
			if (err) {
				s->next_pending = left;
				left = s;
			}
			if (left && clock_now_ms() >= f->deadline)
				break;
		}
		/* Those that were not looked at are still in f->pending. */
		while ((s = left)) {
			left = s->next_pending;
			s->next_pending = f->pending;
			f->pending = s;
		}
		if (f->pending && clock_now_ms() >= f->deadline)
			return give_up(f);
	}
	return 0;
}

/* One that has not stopped cannot be detached; it is let go when criu ends, or stops now. */
void seize_release(struct freezer *f)
{
	struct seized *s, *tmp;

	HASH_ITER(hh, f->by_tid, s, tmp)
	{
		int status, sig = 0;

		if (s->state == SEIZED_STOPPED)
			ptrace_let_go(s->tid, s->tid == s->proc->pid);
		if (s->state == SEIZED_PENDING) {
			if (ptrace_wait(s->tid, 0, &status) == 0 && !stop_event(status))
				sig = WSTOPSIG(status);
			ptrace_detach(s->tid, sig);
		}
		s->state = SEIZED_GONE;
	}
	f->pending = NULL;
}
