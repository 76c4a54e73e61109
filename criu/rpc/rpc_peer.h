/* SPDX-License-Identifier: GPL-2.0-only */
/* Who is connected to criu service, and what the process that answers may do. */
#ifndef CRIU_RPC_RPC_PEER_H
#define CRIU_RPC_RPC_PEER_H

#include <sys/socket.h>

#include "common.h"

/* Whether the other side of a connection is closed, or the process that has connected has ended (from Linux 6.5 on). */
bool rpc_peer_has_ended(int sock);

/*
 * For a peer that is not root this process becomes its user, with its groups, and keeps CAP_CHECKPOINT_RESTORE alone
 * (*lent_caps, which no restored task may have): so the kernel itself refuses every process that the peer could not
 * trace, and every file that it could not open. A peer that is confined more than the service (namespaces, seccomp,
 * no_new_privs, bounding set) is refused; of the service's environment, directory and standard descriptors nothing is
 * left. 0 or a negative errno (logged).
 */
int rpc_peer_become(int sock, const struct ucred *peer, uint64_t *lent_caps);

#endif
