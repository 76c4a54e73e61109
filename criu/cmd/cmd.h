/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The commands of options/commands.h, a file each. They return 0 or a negative errno, with the error logged; none
 * exits, changes directory or prints (but by log_msg()), so that a service can run them too.
 */
#ifndef CRIU_CMD_CMD_H
#define CRIU_CMD_CMD_H

#include "options/options.h"
#include "options/stages.h"

#define COMMAND_FUNCTION(id, function, ...) int cmd_##function(const struct options *o, struct stages *stages);
COMMANDS(COMMAND_FUNCTION)
#undef COMMAND_FUNCTION

#endif
