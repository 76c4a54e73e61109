/* SPDX-License-Identifier: GPL-2.0-only */
/* What one dump knows. Passed down; kinds of a dump never see a restore. */
#ifndef CRIU_TREE_DUMP_H
#define CRIU_TREE_DUMP_H

#include "undo/guardian.h"
#include "image/image.h"
#include "options/options.h"
#include "options/stats.h"
#include "tree/task.h"

struct file_table; /* core/filetab.c: open file descriptions already seen, and their ids */

struct dump {
	const struct options *opts;
	struct arena *arena;
	struct image_dir *dir;
	struct guardian *guardian;
	struct tree tree;
	struct file_table *files;
	struct image *files_img; /* files.img, open for the whole dump */
	struct stats *stats;
	struct code_cache *code_cache; /* agent/layout.h */
	struct filters *filters;       /* task/seccomp.c */
	char run_id[40];               /* a new one each run: inventory, and what is left in the kernel */
	struct tcp_dump *tcp;          /* sock/tcp/tcp_dump.c */
	uint32_t lock_mark;   /* that the network lock will let through which this dump leaves; 0: it leaves none */
	struct diag *diag;    /* sock/diag.c */
	struct image *queues; /* sk-queues.img, sock/queue_dump.c; NULL before there is one */
	struct file_locked *locked; /* files/files.h; newest first */
	struct ghosts *ghosts;      /* path/ghost.h */
	struct remaps *remaps;      /* path/remap.h */
	struct file_names *names;   /* path/file_names.h */
	struct link_remaps *links;  /* path/link_remap.h */
	void *kind_state[32];       /* for kinds with something to keep for the whole dump: see kind_state() */
};

/* A dump's view of a task, hung off task->dump. */
struct dump_task {
	struct entered *entered; /* agent/infect.c: the agent's presence, while it is inside */
	int pidfd;               /* of the task, for pidfd_getfd() */
	int proc_fd;             /* /proc/PID */
	struct vma_list *vmas;   /* mm/vma.h */
};

struct dump_thread {
	struct agent *agent;
	struct thread_regs *regs; /* arch/regs.h */
	uint64_t sigmask;
	const struct proc_status *status; /* /proc/PID/task/TID/status, proc/proc.h */
};

#endif
