/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A child that was forked and has grown beyond its parent since: its stack by a deep recursion, its heap by brk. Both
 * show as one mapping each, as before.
 *
 * zdtm: restores 2
 */
#include <sys/mman.h>

#include "zdtm.h"

#define MB (1 << 20)

static int lines_of(const char *name)
{
	char line[400];
	int n = 0;
	FILE *f = fopen("/proc/self/maps", "re");

	zdtm_must(f);
	while (fgets(line, sizeof(line), f))
		n += strstr(line, name) != NULL;
	fclose(f);
	return n;
}

static __attribute__((noinline)) int deep(int depth)
{
	volatile unsigned char page[4096];

	memset((void *)page, depth & 0xff, sizeof(page));
	if (depth && deep(depth - 1))
		return 1;
	return page[17] != (depth & 0xff);
}

int main(void)
{
	pid_t kid;
	int status;

	zdtm_must(sbrk(MB) != (void *)-1);
	zdtm_must((kid = fork()) >= 0);
	if (!kid) {
		volatile unsigned char *heap;
		int stacks;

		zdtm_must((heap = sbrk(MB)) != (void *)-1);
		for (int i = 0; i < MB; i += 4096)
			heap[i] = i >> 12;
		zdtm_must(!deep(500));
		stacks = lines_of("[stack]");
		zdtm_ready();
		zdtm_wait();
		zdtm_check(lines_of("[stack]") == stacks, "%d mappings named [stack], were %d", lines_of("[stack]"),
		           stacks);
		for (int i = 0; i < MB; i += 4096)
			zdtm_check(heap[i] == (i >> 12 & 0xff), "heap at %x", i);
		zdtm_check(!deep(900), "the stack");
		_exit(0);
	}
	zdtm_check(waitpid(kid, &status, 0) == kid && !status, "child: %x", status);
	zdtm_pass();
}
