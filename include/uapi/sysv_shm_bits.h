/* SPDX-License-Identifier: GPL-2.0-only */
/* Bits of shm_perm.mode, from <linux/shm.h>, which glibc's <sys/shm.h> declares only in part. */
#ifndef CRIU_UAPI_SYSV_SHM_BITS_H
#define CRIU_UAPI_SYSV_SHM_BITS_H

#ifndef SHM_DEST
#define SHM_DEST 01000 /* ends with its last mapping */
#endif
#ifndef SHM_LOCKED
#define SHM_LOCKED 02000
#endif

#endif
