/* SPDX-License-Identifier: GPL-2.0-only */
/* Restore: file systems, one detached mount of each: taken from a mount of criu's own namespace, or made anew. */
#include <fcntl.h>
#include <sched.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "helper/detour.h"
#include "helper/ns_enter.h"
#include "lib/log.h"
#include "mnt/mnt.h"
#include "mnt/mnt_dump.h"
#include "mnt/mnt_ghosts.h"
#include "mnt/mnt_own.h"
#include "tree/user_ns_image.h"
#include "uapi/mount_bits.h"

/* ---- taken ---- */

static int take_mount(struct restore *r, const struct mount_at *own, size_t n, const struct mount_at *m)
{
	struct mount_attr attr = { .attr_clr = MNT_ATTRS, .propagation = MS_PRIVATE };
	_cleanup_close_ int fd = bare_mount_open(r->arena, -1, own, n, m);

	if (fd < 0)
		return log_errno(fd, "open_tree of %s", m->path);
	if (mount_setattr(fd, "", AT_EMPTY_PATH, &attr, sizeof(attr)))
		return log_errno(-errno, "mount_setattr of a copy of %s", m->path);
	return move_fd(&fd);
}

/* What the user names. */
static int take_path(const struct super *s)
{
	struct mount_attr attr = { .attr_clr = MNT_ATTRS, .propagation = MS_PRIVATE };
	_cleanup_close_ int fd = open_tree(AT_FDCWD, s->path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);

	if (fd < 0)
		return log_errno(-errno, "mount %s: open_tree of %s", s->first->mountpoint, s->path);
	if (mount_setattr(fd, "", AT_EMPTY_PATH, &attr, sizeof(attr)))
		return log_errno(-errno, "mount_setattr of a copy of %s", s->path);
	return move_fd(&fd);
}

static int take_from_host(struct restore *r, struct super *s)
{
	const MntEntry *e = s->first;
	const struct mount_at *m;
	struct mount_at *own;
	size_t n;
	int err = mountinfo_read(r->arena, &own, &n);

	if (err)
		return log_errno(err, "read of /proc/self/mountinfo");
	m = mnt_own_find(e, &(struct own_mount) { .path = e->host_path, .root = e->host_root }, own, n);
	if (m)
		return take_mount(r, own, n, m);
	return log_errno(
	    -ENOENT,
	    "mount %s: was of the file system that criu saw mounted at %s, which is not mounted there now: "
	    "mount it, or give --external mnt[%s]:PATH",
	    e->mountpoint, e->host_path, e->mountpoint);
}

/* ---- made ---- */

static int log_fs_error(int fs, int err, const char *what, const struct super *s)
{
	char text[256] = "";
	ssize_t n = read(fs, text, sizeof(text) - 1);

	text[n > 0 ? n : 0] = 0;
	return log_errno(err, "mount %s: fsconfig(%s) of a new %s%s%s", s->first->mountpoint, what,
	                 s->device ? s->first->fsname : s->kind->name, *text ? ": " : "", text);
}

/* An id as mountinfo shows it is the machine's; the user namespace that owns the file system has another number. */
static char *id_inside(struct restore *r, const struct super *s, char *value)
{
	enum user_id kind = value[-4] == 'u' ? USER_ID : GROUP_ID;
	uint32_t inside;

	return user_ns_known(s->owner, kind, (uint32_t)strtoul(value, NULL, 10), &inside)
	           ? arena_printf(r->arena, "%u", inside)
	           : NULL;
}

