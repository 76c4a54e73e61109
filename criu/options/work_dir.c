/* SPDX-License-Identifier: GPL-2.0-only */
#include <fcntl.h>

#include "lib/log.h"
#include "options/work_dir.h"

int work_dir_open(const struct options *o)
{
	int fd = open(o->work_dir, O_PATH | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return log_errno(-errno, "open of the work directory %s", o->work_dir);
	return fd;
}

int work_dir_create(const struct options *o, const char *name)
{
	_cleanup_close_ int dir = work_dir_open(o);
	int fd;

	if (dir < 0)
		return dir;
	fd = openat(dir, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOCTTY, 0600);
	if (fd < 0)
		return log_errno(-errno, "open of %s in the work directory %s for writing", name, o->work_dir);
	return fd;
}

int work_dir_write_pidfile(const struct options *o, pid_t pid)
{
	_cleanup_close_ int fd = -1;
	int n;

	if (!o->pidfile)
		return 0;
	fd = work_dir_create(o, o->pidfile);
	if (fd < 0)
		return fd;
	n = dprintf(fd, "%d", pid);
	return n < 0 ? log_errno(-errno, "write of pid %d to %s", pid, o->pidfile) : 0;
}
