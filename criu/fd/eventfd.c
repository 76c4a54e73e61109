/* SPDX-License-Identifier: GPL-2.0-only */
/* eventfd: a counter, and whether it is a semaphore. */
#include <string.h>
#include <sys/eventfd.h>

#include "lib/fd_flags.h"
#include "proc/fdinfo.h"
#include "files/files.h"
#include "lib/log.h"
#include "eventfd.pb-c.h"

/* The most that a write(2) can make of it. Other parts of the kernel can add one more. */
#define COUNT_MAX (UINT64_MAX - 1)

extern const struct fd_kind eventfd_kind;

static bool eventfd_match(const struct fd_info *info)
{
	return !strcmp(info->link, "anon_inode:[eventfd]");
}

static int eventfd_dump(struct dump *d, const struct fd_info *info, void *msg)
{
	EventfdFileEntry *m = msg;
	uint64_t semaphore;

	if (fdinfo_number(info->info, "eventfd-count", 16, &m->counter))
		return log_errno(-EINVAL, "%s: no count in the fdinfo of this eventfd", fd_name(info));
	/* Kernels before 6.5 do not show it. A read would tell, but take from the count. */
	if (fdinfo_number(info->info, "eventfd-semaphore", 10, &semaphore))
		log_warn("%s: this kernel does not show whether an eventfd is a semaphore; it becomes a counter",
		         fd_name(info));
	else if (semaphore)
		m->semaphore = m->has_semaphore = true;
	return 0;
}

static int eventfd_open(struct restore *r, const void *msg)
{
	const EventfdFileEntry *m = msg;
	/* No eventfd is write-only, so that the bit of EFD_SEMAPHORE in its flags can mean nothing else. */
	bool semaphore = m->semaphore || (m->flags & EFD_SEMAPHORE);
	_cleanup_close_ int fd = eventfd(0, EFD_CLOEXEC | (semaphore ? EFD_SEMAPHORE : 0));
	uint64_t count = MIN(m->counter, COUNT_MAX);
	int err;

	if (fd < 0)
		return log_errno(-errno, "eventfd");
	if (count != m->counter)
		log_warn("an eventfd had overflowed; it has the highest count now");
	if (count && write(fd, &count, sizeof(count)) != sizeof(count))
		return log_errno(-errno, "eventfd: write of %llu", (unsigned long long)count);
	err = fd_flags_restore(fd, m->flags);
	return err ?: move_fd(&fd);
}

const struct fd_kind eventfd_kind = {
	.name = "eventfd",
	.type = FD_TYPES__EVENTFD,
	.field = 8,
	.pb = &eventfd_file_entry__descriptor,
	.match = eventfd_match,
	.dump = eventfd_dump,
	.open = eventfd_open,
};
