/* SPDX-License-Identifier: GPL-2.0-only */
/* The guardian's process. It shares criu's descriptors, so it never closes one. */
#include <linux/sched.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#include "undo/guardian.h"
#include "lib/log.h"
#include "lib/own_pids.h"
#include "proc/proc.h"
#include "undo/signal_thread.h"
#include "undo/undo.h"

struct guardian {
	struct undo_log *log;
	struct signal_thread *signals;
	pthread_mutex_t lock; /* criu's threads among themselves */
	pid_t pid;
	int pidfd; /* of the guardian */
	int tool;  /* pidfd of criu, for the guardian */
	pid_t criu;
	pid_t thread;    /* criu's thread that traces tasks */
	bool block_chld; /* guardian_start() blocked it */
};

static int open_own_pidfd(pid_t pid)
{
	int fd = (int)syscall(SYS_pidfd_open, pid, 0);

	return fd < 0 ? -errno : fd;
}

/* A stop of criu that is not its end: criu goes on as if it were not traced. */
static void let_stop_pass(const struct guardian *g, pid_t thread, int status)
{
	int sig = WSTOPSIG(status), event = status >> 16;

	if (event != PTRACE_EVENT_STOP || (sig != SIGSTOP && sig != SIGTSTP && sig != SIGTTIN && sig != SIGTTOU)) {
		ptrace(PTRACE_CONT, thread, 0, event ? 0 : sig);
		return;
	}
	ptrace(PTRACE_LISTEN, thread, 0, 0);
	if (thread == g->thread && undo_log_stands(g->log))
		log_warn("criu was stopped (SIG%s) while tasks stand still for it: SIGCONT lets criu go on, SIGKILL "
		         "takes all back",
		         sigabbrev_np(sig));
}

static bool has_ended(const struct guardian *g, int timeout_ms)
{
	struct pollfd p = { .fd = g->tool, .events = POLLIN };

	return poll(&p, 1, timeout_ms) > 0;
}

/* While criu is not yet traced it can stop for nothing, so it comes to make its thread. */
static pid_t await_holder(const struct guardian *g)
{
	while (!undo_log_holder(g->log) && !has_ended(g, 0))
		undo_log_await_holder(g->log);
	return undo_log_holder(g->log);
}

static bool thread_has_exited(const struct guardian *g)
{
	struct proc_stat st;

	return proc_stat_of(g->thread, &st) || st.state == 'Z' || st.state == 'X';
}

/*
 * Until the end of the thread that traces tasks begins: true. False: it cannot be stopped there any more, or nothing is
 * left to be traced. Where that thread was on its way out already when it was seized its end is not told, and the end
 * of the first thread of a process is not told either as long as another one is held.
 */
static bool pass_stops(const struct guardian *g)
{
	const struct timespec pause = { .tv_nsec = 50000 };
	int status = 0, how = __WALL;

	for (;;) {
		/* lint: allow: its own process, which has tracees and no children */
		pid_t pid = waitpid(-1, &status, how);

		if ((pid < 0 && errno != EINTR) || (pid == 0 && thread_has_exited(g)))
			return false;
		if (pid == 0) {
			nanosleep(&pause, NULL);
		} else if (pid > 0 && WIFSTOPPED(status)) {
			if (status >> 16 != PTRACE_EVENT_EXIT)
				let_stop_pass(g, pid, status);
			else if (pid == g->thread)
				return true;
			else
				how |= WNOHANG;
		}
	}
}

/* All of criu but the thread that is held: the first thread of a process stays as a zombie meanwhile. */
static void await_other_threads(const struct guardian *g)
{
	struct timespec pause = { .tv_nsec = 50000 };
	struct proc_stat st;

	while (!has_ended(g, 0) && !proc_stat_of(g->criu, &st) && (st.state != 'Z' || st.num_threads > 2)) {
		nanosleep(&pause, NULL);
		pause.tv_nsec = MIN(pause.tv_nsec * 2, 5000000L);
	}
}

