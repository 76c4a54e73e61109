/* SPDX-License-Identifier: GPL-2.0-only */
/* linux/include/uapi/linux/nsfs.h of Linux 6.11: a number of another pid namespace, as the caller's has it. */
#ifndef CRIU_UAPI_NSFS_H
#define CRIU_UAPI_NSFS_H

#include <sys/ioctl.h>

#define KERNEL_NS_GET_PID_FROM_PIDNS _IOR(0xb7, 0x6, int)

#endif
