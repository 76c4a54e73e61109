/* SPDX-License-Identifier: GPL-2.0-only */
/* The mounts of a mount namespace: /proc/self/mountinfo, proc(5). */
#ifndef CRIU_PROC_MOUNTINFO_H
#define CRIU_PROC_MOUNTINFO_H

#include "lib/arena.h"

struct mount_at {
	int id;
	uint32_t s_dev;      /* of its file system, as the kernel has it: major << 20 | minor */
	const char *path;    /* where it is mounted */
	const char *type;    /* of its file system: "ext4", "fuse.sshfs"; "" where the line does not say */
	const char *options; /* of its file system, as the line has them; "" where it does not */
	const char *root;    /* the directory or file of its file system that is mounted */
	const char *flags;   /* of the mount itself: "rw,nosuid,relatime" */
	const char *source;
	int parent;         /* the id of the mount on which it lies */
	int shared, master; /* peer groups; 0: none */
	bool unbindable;
	int fd; /* the user's; -1 at first */
};

/* A line: 0, or -EBADMSG. */
int mountinfo_parse_line(const char *line, size_t len, struct arena *a, struct mount_at *m);

/* All of them, in the order of mounting, of where this thread looks files up (lib/lookup.h). 0 or a negative errno (not
 * logged). */
int mountinfo_read(struct arena *a, struct mount_at **mounts, size_t *n);

/* The id of the mount that a path leads to, or of a descriptor (path ""); negative where the kernel does not say. */
int mountinfo_mount_id(int dir_fd, const char *path);

/* The part of path below top: "" where they are equal; NULL: it is not below. */
const char *mountinfo_below(const char *path, const char *top);

#endif
