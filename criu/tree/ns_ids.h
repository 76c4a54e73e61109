/* SPDX-License-Identifier: GPL-2.0-only */
/* The numbers by which images know namespaces. criu's own come first, then those of the tree, as they are met. */
#ifndef CRIU_TREE_NS_IDS_H
#define CRIU_TREE_NS_IDS_H

#include <linux/sched.h>

#include "proc/ns_type.h"
#include "tree/dump.h"
#include "tree/restore.h"

struct ns {
	const struct ns_type *type;
	uint64_t ino;
	uint32_t id;
	pid_t pid;            /* a task that is in it; 0: criu; -1: none */
	int fd;               /* a descriptor of it, where no task is; else -1 */
	const char *external; /* its key: it is no part of the checkpoint (tree/ns_given.h); NULL: it is one */
	uint32_t
	    owner; /* the number of the user namespace that owns it, where that is not criu's; of those with tasks */
};

/*
 * Dump: the namespaces that have been met, criu's first. Time: the root task's counts as criu's: every tree is restored
 * in one of its own, whose clocks tree/time_ns.c keeps; the others are in ns/time.c.
 */
struct ns_ids {
	struct ns *all;
	size_t n;
};

/* Dump, before the others. 0 or a negative errno (logged). */
int ns_ids_begin(struct dump *d);

/* Dump: fills the numbers of a task, and refuses namespaces that cannot be saved. 0 or a negative errno (logged). */
int ns_ids_of_task(struct dump *d, const struct task *t, TaskKobjIdsEntry *ids);

/* Dump: the numbers of criu's own. */
void ns_ids_of_criu(TaskKobjIdsEntry *ids);

/* Dump: the number of a namespace, which may be a new one. */
uint32_t ns_ids_number(struct dump *d, const struct ns_type *type, uint64_t ino);
bool ns_ids_is_crius(struct dump *d, const struct ns_type *type, uint64_t ino);

struct ns_ids *ns_ids_all(struct dump *d);

/* Dump: whether the tree has been seen in a namespace of its own of this type (CLONE_NEW*). */
bool ns_ids_any(struct dump *d, uint64_t flag);

/* The types of which one may be without a task; network namespaces are noted by their files, too (files/net_ns.h). */
#define NAMESPACES_WITHOUT_TASKS (CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWNS | CLONE_NEWTIME)

/* Dump: one that no task is in; fd is a descriptor of it, which stays open. */
const struct ns *ns_ids_add(struct dump *d, const struct ns_type *type, uint64_t ino, int fd);

/* Restore: the number of a task's namespace, 0 where it is the one that criu was in at the dump, or is given. */
uint32_t ns_ids_own(const struct restore *r, const struct task *t, const struct ns_type *type);

/* Restore: whether no task is in a namespace of the images, but a descriptor or a socket of the tree has it. */
bool ns_ids_is_held(const struct restore *r, const struct ns_type *type, uint32_t id);

/* Restore: a descriptor of the pid namespace that is given for the tree (tree/ns_given.h); -1: none is. */
int ns_ids_given_pids(const struct restore *r);

/*
 * Restore: whether the root task is the first process of a pid namespace, or is born in one that is given, so that
 * numbers of the host are others.
 */
bool ns_ids_own_pids(const struct restore *r);

/* Restore: whether a number that the kernel kept of a process which is gone may be that of a task of these images. */
bool ns_ids_was_of_tree(const struct restore *r, pid_t pid);

#endif
