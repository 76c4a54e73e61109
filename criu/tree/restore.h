/* SPDX-License-Identifier: GPL-2.0-only */
/* What one restore knows. Passed down; kinds of a restore never see a dump. */
#ifndef CRIU_TREE_RESTORE_H
#define CRIU_TREE_RESTORE_H

#include "undo/guardian.h"
#include "image/image.h"
#include "options/options.h"
#include "options/stats.h"
#include "tree/task.h"
#include "inventory.pb-c.h"

struct file_store; /* core/filestore.c: file_entry messages by id, and the descriptors opened for them */

struct restore {
	const struct options *opts;
	struct arena *arena;
	struct image_dir *dir;
	struct guardian *guardian;
	struct tree tree;
	InventoryEntry *inventory;
	struct file_store *files;
	struct stats *stats;
	struct SeccompEntry *filters;    /* seccomp.img, or NULL */
	struct tcp_restore *tcp;         /* sock/tcp/tcp_restore.c */
	struct tcp_streams *tcp_streams; /* sock/tcp/tcp_stream.c */
	struct mm_restore *mm;           /* mm/mm_read.h */
	struct task_locks *locks;        /* task/lock.h */
	struct sk_queues *queues;        /* sock/queue_restore.c */
	struct ghosts *ghosts;           /* path/ghost.h */
	struct written_files *written;   /* path/validate.c */
	struct all_given *given;         /* files/inherit.c */
	void *kind_state[32];
};

/* A restore's view of a task, hung off task->restore. */
struct restore_task {
	struct node *node; /* restore/plan.h */
	struct agent *agent;
	struct task_mm *mm;             /* mm/mm_read.h */
	bool copied;                    /* started as a copy of its parent's address space */
	const struct proc_status *born; /* its credentials before task/creds.c changed them: those of all its threads */
	const struct SeccompFilter *common_filter; /* task/seccomp.c: the newest that all its threads have */
	int sock, task_sock; /* our end, and the number of its end in the task, for passing descriptors */
};

struct restore_thread {
	struct agent *agent;
};

#endif
