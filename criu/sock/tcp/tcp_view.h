/* SPDX-License-Identifier: GPL-2.0-only */
/* Options of many connections: most of them have the same, and the kernel's memory shows which (sock/opts_view.h). */
#ifndef CRIU_SOCK_TCP_TCP_VIEW_H
#define CRIU_SOCK_TCP_TCP_VIEW_H

#include "sock/opts_view.h"
#include "sock/tcp/tcp_read.h"

/* For n connections; NULL where it does not pay, or is not possible here. To be closed by opts_view_close(). */
struct opts_view *tcp_view_open(size_t n);

/* All options of m's connection, which may be those of another one; view may be NULL. Any thread may call this. */
int tcp_view_dump_options(struct opts_view *view, struct arena *a, const struct fd_info *info, InetSkEntry *m,
                          const struct tcp_dump_options *options);

#endif
