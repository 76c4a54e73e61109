/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A function in one namespace that is no pid namespace: by a helper in criu's memory and with its
 * descriptors, so that nothing has to be passed. An executor (helper/executor.h) is for more.
 */
#ifndef CRIU_HELPER_NS_ENTER_H
#define CRIU_HELPER_NS_ENTER_H

#include "helper/helper.h"
#include "proc/ns_type.h"
#include "proc/timens.h"

/* In the namespace of a descriptor. Returns what fn returned (its errors are its own to log), or a negative errno
 * (logged). */
int ns_enter_run(int fd, helper_fn fn, void *arg);

/* In a copy of a mount namespace (-1: of criu's own), which is gone afterwards. */
int ns_enter_copy(int fd, helper_fn fn, void *arg);

/*
 * In a new namespace, which belongs to the user namespace of a descriptor (-1: criu's), and before it is made (each may
 * be NULL): a descriptor of it, close-on-exec, where both returned 0. Otherwise as above.
 */
int ns_enter_make(const struct ns_type *type, int owner, helper_fn before, helper_fn fn, void *arg);

/* The calling process, which is a helper, enters the namespace of a descriptor. 0 or a negative errno (logged). */
int ns_enter_join(const struct ns_type *type, int fd);

/*
 * The calling thread, into a namespace of a type that threads may have for themselves (ipc, uts, net). 0 or a negative
 * errno (logged).
 */
int ns_enter_thread(int fd, uint64_t flag);

/* The offsets of a time namespace that is nobody's to write them any more. 0 or a negative errno (logged). */
int ns_enter_time_offsets(int fd, struct timens_offsets *o);

/* The inode of the namespace of a descriptor. 0 or a negative errno (logged). */
int ns_enter_inode(int fd, uint64_t *ino);

#endif
