/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Whoever is dumped does nothing any more, wherever the tool is killed (killed_at_commit.py): each step is told to a
 * file that is mapped, which no image holds; after a restore it is as the step in memory.
 *
 * zdtm: iters 2
 */
#include <sys/mman.h>

#include "zdtm.h"

static volatile unsigned long step, *told;

/* Long enough to be in the middle of it most of the time. */
static int steps(void)
{
	for (int i = 0; i < 1000000; i++) {
		unsigned long was = *told;

		if (was != step)
			return zdtm_check(0, "at step %lu it had come to step %lu before", step, was);
		step++;
		*told = step;
	}
	return 1;
}

int main(void)
{
	int fd = open("told", O_RDWR | O_CREAT, 0600), well = 1;

	zdtm_must(fd >= 0 && !ftruncate(fd, 4096));
	told = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	zdtm_must(told != MAP_FAILED);
	zdtm_ready();
	while (access(zdtm_path("verify"), F_OK)) {
		well = well && steps();
		if (!access(zdtm_path("ask"), F_OK))
			zdtm_answer();
		nanosleep(&(struct timespec) { .tv_nsec = 1000000 }, NULL);
	}
	zdtm_pass();
}
