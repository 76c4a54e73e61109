/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Ghosts: files of any type that are open or mapped and have no name left, unlinked ones and O_TMPFILE. The dump saves
 * their contents (ghost-file-*.img) and which files of files.img they are (remap-fpath.img); the restore makes them
 * anew in the same file system, again without a name. path/pathfile.c uses it.
 */
#ifndef CRIU_PATH_GHOST_H
#define CRIU_PATH_GHOST_H

#include "files/files.h"
#include "ghost-file.pb-c.h"
#include "regfile.pb-c.h"

/*
 * Dump: fills name, size and mode of a file with st_nlink 0, and notes that its contents are to be saved, once
 * for each inode. 0, or DUMP_REFUSED: above --ghost-limit, or no directory to make it in again.
 */
int ghost_dump(struct dump *d, const struct fd_info *info, RegFileEntry *m);

/*
 * Dump: keeps a file or directory that no task has open, once for each inode: *id is N of ghost-file-N.img. who: for
 * messages. DUMP_REFUSED: above --ghost-limit, of the kernel, or a socket.
 */
int ghost_keep(struct dump *d, const char *who, int fd, uint32_t *id);

/* Dump: how many are kept of a file system. */
uint64_t ghost_count(struct dump *d, dev_t dev);

/* fd_kind.all_collected of regular files: checks that the image directory has room for all of them. */
int ghost_collected(struct dump *d);

/* fd_kind.write_images (before remap_write()) and .read_images of the same. */
int ghost_write_images(struct dump *d);
int ghost_read_images(struct restore *r);

/* Restore: what ghost-file-ID.img says, checked; then its contents and attributes for a new file (fd: for reading and
 * writing, or O_PATH of one that is not a regular file). name: for messages. 0 or a negative errno (logged). */
int ghost_read_entry(struct restore *r, uint32_t id, GhostFileEntry **e);
int ghost_fill(struct restore *r, uint32_t id, const GhostFileEntry *e, const char *name, int fd);

struct ghost;

/* Restore: the ghost that a file is; NULL: it is not one. */
struct ghost *ghost_of(struct restore *r, uint32_t id);

/* As fd_kind.check. */
int ghost_check(struct restore *r, const struct ghost *g, const char **why);

/*
 * Opens it, making it first where that has not been done. m: the file that is it; flags as for pathfile_open(). Our
 * descriptor or a negative errno (logged).
 */
int ghost_open(struct restore *r, struct ghost *g, const RegFileEntry *m, uint32_t flags);

#endif
