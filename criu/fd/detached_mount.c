/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Descriptors that hold a tree of mounts which is in no mount namespace (fsmount(2), open_tree(2)). The kernel lists
 * such mounts nowhere, but copies them, for who is in the namespace from which the tree was taken: a dump attaches a
 * copy in a mount namespace of its own, at PLACE on an empty tmpfs, which is then one of the tree's that no task is in.
 * A restore makes that namespace, and copies the tree out of it.
 */
#include <fcntl.h>
#include <linux/sched.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "detached-mount.pb-c.h"
#include "files/files.h"
#include "helper/bare_mount.h"
#include "helper/ns_enter.h"
#include "lib/log.h"
#include "tree/ns_ids.h"
#include "tree/ns_made.h"

#define PLACE       "detached"
#define WITH_MOUNTS (OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE)

extern const struct fd_kind detached_mount_kind;

/* Which trees were met: only one descriptor of each can be the one that holds it. */
struct detached_seen {
	int *mnt_ids;
	size_t n;
};

static bool detached_mount_match(const struct fd_info *info)
{
	return info->is_detached;
}

/* ---- both ---- */

/* A new file system, as a mount in no place. 0 or a negative errno (logged). */
static int mount_empty(int *mount)
{
	_cleanup_close_ int fs = fsopen("tmpfs", FSOPEN_CLOEXEC);

	if (fs < 0 || fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0))
		return log_errno(-errno, "fsopen of a tmpfs for a detached mount");
	*mount = fsmount(fs, FSMOUNT_CLOEXEC, 0);
	return *mount < 0 ? log_errno(-errno, "fsmount of a tmpfs for a detached mount") : 0;
}

/* At PLACE, which is made as what is mounted: a directory or a file. 0 or a negative errno. */
static int attach_at_place(int tree, int dir)
{
	struct stat st;
	int err = fstat(tree, &st) ? -errno : 0;

	if (!err)
		err = S_ISDIR(st.st_mode) ? mkdirat(dir, PLACE, 0700) : mknodat(dir, PLACE, S_IFREG | 0600, 0);
	return err || move_mount(tree, "", dir, PLACE, MOVE_MOUNT_F_EMPTY_PATH) ? -errno : 0;
}

/* ---- dump ---- */

struct copy_of_tree {
	int fd;     /* the task's */
	int origin; /* a mount namespace */
	int tree;   /* the copy */
};

static int copy_in_origin(void *arg)
{
	struct copy_of_tree *c = arg;
	int err = ns_enter_join(ns_type_of_flag(CLONE_NEWNS), c->origin);

	if (err)
		return err;
	c->tree = open_tree(c->fd, "", WITH_MOUNTS | AT_EMPTY_PATH);
	return c->tree < 0 ? -errno : 0;
}

/* In a new mount namespace: nothing else stays in it. */
static int move_copy_in(void *arg)
{
	const struct copy_of_tree *c = arg;
	_cleanup_close_ int empty = -1;
	int err;

	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL))
		return log_errno(-errno, "mount(MS_REC | MS_PRIVATE) in a new mount namespace");
	err = mount_empty(&empty);
	if (!err && move_mount(empty, "", AT_FDCWD, "/", MOVE_MOUNT_F_EMPTY_PATH))
		err = log_errno(-errno, "move_mount of a tmpfs for a detached mount");
	if (err)
		return err;
	err = attach_at_place(c->tree, empty);
	if (err)
		return log_errno(err, "move_mount of a copy of a detached mount");
	/* lint: allow: its own process */
	if (fchdir(empty) || syscall(SYS_pivot_root, ".", ".") || umount2(".", MNT_DETACH))
		return log_errno(-errno, "pivot_root in a new mount namespace, or umount2 of its old root");
	return 0;
}

/* A descriptor of a mount namespace with a copy of the tree, or a negative errno: -EINVAL where it is of another one.
 */
static int copy_from(int fd, int origin)
{
	struct copy_of_tree c = { .fd = fd, .origin = origin, .tree = -1 };
	_cleanup_close_ int owner = bare_mount_owner(origin);
	int ns = ns_enter_make(ns_type_of_flag(CLONE_NEWNS), owner, copy_in_origin, move_copy_in, &c);

	if (c.tree >= 0)
		close(c.tree);
	return ns;
}

static int open_mount_ns(struct dump *d, const struct ns *ns)
{
	const char *path = ns->pid > 0    ? arena_printf(d->arena, "/proc/%d/ns/mnt", ns->pid)
	                   : ns->pid == 0 ? "/proc/self/ns/mnt"
	                                  : arena_printf(d->arena, "/proc/self/fd/%d", ns->fd);

	return open(path, O_RDONLY | O_CLOEXEC);
}

