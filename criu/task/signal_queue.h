/* SPDX-License-Identifier: GPL-2.0-only */
/* Queues of pending signals, as a tracer reads them and as images have them; and which timer has sent one. */
#ifndef CRIU_TASK_SIGNAL_QUEUE_H
#define CRIU_TASK_SIGNAL_QUEUE_H

#include <signal.h>

#include "tree/dump.h"

/* Reads the queue of a thread that stands in a ptrace stop, or of its process. 0 or a negative errno (logged). */
int signal_queue_read(struct dump *d, const struct thread *th, bool shared, SignalQueueEntry **out);

/* One call: 1: nothing waits for this thread alone; 0: something does; or a negative errno (not logged). */
int signal_queue_is_empty(const struct thread *th);

/* The i-th entry, whose size has been checked. */
siginfo_t signal_queue_info(const SignalQueueEntry *q, size_t i);

/* Whether q, which may be NULL, has a signal that the same sender could have sent: number, code, and the timer. */
bool signal_queue_has(const SignalQueueEntry *q, const siginfo_t *info);
bool signal_queue_has_number(const SignalQueueEntry *q, int sig);

/*
 * A SIGSTOP that waits for a stopped task does nothing: the SIGCONT that lets the task run takes it away. Images do not
 * have it (CRIU would stop the task twice).
 */
bool signal_queue_is_idle_stop(const struct task *t, const siginfo_t *info);

/* The timer of the task that has sent it, as the task's image has it; NULL: sent by something else. */
PosixTimerEntry *signal_queue_posix_timer(const struct task *t, const siginfo_t *info);
ItimerEntry *signal_queue_itimer(const struct task *t, const siginfo_t *info);

#endif
