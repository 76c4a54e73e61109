/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The commands of options/commands.h, a file each (those of the service: rpc/). They return 0 or a negative errno,
 * with the error logged; rpc_swrk() may return a number above 0, which is the exit status of criu. None
 * exits, changes directory or prints (but by log_msg()), so that a service can run them too.
 */
#ifndef CRIU_CMD_CMD_H
#define CRIU_CMD_CMD_H

#include "options/options.h"
#include "options/stages.h"

#define COMMAND_FUNCTION(id, function, ...) int function(const struct options *o, struct stages *stages);
COMMANDS(COMMAND_FUNCTION)
#undef COMMAND_FUNCTION

/*
 * The end of a restore with --exec-cmd, or of a request that has it: criu becomes o->exec_argv. Returns a negative
 * errno (logged) alone.
 */
int cmd_exec(const struct options *o, const struct stages *stages, pid_t root);

#endif
