/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Transparent huge pages: a range with MADV_HUGEPAGE is in huge pages afterwards as before; one where only some are;
 * and a range that was never advised is in small pages.
 *
 * zdtm: restores 2
 * zdtm: exclusive
 */
#include <sys/mman.h>

#include "zdtm.h"

#define HUGE (2UL << 20)

static long huge_kb(unsigned char *p)
{
	unsigned long start, end;
	char line[400];
	long kb = -1;
	int in = 0;
	FILE *f = fopen("/proc/self/smaps", "re");

	zdtm_must(f);
	while (kb < 0 && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%lx-%lx ", &start, &end) == 2 && strchr(line, '-') < strchr(line, ' '))
			in = start <= (uintptr_t)p && (uintptr_t)p < end;
		else if (in)
			sscanf(line, "AnonHugePages: %ld kB", &kb);
	}
	fclose(f);
	return kb;
}

static unsigned char *range(int huge)
{
	unsigned char *p = mmap(NULL, 10 * HUGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), *q;

	zdtm_must(p != MAP_FAILED);
	q = (unsigned char *)(((uintptr_t)p + 2 * HUGE - 1) & ~(HUGE - 1)); /* one huge page at least is between */
	zdtm_must(!munmap(p, q - p) && !munmap(q + 8 * HUGE, p + 10 * HUGE - q - 8 * HUGE));
	zdtm_must(!madvise(q, 8 * HUGE, huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE));
	return q;
}

int main(void)
{
	unsigned char *full = range(1), *part = range(1), *small = range(0);
	long f, p, s;

	memset(full, 1, 8 * HUGE);
	memset(part, 2, 3 * HUGE);
	memset(small, 3, 8 * HUGE);
	f = huge_kb(full);
	p = huge_kb(part);
	s = huge_kb(small);
	if (f < 8 * 2048)
		zdtm_skip("the kernel gives no huge pages (%ld kB of %d)", f, 8 * 2048);
	zdtm_ready();
	zdtm_wait();
	zdtm_check(huge_kb(full) == f, "full range: %ld kB in huge pages, now %ld", f, huge_kb(full));
	zdtm_check(huge_kb(part) == p, "partial range: %ld kB in huge pages, now %ld", p, huge_kb(part));
	zdtm_check(huge_kb(small) == s, "range without: %ld kB in huge pages, now %ld", s, huge_kb(small));
	for (unsigned long i = 0; i < 8 * HUGE; i += 4096) {
		if (!zdtm_check(full[i] == 1 && part[i] == (i < 3 * HUGE ? 2 : 0) && small[i] == 3, "contents at %lx",
		                i))
			break;
	}
	zdtm_pass();
}
