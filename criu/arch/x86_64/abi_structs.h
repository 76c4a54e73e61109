/* SPDX-License-Identifier: GPL-2.0-only */
/* Structs of the kernel as 64-bit system calls of x86 take them. Also included by the agent, which has no libc. */
#ifndef CRIU_ARCH_ABI_STRUCTS_H
#define CRIU_ARCH_ABI_STRUCTS_H

#include <stdint.h>

/* Bytes of a sigset_t; all masks of signals here are one uint64_t. */
#define ARCH_SIGSET_SIZE      8
#define ARCH_SIGINFO_SIZE     128
/* struct robust_list_head: what set_robust_list(2) takes as its length, and nothing else. */
#define ARCH_ROBUST_HEAD_SIZE 24

/* rt_sigaction(2) */
struct arch_sigaction {
	uint64_t handler, flags, restorer, mask;
};

/* The same of a 32-bit program. */
struct arch_compat_sigaction {
	uint32_t handler, flags, restorer, mask[2];
};

/* And its struct robust_list_head. */
#define ARCH_COMPAT_ROBUST_HEAD_SIZE 12

/* sigaltstack(2): stack_t */
struct arch_stack {
	uint64_t sp;
	uint32_t flags, pad;
	uint64_t size;
};

struct arch_timespec {
	int64_t sec, nsec;
};

/* timer_settime(2) */
struct arch_itimerspec {
	struct arch_timespec interval, value;
};

/* setitimer(2): it_interval, then it_value, as struct timeval */
struct arch_itimerval {
	uint64_t isec, iusec, vsec, vusec;
};

/* timer_create(2) */
struct arch_sigevent {
	uint64_t value;
	int32_t signo, notify, tid;
	uint8_t pad[44];
};

/* recvmsg(2): struct iovec and struct user_msghdr */
struct arch_iovec {
	uint64_t base, len;
};

struct arch_msghdr {
	uint64_t name;
	uint32_t namelen, pad;
	uint64_t iov, iovlen;
	uint64_t control, controllen;
	uint32_t flags, pad2;
};

/* seccomp(2), SECCOMP_SET_MODE_FILTER */
struct arch_sock_fprog {
	uint16_t len;
	uint64_t filter;
};

_Static_assert(sizeof(struct arch_compat_sigaction) == 20, "compat_sigaction");
_Static_assert(sizeof(struct arch_stack) == 24, "stack_t");
_Static_assert(sizeof(struct arch_sigevent) == 64, "struct sigevent");
_Static_assert(sizeof(struct arch_msghdr) == 56, "struct user_msghdr");
_Static_assert(sizeof(struct arch_sock_fprog) == 16, "struct sock_fprog");

#endif
