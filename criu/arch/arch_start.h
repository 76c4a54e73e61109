/* SPDX-License-Identifier: GPL-2.0-only */
/* How a restored process begins: code, not registers, that differs by architecture. */
#ifndef CRIU_ARCH_START_H
#define CRIU_ARCH_START_H

#include <linux/sched.h>

#include "arch_page.h"
#include "common.h"

/* What the small ELF does: two mappings of the area's file, and a jump into the agent. All addresses are the new
 * task's. */
struct start_params {
	uint64_t area_fd;                        /* descriptor of the area's file */
	uint64_t text_at, text_len;              /* the common part, at offset 0 of the file: read and execute */
	uint64_t slots_at, slots_len, slots_off; /* the slots: read and write */
	uint64_t entry, slot, stack_top;
};

/*
 * Writes an ELF executable whose one segment lies at `at` (page-aligned) into buf; compat: one that makes the process a
 * 32-bit one, which then goes on in the agent's 64-bit code. Returns its length, at most PAGE_SIZE. Kernel:
 * fs/binfmt_elf.c takes a static ET_EXEC with one PT_LOAD.
 */
size_t arch_start_elf(raddr_t at, const struct start_params *params, bool compat, uint8_t buf[PAGE_SIZE]);

/*
 * clone3(2), after which the child calls fn(arg), which must not return: on the stack in args, or where there is none
 * below the caller's frame: of a fork that is a copy, with CLONE_VM the caller has to sleep (CLONE_VFORK). Returns the
 * pid or a negative errno.
 */
long arch_clone3(struct clone_args *args, void (*fn)(void *), void *arg);

/*
 * Finds a syscall instruction after which nothing but `xor reg,reg` stands before a `ret`, so that the stack decides
 * where execution goes on. The vDSO has some. Returns its offset in code, or -ENOENT.
 */
ssize_t arch_find_syscall(const uint8_t *code, size_t len);

/* The same for 32-bit programs: what their vDSO has, three registers from the stack before the `ret`. */
ssize_t arch_find_syscall_compat(const uint8_t *code, size_t len);

#endif
