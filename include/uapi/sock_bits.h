/* SPDX-License-Identifier: GPL-2.0-only */
/* Socket options that installed headers may lack. */
#ifndef UAPI_SOCK_BITS_H
#define UAPI_SOCK_BITS_H

#include <linux/sockios.h>
#include <sys/socket.h>

#ifndef SIOCGSKNS
#define SIOCGSKNS 0x894C
#endif
#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71
#endif
#ifndef SO_BUF_LOCK
#define SO_BUF_LOCK 72
#endif
#ifndef SO_RESERVE_MEM
#define SO_RESERVE_MEM 73
#endif
#ifndef SO_TXREHASH
#define SO_TXREHASH 74
#endif
#ifndef SO_RCVMARK
#define SO_RCVMARK 75
#endif
#ifndef SO_PASSPIDFD
#define SO_PASSPIDFD 76
#endif
#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77
#endif
#ifndef SO_RCVPRIORITY
#define SO_RCVPRIORITY 82
#endif
#ifndef SO_PASSRIGHTS
#define SO_PASSRIGHTS 83
#endif

/* <linux/un.h>, which goes together with <sys/un.h> badly: the file that a unix socket is bound to, with O_PATH */
#ifndef SIOCUNIXFILE
#define SIOCUNIXFILE 0x89e0
#endif

/* <linux/socket.h> of the kernel alone: look for the way only, send nothing. */
#define UAPI_MSG_PROBE 0x10

#endif
