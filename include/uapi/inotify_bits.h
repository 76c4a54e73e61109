/* SPDX-License-Identifier: GPL-2.0-only */
/* linux/inotify.h since 4.16: the number of the next watch (with CONFIG_CHECKPOINT_RESTORE). */
#ifndef UAPI_INOTIFY_BITS_H
#define UAPI_INOTIFY_BITS_H

#include <linux/ioctl.h>
#include <linux/types.h>

#ifndef INOTIFY_IOC_SETNEXTWD
#define INOTIFY_IOC_SETNEXTWD _IOW('I', 0, __s32)
#endif

#endif
