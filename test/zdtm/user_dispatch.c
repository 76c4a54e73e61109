/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Syscall user dispatch, as Wine uses it: system calls from outside of the C library become a SIGSYS in two threads,
 * one with a selector that blocks them and one without a selector; in a third the selector allows them.
 *
 * zdtm: flavour ns
 * zdtm: iters 3
 * zdtm: victim points random
 */
#include <pthread.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <ucontext.h>

#include "zdtm.h"

#define DISPATCH_SET 59
#define DISPATCH_GET 0x4211 /* of ptrace(2) */
#define BLOCK        1
#define ANSWER       4711

static volatile char selector[3] = { BLOCK, 0, 0 };
static unsigned ready, done, go;
static unsigned long from, to; /* the code of the C library */

static void caught(int sig, siginfo_t *info, void *context)
{
	ucontext_t *uc = context;

	uc->uc_mcontext.gregs[REG_RAX] = ANSWER;
}

/* getppid(2) from here, which is outside. */
static __attribute__((noinline)) long call_outside(void)
{
	long ret;

	__asm__ volatile("syscall" : "=a"(ret) : "0"((long)SYS_getppid) : "rcx", "r11", "memory");
	return ret;
}

static void find_library(void)
{
	char line[600], perm[8], name[400];
	unsigned long a, b;
	FILE *f = fopen("/proc/self/maps", "re");

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "%lx-%lx %7s %*s %*s %*s %399s", &a, &b, perm, name) == 4 && perm[2] == 'x' &&
		    (strstr(name, "libc.so") || strstr(name, "libc-2"))) {
			from = a;
			to = b;
		}
	if (f)
		fclose(f);
}

static void *thread(void *arg)
{
	size_t i = (size_t)arg;
	unsigned round = 0;

	zdtm_must(!prctl(DISPATCH_SET, 1, from, to - from, i == 1 ? NULL : &selector[i]));
	__atomic_add_fetch(&ready, 1, __ATOMIC_SEQ_CST);
	for (;;) {
		unsigned now;

		while ((now = __atomic_load_n(&go, __ATOMIC_SEQ_CST)) == round)
			zdtm_nap();
		round = now;
		for (int k = 0; k < 3; k++)
			zdtm_check(i == 2 ? call_outside() == getppid() : call_outside() == ANSWER,
			           "thread %zu: a call from outside got through, or did not", i);
		__atomic_add_fetch(&done, 1, __ATOMIC_SEQ_CST);
	}
	return NULL;
}

int main(void)
{
	struct sigaction sa = { .sa_sigaction = caught, .sa_flags = SA_SIGINFO };
	pthread_t t;

	find_library();
	if (!from)
		zdtm_skip("the C library has no mapping of its own");
	if (prctl(DISPATCH_SET, 0, 0, 0, 0))
		zdtm_skip("the kernel has no syscall user dispatch");
	if (ptrace(DISPATCH_GET, getpid(), 32, NULL) && errno == EIO)
		zdtm_skip("the kernel shows no syscall user dispatch (before Linux 6.4)");
	zdtm_must(!sigaction(SIGSYS, &sa, NULL));
	for (size_t i = 0; i < 3; i++)
		zdtm_must(!pthread_create(&t, NULL, thread, (void *)i));
	while (__atomic_load_n(&ready, __ATOMIC_SEQ_CST) < 3)
		zdtm_nap();
	zdtm_ready();
	for (int more = 1; more;) {
		more = zdtm_asked();
		__atomic_store_n(&done, 0, __ATOMIC_SEQ_CST);
		__atomic_add_fetch(&go, 1, __ATOMIC_SEQ_CST);
		while (__atomic_load_n(&done, __ATOMIC_SEQ_CST) < 3)
			zdtm_nap();
		zdtm_check(call_outside() == getppid(), "the main thread has what others have");
		if (more)
			zdtm_answer();
	}
	zdtm_pass();
}
