/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Private memory that could be written once and cannot now, without contents: it counts as committed (VmFlags ac), and
 * what never could be written does not. The runner compares.
 *
 * zdtm: restores 2
 */
#include <sys/mman.h>

#include "zdtm.h"

#define MB (1 << 20)

int main(void)
{
	int prots[] = { PROT_READ | PROT_WRITE, PROT_READ, PROT_NONE };
	unsigned char *p[3];

	for (int i = 0; i < 3; i++) {
		p[i] = mmap(NULL, MB, prots[i], MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		zdtm_must(p[i] != MAP_FAILED);
	}
	zdtm_must(!mprotect(p[0], MB / 2, PROT_NONE) && !mprotect(p[0] + MB / 2, MB / 4, PROT_READ));
	zdtm_ready();
	zdtm_wait();
	zdtm_check(!mprotect(p[0], MB, PROT_READ) && !p[0][0], "contents");
	zdtm_pass();
}
