/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Extended registers: threads that keep values in x87, SSE, AVX and (where there is) AVX-512 registers, and control
 * words, while the checkpoint comes; and a thread that sleeps in a system call with its own MXCSR.
 *
 * zdtm: restores 2
 * zdtm: iters 3
 */
#include <cpuid.h>
#include <immintrin.h>
#include <pthread.h>

#include "zdtm.h"

static volatile int stop, up;

#define LOOP_WHILE "1: incq %%rcx\n\tcmpl $0, %[stop]\n\tje 1b\n\t"

static void *sse(void *arg)
{
	unsigned char in[16][16], out[16][16];

	memset(in, 0x5a, sizeof(in));
	for (int i = 0; i < 16; i++)
		in[i][3] = (long)arg + i;
	up++;
	asm volatile("movups (%[in]), %%xmm0\n\tmovups 16(%[in]), %%xmm1\n\tmovups 112(%[in]), %%xmm7\n\t"
	             "movups 240(%[in]), %%xmm15\n\t" LOOP_WHILE
	             "movups %%xmm0, (%[out])\n\tmovups %%xmm1, 16(%[out])\n\tmovups %%xmm7, 112(%[out])\n\t"
	             "movups %%xmm15, 240(%[out])\n\t"
	             :
	             : [in] "r"(in), [out] "r"(out), [stop] "m"(stop)
	             : "rcx", "xmm0", "xmm1", "xmm7", "xmm15", "memory", "cc");
	zdtm_check(!memcmp(in[0], out[0], 16) && !memcmp(in[1], out[1], 16) && !memcmp(in[7], out[7], 16) &&
	               !memcmp(in[15], out[15], 16),
	           "SSE registers of thread %ld", (long)arg);
	return NULL;
}

__attribute__((target("avx"))) static void *avx(void *arg)
{
	unsigned char in[32], out[32];

	for (int i = 0; i < 32; i++)
		in[i] = (long)arg * 7 + i;
	up++;
	asm volatile("vmovups (%[in]), %%ymm9\n\t" LOOP_WHILE "vmovups %%ymm9, (%[out])\n\t"
	             :
	             : [in] "r"(in), [out] "r"(out), [stop] "m"(stop)
	             : "rcx", "xmm9", "memory", "cc");
	zdtm_check(!memcmp(in, out, 32), "AVX register of thread %ld", (long)arg);
	return NULL;
}

__attribute__((target("avx512f"))) static void *avx512(void *arg)
{
	unsigned char in[64], out[64];
	unsigned k = 0;

	for (int i = 0; i < 64; i++)
		in[i] = (long)arg * 11 + i;
	up++;
	asm volatile("vmovups (%[in]), %%zmm29\n\tmovl $0xa5c3, %%eax\n\tkmovw %%eax, %%k5\n\t" LOOP_WHILE
	             "vmovups %%zmm29, (%[out])\n\tkmovw %%k5, %[k]\n\t"
	             : [k] "=&r"(k)
	             : [in] "r"(in), [out] "r"(out), [stop] "m"(stop)
	             : "rax", "rcx", "xmm29", "k5", "memory", "cc");
	zdtm_check(!memcmp(in, out, 64) && k == 0xa5c3, "AVX-512 registers of thread %ld (k %x)", (long)arg, k);
	return NULL;
}

static void *x87(void *arg)
{
	unsigned short cw = 0x0f7f, now = 0; /* round to zero, 64 bit, all masked */
	double d = 0;

	up++;
	asm volatile("fldcw %[cw]\n\tfldpi\n\t" LOOP_WHILE "fnstcw %[now]\n\tfstpl %[d]\n\tfninit\n\t"
	             : [now] "=m"(now), [d] "=m"(d)
	             : [cw] "m"(cw), [stop] "m"(stop)
	             : "rcx", "cc", "memory");
	zdtm_check((now & 0x0f3f) == (cw & 0x0f3f) && d > 3.14159 && d < 3.1416, "x87: cw %x, pi %f", now, d);
	return NULL;
}

static void *sleeper(void *arg)
{
	unsigned csr = 0x1f80 | 0x6000 | 0x8000; /* round to zero, flush to zero */

	_mm_setcsr(csr);
	up++;
	zdtm_wait();
	zdtm_check((_mm_getcsr() & 0xffc0) == csr, "MXCSR %x, not %x", _mm_getcsr(), csr);
	return NULL;
}

int main(void)
{
	void *(*kinds[])(void *) = { sse, sse, x87, sleeper, NULL, NULL, NULL };
	pthread_t t[8];
	int n = 4;

	if (__builtin_cpu_supports("avx"))
		kinds[n++] = avx;
	if (__builtin_cpu_supports("avx512f"))
		kinds[n++] = avx512;
	for (long i = 0; i < n; i++)
		zdtm_must(!pthread_create(&t[i], NULL, kinds[i], (void *)i));
	while (up < n)
		zdtm_nap();
	zdtm_ready();
	zdtm_wait();
	stop = 1;
	for (int i = 0; i < n; i++)
		pthread_join(t[i], NULL);
	zdtm_pass();
}
