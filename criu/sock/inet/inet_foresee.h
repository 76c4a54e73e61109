/* SPDX-License-Identifier: GPL-2.0-only */
/* At dump: what of a socket takes a capability to be made again that criu does not have. */
#ifndef CRIU_SOCK_INET_FORESEE_H
#define CRIU_SOCK_INET_FORESEE_H

#include "sk-inet.pb-c.h"
#include "tree/kind.h"

/* 0 or DUMP_REFUSED: see tree/foresee.h. The message is complete, but for connections (tcp/). */
int inet_foresee(struct dump *d, const struct fd_info *info, const InetSkEntry *m);

#endif
