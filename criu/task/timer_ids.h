/* SPDX-License-Identifier: GPL-2.0-only */
/* POSIX timers as /proc lists them, and how they get their numbers back. */
#ifndef CRIU_TASK_TIMER_IDS_H
#define CRIU_TASK_TIMER_IDS_H

#include "agent/batch.h"
#include "timer.pb-c.h"

/* One timer in /proc/PID/timers. */
struct timer_line {
	uint32_t id, signo, notify; /* notify: SIGEV_* */
	uint64_t value;
	int32_t pid, clock; /* pid: the thread or process that is notified, as the reader's namespace has it */
};

/* Parses the next timer of a text and moves *textp behind it. 1: *out is set; 0: the end; -EBADMSG. */
int timer_parse(const char **textp, struct timer_line *out);

/* Whether timers with numbers up to max_id can be made here. 0, or a refusal (logged; `who` is the task's name). */
int timer_ids_check(const char *who, uint32_t max_id);

/*
 * Creates timers with their numbers in a task that has none yet. Ascending by number. Runs the batch. 0 or a negative
 * errno (logged).
 */
int timer_ids_create(const char *who, struct batch *b, PosixTimerEntry *const *timers, size_t n);

#endif
