/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Options of many sockets without asking for each: where the kernel's memory can be read (lib/kernel_view.h), a socket
 * that is the same as a new one, but for what no option is kept in, has the options of a new one.
 */
#ifndef CRIU_SOCK_OPTS_VIEW_H
#define CRIU_SOCK_OPTS_VIEW_H

#include "tree/kind.h"
#include "sk-opts.pb-c.h"

/* As sock_opts_dump(); what *optsp points to may belong to several sockets. For the main thread. */
int sock_opts_view_dump(struct dump *d, const struct fd_info *info, int domain, int type, SkOptsEntry **optsp);

#endif
