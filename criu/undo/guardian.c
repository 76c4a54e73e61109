/* SPDX-License-Identifier: GPL-2.0-only */
/* The guardian's process. It shares criu's descriptors, so it never closes one. */
#include <linux/sched.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#include "undo/guardian.h"
#include "lib/log.h"
#include "lib/own_pids.h"
#include "undo/undo.h"

struct guardian {
	struct undo_log *log;
	pthread_mutex_t lock; /* criu's threads among themselves */
	pid_t pid;
	int pidfd;       /* of the guardian */
	int tool;        /* pidfd of criu, for the guardian */
	pid_t thread;    /* criu's thread that traces tasks */
	bool block_chld; /* guardian_start() blocked it */
};

static int open_own_pidfd(pid_t pid)
{
	int fd = (int)syscall(SYS_pidfd_open, pid, 0);

	return fd < 0 ? -errno : fd;
}

/* A stop of criu that is not its end: criu goes on as if it were not traced. */
static void let_stop_pass(pid_t thread, int status)
{
	int sig = WSTOPSIG(status), event = status >> 16;

	if (event == PTRACE_EVENT_STOP && (sig == SIGSTOP || sig == SIGTSTP || sig == SIGTTIN || sig == SIGTTOU))
		ptrace(PTRACE_LISTEN, thread, 0, 0);
	else
		ptrace(PTRACE_CONT, thread, 0, event ? 0 : sig);
}

/*
 * Tasks that a dead criu has traced run on at once; a task that finds its socket in repair then fails. So criu is
 * stopped where its end begins, when it still has them, until that is taken back (while_stopped). Where that cannot be
 * (another tracer has criu, or ptrace_scope forbids it) its end is seen a moment later.
 */
static void wait_for_criu_end(struct guardian *g)
{
	struct pollfd p = { .fd = g->tool, .events = POLLIN };
	pid_t pid = 0;
	int status = 0;
	bool traces = ptrace(PTRACE_SEIZE, g->thread, 0, PTRACE_O_TRACEEXIT) == 0;

	undo_log_watch(g->log, traces);
	if (traces) {
		while ((pid = waitpid(g->thread, &status, __WALL)) == g->thread || (pid < 0 && errno == EINTR)) {
			if (pid < 0)
				continue;
			if (!WIFSTOPPED(status) || status >> 16 == PTRACE_EVENT_EXIT)
				break;
			let_stop_pass(g->thread, status);
		}
		if (pid == g->thread && WIFSTOPPED(status))
			undo_log_run(g->log, true);
		ptrace(PTRACE_DETACH, g->thread, 0, 0);
	}
	while (poll(&p, 1, -1) <= 0)
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
	_exit(0);
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
	g->thread = gettid();
	g->block_chld = block_chld(SIG_BLOCK);
	err = fork_watcher(g);
	if (err)
		return err;
	g->pidfd = open_own_pidfd(g->pid);
	return g->pidfd < 0 ? log_errno(g->pidfd, "opening the guardian's pidfd") : 0;
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
	const struct timespec pause = { .tv_nsec = 50000 };
	int err = guardian_check(g);

	while (!err && !undo_log_is_watched(g->log)) {
		nanosleep(&pause, NULL);
		err = guardian_check(g);
	}
	return err;
}

int guardian_note(struct guardian *g, const struct undo *u)
{
	int err = u->while_stopped ? wait_until_watched(g) : guardian_check(g), number;

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
	undo_log_commit(g->log);
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
