/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A thread of criu's that takes the signals which end a program: SIGINT, SIGTERM, SIGHUP, SIGQUIT. All other threads
 * block them, so that one point decides what comes first, the signal or the commit. Before the commit criu dies of the
 * signal, as if it had been SIGKILL, wherever its other threads are and whatever they wait for, and the guardian takes
 * all back; after it criu has a moment to finish, and ends with status 0. Signals that criu was started with ignored or
 * blocked are left so. Used by undo/guardian.c alone.
 *
 * In the death of criu this thread is also what the guardian holds (by ptrace(2)): as long as one thread of a process
 * has not exited, nobody is told of the end of the process, so whoever waits for criu sees everything taken back.
 */
#ifndef CRIU_UNDO_SIGNAL_THREAD_H
#define CRIU_UNDO_SIGNAL_THREAD_H

#include "undo/undo.h"

struct signal_thread;

/* From here on the signals are blocked in the caller, and in threads that the caller makes. 0 or a negative errno
 * (logged). */
int signal_thread_start(struct undo_log *log, struct signal_thread **sp);

/* The keys that stop a job (SIGTSTP and its like) do not stop criu from here on; text says why. */
void signal_thread_hold_stops(struct signal_thread *s, const char *text);

/* Between the two criu is not ended: what is begun is noted. By one thread of criu's at a time. */
void signal_thread_hold_end(struct signal_thread *s);
void signal_thread_allow_end(struct signal_thread *s);

/*
 * The thread ends, and the caller has the signals again as they were; but when all is committed they end criu a moment
 * later, with status 0.
 */
void signal_thread_end(struct signal_thread *s, bool committed);

/* The signal that has come since then after a commit; 0: none has. */
int signal_thread_late(void);

#endif
