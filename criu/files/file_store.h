/* SPDX-License-Identifier: GPL-2.0-only */
/* Inside of core/files_*.c: what a restore knows of each open file description. */
#ifndef CRIU_FILES_FILE_STORE_H
#define CRIU_FILES_FILE_STORE_H

#include "files/files.h"
#include "lib/arena_hash.h"

#define LOOSE_FILES 512

struct file_desc {
	uint32_t id;
	const struct fd_kind *kind; /* NULL: of a type that is not supported yet; refused if anybody wants it */
	FdTypes type;
	const void *msg;
	int fd;              /* ours, or -1 */
	unsigned tables;     /* entries of descriptor tables that do not have it yet */
	bool held;           /* some row wants it as well: stays open to the end */
	int given;           /* a descriptor of --inherit-fd that takes its place, or -1 */
	bool reopen;         /* ... opened anew, for another access mode */
	bool own;            /* ... with a description of its own, which may have an owner for signals */
	bool post_open;      /* something is to be done when all are there */
	bool owned;          /* somebody is signalled for it, which is set at the very end */
	struct task *holder; /* who has it already, under the number */
	int number;
	bool checked;
	const char *why;         /* what check() found */
	const struct task *told; /* the task for which a refusal was logged last */
	UT_hash_handle hh;
};

struct file_store {
	struct file_desc *by_id; /* in the order of files.img */
	/* Open files that no table wants, oldest first, as a ring: what may be closed when there are many. */
	struct file_desc *loose[LOOSE_FILES];
	size_t next_loose;
	const struct task *lender; /* whose pidfd is at hand: descriptors are borrowed task by task */
	int lender_fd;
	int crowded; /* descriptors of ours from this number on are closed when some task has what they are */
};

/* That of this restore. */
struct file_store *file_store_of(const struct restore *r);

struct file_desc *file_desc_of(struct restore *r, uint32_t id);

#endif
