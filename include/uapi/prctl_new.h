/* SPDX-License-Identifier: GPL-2.0-only */
/* linux/prctl.h, linux/ptrace.h and linux/membarrier.h of newer kernels. */
#ifndef CRIU_UAPI_PRCTL_NEW_H
#define CRIU_UAPI_PRCTL_NEW_H

#include <linux/membarrier.h>
#include <sys/prctl.h>

#ifndef PR_TIMER_CREATE_RESTORE_IDS
#define PR_TIMER_CREATE_RESTORE_IDS     77
#define PR_TIMER_CREATE_RESTORE_IDS_OFF 0
#define PR_TIMER_CREATE_RESTORE_IDS_ON  1
#endif

#ifndef PR_SET_MEMORY_MERGE
#define PR_SET_MEMORY_MERGE 67 /* Linux 6.4 */
#define PR_GET_MEMORY_MERGE 68
#endif

#ifndef PR_FUTEX_HASH
#define PR_FUTEX_HASH           78 /* Linux 6.16 */
#define PR_FUTEX_HASH_SET_SLOTS 1
#define PR_FUTEX_HASH_GET_SLOTS 2
#endif

#ifndef PR_THP_DISABLE_EXCEPT_ADVISED
#define PR_THP_DISABLE_EXCEPT_ADVISED 2 /* Linux 6.18 */
#endif

#ifndef PTRACE_SET_SYSCALL_USER_DISPATCH_CONFIG
#define PTRACE_SET_SYSCALL_USER_DISPATCH_CONFIG 0x4210 /* Linux 6.4 */
#define PTRACE_GET_SYSCALL_USER_DISPATCH_CONFIG 0x4211
#endif

#ifndef PR_SET_MDWE
#define PR_SET_MDWE 65 /* Linux 6.3 */
#define PR_GET_MDWE 66
#endif

/* An enum in the header: no #ifdef can ask for it. */
#define MEMBARRIER_GET_REGISTRATIONS (1 << 9)

#endif
