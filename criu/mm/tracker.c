/* SPDX-License-Identifier: GPL-2.0-only */
#include "mm/tracker.h"

#include <fcntl.h>
#include <linux/close_range.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "helper/helper.h"
#include "lib/io.h"
#include "lib/log.h"
#include "lib/rights.h"
#include "mm/track_task.h"
#include "proc/proc.h"

#define LOOK_MS    5000 /* how often the tracker looks whether a task has executed another program */
#define END_MS     10000
#define TASKS_MAX  (1U << 22)
#define FIRST_ROOM 512
#define LINK       "/memfd:" TRACKER_NAME " (deleted)"

/* What the memfd begins with; the tasks follow. */
struct header {
	char magic[8], run_id[TRACKER_RUN_ID];
	uint64_t n_tasks;
};

static const char magic[8] = "tracker1";

/* ---- the process: after a fork of criu, so system calls alone ---- */

struct kept {
	int fd[TRACKER_FDS]; /* [0] is -1: it was let go */
};

enum { KEPT_UFFD, KEPT_PIDFD, KEPT_PAGEMAP };

/* What it keeps, in memory of its own that grows. */
struct keeper {
	int sock;
	struct kept *kept;
	struct pollfd *polled; /* [0] is the socket */
	size_t n, room;
};

/* Its owner was told by the commit that it may live. */
#define GO 'g'

