/* SPDX-License-Identifier: GPL-2.0-only */
/* What glibc's fcntl.h leaves out of linux/include/uapi/asm-generic/fcntl.h and the architectures' own. */
#ifndef UAPI_FCNTL_BITS_H
#define UAPI_FCNTL_BITS_H

/* uid and euid of the task that called F_SETOWN, as two uid_t (Linux 3.6); EINVAL without CONFIG_CHECKPOINT_RESTORE. */
#ifndef F_GETOWNER_UIDS
#define F_GETOWNER_UIDS 17
#endif

/* O_LARGEFILE as F_GETFL shows it: every open() of a 64-bit task sets it, pipe2() does not. glibc has it as 0. */
#if defined(__aarch64__) || defined(__arm__) || defined(__powerpc__)
#define KERNEL_O_LARGEFILE 0400000
#else
#define KERNEL_O_LARGEFILE 0100000
#endif

#endif
