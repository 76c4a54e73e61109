/* SPDX-License-Identifier: GPL-2.0-only */
#include "options/background.h"

#include <fcntl.h>

#include "lib/log.h"
#include "options/work_dir.h"

static void leave_terminal(void)
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

/* A zero byte, and then the end of the file: whoever waits for either knows that the command serves. */
static int tell_status_fd(const struct options *o)
{
	int err = o->status_fd < 0 ? 0 : write_one_byte(o->status_fd);

	if (o->status_fd >= 0)
		close(o->status_fd);
	return err ? log_errno(err, "--status-fd %d: write", o->status_fd) : 0;
}

static int tell_all(const struct options *o, int (*ready)(void *arg), void *arg)
{
	int err = work_dir_write_pidfile(o, getpid());

	if (!err && ready)
		err = ready(arg);
	return err ?: tell_status_fd(o);
}

int background_begin(const struct options *o, bool daemon, int (*ready)(void *arg), void *arg, bool *parent)
{
	int pair[2], err = 0;
	char byte;
	pid_t pid;

	*parent = false;
	if (!daemon)
		return tell_all(o, ready, arg);
	if (pipe2(pair, O_CLOEXEC))
		return log_errno(-errno, "pipe2");
	pid = fork();
	*parent = pid > 0;
	if (pid < 0)
		err = log_errno(-errno, "fork, to go to the background");
	else if (!pid && (err = tell_all(o, ready, arg)) == 0)
		leave_terminal();
	if (!pid && !err)
		write_one_byte(pair[1]);
	close(pair[1]);
	if (pid > 0 && read(pair[0], &byte, 1) != 1)
		err = -ECHILD; /* logged there */
	close(pair[0]);
	return err;
}
