/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * System V objects (segments, semaphore sets, message queues) in criu's ipc namespace: what all of them have. They
 * outlive their processes: one that is gone is made again with its number, key, owner and creator.
 */
#ifndef CRIU_HELPER_SYSV_OBJECT_H
#define CRIU_HELPER_SYSV_OBJECT_H

#include <sys/ipc.h>

#include "common.h"
#include "helper/ipc_ns.h"
#include "lib/arena.h"
#include "ipc-desc.pb-c.h"

/* One of the three types. */
struct sysv_type {
	const char *name;                                /* "System V shared memory", before its number */
	const char *noun;                                /* "segment" */
	const char *call;                                /* "shmget" */
	const char *next_id;                             /* below /proc/sys/kernel: the number of the next one */
	char remove_letter;                              /* ipcrm(1): by number; its capital: by key */
	int (*get)(key_t key, uint64_t size, int flags); /* as shmget(2) */
	int (*set)(int id, const struct ipc_perm *p);    /* IPC_SET: 0, or not with errno */
	int (*remove)(int id);                           /* IPC_RMID */
};

/* The numbers of all objects of a type, from /proc/sysvipc/`file`. 0 or a negative errno (logged). */
int sysv_object_list(struct arena *a, const char *file, int **ids, size_t *n);

/* The fields of an image. What an ordinary user's criu cannot know is refused. */
void sysv_object_note(const struct ipc_ns *ns, IpcDescEntry *desc, int id, const struct ipc_perm *p);

/* Whether key, owner and creator are those of the image. */
bool sysv_object_is_like(const struct ipc_perm *p, const IpcDescEntry *desc);

/* No object has its number: whether it can be made. 0, or a negative errno: the refusal is logged. */
int sysv_object_check_missing(const struct sysv_type *type, const IpcDescEntry *desc);

/* "System V shared memory 7 (key 0x00001234) `why`": logged as a refusal; -EEXIST. */
int sysv_object_refuse(const struct sysv_type *type, const IpcDescEntry *desc, const char *why);

/*
 * Makes it, with number, key and creator, and sets its owner and mode. Undo entries are the caller's. 0 or a negative
 * errno (logged).
 */
int sysv_object_create(const struct ipc_ns *ns, const struct sysv_type *type, const IpcDescEntry *desc, uint64_t size,
                       int flags);

#endif
