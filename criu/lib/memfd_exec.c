/* SPDX-License-Identifier: GPL-2.0-only */
#include <errno.h>

#include "lib/memfd_exec.h"
#include "uapi/memfd_bits.h"

int memfd_exec(const char *name, unsigned flags)
{
	int fd = memfd_create(name, flags | MFD_EXEC);

	if (fd < 0 && errno == EINVAL) /* before 6.3 all may be executed */
		fd = memfd_create(name, flags);
	return fd < 0 ? -errno : fd;
}
