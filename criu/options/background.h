/* SPDX-License-Identifier: GPL-2.0-only */
/* The beginning of a command that serves others: in the background, if that is wanted. */
#ifndef CRIU_OPTIONS_BACKGROUND_H
#define CRIU_OPTIONS_BACKGROUND_H

#include "options/options.h"

/*
 * The command is ready to serve: writes --pidfile, calls ready() (may be NULL), tells --status-fd. daemon: a fork does,
 * and leaves the terminal; *parent: this is the process that the caller waits for, which ends when the other is ready,
 * or has failed. 0 or a negative errno (logged).
 */
int background_begin(const struct options *o, bool daemon, int (*ready)(void *arg), void *arg, bool *parent);

#endif
