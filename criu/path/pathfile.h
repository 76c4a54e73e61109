/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Files that come back by their path: regular files, directories, devices, and the paths behind FIFOs and terminals,
 * which name a reg_file_entry of their own.
 */
#ifndef CRIU_PATH_PATHFILE_H
#define CRIU_PATH_PATHFILE_H

#include "files/files.h"
#include "regfile.pb-c.h"

/*
 * Fills name, size, mode and build id of a file, wherever path/file_place.h finds it. 0, DUMP_REFUSED, or a negative
 * errno (logged).
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

/* Notes its file[MOUNT:INODE], so that it can be inherited under this name though the dump was not told. */
void pathfile_note_key(const struct fd_info *info, RegFileEntry *m);

/* fd_kind.accepts_inherited for such a message: any file will do for a path, a pipe too, but no directory. */
bool pathfile_accepts(const RegFileEntry *m, const struct fd_info *ours);

/* The reg_file_entry that a regf_id names, or NULL with an error logged. */
const RegFileEntry *pathfile_message(struct restore *r, uint32_t id);

/* fd_kind.check for such a message: a ghost, or a file by its name. */
int pathfile_check(struct restore *r, const RegFileEntry *m, const char **why);

/*
 * Opens it, a ghost or a file by its name, with the given flags (see named_file_open()). Our descriptor or a negative
 * errno (logged).
 */
int pathfile_open(struct restore *r, const RegFileEntry *m, uint32_t flags);

#endif
