/* SPDX-License-Identifier: GPL-2.0-only */
#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <linux/kcmp.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "proc/fdinfo.h"
#include "lib/log.h"
#include "proc/proc.h"
#include "fd/watched_by.h"

static bool in_tree(const struct dump *d, pid_t pid)
{
	for (size_t i = 0; i < d->tree.n_tasks; i++)
		if (d->tree.tasks[i]->pid == pid)
			return true;
	return false;
}

static bool has_it(struct arena *a, pid_t pid, dev_t dev, uint64_t ino, struct watched_by *by)
{
	struct kcmp_epoll_slot slot = { .efd = (uint32_t)by->efd, .tfd = by->tfd, .toff = by->nth };
	_cleanup_close_ int proc = proc_open(pid);
	int *numbers;
	size_t n = 0;

	if (proc < 0 || proc_read_fd_numbers(proc, a, &numbers, &n))
		return false;
	for (size_t i = 0; i < n; i++) {
		char path[32];
		struct stat st;

		snprintf(path, sizeof(path), "fd/%d", numbers[i]);
		if (fstatat(proc, path, &st, 0) || st.st_dev != dev || st.st_ino != ino)
			continue;
		if (syscall(SYS_kcmp, pid, by->pid, KCMP_EPOLL_TFD, (long)numbers[i], &slot))
			continue;
		by->holder = pid;
		by->number = numbers[i];
		return true;
	}
	return false;
}

int watched_by_find(struct dump *d, dev_t dev, uint64_t ino, struct watched_by *by)
{
	struct arena *a;
	struct dirent *e;
	int found = 0;
	DIR *dir;

	if (log_refusals() > 8)
		return 0;
	a = arena_new();
	dir = a ? opendir("/proc") : NULL;
	while (dir && !found && (e = readdir(dir))) {
		pid_t pid = isdigit((unsigned char)e->d_name[0]) ? (pid_t)strtol(e->d_name, NULL, 10) : 0;

		found = pid && pid != getpid() && has_it(a, pid, dev, ino, by);
	}
	if (dir)
		closedir(dir);
	arena_free(a);
	if (!found)
		return 0;
	by->in_tree = in_tree(d, by->holder);
	if (proc_comm(by->holder, by->comm, sizeof(by->comm)))
		strcpy(by->comm, "?");
	return 1;
}
