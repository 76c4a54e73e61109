/* SPDX-License-Identifier: GPL-2.0-only */
/* The guardian's process. It shares the tool's descriptors, so it never closes one. */
#include <linux/sched.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "core/guardian.h"
#include "core/log.h"
#include "core/undo.h"

struct guardian {
	struct undo_log *log;
	pthread_mutex_t lock; /* the tool's threads among themselves */
	pid_t pid;
	int pidfd; /* of the guardian */
	int tool;  /* pidfd of the tool, for the guardian */
};

static int open_pidfd(pid_t pid)
{
	int fd = (int)syscall(SYS_pidfd_open, pid, 0);

	return fd < 0 ? -errno : fd;
}

/* Opened before the fork: there is no moment in which the tool could die unseen. */
static _Noreturn void watch(struct guardian *g)
{
	struct pollfd p = { .fd = g->tool, .events = POLLIN };
	sigset_t all;

	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, NULL);
	prctl(PR_SET_NAME, "criu-guardian");
	setsid();
	/* lint: allow: its own process; it is not to keep the tool's directory busy */
	if (chdir("/"))
		log_warn("the guardian stays in the tool's directory");
	while (poll(&p, 1, -1) <= 0)
		;
	undo_log_run(g->log);
	_exit(0);
}

/*
 * fork() with the descriptors shared and without an exit signal, so that waits of the tool for any child do not see it
 * (clone(2)).
 */
static int fork_watcher(struct guardian *g)
{
	struct clone_args args = { .flags = CLONE_FILES };
	sigset_t all, old;
	long pid;

	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, &old);
	pid = syscall(SYS_clone3, &args, sizeof(args));
	if (pid == 0)
		watch(g);
	sigprocmask(SIG_SETMASK, &old, NULL);
	if (pid < 0)
		return log_errno(-errno, "starting the guardian");
	g->pid = (pid_t)pid;
	return 0;
}

static void free_guardian(struct guardian *g)
{
	if (g->pidfd >= 0)
		close(g->pidfd);
	if (g->tool >= 0)
		close(g->tool);
	if (g->log)
		undo_log_free(g->log);
	pthread_mutex_destroy(&g->lock);
	free(g);
}

static int start(struct guardian *g)
{
	int err;

	g->log = undo_log_new();
	if (!g->log)
		return log_errno(-errno, "memory for the undo log");
	g->tool = open_pidfd(getpid());
	if (g->tool < 0)
		return log_errno(g->tool, "opening the tool's own pidfd");
	err = fork_watcher(g);
	if (err)
		return err;
	g->pidfd = open_pidfd(g->pid);
	return g->pidfd < 0 ? log_errno(g->pidfd, "opening the guardian's pidfd") : 0;
}

int guardian_start(struct guardian **gp)
{
	struct guardian *g = calloc(1, sizeof(*g));
	int err;

	if (!g)
		return log_errno(-ENOMEM, "starting the guardian");
	g->pidfd = g->tool = -1;
	pthread_mutex_init(&g->lock, NULL);
	err = start(g);
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

int guardian_note(struct guardian *g, const struct undo *u)
{
	int err = guardian_check(g), number;

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

void guardian_stop(struct guardian *g, bool rollback)
{
	if (rollback)
		undo_log_run(g->log);
	undo_log_end(g->log);
	kill(g->pid, SIGKILL); /* it is ours until it is waited for: nobody else's pid */
	while (waitpid(g->pid, NULL, __WALL) < 0 && errno == EINTR)
		;
	free_guardian(g);
}
