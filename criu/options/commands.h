/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The one list of commands: X(ID, function, name, help). A line here makes CMD_ID, the line of --help, and calls
 * function() (declared by cmd/cmd.h) for `criu name`. The order is that of --help.
 */
#ifndef CRIU_OPTIONS_COMMANDS_H
#define CRIU_OPTIONS_COMMANDS_H

#define COMMANDS(X)                                                                                                    \
	X(DUMP, cmd_dump, "dump", "checkpoint the process tree that -t names")                                         \
	X(PRE_DUMP, cmd_pre_dump, "pre-dump", "store memory ahead of a dump, and let the tree run on")                 \
	X(RESTORE, cmd_restore, "restore", "bring a checkpointed process tree back")                                   \
	X(DEDUP, cmd_dedup, "dedup", "give back room of older checkpoints for pages that the one of -D has anew")      \
	X(CHECK, cmd_check, "check", "say whether this kernel has what is needed")                                     \
	X(LAZY_PAGES, cmd_lazy_pages, "lazy-pages", "bring memory to what restore --lazy-pages has restored")          \
	X(UNLOCK, cmd_unlock, "unlock", "remove the network lock of a checkpoint that will never be restored")         \
	X(CPUINFO, cmd_cpuinfo, "cpuinfo", "dump: write what this processor can do into cpuinfo.img; check: compare")  \
	X(PAGE_SERVER, cmd_page_server, "page-server", "write the pages of a dump --page-server that runs elsewhere")  \
	X(SERVICE, rpc_service, "service", "answer requests on a socket (--address)")                                  \
	X(SWRK, rpc_swrk, "swrk", "FD: answer the request of one client, on a socket that it has inherited")

#define COMMAND_ID(id, ...) CMD_##id,
enum command { CMD_NONE, COMMANDS(COMMAND_ID) CMD_COUNT };
#undef COMMAND_ID

#endif
