/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Mount namespaces. A mount is a place in a tree of mounts, and a part of a file system (its root) that is seen there;
 * a file system (a superblock) has one detached mount here, from which all its mounts are cloned.
 */
#ifndef CRIU_MNT_MNT_H
#define CRIU_MNT_MNT_H

#include <unistd.h>

#include "helper/bare_mount.h"
#include "mnt/fs_kind.h"
#include "proc/mountinfo.h"
#include "tree/user_ns.h"
#include "mnt.pb-c.h"

/* ---- restore ---- */

struct super {
	uint32_t dev;               /* its number in the images */
	const struct fs_kind *kind; /* how it is made; NULL: taken from criu's own namespace, */
	const char *device;         /* --external dev[NAME]:PATH: where it lies; NULL: as the entry says */
	const char *path;           /* from here: external, or --root; NULL: from where criu saw it at the dump */
	bool by_plugin;             /* or a plugin makes it */
	const MntEntry *first;
	int fd;                      /* a mount of it, detached between namespaces; -1: not made yet */
	int spare;                   /* while fd is attached: a copy without mounts on it */
	bool used;                   /* late: its mount is one of the tree's */
	uint32_t pid_ns;             /* a proc of this pid namespace of the tree's own, 0: not so */
	const struct task *maker;    /* made in the namespace of this task that it belongs to; NULL: in criu's */
	const struct ns_type *bound; /* a namespace of this type is what is mounted; NULL: none is */
	int ns_fd;                   /* the one or the other; -1: it does not exist yet */
	const struct user_ns *owner; /* made in this user namespace; NULL: in criu's */
	const char *root;            /* what of it that mount shows */
	struct mnt_ghost *ghosts;    /* mnt_ghosts.c */
	struct super *next;
};

/* A mount of it on which nothing lies. */
static inline int mnt_super_dir(const struct super *s)
{
	return s->used && s->spare >= 0 ? s->spare : s->fd;
}

struct mnt_ns;

struct mnt {
	const MntEntry *e;
	struct mnt_ns *ns;
	struct mnt *up; /* NULL: the root */
	struct super *super;
	int fd;       /* detached at first */
	int point_fd; /* where it will be attached, on the bare mount below */
	bool given;   /* by --external: what is mounted there is another thing */
	bool attached;
	bool covered; /* in the namespace around: nothing leads to it */
};
struct mnt_ns {
	uint32_t id;
	struct mnt *all;
	size_t n;
	int fd;             /* the namespace, once it is made */
	bool is_copy, kept; /* some mounts are locked (mnt_around.c); an ordinary user makes it (mnt_kept.h) */
};

/* A peer group, the slaves of one, or both. */
struct mnt_group {
	uint32_t shared, master;
	const struct mnt *first; /* one that shows most of the file system */
	int fd;                  /* a detached mount that gives its group to the members; -1: not made yet */
	bool is_slave;           /* of its master; without one, and not shared, there is nothing to give */
	bool done;
};

struct mnt_restore {
	struct mnt_ns **ns;
	size_t n;
	struct super *supers;
	struct mnt_group *groups;
	size_t n_groups;
	bool shared; /* the groups are set */
};
struct mnt_restore *mnt_of(struct restore *r);

/* mnt_source.c: finds or notes the file system of a mount. 0 or a negative errno (logged). */
int mnt_find_super(struct restore *r, struct mnt *m);
/* mnt_image.c: mountpoints-ID.img, checked. */
int mnt_read_image(struct restore *r, uint32_t id, struct mnt_ns **ns);

/* mnt_build.c: in criu's own namespace: the file systems; then, in the new one, their mounts. */
int mnt_make_supers(struct restore *r, struct mnt_ns *ns);
int mnt_make_mounts(struct restore *r, struct mnt_ns *ns);
int mnt_make_waiting(struct restore *r, struct mnt_ns *ns); /* in it: what has waited for a pid namespace */
bool mnt_waits(const struct mnt *m);
/*
 * mnt_share.c: peer groups, masters and unbindable mounts. Found when all images are read; a mount for each is taken
 * where mounts can be copied; and all are set when all namespaces stand.
 */
void mnt_find_groups(struct restore *r);
int mnt_copy_for_groups(struct restore *r, const struct super *s);
int mnt_copy_for_late_groups(struct restore *r, const struct super *s); /* only where no member can give the group */
int mnt_share(struct restore *r);
/* mnt_super.c: the file system of a mount. 0 or a negative errno (logged). */
int mnt_super_make(struct restore *r, struct super *s);
/* mnt_plugin.c: a detached mount, or an errno (logged); whether there is a plugin. */
int mnt_plugin_make(struct restore *r, const MntEntry *e);
int mnt_plugin_check(struct restore *r, uint32_t ns, const MntEntry *e);

static inline void mnt_close(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

/* Flags, as the images have them (MS_* of mount(2)). */
uint32_t mnt_flags_of_text(const char *text);
uint64_t mnt_flags_to_attr(uint32_t flags);

#endif
