/* SPDX-License-Identifier: GPL-2.0-only */
/* linux/eventpoll.h since 6.9: busy polling of an epoll instance. */
#ifndef UAPI_EPOLL_BITS_H
#define UAPI_EPOLL_BITS_H

#include <linux/ioctl.h>
#include <linux/types.h>

#ifndef EPIOCSPARAMS
struct epoll_params {
	__u32 busy_poll_usecs;
	__u16 busy_poll_budget;
	__u8 prefer_busy_poll;
	__u8 __pad;
};

#define EPOLL_IOC_TYPE 0x8A
#define EPIOCSPARAMS   _IOW(EPOLL_IOC_TYPE, 0x01, struct epoll_params)
#define EPIOCGPARAMS   _IOR(EPOLL_IOC_TYPE, 0x02, struct epoll_params)
#endif

#endif
