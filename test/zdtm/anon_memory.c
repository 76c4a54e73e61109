/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Anonymous memory, private and shared: contents, protection, PROT_NONE with contents, zero pages, a range that is
 * three quarters zero, untouched ranges (which stay untouched), memory shared with a child, brk.
 *
 * zdtm: flavour ns
 * zdtm: restores 2
 * zdtm: iters 3
 * zdtm: victim points random
 */
#include <sys/mman.h>

#include "zdtm.h"

#define MB (1 << 20)

static unsigned char *map(int prot, int flags, size_t len)
{
	unsigned char *p = mmap(NULL, len, prot, flags | MAP_ANONYMOUS, -1, 0);

	zdtm_must(p != MAP_FAILED);
	return p;
}

static void fill(unsigned char *p, size_t len, unsigned seed)
{
	for (size_t i = 0; i < len; i++) {
		seed = seed * 1103515245 + 12345;
		p[i] = seed >> 16;
	}
}

static int same(unsigned char *p, size_t len, unsigned seed)
{
	for (size_t i = 0; i < len; i++) {
		seed = seed * 1103515245 + 12345;
		if (p[i] != (unsigned char)(seed >> 16))
			return 0;
	}
	return 1;
}

static int resident(unsigned char *p, size_t len)
{
	static unsigned char vec[4096];
	int n = 0;

	zdtm_must(len / 4096 <= sizeof(vec) && !mincore(p, len, vec));
	for (size_t i = 0; i < len / 4096; i++)
		n += vec[i] & 1;
	return n;
}

static unsigned char *rw, *ro, *none, *quarter, *untouched, *shared, *brk_start;
static volatile int *word;

static void look(void)
{
	int zero = 1;

	zdtm_check(same(rw, 3 * MB, 1), "private memory differs");
	zdtm_check(same(ro, MB, 2), "read-only memory differs");
	zdtm_check(!mprotect(none, MB, PROT_READ) && same(none, MB, 3), "PROT_NONE memory differs");
	zdtm_check(!mprotect(none, MB, PROT_NONE), "mprotect");
	for (int i = 0; i < 4 * MB / 4096; i++) {
		if (i % 4 == 0)
			zdtm_check(same(quarter + i * 4096, 4096, i), "page %d of the sparse range differs", i);
		else
			for (int j = 0; j < 4096; j += 64)
				zero &= !quarter[i * 4096 + j];
	}
	zdtm_check(zero, "zero pages are not zero any more");
	zdtm_check(resident(untouched, 4 * MB) == 0, "%d untouched pages are there", resident(untouched, 4 * MB));
	zdtm_check(same(shared, MB, 5) && same(brk_start, MB / 2, 6), "shared memory or brk differs");
}

int main(void)
{
	pid_t kid;
	int status;

	rw = map(PROT_READ | PROT_WRITE, MAP_PRIVATE, 3 * MB);
	ro = map(PROT_READ | PROT_WRITE, MAP_PRIVATE, MB);
	none = map(PROT_READ | PROT_WRITE, MAP_PRIVATE, MB);
	quarter = map(PROT_READ | PROT_WRITE, MAP_PRIVATE, 4 * MB);
	untouched = map(PROT_READ | PROT_WRITE, MAP_PRIVATE, 4 * MB);
	shared = map(PROT_READ | PROT_WRITE, MAP_SHARED, MB);
	word = (int *)map(PROT_READ | PROT_WRITE, MAP_SHARED, 4096);
	madvise(quarter, 4 * MB, MADV_NOHUGEPAGE);
	brk_start = sbrk(MB);
	zdtm_must(brk_start != (void *)-1);
	fill(rw, 3 * MB, 1);
	fill(ro, MB, 2);
	fill(none, MB, 3);
	memset(quarter, 0, 4 * MB);
	for (int i = 0; i < 4 * MB / 4096; i += 4)
		fill(quarter + i * 4096, 4096, i);
	fill(shared, MB, 5);
	fill(brk_start, MB / 2, 6);
	zdtm_must(!mprotect(ro, MB, PROT_READ) && !mprotect(none, MB, PROT_NONE));
	zdtm_must((kid = fork()) >= 0);
	if (!kid) {
		while (!*word)
			zdtm_nap();
		*word = 2;
		_exit(0);
	}
	zdtm_ready();
	while (zdtm_asked()) {
		look();
		zdtm_answer();
	}
	look();
	zdtm_check(sbrk(0) == brk_start + MB && sbrk(4096) == brk_start + MB, "brk moved");
	*word = 1;
	zdtm_check(waitpid(kid, &status, 0) == kid && !status && *word == 2, "shared memory is not shared");
	zdtm_pass();
}
