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

static void say_place(void)
{
	unsigned long at = (unsigned long)(uintptr_t)probed, start, end, off;
	FILE *f = fopen("/proc/self/maps", "re"), *out = fopen(zdtm_path("place"), "we");
	char line[400];

	zdtm_must(f && out);
	while (fgets(line, sizeof(line), f))
		if (sscanf(line, "%lx-%lx %*s %lx", &start, &end, &off) == 3 && start <= at && at < end)
			fprintf(out, "%lu\n", at - start + off);
	fclose(f);
	fclose(out);
}

int main(void)
{
	say_place();
	zdtm_ready();
	while (access(zdtm_path("verify"), F_OK)) {
		probed(1);
		zdtm_nap();
	}
	zdtm_check(probed(1) > 1, "it starts at zero");
	zdtm_pass();
}
