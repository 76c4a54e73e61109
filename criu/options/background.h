/* SPDX-License-Identifier: GPL-2.0-only */
/* Commands that serve others: their caller knows when they are ready, and need not wait for their end. */
#ifndef CRIU_OPTIONS_BACKGROUND_H
#define CRIU_OPTIONS_BACKGROUND_H

#include "options/options.h"
#include "options/stages.h"

/*
 * The command is ready: --pidfile, the scripts of status-ready, --status-fd. With `go`, in a new process, without the
 * terminal, and *parent is set in the one that the caller waits for, which has nothing else to do. 0 or a negative
 * errno (logged, perhaps in the other process).
 */
int background_ready(const struct options *o, struct stages *stages, bool go, bool *parent);

/* The same for a command whose pid file is for something else: the scripts and --status-fd. */
int background_tell(const struct options *o, struct stages *stages);

/* A session of its own, and none of the caller's descriptors for input, output and errors. */
void background_leave_terminal(void);

#endif
