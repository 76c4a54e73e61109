/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * General registers in a tight loop, the red zone below the stack pointer, flags, and fs/gs bases of our own.
 *
 * zdtm: flavour ns
 * zdtm: restores 2
 * zdtm: iters 3
 */
#include <asm/prctl.h>
#include <pthread.h>

#include "zdtm.h"

static volatile int stop, up;

static void *loop(void *arg)
{
	unsigned long bad = 1;
	volatile int *where = &stop;

	up++;
	/* All registers hold known values; the red zone too; the direction flag is set. Nothing of it may ever change.
	 */
	asm volatile(
	    "leaq -256(%%rsp), %%rsp\n\tpushq %%rbx\n\tpushq %%rbp\n\tmovq %%rdi, %%rbp\n\t"
	    "movq $0x1111, %%rax\n\tmovq $0x2222, %%rbx\n\tmovq $0x3333, %%rcx\n\tmovq $0x4444, %%rdx\n\t"
	    "movq $0x5555, %%rsi\n\tmovq $0x6666, %%rdi\n\tmovq $0x8888, %%r8\n\tmovq $0x9999, %%r9\n\t"
	    "movq $0xaaaa, %%r10\n\tmovq $0xbbbb, %%r11\n\tmovq $0xcccc, %%r12\n\tmovq $0xdddd, %%r13\n\t"
	    "movq $0xeeee, %%r14\n\tmovq $0xffff, %%r15\n\t"
	    "movq $0x7777, -8(%%rsp)\n\tmovq $0x7778, -120(%%rsp)\n\tstd\n\t"
	    "1: cmpq $0x1111, %%rax\n\tjne 2f\n\tcmpq $0x2222, %%rbx\n\tjne 2f\n\tcmpq $0x3333, %%rcx\n\tjne 2f\n\t"
	    "cmpq $0x4444, %%rdx\n\tjne 2f\n\tcmpq $0x5555, %%rsi\n\tjne 2f\n\tcmpq $0x6666, %%rdi\n\tjne 2f\n\t"
	    "cmpq $0x8888, %%r8\n\tjne 2f\n\tcmpq $0x9999, %%r9\n\tjne 2f\n\tcmpq $0xaaaa, %%r10\n\tjne 2f\n\t"
	    "cmpq $0xbbbb, %%r11\n\tjne 2f\n\tcmpq $0xcccc, %%r12\n\tjne 2f\n\tcmpq $0xdddd, %%r13\n\tjne 2f\n\t"
	    "cmpq $0xeeee, %%r14\n\tjne 2f\n\tcmpq $0xffff, %%r15\n\tjne 2f\n\t"
	    "cmpq $0x7777, -8(%%rsp)\n\tjne 2f\n\tcmpq $0x7778, -120(%%rsp)\n\tjne 2f\n\t"
	    "cmpl $0, (%%rbp)\n\tje 1b\n\t"
	    "xorl %%eax, %%eax\n\tjmp 3f\n\t"
	    "2: movl $1, %%eax\n\t"
	    "3: cld\n\tpopq %%rbp\n\tpopq %%rbx\n\tleaq 256(%%rsp), %%rsp\n\t"
	    : "=a"(bad), "+D"(where)
	    :
	    : "rcx", "rdx", "rsi", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "memory", "cc");
	zdtm_check(!bad, "a register or the red zone changed");
	return NULL;
}

static void *bases(void *arg)
{
	static long there = 0x600df00d;
	unsigned long fs = 0, fs2 = 0, gs = 0;
	long v;

	zdtm_must(!syscall(SYS_arch_prctl, ARCH_SET_GS, &there) && !syscall(SYS_arch_prctl, ARCH_GET_FS, &fs));
	up++;
	while (!stop) {
		asm volatile("movq %%gs:0, %0" : "=r"(v));
		if (!zdtm_check(v == there, "gs: %lx", v))
			break;
	}
	syscall(SYS_arch_prctl, ARCH_GET_GS, &gs);
	syscall(SYS_arch_prctl, ARCH_GET_FS, &fs2);
	zdtm_check(gs == (unsigned long)&there && fs == fs2, "bases: gs %lx, fs %lx was %lx", gs, fs2, fs);
	return NULL;
}

int main(void)
{
	pthread_t t[3];

	zdtm_must(!pthread_create(&t[0], NULL, loop, NULL) && !pthread_create(&t[1], NULL, bases, NULL));
	zdtm_must(!pthread_create(&t[2], NULL, loop, NULL));
	while (up < 3)
		zdtm_nap();
	zdtm_ready();
	zdtm_wait();
	stop = 1;
	for (int i = 0; i < 3; i++)
		pthread_join(t[i], NULL);
	zdtm_pass();
}
