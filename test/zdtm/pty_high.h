/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * High indices for a test's pseudo terminals: the kernel hands out the lowest that is free, so that whoever opens one
 * on this machine between a dump and a restore takes none of these.
 */
#ifndef ZDTM_PTY_HIGH_H
#define ZDTM_PTY_HIGH_H

#include "zdtm.h"

#define LOW 64

static int zdtm_low[LOW];

/* Before the first, and after the last. */
static void zdtm_hold_low(void)
{
	for (int i = 0; i < LOW; i++)
		zdtm_must((zdtm_low[i] = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC)) >= 0);
}

static void zdtm_free_low(void)
{
	for (int i = 0; i < LOW; i++)
		close(zdtm_low[i]);
}

#endif
