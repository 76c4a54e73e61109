/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A task that has forbidden itself memory that is writable and executable (PR_SET_MDWE).
 *
 * zdtm: mode snapshot
 * zdtm: restores 2
 * zdtm: victim points
 */
#include <sys/mman.h>
#include <sys/prctl.h>

#include "zdtm.h"

#define MDWE_SET 65
#define MDWE_GET 66

int main(void)
{
	if (prctl(MDWE_SET, 1, 0, 0, 0))
		zdtm_skip("the kernel has no PR_SET_MDWE");
	zdtm_ready();
	for (int more = 1; more;) {
		more = zdtm_asked();
		zdtm_check(prctl(MDWE_GET, 0, 0, 0, 0) == 1, "it is not forbidden any more");
		zdtm_check(mmap(NULL, 4096, PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED,
		           "writable and executable memory can be had");
		if (more)
			zdtm_answer();
	}
	zdtm_pass();
}
