/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A process that stands for one that is gone, while descriptors of it are opened: stopped from the start, killed when
 * the tool dies, unknown to everybody else.
 */
#ifndef CRIU_CORE_SHORT_LIVED_H
#define CRIU_CORE_SHORT_LIVED_H

#include "common.h"

struct short_lived {
	pid_t want;  /* its number, where that is free */
	pid_t *tids; /* threads that it is to have beside its first */
	size_t n_tids;
	pid_t pid; /* what it got */
};

/* 0 or a negative errno (logged). Where the number is taken it gets another one, and no threads. */
int short_lived_start(struct short_lived *s);

void short_lived_end(struct short_lived *s);

#endif
