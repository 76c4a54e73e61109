/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The thinnest slice: one process that sleeps, with something on its stack, in its data and on its heap.
 *
 * zdtm: flavour ns
 * zdtm: restores 3
 * zdtm: victim points random
 * zdtm: flavour pidns
 */
#include "zdtm.h"

static char data[5000] = "data";
static char bss[5000];

int main(void)
{
	char stack[5000], *heap = malloc(300000);
	pid_t pid = getpid();
	int rounds = 0;

	zdtm_must(heap);
	strcpy(stack, "stack");
	strcpy(heap + 299000, "heap");
	strcpy(bss + 4000, "bss");
	zdtm_ready();
	for (int more = 1; more; rounds++) {
		more = zdtm_asked();
		zdtm_check(getpid() == pid, "the pid was %d, is %d", pid, getpid());
		zdtm_check(!strcmp(data, "data") && !strcmp(bss + 4000, "bss"), "data or bss changed");
		zdtm_check(!strcmp(stack, "stack") && !strcmp(heap + 299000, "heap"), "stack or heap changed");
		if (more)
			zdtm_answer();
	}
	zdtm_pass();
}
