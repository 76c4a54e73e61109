/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The undo log, in memory that tool and guardian share, and carrying it out. Written by criu alone, at any point of
 * which it may be killed; read by the guardian when criu is dead. Used by undo/guardian.c alone.
 */
#ifndef CRIU_UNDO_UNDO_H
#define CRIU_UNDO_UNDO_H

#include "undo/guardian.h"

struct undo_log;

/* An empty log, shared with processes that are forked later. NULL with errno set. */
struct undo_log *undo_log_new(void);
void undo_log_free(struct undo_log *log);

/* Enters; returns the number or -ENOSPC. A number that was forgotten last is used again. */
int undo_log_add(struct undo_log *log, const struct undo *u);
void undo_log_forget(struct undo_log *log, int number);

/* The guardian watches from here on, and traces criu (holds) or not; whether it does. */
void undo_log_watch(struct undo_log *log, bool holds);
bool undo_log_is_watched(const struct undo_log *log);
/* Sleeps until it does, or for a moment. */
void undo_log_await_watch(const struct undo_log *log);
bool undo_log_holds(const struct undo_log *log);

/*
 * Whichever of the two comes first holds, and the other one is told so (false): from here on undo entries are void; or
 * criu ends before it commits.
 */
bool undo_log_commit(struct undo_log *log);
bool undo_log_interrupt(struct undo_log *log);
bool undo_log_is_committed(const struct undo_log *log);

/* The thread of criu that is the last one to exit; 0: there is none yet. */
void undo_log_set_holder(struct undo_log *log, pid_t tid);
pid_t undo_log_holder(const struct undo_log *log);
void undo_log_await_holder(const struct undo_log *log); /* or for a moment */

/* From here on tasks stand still for criu. */
void undo_log_stand(struct undo_log *log);
bool undo_log_stands(const struct undo_log *log);

/* From here on all entries are void. */
void undo_log_end(struct undo_log *log);

/*
 * Carries out what stands there: before the commit the undo entries, newest first, after it the others. Each is
 * forgotten when it is done. Failures are logged and passed over. stopped: those with while_stopped alone.
 */
void undo_log_run(struct undo_log *log, bool stopped);

/* Waits, for a moment at most, until the processes that undo_log_run() killed have exited. */
void undo_log_await_killed(const struct undo_log *log);

#endif