/* Commas of a path are escaped. */
static int give_option(struct restore *r, const struct super *s, int fs, char *option)
{
	char *value = strchr(option, '=');
	int ret;

	if (value)
		value++;
	if (s->owner && (!strncmp(option, "uid=", 4) || !strncmp(option, "gid=", 4)))
		value = id_inside(r, s, value);
	if (strchr(option, '=') && !value)
		return 0; /* what the root of the namespace is, is the default */
	option[strcspn(option, "=")] = 0;
	ret = value ? fsconfig(fs, FSCONFIG_SET_STRING, option, value, 0)
	            : fsconfig(fs, FSCONFIG_SET_FLAG, option, NULL, 0);
	if (!ret || !strncmp(option, "inode", 5)) /* inode64: of kernels that do not have it */
		return 0;
	return log_fs_error(fs, -errno, option, s);
}

static int give_options(struct restore *r, const struct super *s, int fs)
{
	char *text = arena_strdup(r->arena, s->first->options);
	int err = 0;

	while (!err && *text) {
		char *end = text + strcspn(text, ",");

		while (end > text && *end && end[-1] == '\\')
			end += 1 + strcspn(end + 1, ",");
		if (*end)
			*end++ = 0;
		err = *text ? give_option(r, s, fs, text) : 0;
		text = end;
	}
	return err;
}

static int set_read_only(const struct super *s)
{
	_cleanup_close_ int fs = fspick(s->fd, "", FSPICK_CLOEXEC | FSPICK_EMPTY_PATH);

	if (fs < 0)
		return log_errno(-errno, "mount %s: fspick", s->first->mountpoint);
	if (fsconfig(fs, FSCONFIG_SET_FLAG, "ro", NULL, 0) || fsconfig(fs, FSCONFIG_CMD_RECONFIGURE, NULL, NULL, 0))
		return log_fs_error(fs, -errno, "ro", s);
	return 0;
}

static int make_read_only(void *arg)
{
	return set_read_only(arg);
}

struct member_job {
	struct restore *r;
	struct super *s;
};

static int make_new(struct restore *r, struct super *s);

static int make_as_member(void *arg)
{
	struct member_job *job = arg;
	uint32_t pid_ns = job->s->pid_ns;
	int err;

	job->s->pid_ns = 0;
	err = make_new(job->r, job->s);
	job->s->pid_ns = pid_ns;
	return err;
}

static int fork_member(void *arg)
{
	return helper_run(&(struct helper_spec) { .flags = CLONE_VM | CLONE_FILES, .outlives = true }, make_as_member,
	                  arg);
}

/* Before Linux 6.17 a proc is of the pid namespace of the process that makes it. */
static int make_by_member(struct restore *r, struct super *s)
{
	struct member_job job = { r, s };

	return ns_enter_run(s->ns_fd, fork_member, &job);
}

static int make_new(struct restore *r, struct super *s)
{
	const MntEntry *e = s->first;
	const char *type = s->device ? e->fsname : s->kind->name;
	_cleanup_close_ int fs = fsopen(type, FSOPEN_CLOEXEC);
	int err;

	if (fs >= 0 && s->pid_ns && fsconfig(fs, FSCONFIG_SET_FD, "pidns", NULL, s->ns_fd))
		return make_by_member(r, s);
	if (fs < 0)
		return log_errno(-errno, "mount %s: fsopen(%s)", e->mountpoint, type);
	if (fsconfig(fs, FSCONFIG_SET_STRING, "source", s->device ?: *e->source ? e->source : "none", 0))
		return log_fs_error(fs, -errno, "source", s);
	err = give_options(r, s, fs);
	if (!err && s->device && e->sb_flags & MS_RDONLY && fsconfig(fs, FSCONFIG_SET_FLAG, "ro", NULL, 0))
		err = log_fs_error(fs, -errno, "ro", s);
	if (!err && fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0))
		err = log_fs_error(fs, -errno, "create", s);
	if (err)
		return err;
	s->fd = fsmount(fs, FSMOUNT_CLOEXEC, 0);
	return s->fd < 0 ? log_errno(-errno, "mount %s: fsmount of a new %s", e->mountpoint, type) : 0;
}

