/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The row of a type of namespace that a tree may have of its own: its images, and how it is filled when it is made
 * anew. A type without a row is refused where a task is in another namespace than criu.
 */
#ifndef CRIU_TREE_NS_KIND_H
#define CRIU_TREE_NS_KIND_H

#include "tree/dump.h"
#include "tree/restore.h"

/* Runs in the namespace, in criu's memory, with criu's descriptors: helper_run() with CLONE_VM. */
typedef int (*ns_fn)(void *arg);

struct ns_kind;
struct user_ns;
typedef int (*ns_add_fn)(struct restore *r, const struct ns_kind *kind, uint32_t id);

struct ns_kind {
	uint64_t flag;  /* CLONE_NEW*; proc/ns_type.h has its name */
	bool apart;     /* made and filled elsewhere (ns/user.c): none of the calls below */
	bool by_birth;  /* comes with its first process (restore/build.c): none of the calls below */
	size_t message; /* bytes of what is kept between the calls below, of each namespace */
	/* Dump: reads in the namespace, then writes the images, which have the namespace's number. May be absent. */
	int (*look)(void *message);
	int (*write)(struct dump *d, uint32_t id, const void *message);
	/* Restore: reads the images and checks them; then fills the namespace, in it. All: 0 or a negative errno
	 * (logged). */
	int (*read)(struct restore *r, uint32_t id, void *message);
	int (*fill)(void *message);
	/* May be absent: one that is given takes its place (tree/ns_given.h); reads what is needed all the same. */
	int (*given)(struct restore *r, uint32_t id);
	/*
	 * May be absent: calls add for each number of a namespace of this type that no task is in, when all images have
	 * been read.
	 */
	int (*others)(struct restore *r, ns_add_fn add);
	/* May be absent: the namespace is there, fd is a descriptor of it, which ends with the call. 0 or a negative
	 * errno (logged). */
	int (*made)(struct restore *r, uint32_t id, int fd);
	/* May be absent: what the process that makes the namespace does before. */
	int (*before)(void *message);
	/*
	 * May be absent: makes, in place of before, one that belongs to a user namespace of the tree's; fill comes
	 * then. 0 with a descriptor, or -1 there: it is made as any other. Or a negative errno (logged).
	 */
	int (*make)(void *message, const struct user_ns *owner, int *fd);
};

/* The table, in the order of kinds.h; NULL-terminated. */
extern const struct ns_kind *const ns_kinds[];

/* NULL: the type has no row. */
const struct ns_kind *ns_kind_of(uint64_t flag);

#endif
