/* SPDX-License-Identifier: GPL-2.0-only */
/* Inside of ipc/: semaphore sets of a dump, shared by those that find and write them and those that look for undo. */
#ifndef CRIU_IPC_SEM_SET_H
#define CRIU_IPC_SEM_SET_H

#include "helper/sysv_object.h"
#include "ipc-sem.pb-c.h"
#include "tree/dump.h"

#define SEM_VALUE_MAX_ 32767 /* SEMVMX and SEMAEM of the kernel: of a value, and of an undo */

struct sem_set {
	IpcSemEntry entry;
	IpcDescEntry desc;
	int64_t touched; /* when an operation or a change was last */
	uint16_t *values;
	bool used; /* by the tree */
	struct sem_set *next;
};

/* What a dump keeps. */
struct sem_dump_state {
	bool listed;
	struct sem_set *sets;
	bool killed; /* the tree, after the commit */
	bool few;    /* semaphores, for so many tasks: those of others are asked for undo, too */
};

/* The stages of a dump: see tree/subsys.h. */
int sem_dump_collect(struct dump *d);
int sem_dump_write(struct dump *d);
void sem_dump_after_commit(struct dump *d);
void sem_dump_end(struct dump *d);

/* All sets of the host, found at the first call. 0 or a negative errno (logged). */
int sem_set_list(struct dump *d, struct sem_set **first);

extern const struct sysv_type sem_set_type;

#endif
