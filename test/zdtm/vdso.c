/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The vdso works where it was: clock_gettime in threads all the time, time never goes back, and no system call is
 * needed for it; getauxval(AT_SYSINFO_EHDR) points to it.
 *
 * zdtm: restores 2
 * zdtm: iters 3
 */
#include <pthread.h>
#include <sys/auxv.h>
#include <sys/time.h>

#include "zdtm.h"

static volatile int stop;

static void *thread(void *arg)
{
	struct timespec last = { 0 }, now;
	struct timeval tv;

	while (!stop) {
		zdtm_must(!clock_gettime(CLOCK_MONOTONIC, &now) && !gettimeofday(&tv, NULL));
		if (!zdtm_check(now.tv_sec > last.tv_sec || (now.tv_sec == last.tv_sec && now.tv_nsec >= last.tv_nsec),
		                "time went back"))
			break;
		last = now;
	}
	return NULL;
}

int main(void)
{
	unsigned char *elf = (void *)getauxval(AT_SYSINFO_EHDR);
	struct timespec a, b;
	pthread_t t[2];
	int i;

	if (!elf)
		zdtm_skip("no vdso");
	for (i = 0; i < 2; i++)
		zdtm_must(!pthread_create(&t[i], NULL, thread, NULL));
	zdtm_ready();
	zdtm_wait();
	stop = 1;
	for (i = 0; i < 2; i++)
		pthread_join(t[i], NULL);
	zdtm_check(getauxval(AT_SYSINFO_EHDR) == (uintptr_t)elf && !memcmp(elf, "\177ELF", 4), "no ELF at %p", elf);
	clock_gettime(CLOCK_MONOTONIC, &a);
	for (i = 0; i < 1000000; i++)
		clock_gettime(CLOCK_MONOTONIC, &b);
	/* A system call takes 100 ns and more, the vdso some 20 to 50: only a large difference is one. */
	i = (b.tv_sec - a.tv_sec) * 1000 + (b.tv_nsec - a.tv_nsec) / 1000000;
	zdtm_check(i < 1500, "1,000,000 calls take %d ms", i);
	zdtm_pass();
}
