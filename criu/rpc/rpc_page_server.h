/* SPDX-License-Identifier: GPL-2.0-only */
/* Requests for a page server: a process that the client is told of when it listens. */
#ifndef CRIU_RPC_RPC_PAGE_SERVER_H
#define CRIU_RPC_RPC_PAGE_SERVER_H

#include "rpc/rpc.h"

/*
 * child: the page server is a child of this process, for which WAIT_PID waits; else it is in the background. 0 and *ps,
 * or a negative errno (logged).
 */
int rpc_page_server_start(struct client *c, const struct options *o, bool child, CriuPageServerInfo *ps);

#endif
