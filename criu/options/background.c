/* SPDX-License-Identifier: GPL-2.0-only */
#include "options/background.h"

#include <fcntl.h>

#include "lib/log.h"
#include "options/work_dir.h"

void background_leave_terminal(void)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	setsid();
	for (int fd = 0; null >= 0 && fd <= STDERR_FILENO; fd++)
		dup2(null, fd);
	if (null >= 0)
		close(null);
}

static int write_one_byte(int fd)
{
	ssize_t n;

	do
		n = write(fd, "", 1);
	while (n < 0 && errno == EINTR);
	return n == 1 ? 0 : -errno;
}

/* A zero byte, and then the end of the file: whoever waits for either knows that the command is ready. */
static int tell_status_fd(const struct options *o)
{
	int err = o->status_fd < 0 ? 0 : write_one_byte(o->status_fd);

	if (o->status_fd >= 0)
		close(o->status_fd);
	return err ? log_errno(err, "--status-fd %d: write", o->status_fd) : 0;
}

int background_tell(const struct options *o, struct stages *stages)
{
	int err = stages_run(stages, STAGE_STATUS_READY, 0);

	return err ?: tell_status_fd(o);
}

static int tell_all(const struct options *o, struct stages *stages)
{
	int err = work_dir_write_pidfile(o, getpid());

	return err ?: background_tell(o, stages);
}

/* The process that the caller waits for ends when the one in the background is ready, or has failed. */
static int go_to_background(const struct options *o, struct stages *stages, bool *parent)
{
	int ready[2], err;
	char byte;
	pid_t pid;

	if (pipe2(ready, O_CLOEXEC))
		return log_errno(-errno, "pipe2");
	pid = fork();
	*parent = pid > 0;
	if (pid < 0)
		err = log_errno(-errno, "fork, to go to the background");
	else if (pid)
		err = 0;
	else if ((err = tell_all(o, stages)) == 0)
		background_leave_terminal();
	if (!pid && !err)
		write_one_byte(ready[1]);
	close(ready[1]);
	if (pid > 0 && read(ready[0], &byte, 1) != 1)
		err = -ECHILD; /* logged there */
	close(ready[0]);
	return err;
}

int background_ready(const struct options *o, struct stages *stages, bool go, bool *parent)
{
	*parent = false;
	return go ? go_to_background(o, stages, parent) : tell_all(o, stages);
}
