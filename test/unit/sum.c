/* SPDX-License-Identifier: GPL-2.0-only */
/* The checksum of pages is XXH3, whatever registers it is made with. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>

#include "arch/arch_sum.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

static void all_sizes(void **state)
{
	static uint8_t bytes[8192];

	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(random() >> 7);
	for (size_t len = 0; len <= sizeof(bytes); len = len < 300 ? len + 1 : len + 97)
		for (size_t at = 0; at <= 3 && at + len <= sizeof(bytes); at++)
			assert_true(arch_sum(bytes + at, len) == XXH3_64bits(bytes + at, len));
	assert_true(arch_sum("", 0) == UINT64_C(0x2d06800538d394c2)); /* of nothing, by the specification */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_sizes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
