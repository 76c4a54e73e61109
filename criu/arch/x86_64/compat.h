/* SPDX-License-Identifier: GPL-2.0-only */
/* Numbers of 32-bit system calls: linux/arch/x86/entry/syscalls/syscall_32.tbl. */
#ifndef CRIU_ARCH_X86_COMPAT_H
#define CRIU_ARCH_X86_COMPAT_H

#define COMPAT_NR_RESTART_SYSCALL 0U
#define COMPAT_NR_EXIT            1U
#define COMPAT_NR_MUNMAP          91U
#define COMPAT_NR_WAIT4           114U
#define COMPAT_NR_IPC             117U
#define COMPAT_NR_POLL            168U
#define COMPAT_NR_RT_SIGRETURN    173U
#define COMPAT_NR_RT_SIGACTION    174U
#define COMPAT_NR_MMAP2           192U
#define COMPAT_NR_IO_SETUP        245U
#define COMPAT_NR_EXIT_GROUP      252U
#define COMPAT_NR_OPENAT          295U
#define COMPAT_NR_SET_ROBUST_LIST 311U
#define COMPAT_NR_GET_ROBUST_LIST 312U
#define COMPAT_NR_PRLIMIT64       340U
#define COMPAT_NR_SHMAT           397U
#define COMPAT_NR_MSGSND          400U
#define COMPAT_NR_MSGRCV          401U
#define COMPAT_NR_SEMTIMEDOP      420U /* with a time of 64 bits */

#endif
