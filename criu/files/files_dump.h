/* SPDX-License-Identifier: GPL-2.0-only */
/* Open file descriptions at dump: their ids and which tasks share them; see files/files.h. */
#ifndef CRIU_FILES_FILES_DUMP_H
#define CRIU_FILES_FILES_DUMP_H

#include "tree/kind.h"

/*
 * A file that is no descriptor: an executable, a mapping, cwd, root. `path` is one of our /proc/PID/{exe,cwd,root} or
 * /proc/PID/map_files/A-B links; flags: how it is to be opened at restore (O_RDONLY or O_RDWR). Equal files (device,
 * inode, name, flags) get one id. Returns 0 and *id, or a refusal naming `what` ("its executable", "mapping 7f12...").
 */
int files_dump_path(struct dump *d, struct task *t, const char *path, uint32_t flags, const char *what, uint32_t *id);

/*
 * A description in flight: in a socket's queue, and maybe in no descriptor table. fd is ours and is taken over,
 * whatever is returned: it stays open until the tree runs on or is killed, so that the same description is known again
 * when it is met elsewhere. t and what say where it was, for messages ("in flight to its fd 7"). Returns 0 and *id,
 * DUMP_REFUSED, or a negative errno (logged).
 */
int files_dump_in_flight(struct dump *d, struct task *t, int fd, const char *what, uint32_t *id);

/* The descriptors of all dumped tasks, for kinds that look for a partner (in all_collected()). */
struct file_at {
	struct task *task;
	int number;
	uint32_t id;
	struct file_at *next;
};

/* Those of files with this device and inode (all anonymous inodes are the same one). NULL: none. */
const struct file_at *files_at(struct dump *d, dev_t dev, uint64_t ino);

/*
 * The file with this device and inode, in any table or queue of the tree, that the epoll instance slot->efd of pid has
 * under slot->tfd: 0 and *id (0: not found, or it was refused), or a negative errno (not logged).
 */
struct kcmp_epoll_slot;
int files_find_watched(struct dump *d, dev_t dev, uint64_t ino, pid_t pid, const struct kcmp_epoll_slot *slot,
                       uint32_t *id);

/* Descriptors with file locks, as met (with --file-locks): task/lock.c dumps them. */
struct file_locked {
	struct task *task;
	int number;  /* -1: in flight, */
	uint32_t id; /* this file */
	const char *link;
	const char *info; /* text of its fdinfo */
	struct file_locked *next;
};

const struct file_locked *files_locked(struct dump *d); /* newest first */

/* Adds a message to files.img: type and id are set, the message goes into its kind's field of a file_entry. */
int files_write_entry(struct dump *d, const struct fd_kind *kind, uint32_t id, void *msg);

/* A new id for a description. */
uint32_t files_new_id(struct dump *d);

/* "pid 812 (redis): fd 7", or "pid 812 (redis): its executable", for messages. From a ring of 4 buffers. */
const char *fd_name(const struct fd_info *info);

/* "a socket", "an eventfd": what a descriptor is, for a refusal where no kind matches. */
const char *fd_what(const struct fd_info *info);

/* What the user can do about it, with a verb: "close it before the dump". */
const char *fd_way_out(const struct fd_info *info);

#endif
