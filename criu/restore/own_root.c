/* SPDX-License-Identifier: GPL-2.0-only */
#include <dirent.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>

#include "helper/executor_parts.h"
#include "helper/helper.h"
#include "lib/fault.h"
#include "lib/log.h"
#include "lib/own_pids.h"
#include "lib/rights.h"
#include "proc/proc.h"
#include "restore/own_root.h"
#include "tree/ns_ids.h"
#include "tree/time_ns.h"

/* ---- whether ---- */

static bool others_have(pid_t id)
{
	DIR *dir = opendir("/proc");
	struct dirent *e;
	bool found = !dir;

	while (!found && (e = readdir(dir))) {
		struct proc_stat st;
		pid_t pid = atoi(e->d_name);

		found = pid > 0 && pid != id && !proc_stat_of(pid, &st) && (st.pgrp == id || st.session == id);
	}
	if (dir)
		closedir(dir);
	return found;
}

static bool has_terminal(void)
{
	_cleanup_close_ int fd = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);

	return fd >= 0;
}

static bool is_traced(void)
{
	_cleanup_close_ int proc = proc_open(getpid());
	struct proc_status st;

	return proc < 0 || proc_read_status(proc, 0, NULL, &st) || st.tracer;
}

/* A job has the terminal as the shell gives it: to the group that the shell made for criu. */
static bool job_is_possible(const struct restore *r, const struct task *root)
{
	if (getpgrp() != getpid())
		return !has_terminal() && !others_have(getpid());
	return root->vpgid.v == getpid() || !tree_find(&r->tree, root->vpgid) || !has_terminal();
}

bool own_root_possible(const struct restore *r)
{
	const struct options *o = r->opts;
	const struct task *root = r->tree.tasks[0];
	pid_t self = getpid();

	if (ns_ids_own_pids(r) || o->restore_detached || o->restore_sibling || o->exec_cmd || root->vpid.v != self ||
	    self == 1 || is_traced())
		return false;
	if (root->vsid.v != self)
		return getsid(0) != self && job_is_possible(r, root);
	/* It makes a session, or has one already, as setsid(1) gives: then the terminal is not to be another than
	 * before. */
	return !others_have(self) && (getsid(0) != self || !has_terminal());
}

/* ---- the process that becomes the root task ---- */

struct root_call {
	int area, sock;
	pid_t mover;
	bool leaves_group; /* the leader of a group cannot make a session */
};

enum { FD_ELF, FD_AREA, FD_SOCK, FD_TIME, FDS };

/* What a new process does not have from its parent. (What execve(2) takes away is not listed.) */
static void be_as_new(void)
{
	static const int timers[] = { ITIMER_REAL, ITIMER_VIRTUAL, ITIMER_PROF };
	const struct itimerval off = { 0 };
	struct sigaction ignore = { .sa_handler = SIG_IGN }, before;

	/* Ignoring takes what is pending away: the news of the child that has just ended. */
	sigaction(SIGCHLD, &ignore, &before);
	sigaction(SIGCHLD, &before, NULL);
	for (size_t i = 0; i < ARRAY_SIZE(timers); i++)
		setitimer(timers[i], &off, NULL);
	prctl(PR_SET_PDEATHSIG, 0);
	prctl(PR_SET_CHILD_SUBREAPER, 0);
}

/* Under its number here and kept over execve(2). Those that come first are above all numbers that come later. */
static int place_fd(int fd, int number)
{
	return dup2(fd, number) == number ? 0 : -errno;
}

static _Noreturn void execute_root(const struct root_call *call, int *fds, size_t n)
{
	char name[] = "criu-agent", *argv[] = { name, NULL };
	int above = MAX(call->area, call->sock) + 1;
	uint64_t entered;
	int err = 0;

	if (n > FD_TIME)
		err = executor_enter(&fds[FD_TIME], 1, &entered);
	for (int i = FD_ELF; !err && i <= FD_SOCK; i++) {
		fds[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, above);
		err = MIN(fds[i], 0);
	}
	if (!err && call->leaves_group && setpgid(0, call->mover))
		err = log_errno(-errno, "pid %d: setpgid, to leave its process group", getpid());
	if (!err)
		err = place_fd(fds[FD_AREA], call->area) ?: place_fd(fds[FD_SOCK], call->sock);
	be_as_new();
	if (!err)
		syscall(SYS_execveat, fds[FD_ELF], "", argv, argv + 1, AT_EMPTY_PATH);
	_exit(1);
}

