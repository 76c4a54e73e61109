/* SPDX-License-Identifier: GPL-2.0-only */
/* What one dump knows. Passed down; kinds of a dump never see a restore. */
#ifndef CRIU_TREE_DUMP_H
#define CRIU_TREE_DUMP_H

#include "undo/guardian.h"
#include "image/image.h"
#include "options/options.h"
#include "options/stats.h"
#include "tree/state.h"
#include "tree/task.h"

struct InventoryEntry;

struct dump {
	const struct options *opts;
	struct arena *arena;
	struct image_dir *dir;
	struct guardian *guardian;
	struct tree tree;
	struct stats *stats;
	struct InventoryEntry *inventory; /* written last; rows fill in what they have to say */
	bool network_held;                /* network-lock was run: network-unlock is owed */
	char run_id[40];                  /* a new one each run: inventory, and what is left in the kernel */
	struct states states;             /* of the rows of kinds.h: dump_state() */
	bool post_dump_heard;             /* somebody is told of the stage post-dump */
	bool lets_run_early;              /* pages come from copies of the tasks: those run when all else is written */
	bool runs;                        /* the tree has been let go, before the commit */
	bool reads_running;               /* a pre-dump reads pages when the tree runs again (--pre-dump-mode read) */
	bool told_network_lock;           /* network-lock has been run: network-unlock is due where the tree runs on */
};

/* Whether the dump ends the tree, rather than letting it run on or stand. */
static inline bool dump_kills_tree(const struct dump *d)
{
	return d->opts->command != CMD_PRE_DUMP && !d->opts->leave_running && !d->opts->leave_stopped;
}

/* Its mappings as /proc shows them (proc/proc_maps.h); n is 0 where they have not been read. */
struct task_maps {
	struct proc_map *v;
	size_t n;
};

/* What all threads of a process have in common with their leader; where a bit is not set, each has to be asked. */
enum threads_alike {
	ALIKE_NS = 1 << 0,
	ALIKE_FS = 1 << 1,
	ALIKE_FILES = 1 << 2,
	ALIKE_UNDO = 1 << 3, /* SEM_UNDO */
	ALIKE_CGROUPS = 1 << 4,
	ALIKE_STATUS = 1 << 5, /* credentials, seccomp, no_new_privs, umask: what is wanted of /proc/PID/status */
	ALIKE_ALL = (1 << 6) - 1,
};

/* A dump's view of a task, hung off task->dump. */
struct dump_task {
	struct entered *entered; /* agent/infect.c: the agent's presence, while it is inside */
	int pidfd;               /* of the task, for pidfd_getfd() */
	pid_t copy;              /* a process that has its memory as it was (mm/snapshot.c); 0: it is read itself */
	int proc_fd;             /* /proc/PID */
	struct vma_list *vmas;   /* tree/vma_kind.h */
	struct task_maps maps;
	const struct proc_stat *stat; /* /proc/PID/stat when it was frozen, proc/proc.h */
	unsigned alike;               /* enum threads_alike */
};

/* What of a thread can be read of the kernel's memory, on this kernel. */
enum thread_shown {
	SHOWN_QUEUE = 1 << 0, /* pending signals */
	SHOWN_PORTS = 1 << 1, /* ioperm(2) */
	SHOWN_TLS = 1 << 2,   /* set_thread_area(2) */
	SHOWN_RSEQ = 1 << 3,
	SHOWN_WORK = 1 << 4, /* what is done at each system call, as user dispatch */
	SHOWN_ROBUST = 1 << 5,
};

/*
 * Members of a task_struct. What its calls would say depends on all of `fixed` and on nothing else of a thread:
 * threads in which that is the same would say the same (dump/answer_alike.c).
 */
struct thread_seen {
	unsigned shown; /* enum thread_shown */
	pid_t tid;
	char comm[16];
	uint64_t clear_tid, sas_sp, sas_size, pending, ports, tls[3], rseq, robust_list;
	uint32_t sas_flags, rseq_len, rseq_signature;
	struct thread_fixed {
		uint64_t mempolicy, timer_slack, atomic_flags, info_flags, io_context, cred, real_cred, work;
		uint32_t personality, flags, pdeath_signal, policy, static_prio, unused;
	} fixed;
};

struct dump_thread {
	struct agent *agent;
	const struct thread_seen *seen; /* NULL: each has to be asked */
	struct thread_regs *regs;       /* arch/arch.h */
	uint64_t sigmask;
	const struct proc_status *status; /* /proc/PID/task/TID/status when it was frozen, proc/proc.h */
};

#endif
