/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The front: prepares the command line, starts the keeper, writes the pid file, and is to the caller what criu would
 * be: it stops, goes on and ends as criu does, and criu gets the signals that it gets.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "criu-ns.h"

int complain(int err, const char *format, ...)
{
	char words[1024];
	va_list ap;

	va_start(ap, format);
	vsnprintf(words, sizeof(words), format, ap);
	va_end(ap);
	if (err)
		fprintf(stderr, "criu-ns: %s: %s\n", words, strerror(err));
	else
		fprintf(stderr, "criu-ns: %s\n", words);
	return 1;
}

static char *text(const char *format, ...) __attribute__((format(printf, 1, 2)));
static char *text(const char *format, ...)
{
	va_list ap;
	char *s = NULL;

	va_start(ap, format);
	if (vasprintf(&s, format, ap) < 0)
		s = NULL;
	va_end(ap);
	if (!s) {
		complain(0, "out of memory");
		exit(1);
	}
	return s;
}

/* ---- before criu ---- */

/* The pid in the innermost of its namespaces, from /proc/PID/status of the namespace of the reader. 0: none. */
static pid_t inner_pid(pid_t pid)
{
	char path[64], line[512];
	pid_t inner = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f))
		if (!strncmp(line, "NSpid:", 6))
			inner = (pid_t)atoi(strrchr(line, '\t') + 1);
	if (f)
		fclose(f);
	return inner;
}

/* A directory of the caller's, which may lie elsewhere, or nowhere, in the namespaces of the tree. */
static int open_dir(const char *path, int *fd)
{
	*fd = open(path, O_RDONLY | O_DIRECTORY);
	return *fd < 0 ? complain(errno, "open of %s", path) : 0;
}

static void add_word(struct request *r, const char *option, char *value)
{
	r->argv[r->argc++] = (char *)option;
	r->argv[r->argc++] = value;
}

static int prepare_dump(struct request *r)
{
	pid_t inner;

	r->target = (int)syscall(SYS_pidfd_open, r->tree, 0);
	if (r->target < 0)
		return complain(errno, "pidfd_open of pid %d", r->tree);
	fcntl(r->target, F_SETFD, FD_CLOEXEC);
	inner = inner_pid(r->tree);
	if (!inner)
		return complain(ESRCH, "the number of pid %d in its pid namespace", r->tree);
	r->cwd = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (r->cwd < 0)
		return complain(errno, "open of the current directory");
	add_word(r, "-t", text("%d", inner));
	if (open_dir(r->images_dir ? r->images_dir : ".", &r->images_fd))
		return 1;
	add_word(r, "-D", text("/proc/self/fd/%d", r->images_fd));
	if (!r->work_dir)
		return 0;
	if (open_dir(r->work_dir, &r->work_fd))
		return 1;
	add_word(r, "-W", text("/proc/self/fd/%d", r->work_fd));
	return 0;
}

/* What the pid file needs: criu tells the number that it sees through a pipe. The end to read from, or -1. */
static int prepare_pid_pipe(struct request *r)
{
	int pipes[2];

	if (!r->pidfile || r->command != RESTORE)
		return -1;
	if (pipe2(pipes, O_CLOEXEC)) {
		complain(errno, "pipe2");
		exit(1);
	}
	fcntl(pipes[1], F_SETFD, 0);
	fcntl(pipes[0], F_SETFL, O_NONBLOCK); /* the keeper has the other end, too */
	r->told_fd = pipes[1];
	add_word(r, "--pidfile", text("/proc/self/fd/%d", r->told_fd));
	return pipes[0];
}

static void finish_words(struct request *r)
{
	for (char **word = r->rest; *word; word++)
		r->argv[r->argc++] = *word;
	r->argv[r->argc] = NULL;
}

/* ---- the pid file ---- */

struct pidfile {
	int fd;    /* -1: none is wanted */
	int dir;   /* that it is in */
	bool made; /* did not exist */
	bool written;
	const char *name;
};

