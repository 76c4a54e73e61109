/* SPDX-License-Identifier: GPL-2.0-only */
#include <fcntl.h>
#include <string.h>

#include "lib/fd_flags.h"
#include "lib/log.h"

#define SETTABLE ((uint32_t)(O_APPEND | O_NONBLOCK | O_DIRECT | O_NOATIME))

int fd_flags_restore(int fd, uint32_t flags)
{
	int now = fcntl(fd, F_GETFL);

	if (now < 0)
		return log_errno(-errno, "fcntl(F_GETFL) of descriptor %d", fd);
	if (!(((uint32_t)now ^ flags) & SETTABLE))
		return 0;
	if (fcntl(fd, F_SETFL, ((uint32_t)now & ~SETTABLE) | (flags & SETTABLE)))
		return log_errno(-errno, "fcntl(F_SETFL, 0%o) of descriptor %d", flags, fd);
	return 0;
}

int fd_flags_reopen(int fd, uint32_t flags)
{
	_cleanup_close_ int opened = -1;
	char path[32];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	/* What open() would refuse on a pipe (O_DIRECT), or take without doing it (O_ASYNC), is left out. */
	opened = open(path, (int)((flags & ~(uint32_t)(O_DIRECT | O_ASYNC | O_CREAT | O_EXCL | O_TRUNC)) | O_CLOEXEC));
	if (opened < 0)
		return -errno;
	if ((flags & O_DIRECT) && fcntl(opened, F_SETFL, fcntl(opened, F_GETFL) | O_DIRECT))
		return -errno;
	return move_fd(&opened);
}
