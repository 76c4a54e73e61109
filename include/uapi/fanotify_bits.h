/* SPDX-License-Identifier: GPL-2.0-only */
/* linux/fanotify.h since 6.14. */
#ifndef UAPI_FANOTIFY_BITS_H
#define UAPI_FANOTIFY_BITS_H

#ifndef FAN_PRE_ACCESS
#define FAN_PRE_ACCESS 0x00100000
#endif

#endif