static void end_if_detour(pid_t pid)
{
	_cleanup_close_ int pidfd = open_own_pidfd(pid);
	struct pollfd p = { .fd = pidfd, .events = POLLIN };
	struct proc_stat st;

	if (pidfd < 0 || proc_stat_of(pid, &st) || strcmp(st.comm, GUARDIAN_DETOUR))
		return;
	syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, NULL, 0);
	poll(&p, 1, -1);
}

/* It would work on until the thread that sleeps meanwhile has exited. */
static void end_detour(const struct guardian *g)
{
	struct arena *a = undo_log_is_committed(g->log) ? NULL : arena_new();
	pid_t *pids = NULL;
	size_t n = 0;

	if (!a)
		return;
	proc_add_children(a, g->criu, &pids, &n);
	for (size_t i = 0; i < n; i++)
		end_if_detour(pids[i]);
	arena_free(a);
}

/*
 * Tasks that a dead criu has traced run on at once; a task that finds its socket in repair then fails. So criu is
 * stopped where its end begins, when it still has them, until that is taken back (while_stopped). Then all its threads
 * go but the one that takes signals, which is held until the guardian has exited. Where that cannot be (another tracer
 * has criu, or ptrace_scope forbids it) the end of criu is seen a moment later.
 */
static void wait_for_criu_end(struct guardian *g)
{
	pid_t holder = await_holder(g);
	bool traces = ptrace(PTRACE_SEIZE, g->thread, 0, PTRACE_O_TRACEEXIT) == 0;
	bool holds = traces && holder && ptrace(PTRACE_SEIZE, holder, 0, PTRACE_O_TRACEEXIT) == 0;

	undo_log_watch(g->log, traces);
	if (traces && pass_stops(g)) {
		end_detour(g);
		undo_log_run(g->log, true);
		ptrace(PTRACE_DETACH, g->thread, 0, 0);
	}
	if (holds)
		await_other_threads(g);
	else
		while (!has_ended(g, -1))
			;
}

/* Opened before the fork: there is no moment in which criu could die unseen. */
static _Noreturn void guardian_main(struct guardian *g)
{
	sigset_t all;

	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, NULL);
	prctl(PR_SET_NAME, "criu-guardian");
	setsid();
	/* lint: allow: its own process; it is not to keep criu's directory busy */
	if (chdir("/"))
		log_warn("the guardian stays in criu's directory");
	wait_for_criu_end(g);
	undo_log_run(g->log, false);
	undo_log_await_killed(g->log);
	_exit(0); /* the descriptors are closed first, then what is traced goes on, and ends */
}

/*
 * fork() with the descriptors shared and without an exit signal, so that waits of criu for any child do not see it
 * (clone(2)). At a restore with a number that no image names.
 */
static int fork_watcher(struct guardian *g)
{
	struct clone_args args = { .flags = CLONE_FILES };
	struct own_pid number = { 0 };
	sigset_t all, old;
	long pid;

	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, &old);
	do {
		own_pids_set(&number, &args);
		pid = syscall(SYS_clone3, &args, sizeof(args));
		pid = pid < 0 ? -errno : pid;
	} while (own_pids_again(&number, pid));
	if (pid == 0)
		guardian_main(g);
	sigprocmask(SIG_SETMASK, &old, NULL);
	if (pid < 0)
		return log_errno((int)pid, "clone3 of the guardian");
	g->pid = (pid_t)pid;
	return 0;
}

/* Whoever is traced stops for every signal, ignored ones too; that of its tracees would come again and again. */
static bool block_chld(int how)
{
	sigset_t chld, old;

	sigemptyset(&chld);
	sigaddset(&chld, SIGCHLD);
	pthread_sigmask(how, &chld, &old);
	return !sigismember(&old, SIGCHLD);
}

