/* SPDX-License-Identifier: GPL-2.0-only */
/* What a thread has asked for, and what has to be set for it on another machine: few machines can show all of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/prctl.h>

#include <cmocka.h>

#include "common.h"
#include "task/speculation.h"

static void asked_for(void **state)
{
	/* No such control, a processor that is not affected, one for all threads: nothing of the thread's. */
	assert_true(speculation_is_default(PR_SPEC_STORE_BYPASS, -EINVAL));
	assert_true(speculation_is_default(PR_SPEC_STORE_BYPASS, PR_SPEC_NOT_AFFECTED));
	assert_true(speculation_is_default(PR_SPEC_STORE_BYPASS, PR_SPEC_DISABLE));
	assert_true(speculation_is_default(PR_SPEC_STORE_BYPASS, PR_SPEC_PRCTL | PR_SPEC_ENABLE));
	assert_true(speculation_is_default(PR_SPEC_L1D_FLUSH, PR_SPEC_PRCTL | PR_SPEC_DISABLE));
	assert_false(speculation_is_default(PR_SPEC_L1D_FLUSH, PR_SPEC_PRCTL | PR_SPEC_ENABLE));
	assert_false(speculation_is_default(PR_SPEC_STORE_BYPASS, PR_SPEC_PRCTL | PR_SPEC_DISABLE));
	assert_false(speculation_is_default(PR_SPEC_INDIRECT_BRANCH, PR_SPEC_PRCTL | PR_SPEC_FORCE_DISABLE));
}

static void to_be_set(void **state)
{
	const uint32_t on = PR_SPEC_PRCTL | PR_SPEC_ENABLE, off = PR_SPEC_PRCTL | PR_SPEC_DISABLE;

	assert_int_equal(speculation_to_set(PR_SPEC_STORE_BYPASS, off, on), PR_SPEC_DISABLE);
	assert_int_equal(speculation_to_set(PR_SPEC_STORE_BYPASS, off, off), 0);
	/* criu itself has it off, the thread had not. */
	assert_int_equal(speculation_to_set(PR_SPEC_STORE_BYPASS, 0, off), PR_SPEC_ENABLE);
	assert_int_equal(speculation_to_set(PR_SPEC_L1D_FLUSH, 0, on), PR_SPEC_DISABLE);
	assert_int_equal(speculation_to_set(PR_SPEC_INDIRECT_BRANCH, PR_SPEC_PRCTL | PR_SPEC_FORCE_DISABLE, on),
	                 PR_SPEC_FORCE_DISABLE);
	assert_int_equal(speculation_to_set(PR_SPEC_STORE_BYPASS, PR_SPEC_PRCTL | PR_SPEC_DISABLE_NOEXEC, on),
	                 PR_SPEC_DISABLE_NOEXEC);
	/* Threads have no say here. */
	assert_int_equal(speculation_to_set(PR_SPEC_STORE_BYPASS, off, PR_SPEC_ENABLE), 0);
	assert_int_equal(speculation_to_set(PR_SPEC_STORE_BYPASS, off, -ENODEV), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(asked_for), cmocka_unit_test(to_be_set) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
