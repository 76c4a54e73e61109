/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The keeper: starts criu where it belongs, and tells the front what becomes of it. In new namespaces it is the first
 * process, so it waits for all that the tree leaves behind, and ends with the last of them.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "criu-ns.h"

struct keeper {
	const struct request *r;
	int sock, tty; /* tty: -1: none */
	pid_t criu;    /* as the keeper sees it */
	int status;    /* of criu, where it has ended */
	bool ended, released, front_gone;
};

static void tell(struct keeper *k, enum news news, int value, bool empty)
{
	struct message m = { .news = news, .value = value, .empty = empty };
	pid_t group = k->tty >= 0 ? tcgetpgrp(k->tty) : 0;

	/* A process group outside of new namespaces has no number in there. */
	m.terminal = k->r->command == DUMP ? group == k->criu : group > 0;
	send(k->sock, &m, sizeof(m), MSG_NOSIGNAL);
}

/* ---- where criu runs ---- */

/* Mounts of the namespace outside come in, ours do not go out. */
static int new_proc(void)
{
	if (mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL))
		return complain(errno, "mount of / as a slave of the mount namespace outside");
	if (mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL))
		return complain(errno, "mount of a new /proc");
	return 0;
}

/* The namespaces of the process, whose number is then no other's; the directory stays. */
static int enter_namespaces(const struct request *r)
{
	if (setns(r->target, CLONE_NEWPID | CLONE_NEWNS))
		return complain(errno, "setns to the pid and mount namespaces of pid %d", r->tree);
	if (fchdir(r->cwd))
		return complain(errno, "fchdir to the current directory");
	return 0;
}

/* Whether the checkpoint has a task or thread with this number. */
static bool is_in_images(int dir, pid_t pid)
{
	char name[32];

	snprintf(name, sizeof(name), "core-%d.img", pid);
	return !faccessat(dir, name, F_OK, 0);
}

/* A number for criu that no task of the tree has. 0: any. */
static pid_t own_number(const struct request *r)
{
	int dir = open(r->images_dir ? r->images_dir : ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
	FILE *f = fopen("/proc/sys/kernel/pid_max", "re");
	int pid = 0;

	if (!f || fscanf(f, "%d", &pid) != 1)
		pid = 32768;
	if (f)
		fclose(f);
	for (pid--; dir >= 0 && pid > 1 && is_in_images(dir, pid);)
		pid--;
	if (dir >= 0)
		close(dir);
	return pid > 1 ? pid : 0;
}

static pid_t new_process(pid_t number)
{
	struct clone_args args = { .exit_signal = SIGCHLD,
		                   .set_tid = number ? (uintptr_t)&number : 0,
		                   .set_tid_size = number != 0 };
	long pid = syscall(SYS_clone3, &args, sizeof(args));

	/* What forbids a number does not forbid a process. */
	return pid < 0 && number ? fork() : (pid_t)pid;
}

static void give_terminal(int tty, pid_t group)
{
	if (tty >= 0)
		tcsetpgrp(tty, group); /* with SIGTTOU blocked */
}

static _Noreturn void become_criu(struct keeper *k, bool terminal, const sigset_t *mask)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	setpgid(0, 0);
	if (terminal)
		give_terminal(k->tty, getpid());
	sigprocmask(SIG_SETMASK, mask, NULL);
	execvp(k->r->argv[0], k->r->argv);
	complain(errno, "execvp of %s", k->r->argv[0]);
	_exit(127);
}

static int start_criu(struct keeper *k, bool terminal, const sigset_t *mask)
{
	bool dump = k->r->command == DUMP;

	if (dump ? enter_namespaces(k->r) : new_proc())
		return 1;
	k->criu = new_process(k->r->command == RESTORE ? own_number(k->r) : 0);
	if (k->criu < 0)
		return complain(errno, "clone3 of a process for criu");
	if (!k->criu)
		become_criu(k, terminal, mask);
	setpgid(k->criu, k->criu); /* both do it: whoever is first */
	return 0;
}

/* ---- what happens ---- */

