/* SPDX-License-Identifier: GPL-2.0-only */
/* What the image of a timer says of one that has expired, and whose signal is pending. */
#ifndef CRIU_TASK_TIMER_H
#define CRIU_TASK_TIMER_H

#include "common.h"
#include "timer.pb-c.h"

/*
 * Of a POSIX timer whose signal is pending: the kernel has not started it again. Not so where it runs to a single
 * expiration: then it was armed once more after that signal.
 */
static inline bool timer_has_expired(const PosixTimerEntry *e)
{
	return e->isec || e->insec || (!e->vsec && !e->vnsec);
}

/* ITIMER_REAL, which the kernel starts again when its signal is taken. */
static inline bool timer_is_waiting(const ItimerEntry *e)
{
	return (e->isec || e->iusec) && !e->vsec && !e->vusec;
}

#endif