/* Before anything is done, so that it cannot fail afterwards. */
static int pidfile_open(const struct request *r, struct pidfile *p)
{
	const char *dir = r->work_dir ? r->work_dir : r->images_dir ? r->images_dir : ".";

	*p = (struct pidfile) { .fd = -1, .name = r->pidfile };
	if (!r->pidfile || r->command == CHECK)
		return 0;
	p->dir = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (p->dir < 0)
		return complain(errno, "open of the work directory %s", dir);
	p->made = faccessat(p->dir, r->pidfile, F_OK, 0) != 0;
	p->fd = openat(p->dir, r->pidfile, O_WRONLY | O_CREAT | O_NOCTTY | O_CLOEXEC, 0600);
	if (p->fd < 0)
		return complain(errno, "open of the pid file %s for writing", r->pidfile);
	return 0;
}

static void pidfile_write(struct pidfile *p, pid_t pid)
{
	if (p->fd < 0)
		return;
	if (ftruncate(p->fd, 0) || dprintf(p->fd, "%d", pid) < 0)
		complain(errno, "write of pid %d to the pid file %s", pid, p->name);
	p->written = true;
}

static void pidfile_end(struct pidfile *p)
{
	if (p->fd >= 0 && p->made && !p->written)
		unlinkat(p->dir, p->name, 0);
}

/* The child of `parent`, or of one of its children, that has this number in the new namespace. 0: it has ended. */
static pid_t find_child(pid_t parent, pid_t inner, int deeper)
{
	pid_t found = 0, child;
	char path[64];
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", parent, parent);
	f = fopen(path, "re");
	while (!found && f && fscanf(f, "%d", &child) == 1) {
		found = inner_pid(child) == inner ? child : 0;
		if (!found && deeper)
			found = find_child(child, inner, deeper - 1);
	}
	if (f)
		fclose(f);
	return found;
}

/* ---- while criu works ---- */

struct front {
	const struct request *r;
	pid_t keeper;
	int sock, signals, told, tty;
	struct pidfile pidfile;
	bool ended;
	struct message end;
};

static bool has_terminal(const struct front *f)
{
	return f->tty >= 0 && tcgetpgrp(f->tty) == getpgrp();
}

static void say(struct front *f, enum news news, int value)
{
	struct message m = { .news = news, .value = value, .terminal = has_terminal(f) };

	send(f->sock, &m, sizeof(m), MSG_NOSIGNAL);
}

static void take_terminal(struct front *f, bool with_criu)
{
	if (with_criu && f->tty >= 0)
		tcsetpgrp(f->tty, getpgrp()); /* with SIGTTOU blocked */
}

/* When criu ends, its child becomes one of the keeper's, behind the back of who reads the lists of children. */
static pid_t find_restored(const struct front *f, pid_t inner)
{
	pid_t pid = 0;

	for (int tries = 0; !pid && tries < 50; tries++) {
		if (tries)
			usleep(2000);
		pid = find_child(f->keeper, inner, 1);
	}
	return pid;
}

/* criu tells once. */
static void hear_pid(struct front *f)
{
	char words[16] = "";
	ssize_t n = read(f->told, words, sizeof(words) - 1);
	pid_t pid;

	close(f->told);
	f->told = -1;
	if (n <= 0 || atoi(words) <= 0)
		return;
	pid = find_restored(f, atoi(words));
	if (pid)
		pidfile_write(&f->pidfile, pid);
	else
		complain(0, "the restored root task has ended already: there is no pid for %s", f->pidfile.name);
}

static void pass_signals(struct front *f)
{
	struct signalfd_siginfo info;

	while (read(f->signals, &info, sizeof(info)) == sizeof(info))
		say(f, PASS, (int)info.ssi_signo);
}

/* As criu does: the caller's shell looks at this process alone. */
static void stop_like_criu(struct front *f, int sig)
{
	struct sigaction now, normal = { .sa_handler = SIG_DFL };
	sigset_t one;

	sigaction(sig, NULL, &now);
	if (now.sa_handler == SIG_IGN)
		sig = SIGSTOP;
	else
		sigaction(sig, &normal, NULL);
	sigemptyset(&one);
	sigaddset(&one, sig);
	sigprocmask(SIG_UNBLOCK, &one, NULL);
	raise(sig);
	sigprocmask(SIG_BLOCK, &one, NULL);
	pass_signals(f); /* first: criu must find what is to end it when it goes on */
	say(f, CONTINUE, 0);
}

