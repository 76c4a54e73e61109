/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Strangers: threads in a frozen cgroup that are not (yet known to be) of the tree. Who froze the cgroup wants none of
 * them to run, but the agent can only run in a thawed one. So they are stopped by ptrace before the thaw, and let go
 * after the cgroup has been frozen again: no thread in it makes a step that the freezer would not have let it make.
 */
#include <fcntl.h>
#include <fts.h>
#include <string.h>
#include <sys/ptrace.h>

#include "freeze/freezer.h"
#include "freeze/ptrace.h"
#include "lib/log.h"
#include "proc/proc.h"

/* How long all of them together may take to come to their stops. */
#define STOP_MS 300

struct stranger {
	pid_t tid;
	bool taken;
	bool stuck; /* did not stop when that was waited for: in vfork(), whose child does not run */
	UT_hash_handle hh;
};

/* Already stopped by job control: a thaw does not let it run, and SEIZE would wait for the thaw. */
static bool is_job_stopped(pid_t tid)
{
	_cleanup_free_ char *text = NULL;
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/wchan", tid);
	return proc_read(AT_FDCWD, path, &text, NULL) == 0 && strstr(text, "signal_stop");
}

/* SEIZE was not permitted. 0: that one does not matter, else a refusal (logged). */
static int refuse_stranger(const struct frozen *z, pid_t tid)
{
	_cleanup_close_ int fd = proc_open(tid);
	struct proc_status status;
	struct proc_stat st;

	if (fd < 0 || proc_read_stat(fd, 0, &st) || proc_read_status(fd, 0, NULL, &status) || st.state == 'Z' ||
	    st.state == 'X' || st.state == 't' || status.tracer == gettid())
		return 0;
	if (status.tracer)
		return log_errno(-EBUSY,
		                 "%s is frozen, and pid %d (%s) in it, traced by pid %d, would run while the cgroup is "
		                 "thawed for the dump; end that first, or thaw the cgroup",
		                 z->path, tid, st.comm, status.tracer);
	return log_errno(-EPERM,
	                 "%s is frozen, and pid %d (%s) in it, which criu may not trace, would run while the cgroup is "
	                 "thawed for the dump; thaw the cgroup first, or move the process out",
	                 z->path, tid, st.comm);
}

static int seize_stranger(struct frozen *z, struct arena *a, pid_t tid)
{
	struct stranger *s;
	int err = is_job_stopped(tid) ? -ESRCH : ptrace_seize(tid, 0);

	if (err == -EPERM)
		return refuse_stranger(z, tid);
	if (err)
		return err == -ESRCH ? 0 : log_errno(err, "%s: ptrace(PTRACE_SEIZE) of pid %d", z->path, tid);
	s = arena_new_of(a, struct stranger);
	s->tid = tid;
	HASH_ADD_IN(a, hh, z->strangers, tid, sizeof(s->tid), s);
	err = ptrace_interrupt(tid);
	return err == -ESRCH ? 0 : err;
}

static int seize_listed(struct frozen *z, struct arena *a, const char *path, pid_t spare)
{
	_cleanup_fclose_ FILE *file = fopen(path, "re");
	int err = 0, tid;

	while (!err && file && fscanf(file, "%d", &tid) == 1) {
		struct proc_status status = { 0 };
		_cleanup_close_ int fd = spare ? proc_open(tid) : -1;

		if (tid == 0)
			return log_errno(-EBUSY,
			                 "%s is frozen, and processes of another pid namespace in it would run while "
			                 "the cgroup is thawed for the dump; thaw the cgroup first, or run criu in the "
			                 "outer pid namespace",
			                 z->path);
		if (fd >= 0 && proc_read_status(fd, 0, NULL, &status) == 0 && status.tgid == spare)
			continue;
		err = seize_stranger(z, a, tid);
	}
	return err;
}

int strangers_seize(struct frozen *z, struct arena *a, const char *cgroup, pid_t spare)
{
	char *const roots[] = { arena_strdup(a, cgroup), NULL };
	FTS *fts = fts_open(roots, FTS_PHYSICAL | FTS_NOCHDIR | FTS_NOSTAT, NULL);
	const char *name = z->v2 ? "cgroup.threads" : "tasks";
	FTSENT *e;
	int err = 0;

	while (fts && !err && (e = fts_read(fts)))
		if (e->fts_info == FTS_D)
			err = seize_listed(z, a, arena_printf(a, "%s/%s", e->fts_path, name), spare);
	if (fts)
		fts_close(fts);
	return err;
}

bool strangers_take(struct frozen *z, pid_t tid)
{
	for (; z; z = z->next) {
		struct stranger *s;

		HASH_FIND_INT(z->strangers, &tid, s);
		if (s && !s->taken)
			return s->taken = true;
	}
	return false;
}

/* A stop for a signal keeps the signal: the thread is let on with it to the stop that was asked for. */
static void wait_stranger(struct stranger *s, int64_t deadline)
{
	int status, err;

	if (s->taken || s->stuck || ptrace_is_stopped(s->tid))
		return;
	while ((err = ptrace_wait(s->tid, (int)MAX(deadline - clock_now_ms(), 0), &status)) == 0 && !stop_event(status))
		ptrace_cont(s->tid, WSTOPSIG(status));
	s->stuck = err == -ETIMEDOUT;
}

void strangers_wait(struct frozen *z)
{
	int64_t deadline = clock_now_ms() + STOP_MS;
	struct stranger *s, *tmp;

	HASH_ITER(hh, z->strangers, s, tmp)
	wait_stranger(s, deadline);
}

void strangers_let_go(struct frozen *z)
{
	struct stranger *s, *tmp;

	HASH_ITER(hh, z->strangers, s, tmp)
	if (!s->taken)
		ptrace_detach(s->tid, 0);
	z->strangers = NULL;
}
