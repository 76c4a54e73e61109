/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * signalfd: a mask. It has no queue of its own: a reader takes signals that are pending for itself, which come back
 * with the tasks.
 */
#include <fcntl.h>
#include <string.h>
#include <sys/syscall.h>

#include "lib/fd_flags.h"
#include "proc/fdinfo.h"
#include "files/files.h"
#include "lib/log.h"
#include "signalfd.pb-c.h"

extern const struct fd_kind signalfd_kind;

static bool signalfd_match(const struct fd_info *info)
{
	return !strcmp(info->link, "anon_inode:[signalfd]");
}

static int signalfd_dump(struct dump *d, const struct fd_info *info, void *msg)
{
	SignalfdEntry *m = msg;

	if (fdinfo_number(info->info, "sigmask", 16, &m->sigmask))
		return log_errno(-EINVAL, "%s: no mask in the fdinfo of this signalfd", fd_name(info));
	return 0;
}

static int signalfd_open(struct restore *r, const void *msg)
{
	const SignalfdEntry *m = msg;
	/* The C library's function takes its own, larger set. */
	_cleanup_close_ int fd = (int)syscall(SYS_signalfd4, -1, &m->sigmask, sizeof(m->sigmask), O_CLOEXEC);
	int err;

	if (fd < 0)
		return log_errno(-errno, "signalfd4");
	err = fd_flags_restore(fd, m->flags);
	return err ?: move_fd(&fd);
}

const struct fd_kind signalfd_kind = {
	.name = "signalfd",
	.type = FD_TYPES__SIGNALFD,
	.field = 10,
	.pb = &signalfd_entry__descriptor,
	.match = signalfd_match,
	.dump = signalfd_dump,
	.open = signalfd_open,
};
