/* SPDX-License-Identifier: GPL-2.0-only */
/* Registers of a real thread, through ptrace, images and signal frames, and back. x86-64 only, as the file's asm is. */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>

#include <cmocka.h>

#include "arch/arch.h"
#include "lib/log.h"
#include "regs.h"
#include "uapi/x86_regset.h"

/* What a child does; registers are loaded from a pattern that differs in every byte. */
__asm__(".text\n"
        "spin_with_regs:\n" /* rdi: 2048 bytes; rsi: bits 0 AVX, 1 AVX-512, 2 AMX (64 bytes of configuration at rdx) */
        "	fninit\n"
        "	fldpi\n"
        "	fld1\n"
        "	test $2, %rsi\n"
        "	jnz 2f\n"
        "	test $1, %rsi\n"
        "	jnz 1f\n"
        "	movups (%rdi), %xmm0\n"
        "	movups 16(%rdi), %xmm15\n"
        "	jmp 3f\n"
        "1:	vmovups (%rdi), %ymm0\n"
        "	vmovups 32(%rdi), %ymm7\n"
        "	vmovups 64(%rdi), %ymm15\n"
        "	jmp 3f\n"
        "2:	vmovups (%rdi), %zmm0\n"
        "	vmovups 64(%rdi), %zmm9\n"
        "	vmovups 128(%rdi), %zmm16\n"
        "	vmovups 192(%rdi), %zmm31\n"
        "	kmovq 256(%rdi), %k1\n"
        "	kmovq 264(%rdi), %k7\n"
        "3:	test $4, %rsi\n"
        "	jz 4f\n"
        "	ldtilecfg (%rdx)\n"
        "	mov $64, %eax\n"
        "	tileloadd (%rdi,%rax), %tmm0\n"
        "	tileloadd 1(%rdi,%rax), %tmm7\n"
        "4:	mov 512(%rdi), %rax\n"
        "	mov 520(%rdi), %rbx\n"
        "	mov 528(%rdi), %rcx\n"
        "	mov 536(%rdi), %rdx\n"
        "	mov 544(%rdi), %rbp\n"
        "	mov 552(%rdi), %r8\n"
        "	mov 560(%rdi), %r9\n"
        "	mov 568(%rdi), %r10\n"
        "	mov 576(%rdi), %r11\n"
        "	mov 584(%rdi), %r12\n"
        "	mov 592(%rdi), %r13\n"
        "	mov 600(%rdi), %r14\n"
        "	mov 608(%rdi), %r15\n"
        "	std\n"
        "5:	jmp 5b\n"
        "return_from_signal:\n"
        "	mov $15, %rax\n"
        "	syscall\n"
        "	hlt\n");
void spin_with_regs(const void *pattern, uint64_t what, const void *tile_config) __attribute__((noreturn));
extern const uint8_t return_from_signal[];

static uint8_t pattern[2048];

static struct arena *arena;

static uint64_t what_is_there(void)
{
	uint64_t f = xstate_features(), what = 0;

	if (f & XSTATE_BIT(XSTATE_YMM))
		what |= 1;
	if (f & XSTATE_BIT(XSTATE_HI16_ZMM))
		what |= 2;
	if ((f & XSTATE_BIT(XSTATE_TILEDATA)) && !syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XSTATE_TILEDATA))
		what |= 4;
	return what;
}

