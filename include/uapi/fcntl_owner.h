/* SPDX-License-Identifier: GPL-2.0-only */
/* fcntl commands of include/uapi/asm-generic/fcntl.h (Linux 3.6) that glibc's fcntl.h leaves out. */
#ifndef UAPI_FCNTL_OWNER_H
#define UAPI_FCNTL_OWNER_H

/* uid and euid of the task that called F_SETOWN, as two uid_t; EINVAL without CONFIG_CHECKPOINT_RESTORE. */
#ifndef F_GETOWNER_UIDS
#define F_GETOWNER_UIDS 17
#endif

#endif
