/* SPDX-License-Identifier: GPL-2.0-only */
/* Fault points: places in the order of work at which a test has criu killed. */
#ifndef CRIU_LIB_FAULT_H
#define CRIU_LIB_FAULT_H

#include <sys/types.h>

/*
 * A fault point: with --test-kill-at it counts, and kills criu with SIGKILL when its turn has come. It counts in
 * the process that called fault_init() alone, not in its forks. The names are for the log of a test.
 */
void fault_point(const char *name);
void fault_init(unsigned kill_at);

/* Another process is killed just before criu, at its fault point: the guardian. */
void fault_kill_also(pid_t pid);

#endif