/* The task may have left the mount namespace where the tree was made. */
static int copy_tree(struct dump *d, const struct fd_info *info)
{
	_cleanup_close_ int own = openat(info->task->dump->proc_fd, "ns/mnt", O_RDONLY | O_CLOEXEC);
	const struct ns_ids *ids = ns_ids_all(d);
	int fd = own < 0 ? -errno : copy_from(info->fd, own);

	for (size_t i = 0; fd == -EINVAL && i < ids->n; i++) {
		_cleanup_close_ int origin =
		    ids->all[i].type->flag == CLONE_NEWNS ? open_mount_ns(d, &ids->all[i]) : -1;

		fd = origin < 0 ? -EINVAL : copy_from(info->fd, origin);
	}
	return fd;
}

static int refuse_detached(const struct fd_info *info, int err)
{
	log_refusal(
	    err,
	    "%s: %s: open_tree: its mount is in no place (umount -l, or open_tree in a mount namespace that has "
	    "ended), or in a mount namespace in which neither criu nor a task of the tree is; let the program "
	    "move it to one (move_mount), or close it, or run criu in that mount namespace",
	    fd_name(info), info->link);
	return DUMP_REFUSED;
}

static bool was_met(struct dump *d, int mnt_id)
{
	struct detached_seen *seen = dump_state(d, &detached_mount_kind);

	for (size_t i = 0; i < seen->n; i++)
		if (seen->mnt_ids[i] == mnt_id)
			return true;
	arena_push(d->arena, &seen->mnt_ids, &seen->n, mnt_id);
	return false;
}

static int detached_mount_dump(struct dump *d, const struct fd_info *info, void *msg)
{
	DetachedMountEntry *m = msg;
	struct stat st;
	int ns;

	if (was_met(d, info->mnt_id)) {
		log_refusal(-ENOTSUP,
		            "%s: the root of a mount that is in no place (fsmount, open_tree), and not the only open "
		            "file of it: "
		            "nothing tells which of them holds the mount; let the program close one",
		            fd_name(info));
		return DUMP_REFUSED;
	}
	ns = copy_tree(d, info);
	if (ns < 0)
		return refuse_detached(info, ns);
	if (fstat(ns, &st))
		return log_errno(-errno, "fstat of a mount namespace");
	m->mnt_ns_id = ns_ids_add(d, ns_type_of_flag(CLONE_NEWNS), st.st_ino, ns)->id;
	log_info("%s: a detached mount, as mount namespace %u", fd_name(info), m->mnt_ns_id);
	return 0;
}

/* ---- restore ---- */

static int detached_mount_check(struct restore *r, const void *msg, const char **why)
{
	const DetachedMountEntry *m = msg;

	if (ns_ids_is_held(r, ns_type_of_flag(CLONE_NEWNS), m->mnt_ns_id))
		return 0;
	*why = arena_printf(r->arena, "a detached mount in mount namespace %u, which is not in inventory.img",
	                    m->mnt_ns_id);
	return -EBADMSG;
}

/*
 * The kernel notes from which namespace a tree was copied, and lets only its processes copy it again. It notes none for
 * what fsmount(2) makes, and so for copies of what lies there. -EINVAL: an older kernel, which attaches nothing there.
 */
static int copy_for_all(int tree)
{
	_cleanup_close_ int empty = -1;
	int fd, err = mount_empty(&empty) ?: attach_at_place(tree, empty);

	if (err)
		return err;
	fd = open_tree(empty, PLACE, WITH_MOUNTS | AT_SYMLINK_NOFOLLOW);
	return fd < 0 ? -errno : fd;
}

static int take_tree(void *arg)
{
	_cleanup_close_ int tree = open_tree(AT_FDCWD, "/" PLACE, WITH_MOUNTS | AT_SYMLINK_NOFOLLOW);
	int fd = tree < 0 ? -errno : copy_for_all(tree);

	if (fd == -EINVAL && tree >= 0)
		return move_fd(&tree);
	return fd < 0 ? log_errno(fd, "open_tree of /" PLACE " in a mount namespace") : fd;
}

static int detached_mount_open(struct restore *r, const void *msg)
{
	const DetachedMountEntry *m = msg;
	int ns = ns_made_fd(r, CLONE_NEWNS, m->mnt_ns_id);

	return ns < 0 ? log_errno(ns, "a detached mount: mount namespace %u", m->mnt_ns_id)
	              : ns_enter_run(ns, take_tree, NULL);
}

const struct fd_kind detached_mount_kind = {
	.name = "detached mount",
	.state = { .dump = sizeof(struct detached_seen) },
	.type = FD_TYPES__DETACHED_MOUNT,
	.field = 1008,
	.pb = &detached_mount_entry__descriptor,
	.match = detached_mount_match,
	.dump = detached_mount_dump,
	.check = detached_mount_check,
	.open = detached_mount_open,
};
