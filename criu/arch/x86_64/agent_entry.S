/* SPDX-License-Identifier: GPL-2.0-only */
	.section .text.entry, "ax", @progbits
	.globl agent_entry, agent_syscall, agent_clone, agent_resume

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

/* The child wakes on the stack that clone_args names, where the tool has put the address of its slot. */
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
 * rdi: r15 r14 r13 r12 rbp rbx r11 r10 r9 r8 rax rcx rdx rsi rdi rip rflags rsp. The task's own stack must stay as it is,
 * so the last three come from the agent's stack, by iretq to the same privilege.
 */
agent_resume:
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
	movl	%ss, %eax
	pushq	%rax
	pushq	136(%rdi)
	pushq	128(%rdi)
	movl	%cs, %eax
	pushq	%rax
	pushq	120(%rdi)
	movq	80(%rdi), %rax
	movq	88(%rdi), %rcx
	movq	96(%rdi), %rdx
	movq	104(%rdi), %rsi
	movq	112(%rdi), %rdi
	iretq

	.section .note.GNU-stack, "", @progbits
