/* SPDX-License-Identifier: GPL-2.0-only */
/* The frame that rt_sigreturn(2) takes. Kernel: linux/arch/x86/kernel/signal_64.c, struct rt_sigframe; fpu/signal.c. */
#include <asm/sigcontext.h>
#include <string.h>

#include "arch/arch_abi.h"
#include "regs.h"

#define UC_FP_XSTATE         1UL
#define UC_SIGCONTEXT_SS     2UL
#define UC_STRICT_RESTORE_SS 4UL

/* None of SS_*: the kernel leaves the alternate stack as it is. */
#define NO_ALTSTACK          0x7f

struct rt_sigframe {
	uint64_t restorer;
	struct {
		uint64_t flags, link;
		struct arch_stack stack;
		struct sigcontext_64 mcontext;
		uint64_t sigmask;
	} uc;
	uint8_t info[ARCH_SIGINFO_SIZE];
};

#define STATE_OFFSET round_up(sizeof(struct rt_sigframe), 64)

_Static_assert(offsetof(struct rt_sigframe, uc.mcontext) == 8 + 40, "the kernel's struct ucontext");
_Static_assert(offsetof(struct rt_sigframe, uc.sigmask) == 8 + 40 + 256, "the kernel's struct ucontext");
_Static_assert(offsetof(struct fxsave, sw) == 464 && sizeof(struct fxsave) == XSTATE_FXSAVE, "FXSAVE");

/* Code like that of a C library: mov $15, %rax (or %eax); syscall. */
const uint8_t *arch_sigreturn_code(size_t *len)
{
	static const uint8_t code[] = { 0x48, 0xc7, 0xc0, 0x0f, 0x00, 0x00, 0x00, 0x0f, 0x05 };

	*len = sizeof(code);
	return code;
}

size_t arch_sigframe_size(const struct thread_regs *regs)
{
	return STATE_OFFSET + regs->len + FP_XSTATE_MAGIC2_SIZE;
}

static void fill_general(struct sigcontext_64 *sc, const struct user_regs_struct *g)
{
	*sc = (struct sigcontext_64) {
		.r8 = g->r8,
		.r9 = g->r9,
		.r10 = g->r10,
		.r11 = g->r11,
		.r12 = g->r12,
		.r13 = g->r13,
		.r14 = g->r14,
		.r15 = g->r15,
		.di = g->rdi,
		.si = g->rsi,
		.bp = g->rbp,
		.bx = g->rbx,
		.dx = g->rdx,
		.ax = g->rax,
		.cx = g->rcx,
		.sp = g->rsp,
		.ip = g->rip,
		.flags = g->eflags,
		.cs = (uint16_t)g->cs,
		.ss = (uint16_t)g->ss,
	};
}

static void fill_state(uint8_t *state, const struct thread_regs *regs)
{
	struct _fpx_sw_bytes sw = {
		.magic1 = FP_XSTATE_MAGIC1,
		.extended_size = (uint32_t)regs->len + FP_XSTATE_MAGIC2_SIZE,
		.xfeatures = xstate_header(regs->state)->bv | XSTATE_BIT(XSTATE_X87) | XSTATE_BIT(XSTATE_SSE),
		.xstate_size = (uint32_t)regs->len,
	};
	uint32_t magic2 = FP_XSTATE_MAGIC2;

	memcpy(state, regs->state, regs->len);
	memcpy(xstate_fxsave(state)->sw, &sw, sizeof(sw));
	memcpy(state + regs->len, &magic2, sizeof(magic2));
}

void arch_sigframe_make(const struct thread_regs *regs, uint64_t mask, raddr_t at, raddr_t restorer, void *buf)
{
	struct thread_regs settled = *regs;
	struct rt_sigframe *f = buf;

	arch_regs_settle_restart(&settled);
	memset(buf, 0, STATE_OFFSET);
	f->restorer = restorer;
	f->uc.flags = UC_FP_XSTATE | UC_SIGCONTEXT_SS | UC_STRICT_RESTORE_SS;
	f->uc.stack.flags = NO_ALTSTACK;
	fill_general(&f->uc.mcontext, &settled.g);
	f->uc.mcontext.fpstate = at + STATE_OFFSET;
	f->uc.sigmask = mask;
	fill_state((uint8_t *)buf + STATE_OFFSET, regs);
}
