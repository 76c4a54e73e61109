/* SPDX-License-Identifier: GPL-2.0-only */
/* linux/include/uapi/linux/pidfd.h of Linux 6.15: what a pidfd says of its process. */
#ifndef CRIU_UAPI_PIDFD_INFO_H
#define CRIU_UAPI_PIDFD_INFO_H

#include <stdint.h>
#include <sys/ioctl.h>

#define KERNEL_PIDFD_INFO_EXIT (1UL << 3)

#define KERNEL_PIDFD_THREAD    O_EXCL /* of pidfd_open(2), Linux 6.9: the number is a thread's */

struct kernel_pidfd_info {
	uint64_t mask;
	uint64_t cgroupid;
	uint32_t pid, tgid, ppid;
	uint32_t ids[8]; /* real, effective, saved, file system: user and group of each */
	int32_t exit_code;
};

#define KERNEL_PIDFD_GET_INFO _IOWR(0xff, 11, struct kernel_pidfd_info)

#endif
