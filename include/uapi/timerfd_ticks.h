/* SPDX-License-Identifier: GPL-2.0-only */
/* What <sys/timerfd.h> lacks; <linux/timerfd.h> has it, and cannot be included beside it. */
#ifndef UAPI_TIMERFD_TICKS_H
#define UAPI_TIMERFD_TICKS_H

#include <stdint.h>
#include <sys/ioctl.h>

/* Kernels with CONFIG_CHECKPOINT_RESTORE: sets the expirations that a read will return; not 0. */
#define TFD_IOC_SET_TICKS _IOW('T', 0, uint64_t)

#endif
