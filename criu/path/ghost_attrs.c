/* SPDX-License-Identifier: GPL-2.0-only */
#include <fcntl.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include "lib/log.h"
#include "path/ghost_attrs.h"

/* FS_IMMUTABLE_FL and the like (FS_IOC_GETFLAGS) that are kept: what a user sets with chattr(1) on an existing file. */
#define KEPT_INODE_FLAGS 0xf8U

#define PROC_FD          32

/* Calls that take a path are made by this one, since what is not a regular file is open as O_PATH. */
static const char *proc_fd(int fd, char path[PROC_FD])
{
	snprintf(path, PROC_FD, "/proc/self/fd/%d", fd);
	return path;
}

/* ---- dump ---- */

static int dump_xattr(struct dump *d, const char *path, const char *name, GhostFileEntry *e)
{
	GhostXattr *x = arena_msg(d->arena, GhostXattr, ghost_xattr);
	ssize_t n = getxattr(path, name, NULL, 0);

	x->name = arena_strdup(d->arena, name);
	if (n > 0) {
		x->value.data = arena_alloc(d->arena, (size_t)n);
		n = getxattr(path, name, x->value.data, (size_t)n);
	}
	if (n < 0)
		return -errno;
	x->value.len = (size_t)n;
	arena_push(d->arena, &e->xattrs, &e->n_xattrs, x);
	return 0;
}

static int dump_xattrs(struct dump *d, const char *who, int fd, GhostFileEntry *e)
{
	char path[PROC_FD], *names;
	int err = 0;
	ssize_t n;

	n = listxattr(proc_fd(fd, path), NULL, 0);
	if (n <= 0)
		return n && errno != ENOTSUP ? log_errno(-errno, "%s: listxattr", who) : 0;
	names = arena_alloc(d->arena, (size_t)n + 1);
	n = listxattr(path, names, (size_t)n);
	for (char *at = names; !err && n > 0 && at < names + n; at += strlen(at) + 1)
		err = dump_xattr(d, path, at, e);
	return err || n < 0 ? log_errno(err ?: -errno, "%s: getxattr", who) : 0;
}

int ghost_attrs_dump(struct dump *d, const char *who, int fd, GhostFileEntry *e)
{
	int flags = 0;

	if (S_ISREG(e->mode) && !ioctl(fd, FS_IOC_GETFLAGS, &flags))
		e->inode_flags = (uint32_t)flags & KEPT_INODE_FLAGS;
	e->has_inode_flags = e->inode_flags;
	return dump_xattrs(d, who, fd, e);
}

/* ---- restore ---- */

/* A default list of its directory gives a new file access lists that the old one did not have. */
static void drop_inherited_acls(const GhostFileEntry *e, const char *name, int fd)
{
	static const char *const acls[] = { "system.posix_acl_access", "system.posix_acl_default" };
	char path[PROC_FD];

	proc_fd(fd, path);
	for (size_t i = 0; i < ARRAY_SIZE(acls); i++) {
		bool had = false;

		for (size_t k = 0; k < e->n_xattrs; k++)
			had = had || !strcmp(e->xattrs[k]->name, acls[i]);
		if (!had && getxattr(path, acls[i], NULL, 0) >= 0 && removexattr(path, acls[i]))
			log_warn("%s (deleted): removexattr of %s, which its directory gave it: %s", name, acls[i],
			         strerror(errno));
	}
}

static int restore_xattrs(const GhostFileEntry *e, const char *name, int fd)
{
	char path[PROC_FD];

	for (size_t i = 0; i < e->n_xattrs; i++) {
		const GhostXattr *x = e->xattrs[i];

		if (!setxattr(proc_fd(fd, path), x->name, x->value.data, x->value.len, 0))
			continue;
		if (strncmp(x->name, "security.", 9)) /* labels are the security module's to give */
			return log_errno(-errno, "%s (deleted): setxattr of %s", name, x->name);
		log_warn("%s (deleted): setxattr of %s: %s", name, x->name, strerror(errno));
	}
	return 0;
}

static struct timespec time_of(const Timeval *t, bool has_nsec, uint32_t nsec)
{
	if (!t)
		return (struct timespec) { .tv_nsec = UTIME_OMIT };
	if (!has_nsec || nsec >= 1000000000)
		nsec = (uint32_t)(t->tv_usec % 1000000) * 1000;
	return (struct timespec) { .tv_sec = (time_t)t->tv_sec, .tv_nsec = nsec };
}

int ghost_attrs_restore(const GhostFileEntry *e, const char *name, int fd)
{
	struct timespec times[2] = { time_of(e->atim, e->has_atim_nsec, e->atim_nsec),
		                     time_of(e->mtim, e->has_mtim_nsec, e->mtim_nsec) };
	char path[PROC_FD];
	int err;

	if (fchownat(fd, "", e->uid, e->gid, AT_EMPTY_PATH))
		return log_errno(-errno, "%s (deleted): fchownat to user %u, group %u", name, e->uid, e->gid);
	if (!S_ISLNK(e->mode))
		drop_inherited_acls(e, name,
		                    fd); /* before chmod(), which would set a list's mask, not the group's bits */
	/* After fchownat(), which takes set-user-ID away. */
	if (!S_ISLNK(e->mode) && chmod(proc_fd(fd, path), e->mode & 07777))
		return log_errno(-errno, "%s (deleted): chmod to 0%o", name, e->mode & 07777);
	err = restore_xattrs(e, name, fd);
	if (!err && utimensat(fd, "", times, AT_EMPTY_PATH))
		err = log_errno(-errno, "%s (deleted): utimensat", name);
	return err;
}

void ghost_attrs_set_inode_flags(const GhostFileEntry *e, const char *name, int fd)
{
	uint32_t wanted = e->inode_flags & KEPT_INODE_FLAGS;
	_cleanup_close_ int readable = -1;
	char path[PROC_FD];
	int flags;

	if (!wanted || !S_ISREG(e->mode))
		return;
	readable = open(proc_fd(fd, path), O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (readable >= 0 && !ioctl(readable, FS_IOC_GETFLAGS, &flags)) {
		flags = (int)(((uint32_t)flags & ~KEPT_INODE_FLAGS) | wanted);
		if (!ioctl(readable, FS_IOC_SETFLAGS, &flags))
			return;
	}
	log_warn("%s (deleted): FS_IOC_SETFLAGS 0x%x (chattr): %s", name, wanted, strerror(errno));
}