static void hear_news(struct front *f)
{
	struct message m;
	ssize_t n = recv(f->sock, &m, sizeof(m), 0);

	if (n < 0 && errno == EINTR)
		return;
	if (n != sizeof(m)) { /* the keeper has said why, or was killed, and with it all in its namespaces */
		f->end = (struct message) { .news = ENDED, .value = 1 << 8, .empty = true };
		f->ended = true;
		return;
	}
	take_terminal(f, m.terminal);
	if (m.news == STOPPED)
		stop_like_criu(f, m.value);
	if (m.news == ENDED) {
		f->end = m;
		f->ended = true;
	}
}

static void attend(struct front *f)
{
	while (!f->ended) {
		struct pollfd p[] = {
			{ .fd = f->told, .events = POLLIN },
			{ .fd = f->sock, .events = POLLIN },
			{ .fd = f->signals, .events = POLLIN },
		};

		if (poll(p, 3, -1) < 0)
			continue;
		if (p[0].revents)
			hear_pid(f);
		else if (p[1].revents)
			hear_news(f);
		if (p[2].revents)
			pass_signals(f);
	}
}

static _Noreturn void end_like_criu(int status)
{
	int sig = WTERMSIG(status);
	sigset_t one;

	if (!WIFSIGNALED(status))
		exit(WEXITSTATUS(status));
	sigemptyset(&one);
	sigaddset(&one, sig);
	setrlimit(RLIMIT_CORE, &(struct rlimit) { 0, 0 });
	signal(sig, SIG_DFL);
	raise(sig);
	sigprocmask(SIG_UNBLOCK, &one, NULL);
	exit(128 + sig); /* this is the first process of a pid namespace itself */
}

/* ---- the start ---- */

/* Signals that criu gets, and those of the terminal, which must not stop this process where it sets the terminal. */
static int block_signals(sigset_t *before)
{
	static const int passed[] = { SIGINT, SIGQUIT, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2, SIGALRM };
	sigset_t set, blocked;

	sigemptyset(&set);
	for (size_t i = 0; i < sizeof(passed) / sizeof(passed[0]); i++)
		sigaddset(&set, passed[i]);
	blocked = set;
	sigaddset(&blocked, SIGTTOU);
	sigprocmask(SIG_BLOCK, &blocked, before);
	return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

static pid_t start_keeper(struct front *f, const sigset_t *mask)
{
	bool terminal = has_terminal(f);
	unsigned long flags = f->r->command == DUMP ? 0 : CLONE_NEWPID | CLONE_NEWNS;
	int sk[2];
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sk))
		return -1;
	pid = (pid_t)syscall(SYS_clone, flags | SIGCHLD, 0, 0, 0, 0);
	if (!pid) {
		close(sk[0]);
		keeper_main(f->r, sk[1], terminal, mask);
	}
	close(sk[1]);
	f->sock = sk[0];
	return pid;
}

static int run(struct front *f)
{
	sigset_t mask;

	f->signals = block_signals(&mask);
	f->tty = open("/dev/tty", O_RDWR | O_NOCTTY | O_CLOEXEC);
	signal(SIGCHLD, SIG_DFL);
	f->keeper = start_keeper(f, &mask);
	if (f->keeper < 0)
		return complain(errno, "clone of a process%s",
		                f->r->command == DUMP ? "" : " in new pid and mount namespaces");
	if (f->r->told_fd >= 0)
		close(f->r->told_fd);
	attend(f);
	if (f->told >= 0)
		hear_pid(f);
	if (f->r->command == DUMP && f->end.value == 0)
		pidfile_write(&f->pidfile, f->r->tree);
	pidfile_end(&f->pidfile);
	say(f, RELEASE, 0);
	if (f->end.empty)
		waitpid(f->keeper, NULL, 0);
	end_like_criu(f->end.value);
}

int main(int argc, char **argv)
{
	struct request r;
	struct front f = { .r = &r, .told = -1 };

	args_parse(argc, argv, &r);
	if (r.command == DUMP && prepare_dump(&r))
		return 1;
	f.told = prepare_pid_pipe(&r);
	finish_words(&r);
	if (pidfile_open(&r, &f.pidfile)) {
		pidfile_end(&f.pidfile);
		return 1;
	}
	return run(&f);
}
