/* SPDX-License-Identifier: GPL-2.0-only */
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/fanotify.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#include "lib/arena.h"
#include "proc/fdinfo.h"
#include "lib/log.h"
#include "lib/own_pids.h"
#include "proc/proc.h"
#include "tree/deadlock_watch.h"
#include "uapi/fanotify_bits.h"

#define PERMISSION_EVENTS (FAN_OPEN_PERM | FAN_ACCESS_PERM | FAN_OPEN_EXEC_PERM | FAN_PRE_ACCESS)

#define LOOK_EVERY_MS     250
#define LOOKS             8 /* this many in a row: the answer of a task outside of the tree may just be slow */

struct deadlock_watch {
	const struct tree *tree;
	pthread_t thread;
	int stop;
};

/* ---- what a thread of ours waits for ---- */

static char *text_of_file(pid_t tid, const char *file)
{
	char path[64], *text;

	snprintf(path, sizeof(path), "/proc/self/task/%d/%s", tid, file);
	return proc_read(AT_FDCWD, path, &text, NULL) ? NULL : text;
}

/* The kernel names the function that it sleeps in: fanotify_handle_event, fanotify_get_response. */
static bool asks_fanotify(pid_t tid)
{
	_cleanup_free_ char *where = text_of_file(tid, "wchan");

	return where && !strncmp(where, "fanotify_", 9);
}

/* It changes with every sleep: the same number means the same wait. */
static unsigned long long sleeps_of(pid_t tid)
{
	_cleanup_free_ char *status = text_of_file(tid, "status");
	const char *at = status ? strstr(status, "\nvoluntary_ctxt_switches:") : NULL;

	return at ? strtoull(at + strlen("\nvoluntary_ctxt_switches:"), NULL, 10) : 0;
}

/* The path that it gave to openat(2), as far as that can be read. */
static void what_it_opens(pid_t tid, char *buf, size_t size)
{
	_cleanup_free_ char *call = text_of_file(tid, "syscall");
	unsigned long long path;
	struct iovec to = { buf, size - 1 }, from;
	char link[200];
	ssize_t n = 0;
	int nr;

	if (call && sscanf(call, "%d %*x %llx", &nr, &path) == 2 && nr == SYS_openat) {
		from = (struct iovec) { (void *)(uintptr_t)path, MIN(size - 1, 4096 - path % 4096) };
		n = process_vm_readv(getpid(), &to, 1, &from, 1, 0);
	}
	buf[MAX(n, 0)] = 0;
	if (!strncmp(buf, "/proc/self/fd/", 14)) {
		snprintf(link, sizeof(link), "%.*s", (int)MIN(size, sizeof(link)) - 1, buf);
		n = readlink(link, buf, size - 1);
		buf[MAX(n, 0)] = 0;
	}
	if (!*buf)
		snprintf(buf, size, "a file");
}

/* ---- whether one of the tree could give the answer ---- */

static bool gives_permission(const char *info)
{
	for (const char *at = info; (at = strstr(at, " mask:")); at++)
		if (strtoul(at + 6, NULL, 16) & PERMISSION_EVENTS)
			return true;
	return false;
}

static bool has_group(struct arena *a, pid_t pid, int *number)
{
	_cleanup_close_ int proc = proc_open(pid);
	struct text_buf buf = { 0 };
	int *numbers;
	size_t n = 0;

	if (proc < 0 || proc_read_fd_numbers(proc, a, &numbers, &n))
		return false;
	for (size_t i = 0; i < n; i++) {
		char path[32], link[32] = "";
		const char *info;

		snprintf(path, sizeof(path), "fd/%d", numbers[i]);
		if (readlinkat(proc, path, link, sizeof(link) - 1) < 0 || strcmp(link, "anon_inode:[fanotify]"))
			continue;
		snprintf(path, sizeof(path), "fdinfo/%d", numbers[i]);
		info = proc_read_text(proc, path, a, &buf);
		*number = numbers[i];
		if (info && gives_permission(info))
			return true;
	}
	return false;
}

/* Ends criu where it waits for a group of the tree. */
static void judge_wait(const struct deadlock_watch *s, pid_t tid)
{
	struct arena *a = arena_new();
	int number = -1;

	for (size_t i = 0; a && i < s->tree->n_tasks; i++) {
		const struct task *t = s->tree->tasks[i];
		char path[200];

		if (t->state == TASK_DEAD || t->pid <= 0 || !has_group(a, t->pid, &number))
			continue;
		what_it_opens(tid, path, sizeof(path));
		log_refusal(
		    -EDEADLK,
		    "%s: fd %d: fanotify: it has to allow what criu opens now (%s), but stands still for criu: "
		    "give directories that it has not marked (-D, -W), or have it remove the marks that ask for "
		    "permission (those on mounts and file systems with programs of the tree too)",
		    task_name(t), number, path);
		/* Its main thread cannot be told, it waits in the kernel: the guardian takes all back. */
		_exit(1);
	}
	if (a)
		arena_free(a);
}

/* ---- the thread ---- */

/* A thread of ours that waits for a fanotify group, and for how many looks it has. */
struct waiter {
	pid_t tid;
	unsigned long long sleeps;
	unsigned looks;
};

static void look_at_threads(const struct deadlock_watch *s, struct waiter *w)
{
	struct arena *a = arena_new();
	_cleanup_close_ int proc = proc_open(getpid());
	struct waiter now = { 0 };
	pid_t *tids = NULL;
	size_t n = 0;

	if (a && proc >= 0 && proc_read_threads(proc, a, &tids, &n))
		n = 0;
	for (size_t i = 0; i < n && !now.tid; i++)
		if (asks_fanotify(tids[i]))
			now = (struct waiter) { .tid = tids[i], .sleeps = sleeps_of(tids[i]) };
	if (a)
		arena_free(a);
	if (now.tid && now.tid == w->tid && now.sleeps == w->sleeps)
		now.looks = w->looks + 1;
	*w = now;
	if (w->looks && w->looks % LOOKS == 0)
		judge_wait(s, w->tid);
}

static void *look_on(void *arg)
{
	const struct deadlock_watch *s = arg;
	struct pollfd p = { .fd = s->stop, .events = POLLIN };
	struct waiter w = { 0 };

	while (poll(&p, 1, LOOK_EVERY_MS) <= 0)
		look_at_threads(s, &w);
	return NULL;
}

static void free_standstill(struct deadlock_watch *s)
{
	close(s->stop);
	free(s);
}

int deadlock_watch_begin(const struct tree *tree, struct deadlock_watch **sp)
{
	struct deadlock_watch *s = calloc(1, sizeof(*s));
	sigset_t all, before;
	int err;

	if (!s)
		return log_errno(-ENOMEM, "starting a thread that looks on");
	s->tree = tree;
	s->stop = eventfd(0, EFD_CLOEXEC);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	err = s->stop < 0 ? -errno : own_pids_thread(&s->thread, look_on, s);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (err) {
		free_standstill(s);
		return log_errno(err, "starting a thread that looks on");
	}
	*sp = s;
	return 0;
}

void deadlock_watch_end(struct deadlock_watch *s)
{
	if (!s)
		return;
	if (eventfd_write(s->stop, 1))
		log_warn("telling a thread to end: %s", strerror(errno));
	pthread_join(s->thread, NULL);
	free_standstill(s);
}
