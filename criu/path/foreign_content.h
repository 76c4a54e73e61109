/* SPDX-License-Identifier: GPL-2.0-only */
/* What is in files and directories of foreign file systems (helper/foreign.h), read by the task's helper. */
#ifndef CRIU_PATH_FOREIGN_CONTENT_H
#define CRIU_PATH_FOREIGN_CONTENT_H

#include "helper/foreign.h"
#include "path/buildid.h"
#include "tree/kind.h"
#include "ghost-file.pb-c.h"

/* buildid_of_elf(): the number of words, 0 where the file cannot be read, or -ETIMEDOUT. */
int foreign_content_buildid(const struct foreign_access *a, uint32_t words[BUILDID_WORDS]);

/* The checksum of the first `size` bytes (validate.c). 0 or a negative errno (not logged). */
int foreign_content_checksum(const struct foreign_access *a, uint64_t size, uint32_t *sum);

/* Dump: the name that a file has in a directory, from the arena; NULL: not found. */
const char *foreign_content_name(struct dump *d, const struct fd_info *info, const char *dir);

/* Dump: its data, in a file without a name in the image directory: the descriptor or a negative errno (not logged). */
int foreign_content_copy(struct dump *d, const struct fd_info *info);

struct foreign_xattrs {
	GhostXattr **all;
	size_t n;
};

/*
 * Dump: its extended attributes (zeroed at first), as the task may see them. 0 or a negative errno (not logged):
 * -E2BIG, there are more than 32 KiB.
 */
int foreign_content_xattrs(struct dump *d, const struct fd_info *info, struct foreign_xattrs *all);

#endif
