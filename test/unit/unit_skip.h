/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef TEST_UNIT_UNIT_SKIP_H
#define TEST_UNIT_UNIT_SKIP_H

#include <cmocka.h>

/* For what cannot be tested on this machine: ends the test, and scripts/run-units lists it with these words. */
#define unit_skip(...) (print_message("# skipped: " __VA_ARGS__), print_message("\n"), skip())

#endif
