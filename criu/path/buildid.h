/* SPDX-License-Identifier: GPL-2.0-only */
/* The build id of an ELF file: the NT_GNU_BUILD_ID note (elf(5)), which tells one build of a library from another. */
#ifndef CRIU_PATH_BUILDID_H
#define CRIU_PATH_BUILDID_H

#include "common.h"

#define BUILDID_WORDS 16
#define BUILDID_LEAST 52 /* bytes: what is smaller is no ELF file (Elf32_Ehdr) */

/*
 * Reads it from an open file, by pread(), as little-endian words (the last one padded with zeros), at most
 * BUILDID_WORDS. Returns how many there are: 0 where the file is not an ELF file or has none.
 */
size_t buildid_of_elf(int fd, uint32_t words[BUILDID_WORDS]);

/*
 * The same of what a process has mapped, from the start of the file on, at [start, end), which is not to go beyond the
 * end of the file. -EFAULT where some of what is needed is not there, or cannot be read.
 */
int buildid_in_memory(pid_t pid, uint64_t start, uint64_t end, uint32_t words[BUILDID_WORDS]);

#endif
