/* SPDX-License-Identifier: GPL-2.0-only */
/* What kinds without a path need at their descriptors: numbers out of fdinfo, and flags that fcntl(2) sets. */
#ifndef CRIU_CORE_FD_FLAGS_H
#define CRIU_CORE_FD_FLAGS_H

#include "common.h"

/*
 * The flags of a description that F_SETFL can change (O_APPEND, O_NONBLOCK, O_DIRECT, O_NOATIME), set where they
 * differ. O_ASYNC is not among them: it comes with the owner (core/fown.h). 0 or a negative errno (logged).
 */
int fd_flags_restore(int fd, uint32_t flags);

/*
 * The number behind "key:" in the text of an fdinfo, in this base. 0, or -EINVAL (not logged) where there is no such
 * line or no number in it.
 */
int fdinfo_number(const char *text, const char *key, int base, uint64_t *v);

/* What stands behind "key:" and spaces, up to the end of all text, or NULL. */
const char *fdinfo_value(const char *text, const char *key);

#endif
