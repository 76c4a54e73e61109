/* SPDX-License-Identifier: GPL-2.0-only */
/* The types of namespaces (namespaces(7)), and which namespace of a type a process is in. */
#ifndef CRIU_PROC_NS_TYPE_H
#define CRIU_PROC_NS_TYPE_H

#include "common.h"

struct ns_type {
	const char *name;         /* of the file in /proc/PID/ns, and in the text of a link to it */
	const char *for_children; /* of the file that shows the namespace of new children; NULL: as the process's own */
	const char *field;        /* its number in task_kobj_ids_entry */
	uint32_t flag;            /* CLONE_NEW* */
};

#define NAMESPACE_TYPES 8

/* All of them, in the order in which images number the namespaces of a task. */
extern const struct ns_type ns_types[NAMESPACE_TYPES];

/* NULL: no such type. */
const struct ns_type *ns_type_of_flag(uint64_t flag);

/* The inode of the namespace in a file of /proc/PID/ns. A negative errno (not logged): -ENOENT: not in this kernel. */
int ns_type_inode(int proc_fd, const char *file, uint64_t *ino);

#endif
