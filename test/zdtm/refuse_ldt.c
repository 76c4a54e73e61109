/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A thread that uses a segment of modify_ldt(2).
 *
 * zdtm: refuse uses a segment of modify_ldt
 */
#include <asm/ldt.h>

#include "zdtm.h"

static void other_segment(void)
{
	struct user_desc d = { .entry_number = 0, .limit = 0xfffff, .seg_32bit = 1, .limit_in_pages = 1, .useable = 1 };
	unsigned short gs = 0 << 3 | 1 << 2 | 3; /* entry 0 of the LDT, for user code */

	if (syscall(SYS_modify_ldt, 1, &d, sizeof(d)))
		zdtm_skip("modify_ldt: %s", strerror(errno));
	__asm__ volatile("mov %0, %%gs" : : "r"(gs));
}

/* Some virtual machines have modify_ldt(2) and no segments. */
static void need_segments(void)
{
	pid_t child = fork();
	int status;

	zdtm_must(child >= 0);
	if (!child) {
		other_segment();
		_exit(0);
	}
	zdtm_must(waitpid(child, &status, 0) == child);
	if (WIFSIGNALED(status))
		zdtm_skip("to load a segment of modify_ldt ends in signal %d here", WTERMSIG(status));
}

int main(void)
{
	unsigned short gs;

	need_segments();
	other_segment();
	zdtm_ready();
	zdtm_wait();
	__asm__ volatile("mov %%gs, %0" : "=r"(gs));
	zdtm_check(gs == 7, "the segment is %x", gs);
	zdtm_pass();
}
