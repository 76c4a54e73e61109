/* SPDX-License-Identifier: GPL-2.0-only */
#include "proc/pid_ns.h"

#include <fcntl.h>
#include <linux/nsfs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include "lib/arena.h"
#include "proc/proc.h"
#include "uapi/nsfs.h"

int pid_ns_open(pid_t pid)
{
	char path[32];
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/ns/pid", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

struct search {
	struct arena *arena;
	uint64_t ino; /* of the namespace */
	pid_t inner, found;
};

/* A comm with these words in it is escaped: no line of it begins so. */
static int parse_levels(const char *text, const char *key, struct pid_levels *out)
{
	const char *at = strstr(text, key);
	char *end;

	out->n = 0;
	for (at = at ? at + strlen(key) : ""; *at == '\t' || *at == ' '; at = end) {
		long v = strtol(at, &end, 10);

		if (end == at || v < 0 || v > INT32_MAX || out->n == PID_LEVELS_MAX)
			return -EBADMSG;
		out->at[out->n++] = (int32_t)v;
	}
	return out->n ? 0 : -EBADMSG;
}

int pid_ns_levels(int proc_fd, pid_t tid, struct pid_levels *pid, struct pid_levels *pgid, struct pid_levels *sid)
{
	_cleanup_free_ char *text = NULL;
	char path[32] = "status";
	int err;

	if (tid)
		snprintf(path, sizeof(path), "task/%d/status", tid);
	err = proc_read_at_once(proc_fd, path, &text, NULL);
	err = err ?: parse_levels(text, "\nNSpid:", pid) ?: parse_levels(text, "\nNSpgid:", pgid);
	return err ?: parse_levels(text, "\nNSsid:", sid);
}

/* How far above a process's own namespace the wanted one is; -1: not above it. */
static int height_of(const struct search *s, int proc_fd)
{
	int fd = openat(proc_fd, "ns/pid", O_RDONLY | O_CLOEXEC), height = -1;
	struct stat st;

	for (int up = 0; fd >= 0 && height < 0; up++) {
		int parent = ioctl(fd, NS_GET_PARENT);

		if (!fstat(fd, &st) && st.st_ino == s->ino)
			height = up;
		close(fd);
		fd = parent;
	}
	if (fd >= 0)
		close(fd);
	return height;
}

/* height: of the process that the thread is of. */
static bool is_wanted(const struct search *s, int proc_fd, pid_t tid, size_t height)
{
	struct pid_levels pid, pgid, sid;

	return !pid_ns_levels(proc_fd, tid, &pid, &pgid, &sid) && height < pid.n &&
	       pid.at[pid.n - 1 - height] == s->inner;
}

static bool search_process(struct search *s, pid_t pid)
{
	_cleanup_close_ int proc_fd = proc_open(pid);
	int height = proc_fd < 0 ? -1 : height_of(s, proc_fd);
	pid_t *tids = NULL;
	size_t n = 0;

	if (height < 0 || proc_read_threads(proc_fd, s->arena, &tids, &n))
		return false;
	for (size_t i = 0; !s->found && i < n; i++)
		if (is_wanted(s, proc_fd, tids[i], (size_t)height))
			s->found = tids[i];
	return s->found;
}

static bool search_near(struct search *s, pid_t near)
{
	pid_t *pids = NULL;
	size_t n = 0;

	if (search_process(s, near))
		return true;
	proc_add_children(s->arena, near, &pids, &n);
	for (size_t i = n; !s->found && i-- > 0;) /* the youngest, most often */
		search_process(s, pids[i]);
	return s->found;
}

pid_t pid_ns_ours_by_proc(int ns, pid_t inner, pid_t near)
{
	struct search s = { .arena = arena_new(), .inner = inner };
	int *pids = NULL;
	size_t n = 0;
	struct stat st;
	int err = s.arena ? 0 : -ENOMEM;

	if (!err && fstat(ns, &st))
		err = -errno;
	s.ino = err ? 0 : st.st_ino;
	if (!err && !(near > 0 && search_near(&s, near)))
		err = proc_list_numbers(AT_FDCWD, "/proc", s.arena, &pids, &n);
	for (size_t i = n; !err && !s.found && i-- > 0;)
		search_process(&s, pids[i]);
	if (s.arena)
		arena_free(s.arena);
	return err ?: s.found ?: -ESRCH;
}

pid_t pid_ns_ours(int ns, pid_t inner, pid_t near)
{
	int ours = ioctl(ns, KERNEL_NS_GET_PID_FROM_PIDNS, inner);

	if (ours > 0)
		return ours;
	if (ours < 0 && errno != ENOTTY && errno != EINVAL)
		return -errno;
	return ours < 0 ? pid_ns_ours_by_proc(ns, inner, near) : -ESRCH;
}
