/* SPDX-License-Identifier: GPL-2.0-only */
/* How a restored process begins: the small ELF, clone3 with a stack of its own, and syscall instructions in its code.
 */
#include <elf.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/reg.h>

#include "arch/arch.h"
#include "arch/arch_start.h"
#include "arch_page.h"
#include "regs.h"

/*
 * The code of the small ELF. Its parameters (struct start_params) follow at start_end. It uses no stack until it
 * switches to the agent's.
 */
__asm__(".section .rodata\n"
        ".globl start_code, start_end\n"
        "start_code:\n"
        "	leaq	start_end(%rip), %rbx\n"
        "	movl	$9, %eax\n" /* mmap(text_at, text_len, RX, SHARED|FIXED, fd, 0) */
        "	movq	8(%rbx), %rdi\n"
        "	movq	16(%rbx), %rsi\n"
        "	movl	$5, %edx\n"
        "	movl	$0x11, %r10d\n"
        "	movq	0(%rbx), %r8\n"
        "	xorl	%r9d, %r9d\n"
        "	syscall\n"
        "	cmpq	8(%rbx), %rax\n"
        "	jne	1f\n"
        "	movl	$9, %eax\n" /* mmap(slots_at, slots_len, RW, SHARED|FIXED, fd, slots_off) */
        "	movq	24(%rbx), %rdi\n"
        "	movq	32(%rbx), %rsi\n"
        "	movl	$3, %edx\n"
        "	movq	40(%rbx), %r9\n"
        "	syscall\n"
        "	cmpq	24(%rbx), %rax\n"
        "	jne	1f\n"
        "	movq	56(%rbx), %rdi\n"
        "	movq	64(%rbx), %rsp\n"
        "	jmp	*48(%rbx)\n"
        "1:	movl	$231, %eax\n" /* exit_group(1) */
        "	movl	$1, %edi\n"
        "	syscall\n"
        "	.balign 8\n"
        "start_end:\n"
        ".previous\n"

        /* long clone3_call(args, size, fn, arg) */
        ".text\n"
        ".type clone3_call, @function\n"
        "clone3_call:\n"
        "	movq	%rdx, %r8\n"
        "	movq	%rcx, %r9\n"
        "	movl	$435, %eax\n"
        "	syscall\n"
        "	testq	%rax, %rax\n"
        "	jz	1f\n"
        "	ret\n"
        "1:	xorl	%ebp, %ebp\n"
        "	andq	$-16, %rsp\n" /* the caller's own has a return address on it */
        "	movq	%r9, %rdi\n"
        "	callq	*%r8\n"
        "	hlt\n");

extern const uint8_t start_code[], start_end[];
long clone3_call(struct clone_args *args, size_t size, void (*fn)(void *), void *arg);

long arch_clone3(struct clone_args *args, void (*fn)(void *), void *arg)
{
	return clone3_call(args, sizeof(*args), fn, arg);
}

/* From 32-bit code into what follows: ljmp $0x33, $target. */
#define FAR_JUMP_LEN 7

static size_t start_elf_compat(raddr_t at, const struct start_params *params, uint8_t buf[PAGE_SIZE])
{
	size_t code = (size_t)(start_end - start_code), len;
	Elf32_Ehdr eh = {
		.e_ident = { ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS32, ELFDATA2LSB, EV_CURRENT },
		.e_type = ET_EXEC,
		.e_machine = EM_386,
		.e_version = EV_CURRENT,
		.e_phoff = sizeof(Elf32_Ehdr),
		.e_ehsize = sizeof(Elf32_Ehdr),
		.e_phentsize = sizeof(Elf32_Phdr),
		.e_phnum = 2,
	};
	Elf32_Phdr ph[2] = {
		{ .p_type = PT_LOAD, .p_flags = PF_R | PF_X, .p_align = PAGE_SIZE },
		/* Without one the kernel makes all that can be read executable (READ_IMPLIES_EXEC). */
		{ .p_type = PT_GNU_STACK, .p_flags = PF_R | PF_W },
	};
	uint8_t *p = buf + sizeof(eh) + sizeof(ph);
	uint32_t target;

	ph[0].p_vaddr = ph[0].p_paddr = (uint32_t)at;
	eh.e_entry = (uint32_t)(at + (uint64_t)(p - buf));
	target = eh.e_entry + FAR_JUMP_LEN;
	len = (size_t)(p - buf) + FAR_JUMP_LEN + code + sizeof(*params);
	ph[0].p_filesz = ph[0].p_memsz = (uint32_t)len;
	memcpy(buf, &eh, sizeof(eh));
	memcpy(buf + sizeof(eh), ph, sizeof(ph));
	p[0] = 0xea;
	memcpy(p + 1, &target, 4);
	memcpy(p + 5, (const uint8_t[]) { CS_64BIT, 0 }, 2);
	memcpy(p + FAR_JUMP_LEN, start_code, code);
	memcpy(p + FAR_JUMP_LEN + code, params, sizeof(*params));
	return len;
}

