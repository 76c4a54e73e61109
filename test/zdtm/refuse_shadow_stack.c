/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A shadow stack, where the processor has them.
 *
 * zdtm: refuse mapping .*: user shadow stacks
 */
#include "zdtm.h"

int main(void)
{
	long at = syscall(453 /* map_shadow_stack, Linux 6.6 */, 0, 4096, 0);

	if (at < 0)
		zdtm_skip("no shadow stacks here: map_shadow_stack: %s", strerror(errno));
	zdtm_ready();
	zdtm_wait();
	zdtm_pass();
}
