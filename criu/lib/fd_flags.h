/* SPDX-License-Identifier: GPL-2.0-only */
/* Flags of open file descriptions that fcntl(2) sets. */
#ifndef CRIU_LIB_FD_FLAGS_H
#define CRIU_LIB_FD_FLAGS_H

#include "common.h"

/*
 * The flags of a description that F_SETFL can change (O_APPEND, O_NONBLOCK, O_DIRECT, O_NOATIME), set where they
 * differ. O_ASYNC is not among them: it comes with the owner (files/fown.h). 0 or a negative errno (logged).
 */
int fd_flags_restore(int fd, uint32_t flags);

/*
 * Opens what descriptor N stands for anew, by /proc/self/fd/N, with O_* flags; O_DIRECT, which open(2) refuses on a
 * pipe, is set afterwards. The new descriptor or a negative errno (not logged).
 */
int fd_flags_reopen(int fd, uint32_t flags);

#endif
