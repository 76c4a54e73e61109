/* SPDX-License-Identifier: GPL-2.0-only */
/* What messages of sockets carry beside bytes, where the C library is older (linux/socket.h, asm-generic/socket.h). */
#ifndef CRIU_UAPI_SCM_H
#define CRIU_UAPI_SCM_H

#ifndef SCM_PIDFD
#define SCM_PIDFD 0x04
#endif
#ifndef SCM_MAX_FD
#define SCM_MAX_FD 253 /* descriptors in one message (linux/include/net/scm.h) */
#endif

#endif
