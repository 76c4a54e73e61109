/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * 5000 mappings: every second page of a range read-only, each with contents of its own. A restore protects them first
 * and writes their pages then.
 *
 * zdtm: restores 2
 * zdtm: victim random
 */
#include <sys/mman.h>

#include "zdtm.h"

#define N    5000
#define PAGE 4096UL

static void look(unsigned char *p, int change)
{
	for (unsigned i = 0; i < N; i++) {
		unsigned *w = (unsigned *)(p + i * PAGE);

		if (!zdtm_check(*w == i * 3 + 1, "page %u holds %u", i, *w))
			break;
		if (i % 2 && change)
			*w = 0;
	}
}

int main(void)
{
	unsigned char *p = mmap(NULL, N * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	zdtm_must(p != MAP_FAILED && !madvise(p, N * PAGE, MADV_NOHUGEPAGE));
	for (unsigned i = 0; i < N; i++)
		*(unsigned *)(p + i * PAGE) = i * 3 + 1;
	for (unsigned i = 0; i < N; i += 2)
		zdtm_must(!mprotect(p + i * PAGE, PAGE, PROT_READ));
	zdtm_ready();
	while (zdtm_asked()) {
		look(p, 0);
		zdtm_answer();
	}
	look(p, 1);
	zdtm_pass();
}
