/* SPDX-License-Identifier: GPL-2.0-only */
/* Inside of ipc/: semaphore sets of a dump, shared by those that find and write them and those that look for undo. */
#ifndef CRIU_IPC_SEM_SET_H
#define CRIU_IPC_SEM_SET_H

#include "helper/ipc_ns.h"
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

/* The sets of one namespace. */
struct sem_space {
	struct ipc_ns *ns;
	struct sem_set *sets;
	bool few; /* semaphores, for so many tasks: those of others are asked for undo, too */
	struct sem_space *next;
};

/* What a dump keeps. */
struct sem_dump_state {
	struct sem_space *spaces;
	bool killed; /* the tree, after the commit */
};

/* The stages of a dump: see tree/subsys.h. */
int sem_dump_collect(struct dump *d);
int sem_dump_write(struct dump *d);
void sem_dump_after_commit(struct dump *d);
void sem_dump_end(struct dump *d);

/* All sets of a namespace, found at the first call; the caller is in it. 0 or a negative errno (logged). */
int sem_set_list(struct dump *d, struct ipc_ns *ns, struct sem_space **found);

extern const struct sysv_type sem_set_type;

#endif
