/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The rows: what a kind of resource tells the core about itself. A kind is one file, both directions, one constant row,
 * and one line in kinds.h.
 */
#ifndef CRIU_CORE_KIND_H
#define CRIU_CORE_KIND_H

#include <sys/stat.h>

#include "core/dump.h"
#include "core/restore.h"
#include "fdinfo.pb-c.h"

struct batch;
struct agent_op;

/* Where a row's function does its work; see ARCHITECTURE.md. */
enum where { IN_TOOL, IN_NS, IN_TASK };

/* ---- descriptors ---- */

/* One descriptor of a task at dump, as the core found it. Everything is read once and handed round. */
struct fd_info {
	struct task *task;
	int number;       /* in the task; -1 for a file that is no descriptor (exe, cwd, root, a mapping) */
	const char *what; /* where number is -1, for messages: "its executable" */
	int fd;      /* our duplicate: the same open file description (O_PATH of the same file where number is -1) */
	uint32_t id; /* of the description, in files.img */
	struct stat st;
	const char *link; /* text of /proc/PID/fd/N */
	const char *info; /* text of /proc/PID/fdinfo/N, "" where number is -1 */
	uint32_t flags;   /* O_*, without O_CLOEXEC */
	uint64_t pos;
	int mnt_id;
	FownEntry *fown;
};

struct fd_kind {
	const char *name; /* what --verbose, errors and `check` call it */
	FdTypes type;
	unsigned field; /* of the message in file_entry */
	const ProtobufCMessageDescriptor *pb;
	/* Is it mine? First match in the order of kinds.h wins. */
	bool (*match)(const struct fd_info *info);
	/*
	 * Fills msg (initialised, of type pb; the core has set id, flags, pos, fown where the message has such fields).
	 * 0, 1 after a refusal, or a negative errno (logged).
	 */
	int (*dump)(struct dump *d, const struct fd_info *info, void *msg);
	/*
	 * Restore, before anything is started: whether open() will find what it needs. 0, or a negative errno (not
	 * logged) with *why in the arena ("/tmp/x does not exist"); the core says who wants it. NULL: nothing can be
	 * missing.
	 */
	int (*check)(struct restore *r, const void *msg, const char **why);
	/* Its message -> a descriptor of ours, or a negative errno (logged). */
	int (*open)(struct restore *r, const void *msg);
	/* After all descriptors of all tasks are open, with ours: what needs others. NULL where nothing does. */
	int (*late)(struct restore *r, const void *msg, int fd);
	/* Reads images of its own before anything is opened; dump: writes them at the end. NULL where there are none.
	 */
	int (*read_images)(struct restore *r);
	int (*write_images)(struct dump *d);
	enum where where;
	const char *const *needs; /* names of kernel features (core/probe.h), NULL-terminated, or NULL */
};

/* ---- what every task has ---- */

/* What an agent answered to a row's ask(). */
struct answers {
	const struct agent_op *op; /* the first operation that ask() added; their order is as added */
	const void *data;          /* what ask() put into *datap: our view of its space in the area */
};

/*
 * A part of a task's or thread's state. Functions are called for each thread, leader first, when per_thread is set, and
 * for the leader alone otherwise.
 */
struct task_part {
	const char *name;
	bool per_thread;
	/* Dump: fills its fields of th->core with what only a tracer can read: the thread stands in a ptrace stop. */
	int (*peek)(struct dump *d, struct thread *th);
	/* Dump: adds the calls that only the task itself can make. *datap is handed back in answers.data. */
	int (*ask)(struct dump *d, struct thread *th, struct batch *b, void **datap);
	/* Dump: fills its fields of th->core from outside and from the answers (all zero where ask is NULL). */
	int (*dump)(struct dump *d, struct thread *th, const struct answers *answers);
	/* Restore: checks its fields before anything is started; refuses (log_refusal) what cannot come back. */
	int (*check)(struct restore *r, const struct thread *th);
	/* Restore: adds the calls that bring it back, run by the thread's own agent when all memory and descriptors are
	 * there. */
	int (*restore)(struct restore *r, struct thread *th, struct batch *b);
	/*
	 * Restore, from outside, when the thread stands seized in its last stop. For what the kernel lets others set
	 * (and what a credential change inside would have taken back).
	 */
	int (*finish)(struct restore *r, struct thread *th);
	/* Images of its own: read before anything is checked; written at the end of a dump. Or NULL. */
	int (*read_images)(struct restore *r);
	int (*write_images)(struct dump *d);
};

/* The tables, in the order of kinds.h; NULL-terminated. */
extern const struct fd_kind *const fd_kinds[];
extern const struct task_part *const task_parts[];

/* The row for a type in an image, or NULL. */
const struct fd_kind *fd_kind_of(FdTypes type);

#endif
