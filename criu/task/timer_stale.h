/* SPDX-License-Identifier: GPL-2.0-only */
/* Signals of timers that were armed again before the signal was taken. */
#ifndef CRIU_TASK_TIMER_STALE_H
#define CRIU_TASK_TIMER_STALE_H

#include "common.h"

/* Asks it with a timer of criu's own: whether this kernel drops such a signal when a task comes to take it
 * (Linux 6.13), though it shows it as pending. */
bool timer_stale_is_dropped(void);

#endif