static void *grow(void *old, size_t from, size_t to)
{
	void *p = old ? mremap(old, from, to, MREMAP_MAYMOVE)
	              : mmap(NULL, to, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		_exit(1);
	return p;
}

static void keep_fds(struct keeper *k, const int *fds)
{
	if (k->n + 1 >= k->room) {
		size_t room = 2 * k->room;

		k->kept = grow(k->kept, k->room * sizeof(*k->kept), room * sizeof(*k->kept));
		k->polled = grow(k->polled, k->room * sizeof(*k->polled), room * sizeof(*k->polled));
		k->room = room;
	}
	memcpy(k->kept[k->n].fd, fds, sizeof(k->kept->fd));
	k->polled[++k->n] = (struct pollfd) { .fd = fds[KEPT_PIDFD], .events = POLLIN };
}

static void drop(struct keeper *k, size_t i)
{
	for (size_t n = 0; n < TRACKER_FDS; n++)
		close(k->kept[i].fd[n]);
	k->kept[i].fd[0] = -1;
	k->polled[i + 1].fd = -1;
}

/* Its memory is gone, though the process is not: it has executed another program. Then the file is empty. */
static bool has_executed(const struct kept *kept)
{
	char entry[8];

	return pread(kept->fd[KEPT_PAGEMAP], entry, sizeof(entry), 0) == 0;
}

/* Descriptor 0 is the memfd: which number each userfaultfd has here, for the next dump to take it. */
static bool say_numbers(const struct keeper *k)
{
	for (size_t i = 0; i < k->n; i++) {
		int32_t number = k->kept[i].fd[KEPT_UFFD];
		off_t at = (off_t)(sizeof(struct header) + i * sizeof(struct tracked) + offsetof(struct tracked, uffd));

		if (pwrite(0, &number, sizeof(number), at) != sizeof(number))
			return false;
	}
	return true;
}

/* From criu: descriptors to keep, or the memfd and that it may go on alone. */
static void take_message(struct keeper *k)
{
	pid_t pid = (pid_t)syscall(SYS_getpid);
	int fds[RIGHTS_MAX];
	size_t n = RIGHTS_MAX;
	char what;
	ssize_t got = rights_receive(k->sock, &what, sizeof(what), fds, &n);

	if (got <= 0) /* criu has ended, or given it up */
		_exit(0);
	if (what != GO && n == TRACKER_FDS) {
		keep_fds(k, fds);
	} else if (what == GO && n == 1 && dup3(fds[0], 0, 0) == 0) {
		close(fds[0]);
		if (!say_numbers(k) || write(k->sock, &pid, sizeof(pid)) != sizeof(pid))
			_exit(1);
		close(k->sock);
		k->sock = k->polled[0].fd = -1;
	} else {
		_exit(1);
	}
}

static void __attribute__((noreturn)) keep_all(struct keeper *k)
{
	for (;;) {
		size_t left = 0;

		k->polled[0] = (struct pollfd) { .fd = k->sock, .events = POLLIN };
		if (poll(k->polled, k->n + 1, LOOK_MS) < 0 && errno != EINTR)
			_exit(1);
		for (size_t i = 0; i < k->n; i++)
			if (k->kept[i].fd[0] >= 0 && (k->polled[i + 1].revents || has_executed(&k->kept[i])))
				drop(k, i);
			else
				left += k->kept[i].fd[0] >= 0;
		if (k->sock >= 0 && k->polled[0].revents)
			take_message(k);
		else if (k->sock < 0 && !left)
			_exit(0);
	}
}

/* Nothing of the caller's: descriptors, directory, session, signals. */
static int become_tracker(void *arg)
{
	struct keeper k = { .sock = *(int *)arg, .room = FIRST_ROOM };
	sigset_t none;

	/* Number 0 is kept for the memfd, which takes the socket's place there. */
	if (dup2(k.sock, 0) < 0)
		return 1;
	syscall(SYS_close_range, 1U, (unsigned)k.sock - 1, 0U);
	syscall(SYS_close_range, (unsigned)k.sock + 1, ~0U, 0U);
	prctl(PR_SET_NAME, TRACKER_NAME);
	prctl(PR_SET_DUMPABLE, 1); /* the next dump looks into it */
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	for (int sig = 1; sig < NSIG; sig++)
		signal(sig, sig == SIGHUP || sig == SIGINT || sig == SIGQUIT || sig == SIGPIPE ? SIG_IGN : SIG_DFL);
	/* lint: allow: its own process; it is not to keep criu's directory busy */
	if (chdir("/") || syscall(SYS_setsid) < 0)
		return 1;
	k.kept = grow(NULL, 0, k.room * sizeof(*k.kept));
	k.polled = grow(NULL, 0, k.room * sizeof(*k.polled));
	keep_all(&k);
}

/* In between, so that it is no child of criu's, whose caller would meet it. */
static int start_tracker(void *arg)
{
	const struct helper_spec spec = { .outlives = true };

	return helper_start(&spec, become_tracker, arg) < 0;
}

int tracker_start(void)
{
	const struct helper_spec spec = { 0 };
	int pair[2], status;
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
		return log_errno(-errno, "socketpair for " TRACKER_NAME);
	pid = helper_start(&spec, start_tracker, &pair[1]);
	status = pid < 0 ? pid : helper_wait(pid);
	close(pair[1]);
	if (status) {
		close(pair[0]);
		return log_errno(status < 0 ? status : -EAGAIN, "fork of " TRACKER_NAME);
	}
	return pair[0];
}

int tracker_add(int sock, const int fds[TRACKER_FDS])
{
	int err = rights_send(sock, "t", 1, fds, TRACKER_FDS);

	return err ? log_errno(err, "send to " TRACKER_NAME) : 0;
}

static int write_state(int fd, const char *run_id, const struct tracked *tasks, size_t n)
{
	struct header h = { .n_tasks = n };
	int err;

	memcpy(h.magic, magic, sizeof(magic));
	snprintf(h.run_id, sizeof(h.run_id), "%s", run_id);
	err = io_pwrite_all(fd, tasks, n * sizeof(*tasks), sizeof(h));
	return err ?: io_pwrite_all(fd, &h, sizeof(h), 0);
}

int tracker_let_go(int sock, const char *run_id, const struct tracked *tasks, size_t n, pid_t *pid)
{
	_cleanup_close_ int fd = memfd_create(TRACKER_NAME, MFD_CLOEXEC);
	const char go = GO;
	int err = fd < 0 ? -errno : write_state(fd, run_id, tasks, n);
	err = err ?: rights_send(sock, &go, 1, &fd, 1);
	if (!err && recv(sock, pid, sizeof(*pid), 0) != sizeof(*pid))
		err = -ESRCH;
	return err ? log_errno(err, "handing " TRACKER_NAME " over to itself") : 0;
}

/* ---- finding one: what it shows is foreign ---- */

static bool is_trackers_state(int proc)
{
	char target[64];
	ssize_t n = readlinkat(proc, "fd/0", target, sizeof(target));

	return n == (ssize_t)strlen(LINK) && !memcmp(target, LINK, strlen(LINK));
}

/* Of criu's user: what another user's says is nothing to go by. */
static bool is_own(int proc)
{
	struct stat st;

	return !fstat(proc, &st) && st.st_uid == geteuid();
}

static bool read_state(struct arena *a, int proc, struct tracker *t)
{
	_cleanup_close_ int fd = is_trackers_state(proc) ? openat(proc, "fd/0", O_RDONLY | O_CLOEXEC) : -1;
	struct header h;
	ssize_t size;

	if (fd < 0 || io_pread_all(fd, &h, sizeof(h), 0) != sizeof(h) || memcmp(h.magic, magic, sizeof(magic)) ||
	    h.n_tasks > TASKS_MAX || h.run_id[sizeof(h.run_id) - 1])
		return false;
	memcpy(t->run_id, h.run_id, sizeof(h.run_id));
	t->n_tasks = h.n_tasks;
	t->tasks = arena_array(a, struct tracked, h.n_tasks);
	size = (ssize_t)(h.n_tasks * sizeof(*t->tasks));
	return io_pread_all(fd, t->tasks, (size_t)size, sizeof(h)) == size;
}

/* The pidfd comes first: what is read afterwards is of that process, or it has ended. */
static bool look_at(struct arena *a, pid_t pid, struct tracker *t)
{
	char comm[16];
	_cleanup_close_ int pidfd = -1, proc = -1;

	if (proc_comm(pid, comm, sizeof(comm)) || strcmp(comm, TRACKER_NAME) != 0)
		return false;
	pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	proc = pidfd < 0 ? -1 : proc_open(pid);
	if (proc < 0 || !is_own(proc) || !read_state(a, proc, t))
		return false;
	t->pid = pid;
	t->pidfd = move_fd(&pidfd);
	return true;
}

int tracker_find_all(struct arena *a, struct tracker **all, size_t *n)
{
	int *pids = NULL, err;
	size_t n_pids = 0;

	*n = 0;
	err = proc_list_numbers(AT_FDCWD, "/proc", a, &pids, &n_pids);
	if (err)
		return log_errno(err, "listing /proc");
	for (size_t i = 0; i < n_pids; i++) {
		struct tracker t;

		if (look_at(a, pids[i], &t))
			arena_push(a, all, n, t);
	}
	return 0;
}

int tracker_take_uffd(const struct tracker *t, const struct tracked *task)
{
	_cleanup_close_ int fd = (int)syscall(SYS_pidfd_getfd, t->pidfd, task->uffd, 0);

	if (fd < 0)
		return -errno;
	return track_is_uffd(fd) ? move_fd(&fd) : -EBADF;
}

int tracker_end(struct tracker *t)
{
	struct pollfd p = { .fd = t->pidfd, .events = POLLIN };
	int n;

	if (syscall(SYS_pidfd_send_signal, t->pidfd, SIGKILL, NULL, 0) && errno != ESRCH)
		return log_errno(-errno, "pidfd_send_signal of SIGKILL to the tracker, pid %d", t->pid);
	do
		n = poll(&p, 1, END_MS);
	while (n < 0 && errno == EINTR);
	return n == 1 ? 0
	              : log_errno(-ETIMEDOUT, TRACKER_NAME " (pid %d) does not end %d seconds after SIGKILL", t->pid,
	                          END_MS / 1000);
}

void tracker_forget(struct tracker *all, size_t n)
{
	for (size_t i = 0; i < n; i++)
		cleanup_close(&all[i].pidfd);
}
