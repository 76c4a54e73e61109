/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A parent that waits in vfork() for its child cannot be stopped by anybody before the child ends or executes
 * something: the dump gives up after its timeout and says so, and both go on as they were.
 *
 * zdtm: dump --timeout 2
 * zdtm: refuse vfork.*(execute|exit)
 * zdtm: flavour pidns
 */
#include "zdtm.h"

int main(void)
{
	volatile int seen = 0;
	int status;
	pid_t kid = vfork();

	if (!kid) {
		zdtm_ready();
		zdtm_wait();
		seen = 5; /* the parent's memory */
		_exit(9);
	}
	zdtm_check(seen == 5, "the child did not share our memory");
	zdtm_check(access("verify", F_OK) == 0, "the parent ran before the child had ended");
	zdtm_check(waitpid(kid, &status, 0) == kid && status == 9 << 8, "status %x", status);
	zdtm_pass();
}
