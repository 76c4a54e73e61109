/* SPDX-License-Identifier: GPL-2.0-only */
/* Looking for instructions in a task's memory. */
#ifndef CRIU_AGENT_CODE_H
#define CRIU_AGENT_CODE_H

#include "common.h"

/*
 * The address of a syscall instruction as arch_find_syscall() wants it, in [start, start + len) of a task; compat: of a
 * 32-bit one; 0: none.
 */
raddr_t code_find_syscall(pid_t pid, bool compat, raddr_t start, uint64_t len);

/* The address of code that calls rt_sigreturn (a C library's restorer) in that range; 0: none. */
raddr_t code_find_sigreturn(pid_t pid, bool compat, raddr_t start, uint64_t len);

/* Reads and writes a task's memory: 0, or a negative errno (-EFAULT when only a part of it was there). Not logged. */
int agent_read_task(pid_t pid, raddr_t at, void *buf, size_t len);
int agent_write_task(pid_t pid, raddr_t at, const void *buf, size_t len);

#endif
