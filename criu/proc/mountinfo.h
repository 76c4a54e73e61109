/* SPDX-License-Identifier: GPL-2.0-only */
/* The mounts that we see: /proc/self/mountinfo, proc(5). */
#ifndef CRIU_PROC_MOUNTINFO_H
#define CRIU_PROC_MOUNTINFO_H

#include "lib/arena.h"

struct mount_at {
	int id;
	uint32_t s_dev;   /* of its file system, as the kernel has it: major << 20 | minor */
	const char *path; /* where it is mounted */
	const char *type; /* of its file system: "ext4", "fuse.sshfs"; "" where the line does not say */
	int fd;           /* the user's; -1 at first */
};

/* A line: 0, or -EBADMSG. */
int mountinfo_parse_line(const char *line, size_t len, struct arena *a, struct mount_at *m);

/* All of them, in the order of mounting. 0 or a negative errno (not logged). */
int mountinfo_read(struct arena *a, struct mount_at **mounts, size_t *n);

/* The id of the mount that a path leads to, or of a descriptor (path ""); negative where the kernel does not say. */
int mountinfo_mount_id(int dir_fd, const char *path);

#endif
