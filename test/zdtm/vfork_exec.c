/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A tree in which somebody is in vfork() all the time, but never for long: the dump waits for a moment in which it can
 * stop all of them.
 *
 * zdtm: frozen
 * zdtm: iters 3
 */
#include "zdtm.h"

int main(void)
{
	volatile int n = 0;
	int status;

	zdtm_ready();
	for (; access("verify", F_OK); n++) {
		pid_t kid = vfork();

		if (!kid) {
			nanosleep(&(struct timespec) { .tv_nsec = 30000000 }, NULL);
			execl("/bin/true", "true", NULL);
			_exit(1);
		}
		if (!zdtm_check(kid > 0 && waitpid(kid, &status, 0) == kid && !status, "child %d: %x", n, status))
			break;
	}
	zdtm_check(n > 1, "%d children", n);
	zdtm_pass();
}
