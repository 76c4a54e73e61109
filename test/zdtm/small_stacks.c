/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Threads on stacks that are barely large enough, as coroutines have them, one right beside the other, on which they
 * count in a loop with all of the red zone in use: not one byte of a neighbour's may change.
 *
 * zdtm: mode snapshot
 * zdtm: restores 2
 * zdtm: iters 3
 * zdtm: victim random
 */
#include <sched.h>
#include <sys/mman.h>

#include "zdtm.h"

#define N     8
#define SMALL 512

static unsigned char *area;
__attribute__((used)) static volatile int stop, ended, bad;

/* On a stack of its own of SMALL bytes; uses no libc function that would need more. */
__attribute__((naked, noreturn)) static void spin(void)
{
	asm volatile(
	    "movq $0x0123456789abcdef, %rax\n\t"
	    "movq %rax, -8(%rsp)\n\tmovq %rax, -64(%rsp)\n\tmovq %rax, -128(%rsp)\n\t"
	    "1: cmpq %rax, -8(%rsp)\n\tjne 2f\n\tcmpq %rax, -64(%rsp)\n\tjne 2f\n\tcmpq %rax, -128(%rsp)\n\tjne 2f\n\t"
	    "cmpl $0, stop(%rip)\n\tje 1b\n\tjmp 3f\n\t"
	    "2: lock incl bad(%rip)\n\t"
	    "3: lock incl ended(%rip)\n\t"
	    "movl $60, %eax\n\txorl %edi, %edi\n\tsyscall\n\t"); /* exit of this thread */
}

static int enter(void *arg)
{
	asm volatile("jmp *%0" : : "r"(arg));
	return 0;
}

static unsigned char want(int i)
{
	return i * 37 + 11;
}

static void look(void)
{
	/* Of each stack the uppermost 256 bytes are in use; the rest below is nobody's business. */
	for (int k = 0; k < N; k++)
		for (int i = k * SMALL; i < (k + 1) * SMALL - 256; i++)
			if (!zdtm_check(area[i] == want(i), "stack %d, byte %d: %x", k, i - k * SMALL, area[i]))
				return;
	zdtm_check(!bad, "%d red zones changed", bad);
}

int main(void)
{
	area = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	zdtm_must(area != MAP_FAILED);
	for (int i = 0; i < 4096; i++)
		area[i] = want(i);
	for (int k = 0; k < N; k++)
		zdtm_must(clone(enter, area + (k + 1) * SMALL,
		                CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD, (void *)spin) > 0);
	usleep(20000);
	zdtm_ready();
	while (zdtm_asked()) {
		look();
		zdtm_answer();
	}
	look();
	stop = 1;
	for (int i = 0; i < 6000 && ended < N; i++)
		zdtm_nap();
	zdtm_check(ended == N, "%d threads of %d ended", ended, N);
	zdtm_check(!bad, "%d red zones changed", bad);
	zdtm_pass();
}
