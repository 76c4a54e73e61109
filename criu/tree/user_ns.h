/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * User namespaces of a tree's own, and their ids. What criu reads and changes from outside is in criu's ids
 * ("outside"); images have ids as they are seen inside: those of a task in its own namespace, those of files and
 * objects in that of the root task. An id without a place in the namespace's map gets a number that no id there has,
 * which the namespace's image explains.
 */
#ifndef CRIU_TREE_USER_NS_H
#define CRIU_TREE_USER_NS_H

#include "tree/dump.h"
#include "tree/restore.h"

struct user_range {
	uint32_t first, outside, count;
};

struct user_map {
	struct user_range *v;
	size_t n;
};

enum user_id { USER_ID, GROUP_ID };

struct user_ns {
	uint32_t id; /* its number in images */
	uint64_t ino;
	struct user_ns *parent; /* NULL: criu's */
	uint32_t owner;         /* the user that has made it: criu's id */
	bool deny_setgroups;
	struct user_map map[2];      /* by enum user_id */
	struct user_map unmapped[2]; /* numbers of ids without a place in map */
	int fd;                      /* the namespace itself; -1 at restore, as long as it is not made */
	pid_t pid;                   /* dump: a task in it; 0: none */
	bool given;                  /* restore: it is another's (tree/ns_given.h) */
	/* Restore: with which ids its first process enters it (criu's), since some cannot be set inside. */
	uint32_t enter_as[2];
	uint32_t *groups;
	size_t n_groups;
};

struct user_ns_table {
	struct user_ns **v; /* parents first */
	size_t n;
};

struct user_ns_table *user_ns_of_dump(struct dump *d);
struct user_ns_table *user_ns_of_restore(struct restore *r);

/* NULL: criu's, or none of that number. */
struct user_ns *user_ns_find(const struct user_ns_table *all, uint32_t id);
struct user_ns *user_ns_of_task(const struct user_ns_table *all, const struct task *t);

/* Whether a namespace is, or lies in, another one; NULL: criu's. */
bool user_ns_is_in(const struct user_ns *ns, const struct user_ns *other);

/* ---- ids; where ns is NULL they are what they are ---- */

/* Dump: how images have an id. */
uint32_t user_ns_inside(struct dump *d, struct user_ns *ns, enum user_id kind, uint32_t outside);

/* Restore: criu's id. False: it has none. */
bool user_ns_outside(const struct user_ns *ns, enum user_id kind, uint32_t inside, uint32_t *outside);

/* The number that an id of criu's has in images: false: it has none (yet). */
bool user_ns_known(const struct user_ns *ns, enum user_id kind, uint32_t outside, uint32_t *inside);

/* Whether a number of an image is that of an id without a place in the map. */
bool user_ns_is_unmapped(const struct user_ns *ns, enum user_id kind, uint32_t inside);

/* ---- dump ---- */

/* A namespace that is not criu's is met: it and those around it are looked at. pid is in it. */
int user_ns_meet(struct dump *d, uint64_t ino, pid_t pid);

/* The namespace of a descriptor that is one of those or is added, criu's is NULL. The descriptor is used up. */
int user_ns_meet_fd(struct dump *d, int fd, struct user_ns **ns);

/* Reads the text of /proc/PID/uid_map or gid_map: 0 or -EINVAL. `outer`: whose ids it shows; NULL: criu's. */
int user_ns_parse_map(struct arena *a, const char *text, const struct user_ns *outer, enum user_id kind,
                      struct user_map *map);

/* ---- restore ---- */

/* The text to be written by the parent namespace. */
const char *user_ns_map_text(struct arena *a, const struct user_ns *ns, enum user_id kind);

/* Fills enter_as and groups of all, from the credentials of the tasks. */
void user_ns_choose_entries(struct arena *a, const struct tree *tree, const struct user_ns_table *all);

#endif
