/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A detour: an ordinary user's criu works in a namespace that belongs to a user namespace of that user. It may be
 * entered from inside of the user namespace alone, which a process with threads cannot enter and from which none comes
 * back. So the work goes on in a helper: in criu's memory, with its descriptors and on its stack, while criu's thread
 * sleeps elsewhere; and at the end of the detour in that thread again, as if nothing had happened.
 *
 * Meanwhile getpid(2) is another; what only a tracer may do (ptrace(2)) and what CAP_CHECKPOINT_RESTORE in criu's user
 * namespace is for is denied; the kernel takes and shows ids as in the user namespace; a helper that is started has to
 * be waited for before the end. uid and gid stay criu's, so that files are what they were. The helper has all
 * capabilities in the user namespace.
 */
#ifndef CRIU_HELPER_DETOUR_H
#define CRIU_HELPER_DETOUR_H

#include "common.h"

/* Whether this is an ordinary user's criu. */
bool detour_is_ordinary(void);

/* Criu's effective ids, as they are at home. */
uid_t detour_uid(void);
gid_t detour_gid(void);

/* Whether the kernel's -EPERM of setns(2) can be helped so: an ordinary user's criu, its main thread. */
bool detour_may_help(int err);

/*
 * Goes into the namespace of a descriptor, which has to stay open; -1: back home. From wherever we are. 0 or a negative
 * errno (not logged): we are at home then.
 */
int detour_go(int fd);

/* Where we are. -1: at home. */
int detour_at(void);

#endif