static void hear(struct keeper *k)
{
	struct message m;
	ssize_t n = recv(k->sock, &m, sizeof(m), MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n != sizeof(m)) { /* the front is gone, as criu would be, had it been killed */
		k->front_gone = k->released = true;
		if (!k->ended)
			kill(k->criu, SIGKILL);
		return;
	}
	if (m.news == RELEASE)
		k->released = true;
	if (m.news == PASS && !k->ended)
		kill(k->criu, m.value);
	if (m.news == CONTINUE && !k->ended) {
		if (m.terminal)
			give_terminal(k->tty, k->criu);
		kill(-k->criu, SIGCONT);
	}
}

static void look_at_criu(struct keeper *k)
{
	int status;

	while (!k->ended && waitpid(k->criu, &status, WNOHANG | WUNTRACED) == k->criu) {
		if (WIFSTOPPED(status)) {
			tell(k, STOPPED, WSTOPSIG(status), false);
			continue;
		}
		k->ended = true;
		k->status = status;
	}
}

/* Another process in the namespace, which need not be a child: the criu of a dump has come from outside. 0: none. */
static pid_t find_other(void)
{
	DIR *proc = opendir("/proc");
	const struct dirent *e;
	pid_t pid = 0;

	while (proc && !pid && (e = readdir(proc)))
		pid = atoi(e->d_name) != getpid() ? atoi(e->d_name) : 0;
	if (proc)
		closedir(proc);
	return pid;
}

/* Waits for those who have ended. Whether no other process is there. */
static bool reap_all(void)
{
	pid_t pid;

	do
		pid = waitpid(-1, NULL, WNOHANG);
	while (pid > 0);
	return pid < 0 && !find_other();
}

static void await_end(pid_t pid)
{
	struct pollfd p = { .fd = (int)syscall(SYS_pidfd_open, pid, 0), .events = POLLIN };

	if (p.fd < 0)
		return;
	poll(&p, 1, -1);
	close(p.fd);
}

/* With the first process the kernel ends all others. */
static void outlive_all(void)
{
	pid_t other;

	do {
		while (waitpid(-1, NULL, 0) > 0 || errno == EINTR)
			;
		other = find_other();
		if (other)
			await_end(other);
	} while (other);
}

/* Nothing of the caller's is held any longer: the tree may live for months. */
static void let_go(struct keeper *k)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	for (int fd = 0; fd < 3 && null >= 0; fd++)
		dup2(null, fd);
	close_range(3, ~0U, 0);
	k->sock = k->tty = -1;
	if (chdir("/"))
		return;
}

static void outlive_criu(struct keeper *k)
{
	bool empty = k->r->command == DUMP || (k->released && reap_all());

	tell(k, ENDED, k->status, empty);
	while (!k->released) {
		struct pollfd p = { .fd = k->sock, .events = POLLIN };

		poll(&p, 1, -1);
		hear(k);
	}
	let_go(k);
	if (!empty && k->r->command != DUMP)
		outlive_all();
}

void keeper_main(const struct request *r, int sock, bool terminal, const sigset_t *mask)
{
	struct keeper k = { .r = r, .sock = sock, .tty = -1, .released = r->told_fd < 0 };
	struct pollfd p[2] = { { .fd = sock, .events = POLLIN }, { .events = POLLIN } };
	sigset_t all, child;

	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, NULL);
	sigemptyset(&child);
	sigaddset(&child, SIGCHLD);
	signal(SIGCHLD, SIG_DFL);
	p[1].fd = signalfd(-1, &child, SFD_CLOEXEC | SFD_NONBLOCK);
	k.tty = open("/dev/tty", O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (p[1].fd < 0) {
		complain(errno, "signalfd");
		_exit(1);
	}
	if (start_criu(&k, terminal, mask))
		_exit(1);
	while (!k.ended) {
		struct signalfd_siginfo info;

		poll(p, 2, -1);
		if (p[1].revents && read(p[1].fd, &info, sizeof(info)) > 0)
			look_at_criu(&k);
		if (p[0].revents && !k.front_gone)
			hear(&k);
		if (k.front_gone)
			p[0].fd = -1;
	}
	outlive_criu(&k);
	_exit(0);
}
