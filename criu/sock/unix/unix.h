/* SPDX-License-Identifier: GPL-2.0-only */
/* The kind of unix sockets: its row, and what both directions know. */
#ifndef CRIU_SOCK_UNIX_UNIX_H
#define CRIU_SOCK_UNIX_UNIX_H

#include "tree/kind.h"

extern const struct fd_kind unix_kind;

/* unix_sk_entry.uflags */
#define USK_EXTERN  1U /* nobody's socket: the address of a peer outside */
#define USK_INHERIT 8U /* comes from --inherit-fd at restore */

#endif
