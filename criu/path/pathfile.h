/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Files that come back by their path: regular files, directories, devices, and the paths behind FIFOs and terminals,
 * which name a reg_file_entry of their own.
 */
#ifndef CRIU_PATH_PATHFILE_H
#define CRIU_PATH_PATHFILE_H

#include "files/files.h"
#include "regfile.pb-c.h"

/* "a regular file", "a directory", of a mode. */
const char *pathfile_type_name(uint32_t mode);

/*
 * Fills name, size, mode and build id of a file from what the core found. Refuses (1) what its path does not lead to: a
 * deleted file, one that another has replaced, one under a mount. Decided by device and inode, not by the link's text.
 */
int pathfile_dump(struct dump *d, const struct fd_info *info, RegFileEntry *m);

/* A reg_file_entry of its own for a descriptor of another kind; *id is what regf_id names. Returns as pathfile_dump().
 */
int pathfile_dump_extra(struct dump *d, const struct fd_info *info, uint32_t *id);

/* What pathfile_dump_extra() returns of a FIFO that pathfile_external() knows. */
#define PATHFILE_EXTERNAL 3

/*
 * Whether the dump was told that this descriptor comes from outside, as file[MOUNT:INODE] or by its path in our root or
 * in the task's; then its message is filled.
 */
bool pathfile_external(struct dump *d, const struct fd_info *info, RegFileEntry *m);

/* What file[MOUNT:INODE] is, for who hands something in at restore without having told the dump. */
void pathfile_note_key(const struct fd_info *info, RegFileEntry *m);

/* fd_kind.takes for such a message: one path is as good as another, a pipe as a file, but no directory. */
bool pathfile_takes(const RegFileEntry *m, const struct fd_info *ours);

/* The reg_file_entry that a regf_id names, or NULL with an error logged. */
const RegFileEntry *pathfile_message(struct restore *r, uint32_t id);

/* fd_kind.check for such a message: is it there, of the same type, size and build? */
int pathfile_check(struct restore *r, const RegFileEntry *m, const char **why);

/* The same of its name alone, be it a ghost or not. */
int pathfile_check_name(struct restore *r, const RegFileEntry *m, const char **why);

/*
 * Opens it with the given flags (O_*; those that act on opening only are left out) and checks that the type is as it
 * was. Our descriptor or a negative errno (logged).
 */
int pathfile_open(struct restore *r, const RegFileEntry *m, uint32_t flags);

#endif
