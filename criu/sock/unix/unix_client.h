/* SPDX-License-Identifier: GPL-2.0-only */
/* A tree that asks for its own dump: the socket on which it waits for the answer leads to criu, outside of the tree. */
#ifndef CRIU_SOCK_UNIX_UNIX_CLIENT_H
#define CRIU_SOCK_UNIX_UNIX_CLIENT_H

#include "tree/dump.h"

/* Whether a peer, by its inode, is the socket of the service protocol that this dump was asked for on. */
bool unix_client_asked(const struct dump *d, uint32_t peer);

/*
 * Writes the answer into the queue of the socket with the file id `id`, behind what waits there: a restored client
 * receives that the dump was made, and that it is restored. 0 or a negative errno (logged).
 */
int unix_client_answer(struct dump *d, uint32_t id);

#endif
