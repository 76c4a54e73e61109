/* SPDX-License-Identifier: GPL-2.0-only */
	.section .text.entry, "ax", @progbits
	.globl agent_entry, agent_syscall, agent_syscall_compat, agent_clone, agent_resume, agent_touch

/* rdi: slot; rsp: the top of a stack. Never returns. */
agent_entry:
	xorl	%ebp, %ebp
	cld
	andq	$-16, %rsp
	call	agent_loop
	hlt

/* The C convention has the fourth argument in rcx, which the syscall instruction overwrites, and the seventh on the stack. */
agent_syscall:
	movq	%rdi, %rax
	movq	%rsi, %rdi
	movq	%rdx, %rsi
	movq	%rcx, %rdx
	movq	%r8, %r10
	movq	%r9, %r8
	movq	8(%rsp), %r9
	syscall
	ret

/* int $0x80 takes its arguments as 32-bit code has them, and may destroy r8 to r11. */
agent_syscall_compat:
	pushq	%rbx
	pushq	%rbp
	movl	%edi, %eax
	movl	%esi, %ebx
	movl	%ecx, %r10d
	movl	%edx, %ecx
	movl	%r10d, %edx
	movl	%r8d, %esi
	movl	%r9d, %edi
	movl	24(%rsp), %ebp
	int	$0x80
	popq	%rbp
	popq	%rbx
	ret

/* The child wakes on the stack that clone_args names, where criu has put the address of its slot. */
agent_clone:
	movq	%rdi, %rax
	movq	%rsi, %rdi
	movq	%rdx, %rsi
	syscall
	testq	%rax, %rax
	jz	1f
	ret
1:	movq	(%rsp), %rdi
	jmp	agent_entry

/*
 * rdi: r15 r14 r13 r12 rbp rbx r11 r10 r9 r8 rax rcx rdx rsi rdi rip rflags rsp cs ss. The task's own stack must stay as
 * it is, so the last five come from the agent's stack, by iretq to the same privilege. First rt_sigprocmask(SIG_SETMASK, rsi, 0,
 * 8); then nothing is kept in registers that are not the task's, but rdi.
 */
agent_resume:
	pushq	%rdi
	movl	$14, %eax
	movl	$2, %edi
	xorl	%edx, %edx
	movl	$8, %r10d
	syscall
	popq	%rdi
	movq	0(%rdi), %r15
	movq	8(%rdi), %r14
	movq	16(%rdi), %r13
	movq	24(%rdi), %r12
	movq	32(%rdi), %rbp
	movq	40(%rdi), %rbx
	movq	48(%rdi), %r11
	movq	56(%rdi), %r10
	movq	64(%rdi), %r9
	movq	72(%rdi), %r8
	pushq	152(%rdi)
	pushq	136(%rdi)
	pushq	128(%rdi)
	pushq	144(%rdi)
	pushq	120(%rdi)
	movq	80(%rdi), %rax
	movq	88(%rdi), %rcx
	movq	96(%rdi), %rdx
	movq	104(%rdi), %rsi
	movq	112(%rdi), %rdi
	iretq

/*
 * The kernel enlarges a thread's state when it first uses AMX tiles (linux/arch/x86/kernel/traps.c, handle_xfd_event), and takes
 * no tile data from ptrace before. In bytes, since not every assembler knows them: ldtilecfg (%rsp); tilezero %tmm0;
 * tilerelease. The configuration: palette 1, tile 0 of one row of 4 bytes.
 */
agent_touch:
	subq	$64, %rsp
	xorl	%eax, %eax
	movq	%rsp, %rdi
	movl	$8, %ecx
	rep stosq
	movb	$1, 0(%rsp)
	movw	$4, 16(%rsp)
	movb	$1, 48(%rsp)
	.byte	0xc4, 0xe2, 0x78, 0x49, 0x04, 0x24
	.byte	0xc4, 0xe2, 0x7b, 0x49, 0xc0
	.byte	0xc4, 0xe2, 0x78, 0x49, 0xc0
	addq	$64, %rsp
	ret

	.section .note.GNU-stack, "", @progbits