static long ran(pid_t pid)
{
	struct timespec ts;
	clockid_t clock;

	assert_int_equal(clock_getcpuclockid(pid, &clock) ?: clock_gettime(clock, &ts), 0);
	return ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* Until it has had a processor for some milliseconds: on a busy machine that comes when it comes. */
static void let_run(pid_t pid)
{
	long began = ran(pid);

	while (ran(pid) < began + 5)
		usleep(1000);
}

static pid_t start_child(bool with_regs)
{
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (!pid) {
		struct {
			uint8_t palette, start, reserved[14];
			uint16_t colsb[16];
			uint8_t rows[16];
		} config = { .palette = 1,
			     .colsb = { 64, 64, 64, 64, 64, 64, 64, 64 },
			     .rows = { 16, 8, 8, 8, 8, 8, 8, 16 } };
		uint64_t what = what_is_there();

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (!with_regs)
			memset(pattern, 0x11, sizeof(pattern));
		spin_with_regs(pattern, what, &config);
	}
	let_run(pid);
	return pid;
}

static void stop(pid_t pid, bool seize)
{
	int status;

	if (seize)
		assert_int_equal(ptrace(PTRACE_SEIZE, pid, NULL, NULL), 0);
	assert_int_equal(ptrace(PTRACE_INTERRUPT, pid, NULL, NULL), 0);
	assert_int_equal(waitpid(pid, &status, __WALL), pid);
	assert_true(WIFSTOPPED(status));
}

static void end(pid_t pid)
{
	kill(pid, SIGKILL);
	while (waitpid(pid, NULL, __WALL) == pid)
		;
}

static void same_state(const struct thread_regs *a, const struct thread_regs *b)
{
	struct fxsave *fa = xstate_fxsave(a->state), *fb = xstate_fxsave(b->state);

	assert_int_equal(xstate_header(a->state)->bv, xstate_header(b->state)->bv);
	assert_int_equal(a->len, b->len);
	assert_memory_equal(fa, fb, offsetof(struct fxsave, padding));
	assert_memory_equal(a->state + XSTATE_FXSAVE, b->state + XSTATE_FXSAVE, a->len - XSTATE_FXSAVE);
}

static CoreEntry *core_of(const struct thread_regs *regs)
{
	CoreEntry *core = arena_msg(arena, CoreEntry, core_entry), *back;
	uint8_t *buf;
	size_t len;

	assert_int_equal(arch_regs_to_core(arena, regs, core), 0);
	len = core_entry__get_packed_size(core);
	buf = arena_alloc(arena, len);
	core_entry__pack(core, buf);
	back = core_entry__unpack(arena_pb(arena), len, buf);
	assert_non_null(back);
	return back;
}

/* The pattern arrives in the register that it was loaded into, so that a get that reads nothing cannot pass. */
static void expect_pattern(const struct thread_regs *regs)
{
	size_t offset, size;

	assert_memory_equal(&regs->g.r15, pattern + 608, 8);
	assert_memory_equal(xstate_fxsave(regs->state)->xmm, pattern, 16);
	if (xstate_component(XSTATE_YMM, &offset, &size))
		assert_memory_equal(regs->state + offset, pattern + 16, 16);
	if (xstate_component(XSTATE_HI16_ZMM, &offset, &size))
		assert_memory_equal(regs->state + offset, pattern + 128, 64);
	if (xstate_header(regs->state)->bv & XSTATE_BIT(XSTATE_TILEDATA)) {
		assert_true(xstate_component(XSTATE_TILEDATA, &offset, &size));
		assert_memory_equal(regs->state + offset, pattern, 64);
	}
}

static void through_images(void **unused)
{
	pid_t from = start_child(true), to = start_child(false);
	struct thread_regs *regs, *image, *now;

	stop(from, true);
	stop(to, true);
	regs = arch_regs_get(arena, from);
	assert_non_null(regs);
	expect_pattern(regs);
	image = arch_regs_from_core(arena, core_of(regs));
	assert_non_null(image);
	assert_memory_equal(&regs->g, &image->g, sizeof(regs->g));
	same_state(regs, image);
	assert_int_equal(arch_regs_set(to, image), 0);
	now = arch_regs_get(arena, to);
	assert_non_null(now);
	assert_memory_equal(&now->g, &regs->g, sizeof(regs->g));
	same_state(now, regs);
	/* And they are what the thread computes with. */
	assert_int_equal(ptrace(PTRACE_CONT, to, NULL, NULL), 0);
	let_run(to);
	stop(to, false);
	now = arch_regs_get(arena, to);
	assert_memory_equal(&now->g, &regs->g, sizeof(regs->g));
	same_state(now, regs);
	end(from);
	end(to);
}

static void write_child(pid_t pid, raddr_t at, void *buf, size_t len)
{
	struct iovec local = { buf, len }, remote = { (void *)(uintptr_t)at, len };

	assert_int_equal(process_vm_writev(pid, &local, 1, &remote, 1, 0), len);
}

static void through_a_frame(void **unused)
{
	pid_t pid = start_child(true);
	struct thread_regs *regs, *clobbered, *now;
	raddr_t at;
	uint8_t *frame;
	size_t len;
	uint64_t mask = 0x12240; /* neither SIGKILL nor SIGSTOP */

	stop(pid, true);
	regs = arch_regs_get(arena, pid);
	assert_non_null(regs);
	len = arch_sigframe_size(regs);
	at = round_down(arch_regs_sp(regs) - 65536, 64);
	frame = arena_alloc(arena, len);
	arch_sigframe_make(regs, mask, at, (uintptr_t)return_from_signal, frame);
	write_child(pid, at, frame, len);

	clobbered = arch_regs_dup(arena, regs);
	memset(&clobbered->g, 0, offsetof(struct user_regs_struct, orig_rax));
	clobbered->g.orig_rax = (uint64_t)-1;
	clobbered->g.eflags = 0x202;
	clobbered->g.rip = (uintptr_t)return_from_signal;
	clobbered->g.rsp = at + 8;
	clobbered->len = XSTATE_MIN;
	memset(clobbered->state, 0, XSTATE_MIN);
	xstate_fxsave(clobbered->state)->mxcsr = 0x1f80;
	assert_int_equal(arch_regs_set(pid, clobbered), 0);
	assert_int_equal(ptrace(PTRACE_CONT, pid, NULL, NULL), 0);
	let_run(pid);
	stop(pid, false);

	now = arch_regs_get(arena, pid);
	assert_non_null(now);
	now->g.orig_rax = regs->g.orig_rax;
	assert_memory_equal(&now->g, &regs->g, sizeof(regs->g));
	same_state(now, regs);
	mask = 0;
	assert_int_equal(ptrace(PTRACE_GETSIGMASK, pid, (void *)8, &mask), 0);
	assert_int_equal(mask, 0x12240);
	end(pid);
}

static struct thread_regs *interrupted(long nr, int err)
{
	struct thread_regs *regs = arena_new_of(arena, struct thread_regs);

	regs->g.rip = 0x1000;
	regs->g.orig_rax = (uint64_t)nr;
	regs->g.rax = (uint64_t) - (int64_t)err;
	return regs;
}

static void restarts(void **unused)
{
	uint64_t resume[AGENT_REGS];
	struct thread_regs *regs = interrupted(SYS_read, 512);

	assert_int_equal(arch_regs_syscall(regs), SYS_read);
	arch_regs_to_resume(regs, resume);
	assert_int_equal(resume[10], SYS_read);
	assert_int_equal(resume[15], 0xffe);
	arch_regs_settle_restart(regs);
	assert_int_equal(regs->g.rip, 0xffe);
	assert_int_equal(regs->g.rax, SYS_read);
	assert_int_equal(arch_regs_syscall(regs), -1);

	regs = interrupted(SYS_nanosleep, 516);
	arch_regs_to_resume(regs, resume);
	assert_int_equal(resume[10], SYS_restart_syscall);
	assert_int_equal(resume[15], 0xffe);
	arch_regs_settle_restart(regs);
	assert_int_equal(regs->g.rip, 0x1000);
	assert_int_equal((int64_t)regs->g.rax, -EINTR);

	regs = interrupted(SYS_poll, 516);
	regs->g.rdx = 1000;
	arch_regs_settle_restart(regs);
	assert_int_equal((int64_t)regs->g.rax, -EINTR);
	regs = interrupted(SYS_poll, 516);
	regs->g.rdx = 0xffffffff; /* -1: it may begin anew */
	arch_regs_settle_restart(regs);
	assert_int_equal(regs->g.rip, 0xffe);
	assert_int_equal(regs->g.rax, SYS_poll);
	regs = interrupted(SYS_poll, 516);
	regs->g.rdx = 0xffffffff;
	arch_regs_to_resume(regs, resume);
	assert_int_equal(resume[10], SYS_poll);
	regs->g.rdx = 1000;
	arch_regs_to_resume(regs, resume);
	assert_int_equal(resume[10], SYS_restart_syscall);

	/* Not in a call: a result register that only looks like it. */
	regs = interrupted(-1, 512);
	arch_regs_settle_restart(regs);
	assert_int_equal(regs->g.rip, 0x1000);
	assert_int_equal((int64_t)regs->g.rax, -512);
}

static CoreEntry *sample(void)
{
	pid_t pid = start_child(true);
	struct thread_regs *regs;

	stop(pid, true);
	regs = arch_regs_get(arena, pid);
	assert_non_null(regs);
	end(pid);
	return core_of(regs);
}

static void foreign_images(void **unused)
{
	CoreEntry *core = sample();
	UserX86FpregsEntry *fp = core->thread_info->fpregs;
	UserX86XsaveEntry *x = fp->xsave;
	uint64_t bv = x->xstate_bv;

	assert_int_equal(arch_regs_check_core(core, "it"), 0);
	x->xstate_bv = bv | 1ULL << 40;
	assert_int_not_equal(arch_regs_check_core(core, "it"), 0);
	x->xstate_bv = bv;
	if (!(xstate_features() & XSTATE_BIT(XSTATE_PKRU))) {
		uint32_t pkru[2] = { 0x55555554, 0 };

		x->xstate_bv = bv | XSTATE_BIT(XSTATE_PKRU);
		x->pkru = pkru;
		x->n_pkru = 2;
		assert_int_equal(arch_regs_check_core(core, "it"), 0);
		assert_non_null(arch_regs_from_core(arena, core));
		pkru[0] = 0x55555550;
		assert_int_not_equal(arch_regs_check_core(core, "it"), 0);
		x->xstate_bv = bv;
	}
	fp->n_xmm_space = 63;
	assert_int_not_equal(arch_regs_check_core(core, "it"), 0);
	fp->n_xmm_space = 64;
	fp->mxcsr = 0xffffffff;
	assert_int_not_equal(arch_regs_check_core(core, "it"), 0);
	fp->mxcsr = 0x1f80;
	x->n_hi16_zmm = 129;
	if (bv & XSTATE_BIT(XSTATE_HI16_ZMM))
		assert_int_not_equal(arch_regs_check_core(core, "it"), 0);
	x->n_hi16_zmm = 128;
	core->thread_info->gpregs->cs = 0x23;
	assert_int_not_equal(arch_regs_check_core(core, "it"), 0);
	core->thread_info->gpregs->cs = 0x33;
	for (size_t len = 0; fp->has_xstate && len < fp->xstate.len; len += 2011) {
		ProtobufCBinaryData whole = fp->xstate;

		fp->xstate.len = len;
		assert_int_not_equal(arch_regs_check_core(core, "it"), 0);
		fp->xstate = whole;
	}
	assert_int_equal(arch_regs_check_core(core, "it"), 0);
}

static int setup(void **state)
{
	for (size_t i = 0; i < sizeof(pattern); i++)
		pattern[i] = (uint8_t)(i * 7 + i / 256 + 3);
	arena = arena_new();
	return arena ? 0 : ENOMEM;
}

static int teardown(void **state)
{
	arena_free(arena);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(through_images),
		cmocka_unit_test(through_a_frame),
		cmocka_unit_test(restarts),
		cmocka_unit_test(foreign_images),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
