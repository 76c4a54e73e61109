/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Runs through a function again and again, whose place in the file it says: for uprobes.py.
 *
 * zdtm: iters 1
 */
#include "zdtm.h"

static unsigned calls;

__attribute__((noinline)) static unsigned probed(unsigned n)
{
	__asm__ volatile("xorl %%eax, %%eax" ::: "eax"); /* the kernel does not emulate it: a page to step in is made */
	return __atomic_add_fetch(&calls, n, __ATOMIC_RELAXED);
}

/* Its first instruction is one that the kernel emulates. */
__attribute__((noinline)) static void emulated(void)
{
	__asm__ volatile("nop");
}

static void say_place(const void *fn, FILE *out)
{
	unsigned long at = (unsigned long)(uintptr_t)fn, start, end, off;
	FILE *f = fopen("/proc/self/maps", "re");
	char line[400];

	zdtm_must(f);
	while (fgets(line, sizeof(line), f))
		if (sscanf(line, "%lx-%lx %*s %lx", &start, &end, &off) == 3 && start <= at && at < end)
			fprintf(out, "%lu\n", at - start + off);
	fclose(f);
}

int main(void)
{
	FILE *out = fopen(zdtm_path("place"), "we");

	zdtm_must(out);
	say_place((const void *)(uintptr_t)probed, out);
	say_place((const void *)(uintptr_t)emulated, out);
	fclose(out);
	zdtm_ready();
	while (access(zdtm_path("verify"), F_OK)) {
		probed(1);
		emulated();
		zdtm_nap();
	}
	zdtm_check(probed(1) > 1, "it starts at zero");
	zdtm_pass();
}
