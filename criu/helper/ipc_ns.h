/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * IPC namespaces (ipc_namespaces(7)) that tasks of a tree live in: criu's, and those of the tree's own. The calling
 * thread works in one between ipc_ns_enter() and ipc_ns_leave(): on its objects, and on /proc/sysvipc and /proc/sys.
 */
#ifndef CRIU_HELPER_IPC_NS_H
#define CRIU_HELPER_IPC_NS_H

#include "tree/dump.h"
#include "tree/restore.h"
#include "tree/user_ns.h"

struct ipc_ns {
	uint32_t id; /* of its images */
	/*
	 * The tree's own: all that is in it belongs to the tree, and vanishes with its last process. Otherwise criu's,
	 * or one that is external (tree/ns_given.h): only what the tree uses belongs to it, and may live on.
	 */
	bool own;
	bool elsewhere;              /* not the one that criu is in */
	const struct task *task;     /* one that lives in it; NULL: none does, a descriptor holds it */
	const char *name;            /* dump: "the ipc namespace of pid 5 (x)", for messages */
	int given;                   /* the descriptor of one that is given; else -1 */
	const struct user_ns *owner; /* NULL: criu's */
	int fd, home, queues, from;  /* inside of helper/ipc_ns.c */
	struct ipc_ns *next;
};

/* The first of all. */
struct ipc_ns *ipc_ns_dumped(struct dump *d);
struct ipc_ns *ipc_ns_restored(struct restore *r);

/* That of a task. NULL: the images do not say (of a zombie). */
struct ipc_ns *ipc_ns_of_dumped(struct dump *d, const struct task *t);
struct ipc_ns *ipc_ns_of_restored(struct restore *r, const struct task *t);

/* The task of that pid in the images, if that lives in the namespace (at restore: has an agent); or NULL. */
const struct task *ipc_ns_find_task(const struct ipc_ns *ns, const struct tree *tree, int64_t pid);

/* At restore, the tree's own: from the stage before_start on. 0 or a negative errno (logged); nothing has changed then.
 * NULL: criu's.
 */
int ipc_ns_enter(struct ipc_ns *ns);

/*
 * In an undo function, which another process may run: into the namespace of the descriptor that was noted, and back
 * (*home). -1: criu's own. 0 or a negative errno.
 */
int ipc_ns_undo_enter(int fd, int *home);
void ipc_ns_undo_leave(int fd, int home);

/*
 * An id of criu's as the kernel wants it between enter and leave, and what the kernel shows there as an id of criu's:
 * where an ordinary user's criu is inside of the user namespace. False: there is none. NULL: criu's.
 */
bool ipc_ns_id_inside(const struct ipc_ns *ns, enum user_id kind, uint32_t ours, uint32_t *id);
bool ipc_ns_id_outside(const struct ipc_ns *ns, enum user_id kind, uint32_t id, uint32_t *ours);

/* What to note for these: a descriptor, or -1. */
int ipc_ns_undo_fd(const struct ipc_ns *ns);

/* Returns err. A criu that cannot go back ends. */
int ipc_ns_leave(struct ipc_ns *ns, int err);

/*
 * A directory: the file system of its POSIX message queues, whether or not that is mounted somewhere. The descriptor
 * stays here. -ENODEV: this kernel has none; other errors are logged.
 */
int ipc_ns_queues(struct ipc_ns *ns);

#endif
