/* SPDX-License-Identifier: GPL-2.0-only */
#include "restore/sibling.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "helper/executor_parts.h"
#include "helper/helper.h"
#include "lib/fault.h"
#include "lib/log.h"
#include "lib/rights.h"
#include "ns/ns.h"
#include "restore/own_root.h"

enum { FD_ELF, FD_AREA, FD_SOCK, FD_NS, FDS = FD_NS + ROOT_FDS_MAX + 1 };

struct sibling_call {
	int area, sock; /* their numbers in criu */
	bool has_time_ns;
};

/*
 * The first process is in the user namespace of the tree at last, and has no right to signal criu any more: neither by
 * kill(2), nor when it ends (PR_SET_PDEATHSIG). So it has the writing ends of two pipes. What comes through one, and
 * the end of the other, are signals for criu, sent with the rights of criu itself (F_SETOWN).
 */
struct sibling_pipes {
	int end[2], gone[2];
};

static int open_pipes(struct sibling_pipes *p)
{
	return pipe2(p->end, O_CLOEXEC) || pipe2(p->gone, O_CLOEXEC) ? -errno : 0; /* the process ends then */
}

static int signal_when_ready(int fd, int sig)
{
	if (fcntl(fd, F_SETOWN, getpid()) || fcntl(fd, F_SETSIG, sig) || fcntl(fd, F_SETFL, O_ASYNC | O_NONBLOCK))
		return -errno;
	return 0;
}

/* In criu. The reading ends stay open as long as criu is there. */
static int listen_to_first(const struct sibling_pipes *p)
{
	struct pollfd gone = { .fd = p->gone[0] };
	int err;

	close(p->end[1]);
	close(p->gone[1]);
	err = signal_when_ready(p->end[0], SIGTERM) ?: signal_when_ready(p->gone[0], SIGKILL);
	if (err)
		return log_errno(err, "fcntl of a pipe from the process that creates the root task");
	if (poll(&gone, 1, 0))
		return log_errno(-ESRCH, "the process that creates the root task has ended");
	return 0;
}

/* ---- the first process ---- */

struct birth {
	const struct sibling_call *call;
	int *fds;
};

/* Under its number in criu, which execve(2) keeps. Those that come first are above all numbers that come later. */
static int place_fds(const struct birth *b)
{
	int above = MAX(b->call->area, b->call->sock) + 1;

	for (int i = FD_ELF; i <= FD_SOCK; i++) {
		b->fds[i] = fcntl(b->fds[i], F_DUPFD_CLOEXEC, above);
		if (b->fds[i] < 0)
			return -errno;
	}
	if (dup2(b->fds[FD_AREA], b->call->area) < 0 || dup2(b->fds[FD_SOCK], b->call->sock) < 0)
		return -errno;
	return 0;
}

static int execute(void *arg)
{
	const struct birth *b = arg;
	char name[] = "criu-agent", *argv[] = { name, NULL };

	if (!place_fds(b))
		syscall(SYS_execveat, b->fds[FD_ELF], "", argv, argv + 1, AT_EMPTY_PATH);
	return 127;
}

/* From here on this process is in the tree's namespaces, and all that it still does is to wait. */
static pid_t create(struct restore *r, const struct sibling_call *call, int *fds, size_t n)
{
	const struct helper_spec spec = { .flags = CLONE_PARENT | CLONE_NEWPID, .outlives = true };
	struct birth b = { .call = call, .fds = fds };
	int *places[ROOT_FDS_MAX];
	size_t n_ns = ns_root_fds(r, places);
	uint64_t entered;
	int err = 0;

	if (n != FD_NS + n_ns + call->has_time_ns)
		return log_errno(-EPROTO, "namespaces for the root task: %zu descriptors", n);
	for (size_t i = 0; i < n_ns; i++)
		*places[i] = fds[FD_NS + i];
	if (call->has_time_ns)
		err = executor_enter(&fds[FD_NS + n_ns], 1, &entered);
	err = err ?: ns_become_root(r);
	return err ?: helper_start(&spec, execute, &b);
}

static void answer(struct restore *r, int sock)
{
	struct sibling_call call;
	int fds[FDS];
	size_t n = FDS;
	pid_t pid;

	if (rights_receive(sock, &call, sizeof(call), fds, &n) != sizeof(call))
		return;
	pid = create(r, &call, fds, n);
	for (size_t i = 0; i < n; i++)
		close(fds[i]);
	if (send(sock, &pid, sizeof(pid), MSG_NOSIGNAL) != sizeof(pid))
		log_debug("send of the root task's pid to criu: %m");
}

