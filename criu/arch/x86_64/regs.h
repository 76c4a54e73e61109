/* SPDX-License-Identifier: GPL-2.0-only */
/* What the files of this architecture share of a thread's registers. */
#ifndef CRIU_ARCH_REGS_H
#define CRIU_ARCH_REGS_H

#include <asm/ldt.h>
#include <sys/user.h>

#include "arch/arch.h"
#include "xstate.h"

#define TLS_SLOTS 3
#define TLS_FIRST 12 /* GDT_ENTRY_TLS_MIN of linux/arch/x86/include/asm/segment.h, 64 bit */

struct thread_regs {
	struct user_regs_struct g;       /* of a 32-bit thread too */
	bool compat;                     /* of a 32-bit program: calls are injected as it makes them */
	struct user_desc tls[TLS_SLOTS]; /* set_thread_area(2), for the few 64-bit programs that use it */
	bool has_tls;
	size_t len; /* of state, without the components at its end that are not in use */
	uint8_t *state;
};

/* A selector and its base registers; the code of 64-bit programs. */
#define CS_64BIT 0x33U
#define CS_32BIT 0x23U

#endif
