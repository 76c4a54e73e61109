/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Restartable sequences: the area that glibc registers is registered again in each thread (cpu_id follows the thread
 * to another CPU), and threads that are nearly always inside a critical section count right all the time.
 *
 * zdtm: restores 2
 * zdtm: iters 3
 */
#include <pthread.h>
#include <sched.h>
#include <stddef.h>
#include <sys/rseq.h>

#include "zdtm.h"

#define N 4

static volatile int stop;
static unsigned long counts[N], aborts[N];

static struct rseq *area(void)
{
	return (struct rseq *)((char *)__builtin_thread_pointer() + __rseq_offset);
}

/*
 * Adds one to *word with one store that commits; 1: done, 0: aborted before it. The loop before the store keeps the
 * thread inside for most of the time. An interruption that is not noticed would run the rest of a section twice or in
 * part.
 */
static int rseq_add(unsigned long *word, unsigned long expect)
{
	struct rseq *rs = area();
	int done = 0;

	asm volatile(".pushsection __rseq_cs, \"aw\"\n\t"
	             ".balign 32\n\t"
	             "3: .long 0, 0\n\t"
	             ".quad 1f, 2f - 1f, 4f\n\t"
	             ".popsection\n\t"
	             "leaq 3b(%%rip), %%rax\n\t"
	             "movq %%rax, %[cs]\n\t"
	             "1:\n\t"
	             "movl $2000, %%ecx\n\t"
	             "5: decl %%ecx\n\t"
	             "jnz 5b\n\t"
	             "movq %[expect], %%rax\n\t"
	             "incq %%rax\n\t"
	             "movq %%rax, %[word]\n\t"
	             "2:\n\t"
	             "movl $1, %[done]\n\t"
	             "jmp 6f\n\t"
	             ".long 0x53053053\n\t" /* RSEQ_SIG */
	             "4:\n\t"
	             "movl $0, %[done]\n\t"
	             "6:\n\t"
	             : [cs] "=m"(rs->rseq_cs), [word] "+m"(*word), [done] "+r"(done)
	             : [expect] "r"(expect)
	             : "rax", "rcx", "cc", "memory");
	return done;
}

static void cpu_follows(int i)
{
	cpu_set_t set;

	for (int cpu = 0; cpu < 2 && cpu < sysconf(_SC_NPROCESSORS_ONLN); cpu++) {
		CPU_ZERO(&set);
		CPU_SET(cpu, &set);
		if (sched_setaffinity(0, sizeof(set), &set))
			continue;
		sched_yield();
		zdtm_check((int)area()->cpu_id == cpu, "thread %d: on CPU %d rseq says %d", i, cpu,
		           (int)area()->cpu_id);
	}
}

static void *thread(void *arg)
{
	int i = (long)arg;
	unsigned long n = 0;

	while (!stop) {
		if (rseq_add(&counts[i], n))
			n++;
		else
			aborts[i]++;
		if (!zdtm_check(counts[i] == n, "thread %d: %lu, not %lu", i, counts[i], n))
			break;
	}
	cpu_follows(i);
	return NULL;
}

int main(void)
{
	pthread_t t[N];

	if (!__rseq_size || (int)area()->cpu_id < 0)
		zdtm_skip("the libc has not registered rseq");
	for (long i = 0; i < N; i++)
		zdtm_must(!pthread_create(&t[i], NULL, thread, (void *)i));
	/* A thread that has just been made has all signals blocked. */
	for (int i = 0; i < N; i++)
		while (!__atomic_load_n(&counts[i], __ATOMIC_RELAXED))
			sched_yield();
	zdtm_ready();
	zdtm_wait();
	stop = 1;
	for (int i = 0; i < N; i++) {
		pthread_join(t[i], NULL);
		zdtm_check(counts[i] > 1000, "thread %d only did %lu", i, counts[i]);
	}
	cpu_follows(-1);
	zdtm_check(syscall(SYS_rseq, area(), 32, 0, 0x53053053) == -1 && (errno == EBUSY || errno == EINVAL),
	           "the area is not registered: %s", strerror(errno));
	zdtm_pass();
}
