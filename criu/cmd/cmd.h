/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The commands. Each returns 0 or a negative errno, with the error logged; none exits, changes directory or prints, so
 * that a service can run them too.
 */
#ifndef CRIU_CMD_CMD_H
#define CRIU_CMD_CMD_H

#include "options/stages.h"
#include "options/options.h"

int cmd_dump(const struct options *o, struct stages *stages);
int cmd_restore(const struct options *o, struct stages *stages);

/* Removes the network lock that the dump of a checkpoint left; says whether there was one (log_msg). */
int cmd_unlock(const struct options *o, struct stages *stages);

/* Whether the kernel has what is needed: what it finds is said on standard output (log_msg). */
int cmd_check(const struct options *o, struct stages *stages);

#endif