static _Noreturn void end_as(pid_t criu)
{
	sigset_t one;
	int status;

	while (waitpid(criu, &status, 0) < 0 && errno == EINTR)
		;
	if (!WIFSIGNALED(status))
		_exit(WEXITSTATUS(status));
	signal(WTERMSIG(status), SIG_DFL);
	raise(WTERMSIG(status));
	sigemptyset(&one);
	sigaddset(&one, WTERMSIG(status));
	sigprocmask(SIG_UNBLOCK, &one, NULL);
	_exit(128 + WTERMSIG(status));
}

/* What would end this process goes to criu, which takes back what it has made. */
static int watch_ends(void)
{
	static const int ends[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT };
	struct sigaction now;
	sigset_t set;

	sigemptyset(&set);
	for (size_t i = 0; i < ARRAY_SIZE(ends); i++)
		if (!sigaction(ends[i], NULL, &now) && now.sa_handler != SIG_IGN)
			sigaddset(&set, ends[i]);
	return signalfd(-1, &set, SFD_CLOEXEC);
}

static void pass_end(const struct sibling_pipes *pipes, pid_t criu, int sig)
{
	if (kill(criu, sig) && errno == EPERM && write(pipes->end[1], "", 1) != 1)
		log_warn("signal %d cannot be passed to criu: write: %m", sig);
}

static _Noreturn void wait_with(struct restore *r, int sock, const struct sibling_pipes *pipes, pid_t criu)
{
	struct pollfd p[] = {
		{ .fd = sock, .events = POLLIN },
		{ .fd = watch_ends(), .events = POLLIN },
		{ .fd = (int)syscall(SYS_pidfd_open, criu, 0), .events = POLLIN },
	};
	struct signalfd_siginfo came;

	if (p[2].fd < 0)
		close(sock); /* criu hears that nobody answers */
	while (p[2].fd >= 0 && !p[2].revents) {
		if (poll(p, ARRAY_SIZE(p), -1) < 0)
			continue;
		if (p[1].revents && read(p[1].fd, &came, sizeof(came)) == sizeof(came))
			pass_end(pipes, criu, (int)came.ssi_signo);
		if (p[0].revents & POLLIN)
			answer(r, sock);
		if (p[0].revents)
			p[0].fd = -1;
	}
	end_as(criu);
}

/* ---- criu ---- */

int sibling_part(struct restore *r)
{
	struct sigaction normal = { .sa_handler = SIG_DFL };
	struct sibling_pipes pipes;
	sigset_t all, before;
	int pair[2], err;
	pid_t pid;

	r->sibling_sock = -1;
	if (!r->opts->restore_sibling || !ns_root_is_born_inside(r))
		return 0;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
		return log_errno(-errno, "socketpair between criu and the process that creates the root task");
	err = open_pipes(&pipes);
	if (err)
		return log_errno(err, "pipe2 between criu and the process that creates the root task");
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, &before);
	pid = fork();
	if (pid > 0) {
		close(pair[1]);
		close(pipes.end[0]);
		close(pipes.gone[0]);
		sigaction(SIGCHLD, &normal, NULL);
		wait_with(r, pair[0], &pipes, pid);
	}
	sigprocmask(SIG_SETMASK, &before, NULL);
	close(pair[0]);
	r->sibling_sock = pair[1];
	if (pid < 0)
		return log_errno(-errno, "fork, beside the process that creates the root task");
	err = listen_to_first(&pipes);
	if (err)
		return err;
	fault_init(r->opts->kill_at);
	log_info("pid %d, which the caller has started, creates the root task; criu is pid %d", getppid(), getpid());
	return 0;
}

pid_t sibling_start(struct restore *r, int elf, int area, int sock)
{
	struct sibling_call call = { .area = area, .sock = sock };
	int fds[FDS] = { elf, area, sock }, *places[ROOT_FDS_MAX], time_ns = own_root_time_ns(r), err;
	size_t n = FD_NS, n_ns = ns_root_fds(r, places);
	pid_t pid = -EPIPE;

	for (size_t i = 0; i < n_ns; i++)
		fds[n++] = *places[i];
	call.has_time_ns = time_ns >= 0;
	if (call.has_time_ns)
		fds[n++] = time_ns;
	err = rights_send(r->sibling_sock, &call, sizeof(call), fds, n);
	if (!err && recv(r->sibling_sock, &pid, sizeof(pid), 0) != sizeof(pid))
		err = -EPIPE;
	if (call.has_time_ns)
		close(time_ns);
	if (err)
		return log_errno(err, "the process that creates the root task does not answer");
	return pid;
}
