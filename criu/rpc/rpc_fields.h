/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Fields of criu_opts as options of the command line. A field is the option of its name (leave_running:
 * --leave-running); rpc_fields.c has those of another name, and those that are no option.
 */
#ifndef CRIU_RPC_RPC_FIELDS_H
#define CRIU_RPC_RPC_FIELDS_H

#include "options/option_table.h"
#include "rpc.pb-c.h"

/* The option of a field; NULL: it has none, and rpc_options.c or nobody reads it. */
const struct option_row *rpc_fields_option(const ProtobufCFieldDescriptor *field);

/* Whether rpc_options.c reads the field itself. */
bool rpc_fields_special(const ProtobufCFieldDescriptor *field);

/*
 * Applies every option that the message has. 0 or the first negative errno (all are logged): that of option_apply(), or
 * -EINVAL for a value that no option can have.
 */
int rpc_fields_apply(struct options *o, const CriuOpts *m);

#endif
