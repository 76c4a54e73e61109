/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Private to files/: the open file descriptions of a checkpoint at restore, one for each entry of files.img, and where
 * descriptors of them are. files_open.c opens them; nothing but open_file.c changes their state.
 */
#ifndef CRIU_FILES_OPEN_FILE_H
#define CRIU_FILES_OPEN_FILE_H

#include "files/files.h"
#include "lib/arena_hash.h"

#define OPEN_FILE_CACHE 512

/* Where descriptors of it are. The transitions are in open_file.c. */
enum open_file_state {
	OPEN_FILE_CLOSED,    /* nowhere: not opened yet, or closed again because no table wants it */
	OPEN_FILE_OURS,      /* criu has one, no task has one yet */
	OPEN_FILE_SHARED,    /* criu has one, a task has another */
	OPEN_FILE_INSTALLED, /* tasks alone have it; criu borrows a duplicate from one when it needs to */
};

/* What makes criu's descriptor of it. */
enum open_file_source {
	OPEN_FILE_MADE,      /* its kind: open() or prepare() */
	OPEN_FILE_INHERITED, /* --inherit-fd: the inherited description, or for a pipe a new one of the same end */
	OPEN_FILE_OTHER_END, /* --inherit-fd named the other end of this pipe, through which this end is opened */
	OPEN_FILE_REOPENED,  /* opened through an inherited pipe: a description of its own, which may have an owner */
};

struct open_file {
	uint32_t id;
	const struct fd_kind *kind; /* NULL: of a type that is not supported yet; refused if anything wants it */
	FdTypes type;
	const void *msg;
	enum open_file_state state;
	int our_fd;           /* or -1 */
	struct task *task;    /* once a task has it: the last that got it, */
	int number;           /* under this number */
	unsigned n_entries;   /* entries of descriptor tables that name it */
	unsigned n_installed; /* those of them that have it */
	bool pinned;          /* a queue wants it as well: criu's descriptor stays open to the end */
	enum open_file_source source;
	int inherited_fd; /* of --inherit-fd, or -1 */
	bool checked;
	const struct task *wanted_by;    /* the first task that wants it */
	const struct foreign_kept *kept; /* the helper that has it; our_fd is an O_PATH of something else */
	bool foreign;                    /* its path leads to a file system that may not answer */
	const char *problem;             /* why it cannot be opened, as check() found */
	const struct task *told_of;      /* the task for which the problem was logged last */
	UT_hash_handle hh;
};

struct open_files {
	struct open_file *by_id; /* in the order of files.img */
	struct open_file *fresh; /* room for new ones */
	size_t n_fresh;
	/* All whose id is below n_direct, by it: ids mostly follow each other, and a hash table of many misses caches.
	 */
	struct open_file **direct;
	size_t n_direct;
	const struct fd_kind **kinds; /* that any of them is of */
	size_t n_kinds;
	/* Open files that no table wants (mappings, working directories), oldest first, as a ring. */
	struct open_file *cached[OPEN_FILE_CACHE];
	size_t next_cached;
	struct open_file *asked;  /* the one that is being checked or opened */
	const struct task *donor; /* the task whose pidfd is open: descriptors are borrowed task by task */
	int donor_pidfd;
	struct open_file **kept_by_fd; /* those whose our_fd is a placeholder, by that */
	size_t n_kept_by_fd;
	int fd_pressure; /* from this number on, criu's descriptor is closed as soon as one task has the file */
};

struct open_files *open_files_of(const struct restore *r);

/*
 * One more, all zeros. They lie together: the guardian is forked later, and each page that is written to then is copied
 * first.
 */
struct open_file *open_file_new(struct restore *r);
void open_file_add(struct restore *r, struct open_file *f);
struct open_file *open_file_find(const struct restore *r, uint32_t id);

/* Whether there is any of a kind (NULL: of any kind): most kinds have none, and there may be many files. */
bool open_files_have(const struct restore *r, const struct fd_kind *kind);

/* Whether a table that does not have it yet, or a queue, wants it. */
bool open_file_is_wanted(const struct open_file *f);

/* criu has opened it as fd, which is taken over; -1 (after an error) changes nothing. Closes fd if one is open already.
 */
void open_file_opened(struct open_file *f, int fd);

/* A task has got it under this number. */
void open_file_installed(struct open_file *f, struct task *t, int number);

/* A descriptor of ours that stands for a file that a helper keeps. A negative errno (logged). */
int foreign_restore_stand_in(struct restore *r, struct open_file *f);

/* Closes criu's descriptor, if it has one. */
void open_file_close(struct open_file *f);

#endif
