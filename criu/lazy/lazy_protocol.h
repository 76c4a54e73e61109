/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What a restore says to the lazy-pages daemon, as CRIU 4.2 does, over the stream socket in the work directory. For
 * each task its number in the checkpoint (32 bits), then one byte with its userfaultfd; a task that has none to be
 * served is sent as -number alone. At the end LAZY_FINISHED, before the tasks run. Our daemon answers LAZY_HELD: it has
 * the descriptors of all, and a process that keeps them should the daemon be killed. CRIU's answers nothing and closes.
 * A daemon of ours that fetches memory from another host hears LAZY_RUNS when the restore cannot fail any more. If that
 * daemon is killed before, the one that goes on says LAZY_LOST: no memory can be fetched.
 */
#ifndef CRIU_LAZY_LAZY_PROTOCOL_H
#define CRIU_LAZY_LAZY_PROTOCOL_H

#include "uapi/userfaultfd_more.h"

#define LAZY_SOCKET   "lazy-pages.socket"
#define LAZY_FINISHED 0x52535446U
#define LAZY_HELD     0x444c4548U
#define LAZY_RUNS     0x534e5552U
#define LAZY_LOST     0x54534f4cU

#define LAZY_FEATURES                                                                                                  \
	(UFFD_FEATURE_EVENT_FORK | UFFD_FEATURE_EVENT_REMAP | UFFD_FEATURE_EVENT_REMOVE | UFFD_FEATURE_EVENT_UNMAP)

#endif
