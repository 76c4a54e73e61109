/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The row of a kind of descriptor: what the kind tells the folders below it. A kind is one file, both directions, one
 * constant row, and one line in kinds.h.
 */
#ifndef CRIU_TREE_KIND_H
#define CRIU_TREE_KIND_H

#include <sys/stat.h>

#include "tree/dump.h"
#include "tree/restore.h"
#include "tree/subsys.h"
#include "tree/task_part.h"
#include "fdinfo.pb-c.h"

/* ---- descriptors ---- */

struct foreign_mount;

/* One descriptor of a task at dump, as files/ found it. Everything is read once and passed on. */
struct fd_info {
	struct task *task;
	int number;       /* in the task; -1 for a file that is no descriptor (exe, cwd, root, a mapping, in flight) */
	const char *what; /* where number is -1, for messages: "its executable" */
	int fd;           /* our duplicate: the same open file description (O_PATH of the same file where `by_path`) */
	bool by_path;     /* executable, mapping, directory: not through a description of the task */
	const char *path; /* ... and the link in /proc that leads to it; NULL where `by_path` is not set */
	uint32_t id;      /* of the description, in files.img */
	struct stat st;
	int domain;       /* SO_DOMAIN of a socket; 0: not asked, see sock_domain() */
	const char *link; /* text of /proc/PID/fd/N */
	const char *info; /* text of /proc/PID/fdinfo/N, "" where number is -1 */
	uint32_t flags;   /* O_*, without O_CLOEXEC */
	uint64_t pos;
	int mnt_id;
	bool is_detached;              /* the root of a mount that is in no known mount namespace, by O_PATH */
	long fs_type;                  /* magic number of its file system; 0: not known */
	struct foreign_mount *foreign; /* its mount, if that may not answer: only the helper looks at it then */
	int handle;                    /* where `foreign` is set: O_PATH; fd is -1 for files and directories */
	FownEntry *fown;
};

/* What dump() may return beside 0 and a negative errno. */
#define DUMP_REFUSED 1 /* after log_refusal() */
#define DUMP_LATER   2 /* the kind keeps the message; files_write_entry() in write_images() at the latest */

struct fd_kind {
	const char *name;       /* what --verbose, errors and `check` call it */
	struct row_state state; /* what it keeps during a dump, during a restore */
	FdTypes type;
	unsigned field; /* of the message in file_entry */
	const ProtobufCMessageDescriptor *pb;
	bool in_net_ns; /* it lives in a network namespace, whose number is `ns_id` of the message: files/ does that */
	/* Whether a descriptor is of this kind. The first match in the order of kinds.h wins. */
	bool (*match)(const struct fd_info *info);
	/*
	 * Fills msg (initialised, of type pb; files/ has set id, flags, pos, fown where the message has such fields).
	 * 0, DUMP_REFUSED, DUMP_LATER, or a negative errno (logged).
	 */
	int (*dump)(struct dump *d, const struct fd_info *info, void *msg);
	/*
	 * Dump: all descriptors of all tasks are known (files_at()), no page is written yet: the place to find partners
	 * and to refuse what only now can be told. Or NULL.
	 */
	int (*all_collected)(struct dump *d);
	/*
	 * Restore, before anything is started: whether open() will find what it needs. 0, or a negative errno (not
	 * logged) with *why in the arena ("/tmp/x does not exist"); the caller says which task wants the file. NULL:
	 * nothing can be missing.
	 */
	int (*check)(struct restore *r, const void *msg, const char **why);
	/*
	 * Restore: the name under which it can be inherited (--inherit-fd: "pipe:[823441]", a path), written into buf;
	 * *is_external: the dump was told that it would be. NULL: it cannot be inherited.
	 */
	void (*resource)(struct restore *r, const void *msg, char *buf, size_t size, bool *is_external);
	/* Restore: whether an inherited descriptor can take its place. NULL: match() tells. */
	bool (*accepts_inherited)(struct restore *r, const void *msg, const struct fd_info *ours);
	/* Can be mapped, executed or a directory: open() is called for these, too, and before others of its kind. */
	bool is_content;
	/* Restore: what is only mapped is inherited too: it is memory, which mappings and descriptors have to share. */
	bool inherits_mapped;
	/* Restore: the kind finds inherited descriptors itself (inherited_fd()), and checks them. */
	bool inherits_itself;
	/*
	 * Restore: all processes exist, with agents in them, none has its descriptors: for what is made before anything
	 * is opened (sockets that refer to each other), and passed to files_set(). Or NULL.
	 */
	int (*prepare)(struct restore *r);
	/* Its message -> a descriptor of ours, or a negative errno (logged). */
	int (*open)(struct restore *r, const void *msg);
	/* After all tasks have their descriptors: all of the kind at once, before post_open() of the kind. Or NULL. */
	int (*settle)(struct restore *r);
	/*
	 * After all tasks have their descriptors, with ours: what needs others (files_borrow()). Kind by kind, in the
	 * order of kinds.h. NULL where nothing does.
	 */
	int (*post_open)(struct restore *r, const void *msg, int fd);
	bool (*has_post_open)(const void *msg); /* whether there is anything to do for this one. NULL: always */
	/*
	 * Reads images of its own before anything is checked or opened; calls files_pin() for the files that it wants
	 * beside those in descriptor tables. Dump: writes the images at the end. NULL where there are none.
	 */
	int (*read_images)(struct restore *r);
	int (*write_images)(struct dump *d);
};

/* The tables, in the order of kinds.h; NULL-terminated. */
extern const struct fd_kind *const fd_kinds[];
extern const struct task_part *const task_parts[];

/* The row for a type in an image, or NULL. */
const struct fd_kind *kind_by_fd_type(FdTypes type);

#endif
