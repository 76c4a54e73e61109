/* SPDX-License-Identifier: GPL-2.0-only */
#include "restore/as_init.h"

#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "lib/fault.h"
#include "lib/log.h"
#include "lib/own_pids.h"

static const int end_signals[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT };
static const int job_signals[] = { SIGCONT, SIGTSTP, SIGUSR1, SIGUSR2, SIGALRM, SIGWINCH };

int as_init_check(const struct restore *r)
{
	if (getpid() != 1 || !r->opts->restore_detached || r->opts->exec_cmd)
		return 0;
	return log_refusal(-EINVAL, "--restore-detached: criu is the first process of its pid namespace, which ends "
	                            "with it, and the restored tree too: restore without the option, or below another "
	                            "first process that stays");
}

/* ---- the init ---- */

/* Those that do something to whoever started criu. */
static void add_signals(sigset_t *set, const int *signals, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct sigaction now;

		if (!sigaction(signals[i], NULL, &now) && now.sa_handler != SIG_IGN)
			sigaddset(set, signals[i]);
	}
}

/* What stops criu for its shell stops what has started this process, too: the shell sees that one. */
static void stop_callers(int sig)
{
	kill(0, sig == SIGSTOP ? SIGTSTP : sig);
}

/* A criu that was killed has left its guardian, or a tree that lives on: they are waited for. */
static _Noreturn void end_as(int status)
{
	if (!WIFSIGNALED(status))
		_exit(WEXITSTATUS(status));
	/* lint: allow: an init waits for all */
	while (waitpid(-1, NULL, 0) > 0 || errno == EINTR)
		;
	_exit(128 + WTERMSIG(status));
}

static void reap(pid_t criu)
{
	int status;
	pid_t pid;

	/* lint: allow: an init waits for all */
	while ((pid = waitpid(-1, &status, WNOHANG | WUNTRACED)) > 0) {
		if (pid == criu && WIFSTOPPED(status))
			stop_callers(WSTOPSIG(status));
		else if (pid == criu)
			end_as(status);
	}
}

/* Keys of the terminal reach criu as well, which is in the same process group. */
static _Noreturn void be_init(pid_t criu, const sigset_t *wanted)
{
	for (;;) {
		siginfo_t came;
		int sig = sigwaitinfo(wanted, &came);

		reap(criu);
		if (sig > 0 && sig != SIGCHLD && came.si_code != SI_KERNEL && came.si_pid != getpid())
			kill(criu, sig);
	}
}

static pid_t fork_again(void)
{
	pid_t pid;

	do {
		pid = fork();
		if (!pid && own_pids_avoided(getpid()))
			_exit(0);
	} while (pid > 0 && own_pids_avoided(pid) && waitpid(pid, NULL, 0) == pid);
	return pid;
}

int as_init_part(struct restore *r)
{
	struct sigaction normal = { .sa_handler = SIG_DFL };
	sigset_t all, wanted, before;
	pid_t pid;

	if (getpid() != 1)
		return 0;
	sigaction(SIGCHLD, &normal, NULL); /* ignored, the end of criu would not be seen */
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, &before);
	pid = fork_again();
	if (pid > 0) {
		syscall(SYS_close_range, STDERR_FILENO + 1, ~0U, 0);
		arena_free(r->arena);
		sigemptyset(&wanted);
		sigaddset(&wanted, SIGCHLD);
		add_signals(&wanted, end_signals, ARRAY_SIZE(end_signals));
		if (r->opts->shell_job)
			add_signals(&wanted, job_signals, ARRAY_SIZE(job_signals));
		be_init(pid, &wanted);
	}
	sigprocmask(SIG_SETMASK, &before, NULL);
	if (pid < 0)
		return log_errno(-errno, "fork, below the first process of the pid namespace");
	r->below_init = true;
	fault_init(r->opts->kill_at);
	log_info("criu is the first process of its pid namespace: pid %d restores, below it", getpid());
	return 0;
}

/* ---- criu ---- */

void as_init_wait(pid_t root)
{
	struct sigaction normal = { .sa_handler = SIG_DFL };
	sigset_t wanted;
	pid_t pid;

	sigemptyset(&wanted);
	sigaddset(&wanted, SIGCHLD);
	add_signals(&wanted, end_signals, ARRAY_SIZE(end_signals));
	sigprocmask(SIG_BLOCK, &wanted, NULL);
	sigaction(SIGCHLD, &normal, NULL);
	while ((pid = waitpid(root, NULL, WNOHANG)) == 0 || (pid < 0 && errno == EINTR)) {
		int sig = sigwaitinfo(&wanted, NULL);

		if (sig > 0 && sig != SIGCHLD)
			kill(root, sig);
	}
}
