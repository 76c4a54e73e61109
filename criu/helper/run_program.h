/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef CRIU_HELPER_RUN_PROGRAM_H
#define CRIU_HELPER_RUN_PROGRAM_H

#include "common.h"

/*
 * Runs argv (NULL-terminated; looked for in PATH, /usr/sbin and /sbin) to its end, with in as its standard input and
 * out as output, errors as standard error (it may be the same), and held as it is here (-1: nothing). It is killed if
 * this process dies. Its exit status (128 and more: it was killed), or a negative errno (not logged): -ENOENT where it
 * is not installed.
 */
int run_program(const char *const *argv, int in, int out, int errors, int held);

#endif
