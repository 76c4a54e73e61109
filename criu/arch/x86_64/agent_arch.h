/* SPDX-License-Identifier: GPL-2.0-only */
/* System call numbers that the agent itself makes: arch/x86/entry/syscalls/syscall_64.tbl of the kernel. */
#ifndef CRIU_AGENT_ARCH_H
#define CRIU_AGENT_ARCH_H

#define AGENT_NR_SIGPROCMASK   14
#define AGENT_NR_FUTEX         202
#define AGENT_NR_CLOCK_GETTIME 228
#define AGENT_NR_EXIT_GROUP    231
#define AGENT_NR_FUTEX_WAITV   449

#endif
