/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Open file descriptions, the same for all kinds: their ids and sharing at dump, finding and opening them once at
 * restore, and descriptor tables. Kinds fill and open single messages (core/kind.h).
 */
#ifndef CRIU_CORE_FILES_H
#define CRIU_CORE_FILES_H

#include "core/kind.h"

/* ---- dump ---- */

/*
 * Dumps all descriptors of a task into fdinfo-<files_id>.img and the descriptions that are new into files.img. Called
 * once for each files_id. Descriptors of unknown kinds are refused by name, each of them.
 */
int files_dump_task(struct dump *d, struct task *t);

/*
 * A file that is no descriptor: an executable, a mapping, cwd, root. `path` is one of our /proc/PID/{exe,cwd,root} or
 * /proc/PID/map_files/A-B links; flags: how it is to be opened at restore (O_RDONLY or O_RDWR). Equal files (device,
 * inode, name, flags) get one id. Returns 0 and *id, or a refusal naming `what` ("its executable", "mapping 7f12...").
 */
int files_dump_path(struct dump *d, struct task *t, const char *path, uint32_t flags, const char *what, uint32_t *id);

/* Writes what kinds kept for the end (write_images) and closes files.img. */
int files_dump_finish(struct dump *d);

/* Adds a message to files.img: type and id are set, the message goes into the row's field of a file_entry. */
int files_write_entry(struct dump *d, const struct fd_kind *kind, uint32_t id, void *msg);

/* A new id for a description. */
uint32_t files_new_id(struct dump *d);

/* A kind's own pointer for the whole dump or restore, NULL at first. */
void **dump_kind_state(struct dump *d, const struct fd_kind *kind);
void **restore_kind_state(struct restore *r, const struct fd_kind *kind);

/* "pid 812 (redis): fd 7", or "pid 812 (redis): its executable", for messages. From a ring of 4 buffers. */
const char *fd_name(const struct fd_info *info);

/* "a socket", "an eventfd": what a descriptor is, for a refusal of what no row takes. */
const char *fd_what(const struct fd_info *info);

/* ---- restore ---- */

/*
 * Reads fdinfo-* (into t->fds; tasks that share a table share the array) and files.img, and lets kinds read their
 * images; checks types, ids, that every fdinfo names a file that is there, and that numbers are below the limit that we
 * can have. Raises our own limit of open files to the hard one, or higher where numbers need it and it is allowed.
 */
int files_read(struct restore *r);

/*
 * Checks before anything is started that files by path can be opened; names every missing one with the tasks and
 * descriptors (or mapping, exe, cwd) that want it.
 */
int files_check(struct restore *r);

/*
 * Our descriptor for a description, opened at the first call; it stays ours. Negative errno (logged). A file that no
 * descriptor table wants (a mapping, cwd) may be closed again after 512 more of these: use it at once.
 */
int files_open(struct restore *r, uint32_t id);

/* The message of a file: NULL where the id is unknown. *kind may be NULL. */
const void *files_message(struct restore *r, uint32_t id, const struct fd_kind **kind);

/* One of the descriptor tables that want it has it: ours is closed with the last, unless late() needs it. */
void files_release(struct restore *r, uint32_t id);

/* Calls fn for all messages of a kind that some descriptor table wants, until one returns non-zero, which is returned.
 */
int files_each(struct restore *r, const struct fd_kind *kind, int (*fn)(struct restore *r, const void *msg, void *arg),
               void *arg);

/* (files_send and files_install, which need an agent, are in agent/fdpass.h.) */

/* Runs late() of all that were opened, once all tasks have their descriptors. */
int files_late(struct restore *r);

/* Closes all of our own. */
void files_close(struct restore *r);

#endif
