/* SPDX-License-Identifier: GPL-2.0-only */
/* The frame that rt_sigreturn(2) takes. Kernel: linux/arch/x86/kernel/signal_64.c, struct rt_sigframe; fpu/signal.c. */
#include <asm/sigcontext.h>
#include <string.h>

#include "arch/arch_abi.h"
#include "compat.h"
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

/*
 * Of a 32-bit program: linux/arch/x86/include/asm/sigframe.h, struct rt_sigframe_ia32. In front of
 * the state in FXSAVE's form the kernel puts that of FSAVE, which it reads again: with a mark that the other is there.
 */
struct compat_sigframe {
	uint32_t popped[3]; /* by the code after the call that is injected */
	uint32_t restorer, signo, pinfo, puc;
	uint8_t info[ARCH_SIGINFO_SIZE];
	uint32_t uc_flags, uc_link, stack_sp, stack_flags, stack_size;
	struct sigcontext_32 mcontext;
	uint32_t sigmask[2];
};

/* struct fregs_state, and what follows it in a frame: status and the mark. */
struct compat_fsave {
	uint32_t cwd, swd, twd, fip, fcs, foo, fos;
	uint8_t st[80];
	uint32_t status; /* swd, and X86_FXSR_MAGIC (0) above it */
};

#define COMPAT_STATE_OFFSET round_up(sizeof(struct compat_sigframe) + sizeof(struct compat_fsave), 64)

_Static_assert(sizeof(struct compat_fsave) == 112, "struct fregs_state");
_Static_assert(offsetof(struct compat_sigframe, mcontext) == 12 + 16 + 128 + 20, "struct rt_sigframe_ia32");

/* Code like that of a C library: mov $15, %rax (or %eax); syscall. Of the 32-bit vDSO: mov $173, %eax; int $0x80. */
const uint8_t *arch_sigreturn_code(bool compat, size_t *len)
{
	static const uint8_t code[] = { 0x48, 0xc7, 0xc0, 0x0f, 0x00, 0x00, 0x00, 0x0f, 0x05 };
	static const uint8_t compat_code[] = { 0xb8, COMPAT_NR_RT_SIGRETURN, 0x00, 0x00, 0x00, 0xcd, 0x80 };

	*len = compat ? sizeof(compat_code) : sizeof(code);
	return compat ? compat_code : code;
}

size_t arch_sigframe_size(const struct thread_regs *regs)
{
	return (regs->compat ? COMPAT_STATE_OFFSET : STATE_OFFSET) + regs->len + FP_XSTATE_MAGIC2_SIZE;
}

size_t arch_sigframe_taken(const struct thread_regs *regs)
{
	return regs->compat ? offsetof(struct compat_sigframe, signo) : sizeof(uint64_t);
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

/* before: bytes of the frame's state that stand before this one. */
static void fill_state(uint8_t *state, const struct thread_regs *regs, uint32_t before)
{
	struct _fpx_sw_bytes sw = {
		.magic1 = FP_XSTATE_MAGIC1,
		.extended_size = before + (uint32_t)regs->len + FP_XSTATE_MAGIC2_SIZE,
		.xfeatures = xstate_header(regs->state)->bv | XSTATE_BIT(XSTATE_X87) | XSTATE_BIT(XSTATE_SSE),
		.xstate_size = (uint32_t)regs->len,
	};
	uint32_t magic2 = FP_XSTATE_MAGIC2;

	memcpy(state, regs->state, regs->len);
	memcpy(xstate_fxsave(state)->sw, &sw, sizeof(sw));
	memcpy(state + regs->len, &magic2, sizeof(magic2));
}

static void fill_compat_general(struct sigcontext_32 *sc, const struct user_regs_struct *g)
{
	*sc = (struct sigcontext_32) {
		.gs = (uint16_t)g->gs,
		.fs = (uint16_t)g->fs,
		.es = (uint16_t)g->es,
		.ds = (uint16_t)g->ds,
		.di = (uint32_t)g->rdi,
		.si = (uint32_t)g->rsi,
		.bp = (uint32_t)g->rbp,
		.sp = (uint32_t)g->rsp,
		.bx = (uint32_t)g->rbx,
		.dx = (uint32_t)g->rdx,
		.cx = (uint32_t)g->rcx,
		.ax = (uint32_t)g->rax,
		.ip = (uint32_t)g->rip,
		.cs = (uint16_t)g->cs,
		.flags = (uint32_t)g->eflags,
		.sp_at_signal = (uint32_t)g->rsp,
		.ss = (uint16_t)g->ss,
	};
}

static void fill_fsave(struct compat_fsave *s, const struct fxsave *fx)
{
	*s = (struct compat_fsave) {
		.cwd = 0xffff0000 | fx->cwd,
		.swd = 0xffff0000 | fx->swd,
		.twd = 0xffff0000,
		.fip = (uint32_t)fx->rip,
		.fcs = (uint32_t)fx->fop << 16,
		.foo = (uint32_t)fx->rdp,
		.status = fx->swd,
	};
	for (unsigned i = 0; i < 8; i++) {
		if (!(fx->twd & 1U << i))
			s->twd |= 3U << 2 * i; /* empty */
		memcpy(s->st + 10UL * i, &fx->st[4UL * i], 10);
	}
}

static void make_compat(const struct thread_regs *regs, uint64_t mask, raddr_t at, raddr_t restorer, void *buf)
{
	struct compat_sigframe *f = buf;
	uint8_t *state = (uint8_t *)buf + COMPAT_STATE_OFFSET;

	memset(buf, 0, COMPAT_STATE_OFFSET);
	f->restorer = (uint32_t)restorer;
	f->uc_flags = UC_FP_XSTATE;
	f->stack_flags = NO_ALTSTACK;
	fill_compat_general(&f->mcontext, &regs->g);
	f->mcontext.fpstate = (uint32_t)(at + COMPAT_STATE_OFFSET - sizeof(struct compat_fsave));
	memcpy(f->sigmask, &mask, sizeof(mask));
	fill_fsave((struct compat_fsave *)(state - sizeof(struct compat_fsave)), xstate_fxsave(regs->state));
	fill_state(state, regs, sizeof(struct compat_fsave));
}

void arch_sigframe_make(const struct thread_regs *regs, uint64_t mask, raddr_t at, raddr_t restorer, void *buf)
{
	struct thread_regs settled = *regs;
	struct rt_sigframe *f = buf;

	arch_regs_settle_restart(&settled);
	if (regs->compat) {
		make_compat(&settled, mask, at, restorer, buf);
		return;
	}
	memset(buf, 0, STATE_OFFSET);
	f->restorer = restorer;
	f->uc.flags = UC_FP_XSTATE | UC_SIGCONTEXT_SS | UC_STRICT_RESTORE_SS;
	f->uc.stack.flags = NO_ALTSTACK;
	fill_general(&f->uc.mcontext, &settled.g);
	f->uc.mcontext.fpstate = at + STATE_OFFSET;
	f->uc.sigmask = mask;
	fill_state((uint8_t *)buf + STATE_OFFSET, regs, 0);
}
