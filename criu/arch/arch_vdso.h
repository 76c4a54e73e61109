/* SPDX-License-Identifier: GPL-2.0-only */
/* What differs by architecture of an address space and of its vdso. */
#ifndef CRIU_ARCH_VDSO_H
#define CRIU_ARCH_VDSO_H

#include "common.h"

/* The end of what a task can map; compat: a 32-bit one. */
raddr_t arch_task_size(bool compat);

/* A call with which a task maps vdso and vvar from `at` on, if that range is free. It fails in a task that has a vdso.
 */
struct arch_vdso_call {
	long nr;
	uint64_t arg[2];
};
void arch_vdso_map(raddr_t at, bool compat, struct arch_vdso_call *call);

/* The most bytes that the functions below write. */
#define VDSO_JUMP_MAX 16

/* Writes a jump to `to` into buf; its length. It may use registers that a function call destroys, but no stack. */
size_t arch_vdso_jump(raddr_t to, uint8_t buf[VDSO_JUMP_MAX]);

/*
 * Writes a function that makes the system call for which a vdso function of this name stands; its length, 0: unknown.
 */
size_t arch_vdso_syscall(const char *name, uint8_t buf[VDSO_JUMP_MAX]);

#endif
