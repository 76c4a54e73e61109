/* SPDX-License-Identifier: GPL-2.0-only */
#include "ipc/mqueue_holders.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proc/proc.h"

/* What the link of a descriptor says: cheap, and right for a queue that is open, wherever it is mounted. */
static bool has_name(const char *link, const char *name)
{
	const char *last = strrchr(link, '/');
	size_t len = strlen(name);

	return last && !strncmp(last, name, len) && (!last[len] || !strcmp(last + len, " (deleted)"));
}

/* A short-lived helper of criu's has what criu has. */
static bool is_helper(pid_t pid)
{
	while (pid > 1 && pid != getpid()) {
		struct proc_stat stat;
		int proc_fd = proc_open(pid), err = proc_fd < 0 ? proc_fd : proc_read_stat(proc_fd, 0, &stat);

		if (proc_fd >= 0)
			close(proc_fd);
		if (err)
			return true; /* it has ended meanwhile */
		pid = stat.ppid;
	}
	return pid == getpid();
}

static void look_at_fd(int dir, const char *number, pid_t pid, struct mqueue_dumped *queues)
{
	char link[PATH_MAX + 16];
	ssize_t len = readlinkat(dir, number, link, sizeof(link) - 1);
	struct stat st;

	if (len <= 0 || link[0] != '/')
		return;
	link[len] = '\0';
	for (struct mqueue_dumped *q = queues; q; q = q->next)
		if (!q->holder && has_name(link, q->entry->name) && !fstatat(dir, number, &st, 0) &&
		    st.st_dev == q->dev && st.st_ino == q->ino && !is_helper(pid))
			q->holder = pid;
}

static void look_at_process(pid_t pid, struct mqueue_dumped *queues)
{
	char path[64];
	DIR *dir;
	const struct dirent *e;

	snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	dir = opendir(path);
	while (dir && (e = readdir(dir)))
		if (e->d_name[0] != '.')
			look_at_fd(dirfd(dir), e->d_name, pid, queues);
	if (dir)
		closedir(dir);
}

/* criu has duplicates itself, and the guardian shares its table. */
void mqueue_holders_find(const struct dump *d, struct mqueue_dumped *queues)
{
	DIR *dir = opendir("/proc");
	const struct dirent *e;

	while (dir && (e = readdir(dir))) {
		pid_t pid = (pid_t)strtol(e->d_name, NULL, 10);

		if (pid > 0 && pid != getpid() && pid != guardian_pid(d->guardian) && !tree_find_ours(&d->tree, pid))
			look_at_process(pid, queues);
	}
	if (dir)
		closedir(dir);
}