static void free_guardian(struct guardian *g)
{
	if (g->signals)
		signal_thread_end(g->signals, undo_log_is_committed(g->log));
	if (g->block_chld)
		block_chld(SIG_UNBLOCK);
	if (g->pidfd >= 0)
		close(g->pidfd);
	if (g->tool >= 0)
		close(g->tool);
	if (g->log)
		undo_log_free(g->log);
	pthread_mutex_destroy(&g->lock);
	free(g);
}

static int fork_guardian(struct guardian *g)
{
	int err;

	g->log = undo_log_new();
	if (!g->log)
		return log_errno(-errno, "mmap of the undo log");
	g->tool = open_own_pidfd(getpid());
	if (g->tool < 0)
		return log_errno(g->tool, "pidfd_open of criu itself");
	g->criu = getpid();
	g->thread = gettid();
	g->block_chld = block_chld(SIG_BLOCK);
	err = fork_watcher(g);
	if (err)
		return err;
	g->pidfd = open_own_pidfd(g->pid);
	if (g->pidfd < 0)
		return log_errno(g->pidfd, "opening the guardian's pidfd");
	return signal_thread_start(g->log, &g->signals);
}

int guardian_start(struct guardian **gp)
{
	struct guardian *g = calloc(1, sizeof(*g));
	int err;

	if (!g)
		return log_errno(-ENOMEM, "clone3 of the guardian");
	g->pidfd = g->tool = -1;
	pthread_mutex_init(&g->lock, NULL);
	err = fork_guardian(g);
	if (err) {
		if (g->pid)
			guardian_stop(g, false);
		else
			free_guardian(g);
		return err;
	}
	*gp = g;
	return 0;
}

int guardian_check(const struct guardian *g)
{
	struct pollfd p = { .fd = g->pidfd, .events = POLLIN };

	if (poll(&p, 1, 0) > 0)
		return log_errno(-ESRCH, "the guardian (pid %d) was killed; nothing is changed without it", g->pid);
	return 0;
}

/* A busy machine may let it wait before it begins. */
static int wait_until_watched(const struct guardian *g)
{
	int err = guardian_check(g);

	while (!err && !undo_log_is_watched(g->log)) {
		undo_log_await_watch(g->log);
		err = guardian_check(g);
	}
	return err;
}

int guardian_note(struct guardian *g, const struct undo *u)
{
	int err = wait_until_watched(g), number;

	if (err)
		return err;
	pthread_mutex_lock(&g->lock);
	number = undo_log_add(g->log, u);
	pthread_mutex_unlock(&g->lock);
	return number < 0 ? log_errno(number, "the undo log is full") : number;
}

void guardian_drop(struct guardian *g, int number)
{
	pthread_mutex_lock(&g->lock);
	undo_log_forget(g->log, number);
	pthread_mutex_unlock(&g->lock);
}

void guardian_commit(struct guardian *g)
{
	sigset_t all;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, NULL);
	while (!undo_log_commit(g->log))
		pause(); /* the thread that takes signals is about to end criu */
}

void guardian_hold_stops(struct guardian *g, const char *text)
{
	undo_log_stand(g->log);
	signal_thread_hold_stops(g->signals, text);
}

void guardian_hold_end(struct guardian *g)
{
	signal_thread_hold_end(g->signals);
}

void guardian_allow_end(struct guardian *g)
{
	signal_thread_allow_end(g->signals);
}

bool guardian_holds_criu(const struct guardian *g)
{
	return undo_log_holds(g->log);
}

pid_t guardian_pid(const struct guardian *g)
{
	return g->pid;
}

void guardian_stop(struct guardian *g, bool rollback)
{
	if (rollback)
		undo_log_run(g->log, false);
	undo_log_end(g->log);
	kill(g->pid, SIGKILL); /* the pid stays ours until it is waited for */
	while (waitpid(g->pid, NULL, __WALL) < 0 && errno == EINTR)
		;
	free_guardian(g);
}

int guardian_late_signal(void)
{
	return signal_thread_late();
}
