/* SPDX-License-Identifier: GPL-2.0-only */
/* Descriptors over a unix socket (SCM_RIGHTS, unix(7)). Nothing is logged here. */
#ifndef CRIU_LIB_RIGHTS_H
#define CRIU_LIB_RIGHTS_H

#include "common.h"

/* Descriptors of one message: the kernel passes 253 (SCM_MAX_FD). */
#define RIGHTS_MAX 250

/* Sends len > 0 bytes with n descriptors, which the sender keeps. 0 or a negative errno. */
int rights_send(int sock, const void *data, size_t len, const int *fds, size_t n);

/*
 * Receives up to len bytes, and descriptors (close-on-exec) into fds, which has room for *n; *n says how many came.
 * Returns the number of bytes (0: the other end is closed), or a negative errno; -EMFILE: not all descriptors could be
 * had, and none is.
 */
ssize_t rights_receive(int sock, void *data, size_t len, int *fds, size_t *n);

#endif