#define TAKEN_BACK_MS 2000 /* how long criu may need for that */

/* All signals are blocked from here on, as the root task is to start. Those that would have ended criu. */
static void block_signals(sigset_t *ends)
{
	static const int signals[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT };
	sigset_t all, before;

	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, &before);
	sigemptyset(ends);
	for (size_t i = 0; i < ARRAY_SIZE(signals); i++) {
		struct sigaction now;

		if (!sigaction(signals[i], NULL, &now) && now.sa_handler != SIG_IGN &&
		    !sigismember(&before, signals[i]))
			sigaddset(ends, signals[i]);
	}
}

/* criu is told by the end of what this process says (follow_first()), and has taken all back when it hangs up. */
static _Noreturn void end_with_criu(int sock, int sig)
{
	struct pollfd p = { .fd = sock };
	sigset_t one;

	shutdown(sock, SHUT_WR);
	poll(&p, 1, TAKEN_BACK_MS);
	sigemptyset(&one);
	sigaddset(&one, sig);
	raise(sig);
	sigprocmask(SIG_UNBLOCK, &one, NULL);
	_exit(128 + sig);
}

/* Until criu says something. */
static void await_word(int sock)
{
	sigset_t ends;
	struct signalfd_siginfo came;
	struct pollfd p[2] = { { .fd = sock, .events = POLLIN }, { .events = POLLIN } };

	block_signals(&ends);
	p[1].fd = signalfd(-1, &ends, SFD_CLOEXEC);
	while (poll(p, ARRAY_SIZE(p), -1) < 0 && errno == EINTR)
		;
	if (!p[0].revents && read(p[1].fd, &came, sizeof(came)) == sizeof(came))
		end_with_criu(sock, (int)came.ssi_signo);
	close(p[1].fd);
}

/* criu's end without a word is the end of this process, too. */
static _Noreturn void await_call(int sock, pid_t first)
{
	struct root_call call;
	int fds[FDS];
	size_t n = FDS;

	while (waitpid(first, NULL, 0) < 0 && errno == EINTR)
		;
	await_word(sock);
	if (rights_receive(sock, &call, sizeof(call), fds, &n) != sizeof(call) || n <= FD_SOCK)
		_exit(1);
	execute_root(&call, fds, n);
}

/* ---- criu ---- */

/* Not a child of the root task's: what is between them ends. */
static int fork_away(void)
{
	pid_t pid;

	do {
		pid = fork();
		if (pid > 0)
			_exit(0);
	} while (!pid && own_pids_avoided(getpid()));
	return pid < 0 ? log_errno(-errno, "fork, to another pid") : 0;
}

/* The process that the caller started, and that signals come to, ends: so does criu. */
static int follow_first(int sock)
{
	if (fcntl(sock, F_SETOWN, getpid()) || fcntl(sock, F_SETSIG, SIGTERM) || fcntl(sock, F_SETFL, O_ASYNC))
		return log_errno(-errno, "fcntl of the socket to the first process");
	return 0;
}

int own_root_part(struct restore *r)
{
	pid_t pid, self = getpid();
	int pair[2], err;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
		return log_errno(-errno, "socketpair between criu and the root task");
	pid = fork();
	if (pid < 0) {
		err = log_errno(-errno, "fork, to another pid");
		close(pair[0]);
		close(pair[1]);
		return err;
	}
	if (pid) {
		close(pair[1]);
		await_call(pair[0], pid);
	}
	close(pair[0]);
	r->own_root = true;
	r->own_root_sock = pair[1];
	err = fork_away();
	if (!err && setpgid(0, 0))
		err = log_errno(-errno, "setpgid of criu");
	if (!err)
		err = follow_first(r->own_root_sock);
	fault_init(r->opts->kill_at);
	log_info("pid %d, criu's own, becomes the root task; criu is pid %d from here on", self, getpid());
	return err;
}