/* To mount it anew would take options away that another mount has given; and there has to be a reason for it. */
static bool is_better_anew(struct restore *r, const struct mnt *m, dev_t dev)
{
	struct mount_at *own;
	size_t n;

	if (mountinfo_read(r->arena, &own, &n))
		return false;
	for (size_t i = 0; i < n; i++)
		if (own[i].s_dev == (major(dev) << 20 | minor(dev)) && !own[i].root[1])
			return strcmp(own[i].source, m->e->source) != 0 && !strcmp(own[i].options, "rw");
	return m->super->kind && !*m->e->options && strcmp(m->super->first->source, m->e->source) != 0;
}

int mnt_super_by_name(struct restore *r, const struct mnt *m)
{
	const struct fs_kind *kind = m->super->kind ?: m->e->fsname ? fs_kind_by_name(m->e->fsname) : NULL;
	_cleanup_close_ int fs = -1, fd = -1;
	struct stat there, st;

	if (!kind || !kind->single || m->given || m->e->root[1] || !*m->e->source)
		return -ENOENT;
	if (fstat(mnt_super_dir(m->super), &there) || !is_better_anew(r, m, there.st_dev))
		return -ENOENT;
	fs = fsopen(kind->name, FSOPEN_CLOEXEC);
	if (fs < 0 || fsconfig(fs, FSCONFIG_SET_STRING, "source", m->e->source, 0) ||
	    fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0))
		return -errno;
	fd = fsmount(fs, FSMOUNT_CLOEXEC, 0);
	if (fd < 0 || fstat(fd, &st))
		return -errno;
	return st.st_dev == there.st_dev ? move_fd(&fd) : -EXDEV;
}

static int make_inside(void *arg)
{
	struct member_job *job = arg;

	return make_new(job->r, job->s);
}

/* A mount of it is a descriptor, wherever that was made. */
static int make_in_its_ns(struct restore *r, struct super *s, int ns)
{
	struct member_job job = { r, s };

	return ns_enter_run(ns, make_inside, &job);
}

/* An ordinary user mounts only in a mount namespace that belongs to that user's. */
static int make_in_copy(struct restore *r, struct super *s, int ns)
{
	struct member_job job = { r, s };

	return ns_enter_copy(ns, make_inside, &job);
}

/* The mount namespace may be of the user namespace around: what may be mounted there is not for the owner to say. */
static int make_as_owner(struct restore *r, struct super *s)
{
	struct member_job job = { r, s };

	return ns_enter_copy(s->owner->fd, make_inside, &job);
}

/* A pid namespace's proc is made in its owner (make_new() says of which), what belongs to another one in that. */
static int owner_fd_of(struct restore *r, const struct super *s)
{
	const struct user_ns *owner = s->pid_ns ? user_ns_owner(r, s->pid_ns) : NULL;

	return owner ? owner->fd : s->ns_fd;
}

int mnt_super_make(struct restore *r, struct super *s)
{
	int err;

	if (s->by_plugin) {
		s->fd = mnt_plugin_make(r, s->first);
		return MIN(s->fd, 0);
	}
	if (!s->kind) {
		s->fd = s->path ? take_path(s) : take_from_host(r, s);
		return s->fd < 0 ? s->fd : mnt_ghosts_make(r, s);
	}
	if (s->ns_fd >= 0 && detour_is_ordinary())
		err = make_in_copy(r, s, owner_fd_of(r, s));
	else
		err = s->maker ? make_in_its_ns(r, s, s->ns_fd) : s->owner ? make_as_owner(r, s) : make_new(r, s);
	if (!err)
		err = s->kind->has_contents ? mnt_contents_restore(r, s) : mnt_ghosts_make(r, s);
	if (!err && s->kind->made)
		err = s->kind->made(r, s);
	if (err || !(s->first->sb_flags & MS_RDONLY) || s->device)
		return err;
	return s->owner && detour_is_ordinary() ? ns_enter_copy(s->owner->fd, make_read_only, s) : set_read_only(s);
}