static size_t start_elf_native(raddr_t at, const struct start_params *params, uint8_t buf[PAGE_SIZE])
{
	size_t code = (size_t)(start_end - start_code), len;
	Elf64_Ehdr eh = {
		.e_ident = { ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB, EV_CURRENT },
		.e_type = ET_EXEC,
		.e_machine = EM_X86_64,
		.e_version = EV_CURRENT,
		.e_phoff = sizeof(Elf64_Ehdr),
		.e_ehsize = sizeof(Elf64_Ehdr),
		.e_phentsize = sizeof(Elf64_Phdr),
		.e_phnum = 1,
	};
	Elf64_Phdr ph = {
		.p_type = PT_LOAD, .p_flags = PF_R | PF_X, .p_vaddr = at, .p_paddr = at, .p_align = PAGE_SIZE
	};
	uint8_t *p = buf + sizeof(eh) + sizeof(ph);

	eh.e_entry = at + (uint64_t)(p - buf);
	len = (size_t)(p - buf) + code + sizeof(*params);
	ph.p_filesz = ph.p_memsz = len;
	memcpy(buf, &eh, sizeof(eh));
	memcpy(buf + sizeof(eh), &ph, sizeof(ph));
	memcpy(p, start_code, code);
	memcpy(p + code, params, sizeof(*params));
	return len;
}

size_t arch_start_elf(raddr_t at, const struct start_params *params, bool compat, uint8_t buf[PAGE_SIZE])
{
	return compat ? start_elf_compat(at, params, buf) : start_elf_native(at, params, buf);
}

/* Skips one `xor r32, r32` (31 /r or 33 /r with a register operand, and a REX prefix or none). */
static size_t skip_xor(const uint8_t *p, size_t left)
{
	size_t rex = left && (p[0] & 0xf0) == 0x40;

	if (left < rex + 2 || (p[rex] != 0x31 && p[rex] != 0x33) || (p[rex + 1] & 0xc0) != 0xc0)
		return 0;
	return rex + 2;
}

ssize_t arch_find_syscall(const uint8_t *code, size_t len)
{
	for (size_t i = 0; i + 2 < len; i++) {
		size_t at = i + 2, skip;

		if (code[i] != 0x0f || code[i + 1] != 0x05)
			continue;
		while (at < len && (skip = skip_xor(code + at, len - at)))
			at += skip;
		if (at < len && code[at] == 0xc3)
			return (ssize_t)i;
	}
	return -ENOENT;
}

ssize_t arch_find_syscall_compat(const uint8_t *code, size_t len)
{
	/* int $0x80; pop %ebp; pop %edx; pop %ecx; ret: the end of __kernel_vsyscall */
	static const uint8_t wanted[] = { 0xcd, 0x80, 0x5d, 0x5a, 0x59, 0xc3 };
	const uint8_t *at = memmem(code, len, wanted, sizeof(wanted));

	return at ? at - code : -ENOENT;
}

int arch_peek_result(pid_t tid, int64_t *ret)
{
	errno = 0;
	*ret = ptrace(PTRACE_PEEKUSER, tid, (void *)(8UL * RAX), NULL);
	return *ret == -1 && errno ? -errno : 0;
}
