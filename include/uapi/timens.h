/* SPDX-License-Identifier: GPL-2.0-only */
/* The first time namespace; <linux/nsfs.h> has its inode from Linux 6.18 on. */
#ifndef CRIU_UAPI_TIMENS_H
#define CRIU_UAPI_TIMENS_H

#define FIRST_TIME_NS_INODE 0xEFFFFFFAUL

#endif
