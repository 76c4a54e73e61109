/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Private memory that could be written once and cannot now, without contents: it counts as committed (VmFlags ac), and
 * what never could be written does not, also where a parent has memory that can. The runner compares.
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
	int status;
	pid_t pid;

	for (int i = 0; i < 3; i++) {
		p[i] = mmap(NULL, MB, prots[i], MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		zdtm_must(p[i] != MAP_FAILED);
	}
	zdtm_must(!mprotect(p[0], MB / 2, PROT_NONE) && !mprotect(p[0] + MB / 2, MB / 4, PROT_READ));
	pid = fork();
	zdtm_must(pid >= 0);
	if (!pid) {
		zdtm_must(mmap(p[0], MB, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == p[0]);
		zdtm_ready();
		zdtm_wait();
		_exit(0);
	}
	zdtm_wait();
	zdtm_check(waitpid(pid, &status, 0) == pid && !status, "the child: %x", status);
	zdtm_check(!mprotect(p[0], MB, PROT_READ) && !p[0][0], "contents");
	zdtm_pass();
}
