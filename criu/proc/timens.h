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

/*
 * The offsets of a process (0: criu), which are 0 on a kernel without time namespaces. 0 or a negative errno (not
 * logged): -EOPNOTSUPP: the kernel shows those of another namespace, which the process has made for its children.
 */
int timens_read(pid_t pid, struct timens_offsets *o);

/* Sets those of a time namespace that the calling process has made for its children. 0 or a negative errno. */
int timens_write(const struct timens_offsets *o);

#endif
