/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The process tree, as both directions see it: tasks, their threads, and the messages that stand for them in the
 * images. What only a dump or only a restore needs hangs off `dump` and `restore`, which the other cannot look into.
 */
#ifndef CRIU_TREE_TASK_H
#define CRIU_TREE_TASK_H

#include "common.h"
#include "lib/arena.h"
#include "core.pb-c.h"
#include "fs.pb-c.h"
#include "fdinfo.pb-c.h"
#include "format.h"
#include "mm.pb-c.h"
#include "pstree.pb-c.h"

struct task;

struct thread {
	struct task *task;
	pid_t tid;       /* in our pid namespace; 0 before a restore has made it */
	vpid_t vtid;     /* in the task's, as in the images */
	CoreEntry *core; /* core-<vtid>.img. thread_core and thread_info always; tc for the leader only */
	struct dump_thread *dump;
	struct restore_thread *restore;
};

struct task {
	struct task *parent; /* NULL for the root */
	struct task **children;
	size_t n_children;
	pid_t pid; /* by which it is reached: /proc, ptrace(2), its memory */
	/*
	 * Dump: the leader where that has ended while others live. Then pid and threads[0] are another thread's, vpid
	 * stays the leader's. 0: the leader lives.
	 */
	pid_t dead_leader;
	vpid_t vpid, vpgid, vsid;
	enum task_state state;
	int stop_signo;         /* dump, of a TASK_STOPPED: the signal that stopped it */
	char comm[16];          /* for messages */
	bool compat;            /* a 32-bit program (arch/arch_compat.h) */
	struct thread *threads; /* [0] is the leader (but see dead_leader); one even for a zombie */
	size_t n_threads;
	TaskKobjIdsEntry *ids; /* ids-<vpid>.img; NULL for a zombie */
	MmEntry *mm;           /* mm-<vpid>.img; NULL for a zombie; of the first task with that vm_id where shared */
	FsEntry *fs;           /* fs-<vpid>.img; NULL for a zombie */
	FdinfoEntry **fds;     /* fdinfo-<files_id>.img, ascending by number; of the first task with that files_id */
	size_t n_fds;
	struct dump_task *dump;
	struct restore_task *restore;
};

/* All tasks, parents before their children; [0] is the root. */
struct tree {
	struct task **tasks;
	size_t n_tasks;
	bool has_compat;          /* restore: a task is a 32-bit program */
	struct tree_index *index; /* tree/task.c; NULL before tree_index() */
	struct numbered *numbers; /* tree/pid_numbers.h; NULL: all tasks are in one pid namespace */
	struct frozen *frozen;    /* freeze/freeze.c, dump: what thaw_tree() has to put back */
};

/* The number that other processes know it by, in our pid namespace. */
static inline pid_t task_id(const struct task *t)
{
	return t->dead_leader ?: t->pid;
}

/* "pid 812 (redis)" for messages; for a thread other than the leader "pid 812 (redis) thread 815". From the arena-free
 * ring of 8 buffers, so that several can stand in one call. */
const char *task_name(const struct task *t);
const char *task_thread_name(const struct thread *th);

/*
 * Makes the lookups below cheap: pids of all tasks and threads, and shared objects where ids are known. Called again
 * when more ids are known; without it, and for tasks added since, lookups go through the whole tree.
 */
void tree_index(struct tree *tree, struct arena *a);

/* The first task of the tree that shares the given object with t (t itself if none before it does). */
struct task *tree_first_vm(const struct tree *tree, const struct task *t);
struct task *tree_first_files(const struct tree *tree, const struct task *t);
struct task *tree_first_fs(const struct tree *tree, const struct task *t);
struct task *tree_first_sighand(const struct tree *tree, const struct task *t);

/* The task or thread with that pid in the images, or NULL. */
struct task *tree_find(const struct tree *tree, vpid_t pid);

/* Dump: the task or thread with that number in our pid namespace, or NULL. */
struct task *tree_find_ours(const struct tree *tree, pid_t pid);

/* Dump: whether our numbers of the tree's tasks are not those of the images. */
static inline bool tree_has_own_pids(const struct tree *tree)
{
	return tree->n_tasks && task_id(tree->tasks[0]) != tree->tasks[0]->vpid.v;
}

/* What a zombie's image holds: exit code and flags; the rest that is required is zero. Logs its errors. */
int task_read_zombie(pid_t pid, TaskCoreEntry *tc);

/* t->threads from /proc/PID/task, the leader first; only tids are known. Logs its errors. */
int task_list_threads(struct arena *a, struct task *t);

#endif
