/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Areas for rseq(2) that a program registers itself (the C library does not), of the original size and of larger ones,
 * with other signatures than the usual one. The kernel takes an area back only with the size and signature that it
 * was given with.
 *
 * zdtm: iters 3
 */
#include <linux/rseq.h>
#include <pthread.h>
#include <sched.h>
#include <sys/auxv.h>

#include "zdtm.h"

#define N            4
#define FEATURE_SIZE 27 /* AT_RSEQ_FEATURE_SIZE, Linux 6.3 */

/* The last is in threads that have none. */
static const struct {
	unsigned size, signature;
} kinds[N] = { { 32, 0x53053053 }, { 64, 0x12345678 }, { 256, 0xffffffff }, { 0, 0 } };

static unsigned up, done, refused;

static void *thread(void *arg)
{
	size_t i = (size_t)arg;
	struct rseq *area = aligned_alloc(256, 256);
	cpu_set_t set;

	memset(area, 0, 256);
	area->cpu_id = RSEQ_CPU_ID_UNINITIALIZED;
	if (kinds[i].size && syscall(SYS_rseq, area, kinds[i].size, 0, kinds[i].signature)) {
		zdtm_must(errno == EINVAL && kinds[i].size > 32); /* before Linux 6.3 */
		__atomic_add_fetch(&refused, 1, __ATOMIC_SEQ_CST);
	}
	__atomic_add_fetch(&up, 1, __ATOMIC_SEQ_CST);
	zdtm_wait();
	for (int cpu = 0; kinds[i].size && !refused && cpu < 2; cpu++) {
		CPU_ZERO(&set);
		CPU_SET(cpu, &set);
		if (sched_setaffinity(0, sizeof(set), &set))
			continue;
		zdtm_check(area->cpu_id == (unsigned)cpu && area->cpu_id_start == (unsigned)cpu,
		           "thread %zu: on CPU %d, the area says %u", i, cpu, area->cpu_id);
	}
	if (kinds[i].size && !refused)
		zdtm_check(!syscall(SYS_rseq, area, kinds[i].size, RSEQ_FLAG_UNREGISTER, kinds[i].signature),
		           "thread %zu: the area of %u bytes: %s", i, kinds[i].size, strerror(errno));
	else if (!kinds[i].size)
		zdtm_check(!syscall(SYS_rseq, area, 32, 0, 1), "thread %zu has got an area: %s", i, strerror(errno));
	__atomic_add_fetch(&done, 1, __ATOMIC_SEQ_CST);
	return NULL;
}

int main(int argc, char **argv)
{
	pthread_t t;

	if (!getenv("GLIBC_TUNABLES")) {
		setenv("GLIBC_TUNABLES", "glibc.pthread.rseq=0", 1);
		execv("/proc/self/exe", argv);
	}
	if (syscall(SYS_rseq, NULL, 0, 0, 0) == -1 && errno == ENOSYS)
		zdtm_skip("the kernel has no rseq");
	for (size_t i = 0; i < N; i++)
		zdtm_must(!pthread_create(&t, NULL, thread, (void *)i));
	while (__atomic_load_n(&up, __ATOMIC_SEQ_CST) < N)
		zdtm_nap();
	zdtm_must(!refused || !getauxval(FEATURE_SIZE));
	zdtm_ready();
	zdtm_wait();
	while (__atomic_load_n(&done, __ATOMIC_SEQ_CST) < N)
		zdtm_nap();
	zdtm_pass();
}
