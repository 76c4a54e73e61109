/* SPDX-License-Identifier: GPL-2.0-only */
/* Time namespaces (time_namespaces(7)): which one a process is in, and how far its clocks are from the machine's. */
#ifndef CRIU_PROC_TIMENS_H
#define CRIU_PROC_TIMENS_H

#include "common.h"

/* Nanoseconds that are added to the machine's clocks; CLOCK_MONOTONIC's, and CLOCK_BOOTTIME's. */
struct timens_offsets {
	int64_t monotonic, boottime;
};

/* The inode of the time namespace of pid (0: criu). 0: this kernel has none; or a negative errno (not logged). */
int timens_inode(pid_t pid, uint64_t *ino);
int timens_inode_childrens(pid_t pid, uint64_t *ino); /* that in which its children are born */

/*
 * The offsets of a process (0: criu), which are 0 on a kernel without time namespaces. 0 or a negative errno (not
 * logged): -EOPNOTSUPP: the kernel shows those of another namespace, which the process has made for its children.
 */
int timens_read(pid_t pid, struct timens_offsets *o);

/* Those of the namespace in which its children are born, whichever it is in itself. */
int timens_read_childrens(pid_t pid, struct timens_offsets *o);

/* From the text of that file. */
int timens_parse(char *text, struct timens_offsets *o);

/*
 * A descriptor by which those of a namespace that pid (0: the caller) has made, or will make, for its children are set;
 * the rights count that the caller has now. Then sets them. Or a negative errno (not logged).
 */
int timens_open(pid_t pid);
int timens_write(int fd, const struct timens_offsets *o);

#endif
