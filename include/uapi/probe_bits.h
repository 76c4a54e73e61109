/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Numbers that are only probed for (criu/probe/probe_proc.c), under names of our own, since headers have some of them
 * as enums. From the kernel's include/uapi: linux/kcmp.h, linux/prctl.h (PR_SET_VMA: 5.17; timer ids: 6.16),
 * asm-generic/mman-common.h (MADV_COLLAPSE: 6.1), linux/ptrace.h (rseq: 5.13, filters: 4.4).
 */
#ifndef CRIU_UAPI_PROBE_BITS_H
#define CRIU_UAPI_PROBE_BITS_H

#define PROBE_KCMP_VM                   1
#define PROBE_PR_SET_VMA                0x53564d41
#define PROBE_PR_SET_VMA_ANON_NAME      0
#define PROBE_TIMER_IDS_GET             2
#define PROBE_MADV_COLLAPSE             25
#define PROBE_PTRACE_SECCOMP_GET_FILTER 0x420c
#define PROBE_PTRACE_GET_RSEQ_CONF      0x420f
#define PROBE_PTRACE_O_SUSPEND_SECCOMP  (1UL << 21)

#include <sys/syscall.h>
#ifndef SYS_futex_waitv
#define SYS_futex_waitv 449 /* the same on all architectures */
#endif

#endif
