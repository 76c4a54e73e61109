/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The credentials that a connected unix socket shows (SO_PEERCRED, SO_PEERGROUPS), in both directions. The kernel takes
 * them from the caller when sockets are connected: the end that connect(2) was called on shows the caller of listen(2);
 * the end that accept(2) made shows the caller of connect(2); both ends of a socketpair(2) show its caller.
 */
#ifndef CRIU_SOCK_UNIX_UNIX_CREDS_H
#define CRIU_SOCK_UNIX_UNIX_CREDS_H

#include "agent/impersonate.h"
#include "sk-unix.pb-c.h"
#include "tree/kind.h"

/* Dump: what the socket shows, into cred_*. */
int unix_creds_dump(struct dump *d, const struct fd_info *info, UnixSkEntry *m);

/* Dump: which task connected a socket that waits to be accepted, as far as can be known, into connector_*. */
void unix_creds_dump_connector(const struct task *t, UnixSkEntry *m);

/* Restore: the task that has to make a call so that the other end shows it; criu itself where the image has none. */
struct identity unix_creds_of(const UnixSkEntry *m);
struct identity unix_creds_connector(const UnixSkEntry *m);
struct identity unix_creds_ours(void);
bool unix_creds_equal(const struct identity *a, const struct identity *b);

#endif
