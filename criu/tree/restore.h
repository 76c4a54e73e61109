/* SPDX-License-Identifier: GPL-2.0-only */
/* What one restore knows. Passed down; kinds of a restore never see a dump. */
#ifndef CRIU_TREE_RESTORE_H
#define CRIU_TREE_RESTORE_H

#include "undo/guardian.h"
#include "image/image.h"
#include "options/options.h"
#include "options/stages.h"
#include "options/stats.h"
#include "tree/state.h"
#include "tree/task.h"
#include "inventory.pb-c.h"

struct restore {
	const struct options *opts;
	struct arena *arena;
	struct image_dir *dir;
	struct guardian *guardian;
	struct tree tree;
	struct stats *stats;
	struct stages *stages;
	int sibling_sock;  /* to the process that creates the root task, -1: criu does: restore/sibling.h */
	bool below_init;   /* the process that criu began as is the init of its pid namespace: restore/as_init.h */
	bool own_root;     /* the process that criu began as becomes the root task: restore/own_root.h */
	int own_root_sock; /* to that process, until it is the root task */
	struct own_root_watch *own_root_watch; /* looks what is sent to that process */
	int pid_ns; /* a descriptor of the tree's own pid namespace: where ns_ids_own_pids(), and the root task lives */
	InventoryEntry *inventory;
	struct states states; /* of the rows of kinds.h: restore_state() */
};

/* A restore's view of a task, hung off task->restore. */
struct restore_task {
	struct node *node; /* restore/plan.h */
	struct agent *agent;
	struct task_mm *mm;             /* mm/task_mm.h */
	bool copied;                    /* started as a copy of its parent's address space */
	const struct proc_status *born; /* its credentials before task/creds.c changed them: those of all its threads */
	const struct SeccompFilter *common_filter; /* task/seccomp.c: the newest that all its threads have */
	struct task *lender; /* of a zombie: whose descriptor table it has, as long as its agent lives */
	int sock, task_sock; /* our end, and the number of its end in the task, for passing descriptors */
};

struct restore_thread {
	struct agent *agent;
	bool ended; /* a leader that had ended at the dump, and has again */
};

#endif
