/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A stand-in: a process that has the number of one that is gone, while descriptors of that are opened. It is stopped
 * from the start, and killed when criu dies.
 */
#ifndef CRIU_PATH_STAND_IN_H
#define CRIU_PATH_STAND_IN_H

#include "common.h"

struct stand_in {
	pid_t want;  /* its number, where that is free */
	pid_t *tids; /* threads that it is to have beside its first */
	size_t n_tids;
	pid_t pid; /* what it got */
};

/* 0 or a negative errno (logged). Where the number is taken it gets another one, and no threads. */
int stand_in_start(struct stand_in *s);

void stand_in_end(struct stand_in *s);

#endif