struct time_job {
	struct restore *r;
	int fd;
};

/* In a helper with criu's memory and descriptors: the namespace lives on by the descriptor. */
static int make_time_ns(void *arg)
{
	struct time_job *job = arg;

	time_ns_make(job->r);
	job->fd = open("/proc/thread-self/ns/time_for_children", O_RDONLY | O_CLOEXEC);
	return 0;
}

int own_root_time_ns(struct restore *r)
{
	struct time_job job = { .r = r, .fd = -1 };

	if (time_ns_wanted(r))
		helper_run(&(struct helper_spec) { .flags = CLONE_VM | CLONE_FILES }, make_time_ns, &job);
	return job.fd;
}

/* ---- signals for the root task ---- */

#define LOOK_EVERY_MS 100

struct own_root_watch {
	pid_t pid;
	bool is_task; /* signals are the program's */
	int stop;     /* an eventfd */
	pthread_t thread;
};

/* A signal that would end criu, SIGTERM where the process is gone; 0: none. */
static int signal_of(const struct own_root_watch *w)
{
	static const int ends[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT };
	_cleanup_close_ int proc = proc_open(w->pid);
	struct proc_status st;

	if (!proc_alive(w->pid))
		return SIGTERM;
	if (proc < 0 || proc_read_status(proc, 0, NULL, &st) || __atomic_load_n(&w->is_task, __ATOMIC_ACQUIRE))
		return 0;
	for (size_t i = 0; i < ARRAY_SIZE(ends); i++)
		if ((st.shared_pending & ~st.sig_ignored) >> (ends[i] - 1) & 1)
			return ends[i];
	return 0;
}

static void *watch_root(void *arg)
{
	const struct own_root_watch *w = arg;
	struct pollfd p = { .fd = w->stop, .events = POLLIN };
	int sig = 0;

	while (!sig && poll(&p, 1, LOOK_EVERY_MS) <= 0)
		sig = signal_of(w);
	if (sig)
		kill(getpid(), sig);
	return NULL;
}

static int begin_watch(struct restore *r)
{
	struct own_root_watch *w = arena_new_of(r->arena, struct own_root_watch);
	int err;

	w->pid = r->tree.tasks[0]->vpid.v;
	w->stop = eventfd(0, EFD_CLOEXEC);
	err = w->stop < 0 ? -errno : own_pids_thread(&w->thread, watch_root, w);
	if (!err)
		r->own_root_watch = w;
	else if (w->stop >= 0)
		close(w->stop);
	return err ? log_errno(err, "starting a thread that looks at the root task") : 0;
}

void own_root_is_task(struct restore *r)
{
	if (r->own_root_watch)
		__atomic_store_n(&r->own_root_watch->is_task, true, __ATOMIC_RELEASE);
}

void own_root_end(struct restore *r)
{
	struct own_root_watch *w = r->own_root_watch;

	if (!w)
		return;
	if (eventfd_write(w->stop, 1))
		log_warn("eventfd_write, to end a thread: %m");
	pthread_join(w->thread, NULL);
	close(w->stop);
	r->own_root_watch = NULL;
}

pid_t own_root_start(struct restore *r, int elf, int area, int sock)
{
	const struct task *root = r->tree.tasks[0];
	pid_t pid = root->vpid.v;
	struct root_call call = {
		.area = area,
		.sock = sock,
		.mover = getpid(),
		.leaves_group = root->vsid.v == pid && getsid(pid) != pid && getpgid(pid) == pid,
	};
	int fds[FDS] = { elf, area, sock, own_root_time_ns(r) }, err;

	fcntl(r->own_root_sock, F_SETFL, 0); /* what follows closes it at both ends */
	err = rights_send(r->own_root_sock, &call, sizeof(call), fds, fds[FD_TIME] < 0 ? FD_TIME : FDS);
	if (fds[FD_TIME] >= 0)
		close(fds[FD_TIME]);
	close(r->own_root_sock);
	if (err)
		return log_errno(err, "pid %d, criu's own, does not become the root task", pid);
	err = begin_watch(r);
	return err ?: pid;
}
