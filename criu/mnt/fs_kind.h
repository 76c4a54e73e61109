/* SPDX-License-Identifier: GPL-2.0-only */
/* The row of a type of file system that criu can make anew. A type without a row is refused by name. */
#ifndef CRIU_MNT_FS_KIND_H
#define CRIU_MNT_FS_KIND_H

#include "tree/dump.h"
#include "tree/restore.h"
#include "mnt.pb-c.h"

struct super; /* mnt/mnt.h, as struct mnt */
struct mnt;

struct fs_kind {
	const char *name;  /* as in /proc/filesystems */
	Fstype code;       /* FSTYPE__AUTO: the image has the name */
	bool has_contents; /* they are its own, and are saved */
	bool ours;         /* CRIU would not restore it: refuses the checkpoint */
	/* Options that mountinfo shows and that are not given at the making. NULL-terminated; may be NULL. */
	const char *const *not_given;
	bool shows_pids;  /* belongs to a pid namespace: made when that exists */
	uint64_t belongs; /* to a namespace of these types (CLONE_NEW*) of the process that makes it */
	bool single;      /* the machine has one, which every mount of the type shows */
	bool late;        /* made inside, when the mounts before it stand: its options name files there */
	/* What a file in it is, if that cannot be made again: then it is refused unless it has none. */
	const char *not_carried;
	const char *const *born_with; /* files that every new one has at its top. NULL-terminated; may be NULL */
	const char *extra;            /* an option that is given beside; NULL: none */
	/* May be absent: it is made, and none of its mounts is. 0 or a negative errno (logged). */
	int (*made)(struct restore *r, const struct super *s);
};

/* The table, in the order of kinds.h; NULL-terminated. */
extern const struct fs_kind *const fs_kinds[];

const struct fs_kind *fs_kind_by_name(const char *name);

/* Of an image. NULL: none. */
const struct fs_kind *fs_kind_of(const MntEntry *e);

/* Of namespaces: mnt_bound.c. */
extern const struct fs_kind mnt_nsfs;

/* A file system on a block device that is named by --external dev[...]: its type is the entry's. */
extern const struct fs_kind fs_kind_on_device;

/* mnt_devpts.c: of a new devpts, the terminals that mounts show. */
int mnt_devpts_make(struct restore *r, const struct super *s);

/* The code of a type for images; FSTYPE__UNSUPPORTED where the format has none. */
Fstype fs_kind_code(const char *name);

/*
 * Where the machine has one file system of a type (fs_kind.single): a mount of the whole of it, with the name of its
 * source that m had, which no copy of another mount has. A negative errno, not logged: m is to be such a copy.
 */
int mnt_super_by_name(struct restore *r, const struct mnt *m);

#endif
