/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A shell looks only at its own child, criu, while the terminal's keys reach the group of the restored root. So criu
 * stands between them, as sudo(8) does: what the shell sends to criu goes on to the root's group; when the root stops,
 * criu gives the terminal back and stops; when the shell continues criu, the root's group gets the terminal, if criu
 * has it, and goes on. Where criu is in that group itself, shell and terminal reach both.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "lib/log.h"
#include "restore/job.h"

static void set_of(sigset_t *set, const int *signals)
{
	sigemptyset(set);
	for (; *signals; signals++)
		sigaddset(set, *signals);
}

/* What criu waits for. Of keys in a common group the root has its own share; a SIGTERM to criu alone ends criu, as
 * before. */
static void wanted_signals(bool own_group, sigset_t *set)
{
	static const int passed_on[] = { SIGCHLD, SIGCONT, SIGTSTP, SIGTTIN, SIGTTOU, SIGINT,   SIGQUIT,
		                         SIGTERM, SIGHUP,  SIGUSR1, SIGUSR2, SIGALRM, SIGWINCH, 0 };
	static const int common[] = { SIGCHLD, SIGINT, SIGQUIT, 0 };

	set_of(set, own_group ? passed_on : common);
}

static int open_terminal(void)
{
	return open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);
}

bool job_give_terminal(pid_t from, pid_t to)
{
	int fd = open_terminal();
	bool given = fd >= 0 && tcgetpgrp(fd) == from && !tcsetpgrp(fd, to);

	if (fd >= 0)
		close(fd);
	return given;
}

static void continue_root(pid_t group)
{
	job_give_terminal(getpgrp(), group);
	kill(-group, SIGCONT);
}

/* By the root's own signal, which the shell names. Where that does nothing (criu was started with it ignored): SIGSTOP.
 */
static void stop_criu(int sig)
{
	struct sigaction old, normal = { .sa_handler = SIG_DFL };
	sigset_t one;

	sigemptyset(&one);
	sigaddset(&one, sig);
	sigaction(sig, NULL, &old);
	if (old.sa_handler == SIG_IGN)
		sig = SIGSTOP;
	else
		sigaction(sig, &normal, NULL);
	raise(sig);
	sigprocmask(SIG_UNBLOCK, &one, NULL);
	sigprocmask(SIG_BLOCK, &one, NULL);
}

/*
 * A shell that brings a running job to the foreground sends nothing: the root's group learns of that when it reads, and
 * stops, while criu has the terminal.
 */
static void root_has_stopped(pid_t group, int sig)
{
	if (group == getpgrp())
		return;
	if ((sig == SIGTTIN || sig == SIGTTOU) && job_give_terminal(getpgrp(), group)) {
		kill(-group, SIGCONT);
		return;
	}
	job_give_terminal(group, getpgrp());
	stop_criu(sig);
}

static void pass_on(pid_t group, int sig)
{
	if (group == getpgrp())
		return;
	if (sig == SIGCONT)
		continue_root(group);
	else
		kill(-group, sig);
}

/* What has happened to the root: 1: it has ended, with *status; 0: it lives. */
static int look_at(pid_t root, pid_t group, int *status)
{
	pid_t pid;

	while ((pid = waitpid(root, status, WNOHANG | WUNTRACED)) == root && WIFSTOPPED(*status))
		root_has_stopped(group, WSTOPSIG(*status));
	if (pid < 0)
		return log_errno(-errno, "the restored root task: waitpid of pid %d", root);
	return pid == root;
}

void job_look(pid_t root)
{
	siginfo_t si = { 0 };

	if (!waitid(P_PID, (id_t)root, &si, WEXITED | WSTOPPED | WNOHANG | WNOWAIT) && si.si_pid == root)
		job_give_terminal(getpgid(root), getpgrp());
}

int job_wait(pid_t root, const sigset_t *mask)
{
	struct sigaction normal = { .sa_handler = SIG_DFL };
	pid_t group = getpgid(root);
	sigset_t wanted, blocked;
	int status, ended;

	wanted_signals(group != getpgrp(), &wanted);
	sigorset(&blocked, &wanted, mask);
	sigprocmask(SIG_SETMASK, &blocked, NULL);
	sigaction(SIGCHLD, &normal,
	          NULL); /* ignored, as criu may have inherited that, nobody would be left to wait for */
	while (!(ended = look_at(root, group, &status))) {
		int sig = sigwaitinfo(&wanted, NULL);

		if (sig > 0 && sig != SIGCHLD)
			pass_on(group, sig);
		group = getpgid(root) > 0 ? getpgid(root) : group;
	}
	job_give_terminal(group, getpgrp());
	return ended < 0 ? ended : status;
}

void job_end(int status, bool by_exit)
{
	struct sigaction normal = { .sa_handler = SIG_DFL };
	int sig = WTERMSIG(status);
	sigset_t one;

	if (!WIFSIGNALED(status))
		_exit(WEXITSTATUS(status));
	if (by_exit)
		_exit(128 + sig);
	sigemptyset(&one);
	sigaddset(&one, sig);
	setrlimit(RLIMIT_CORE, &(struct rlimit) { 0, 0 });
	sigaction(sig, &normal, NULL);
	raise(sig);
	sigprocmask(SIG_UNBLOCK, &one, NULL);
	_exit(128 + sig);
}
