/* SPDX-License-Identifier: GPL-2.0-only */
#include <fcntl.h>
#include <linux/mount.h>
#include <sched.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>

#include "files/fd_info.h"
#include "files/files.h"
#include "files/foreign_files.h"
#include "files/foreign_parts.h"
#include "files/foreign_restore.h"
#include "files/long_path.h"
#include "helper/ipc_ns.h"
#include "helper/ns_roots.h"
#include "image/image_dir.h"
#include "lib/log.h"
#include "proc/lockline.h"
#include "proc/mountinfo.h"
#include "tree/ns_ids.h"

struct foreign_dump *foreign_dump_of(struct dump *d)
{
	return dump_state(d, &foreign_subsys);
}

/* Images on a FUSE whose server stands still cannot be written. Nothing has been, when this is asked. */
static int check_image_dir(struct dump *d)
{
	struct foreign *f = &foreign_dump_of(d)->mounts;
	struct foreign_mount *m;
	const struct task *server;
	struct statx x;
	int number;

	if (!f->any || statx(image_dir_fd(d->dir), "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, 0, &x))
		return 0;
	m = foreign_mount_by_dev(f, x.stx_dev_major << 20 | x.stx_dev_minor);
	server = m && m->fuse ? foreign_server_of(d, m, &number) : NULL;
	if (!server)
		return 0;
	return log_refusal(
	    -EDEADLK,
	    "%s: the image directory is on a FUSE (%s, mounted at %s) whose server is in the tree: %s, fd "
	    "%d, and stands still for the dump; give another directory (-D)",
	    d->opts->images_dir, m->type, m->path, task_name(server), number);
}

static void add_namespaces(struct dump *d, struct foreign *f)
{
	const struct ns_ids *ids = ns_ids_all(d);

	for (size_t i = 0; i < ids->n; i++) {
		const struct ns_root *ns = NULL;

		if (ids->all[i].type->flag == CLONE_NEWNS && ids->all[i].pid)
			ns = ns_roots_find(d, ids->all[i].id);
		if (ns)
			foreign_add_plain(f, ns->mounts, ns->n_mounts);
	}
}

struct foreign *foreign_files_mounts(struct dump *d)
{
	struct foreign_dump *fd = foreign_dump_of(d);

	if (!fd->begun) {
		fd->begun = true;
		fd->failed = foreign_begin(&fd->mounts, d->arena, d->opts->timeout) || check_image_dir(d);
	}
	if (!fd->failed && !fd->has_namespaces && ns_ids_any(d, CLONE_NEWNS)) { /* they have been numbered */
		fd->has_namespaces = true;
		add_namespaces(d, &fd->mounts);
	}
	return fd->failed ? NULL : &fd->mounts;
}

/* ---- which are ---- */

/* By a helper where the kernel asks the file system even for O_PATH (NFS). */
static int open_handle(struct foreign_job *job)
{
	job->out = open(job->arg, O_PATH | O_CLOEXEC);
	return job->out < 0 ? -errno : 0;
}

static int refuse_silent(struct dump *d, const struct fd_info *info, const char *link)
{
	const struct foreign_mount *m = info->foreign;

	log_refusal(
	    -ETIMEDOUT,
	    "%s: %s: its file system (%s, mounted at %s) did not answer within %u s (--timeout): see to its server "
	    "or the network, or close the file, or unmount that (umount -l)",
	    fd_name(info), link, m->type, m->path, foreign_dump_of(d)->mounts.timeout);
	return DUMP_REFUSED;
}

static int refuse_served(struct dump *d, const struct fd_info *info, const char *link)
{
	const struct foreign_mount *m = info->foreign;
	int number = -1;
	const struct task *server = m->fuse ? foreign_server_of(d, m, &number) : NULL;

	if (!server)
		return 0;
	log_refusal(-EDEADLK,
	            "%s: %s: is on a FUSE (%s, mounted at %s) whose server is in the tree: %s, fd %d, and stands still "
	            "for the dump as all of it, so that nothing can be asked there; unmount that for the dump "
	            "(fusermount3 -u), or have the server run outside of the tree",
	            fd_name(info), link, m->type, m->path, task_name(server), number);
	return DUMP_REFUSED;
}

static int get_handle(struct dump *d, struct fd_info *info, const char *path, const char *link)
{
	struct foreign_call call = {
		.fn = open_handle, .arg = path, .arg_len = strlen(path) + 1, .out = &info->handle, .what = link
	};
	int err = 0;

	if (info->foreign && !info->foreign->fuse) {
		err = foreign_ask(foreign_files_mounts(d), info->foreign, NULL, &call);
		return err == -ETIMEDOUT ? refuse_silent(d, info, link)
		       : err             ? log_errno(err, "%s: open(O_PATH) of %s", fd_name(info), path)
		                         : 0;
	}
	info->handle = open(path, O_PATH | O_CLOEXEC);
	return info->handle < 0
	           ? log_errno(-errno, "%s: open(O_PATH) of %s%s", fd_name(info), path, fd_info_way_out(errno))
	           : 0;
}

static void stat_of_statx(const struct statx *x, struct stat *st)
{
	*st = (struct stat) {
		.st_dev = makedev(x->stx_dev_major, x->stx_dev_minor),
		.st_ino = x->stx_ino,
		.st_mode = x->stx_mode,
		.st_nlink = x->stx_nlink,
		.st_uid = x->stx_uid,
		.st_gid = x->stx_gid,
		.st_rdev = makedev(x->stx_rdev_major, x->stx_rdev_minor),
		.st_size = (off_t)x->stx_size,
		.st_blksize = (blksize_t)x->stx_blksize,
		.st_blocks = (blkcnt_t)x->stx_blocks,
		.st_atim = { x->stx_atime.tv_sec, x->stx_atime.tv_nsec },
		.st_mtim = { x->stx_mtime.tv_sec, x->stx_mtime.tv_nsec },
		.st_ctim = { x->stx_ctime.tv_sec, x->stx_ctime.tv_nsec },
	};
}

/*
 * The mount, and for a local file all of info->st. A FUSE of another user denies attributes; who asks for none of them
 * gets mount and device.
 */
static int look_at_mount(struct fd_info *info, struct statx *x)
{
	int flags = AT_EMPTY_PATH | AT_STATX_DONT_SYNC;

	if (!statx(info->handle, "", flags, STATX_BASIC_STATS | STATX_MNT_ID, x))
		stat_of_statx(x, &info->st);
	else if (statx(info->handle, "", flags, 0, x))
		return log_errno(-errno, "%s: statx", fd_name(info));
	if (!(x->stx_mask & STATX_MNT_ID))
		return log_errno(-ENODATA, "%s: statx tells no mount", fd_name(info));
	return 0;
}

static bool is_on_mount(int mount, const struct statx *x)
{
	struct statx own;

	return mount >= 0 && !statx(mount, "", AT_EMPTY_PATH, 0, &own) && own.stx_dev_major == x->stx_dev_major &&
	       own.stx_dev_minor == x->stx_dev_minor;
}

/* Queues of messages lie on a file system of the ipc namespace, which need not be mounted anywhere. */
static bool is_mqueue(struct dump *d, const struct statx *x)
{
	_cleanup_close_ int context = (int)syscall(SYS_fsopen, "mqueue", FSOPEN_CLOEXEC), mount = -1;

	for (struct ipc_ns *ns = ipc_ns_dumped(d); ns; ns = ns->next)
		if (ns->own && is_on_mount(ipc_ns_queues(ns), x))
			return true;
	if (context < 0 || syscall(SYS_fsconfig, context, FSCONFIG_CMD_CREATE, NULL, NULL, 0))
		return false;
	mount = (int)syscall(SYS_fsmount, context, FSMOUNT_CLOEXEC, 0);
	return is_on_mount(mount, x);
}

/* A mount that we do not see, whose file system may be that of a server in the tree. */
static int find_unseen(struct dump *d, struct fd_info *info, const struct statx *x, const char *link)
{
	struct foreign_mount m = { .id = (int)x->stx_mnt_id,
		                   .s_dev = x->stx_dev_major << 20 | x->stx_dev_minor,
		                   .path = "a mount that criu does not see",
		                   .type = "fuse",
		                   .fuse = true };
	int err;

	info->foreign = &m;
	err = x->stx_dev_major ? 0 : refuse_served(d, info, link);
	info->foreign = err ? NULL : foreign_unseen(foreign_files_mounts(d), info->handle, m.id);
	return err;
}

/* Names that only the kernel gives, to files of file systems of its own which nothing else can be mounted as. */
static bool is_of_kernel(const char *link)
{
	static const char *const names[] = { "/memfd:",    "/SYSV", "/dev/zero (deleted)", "/anon_hugepage", "/dmabuf:",
		                             "/secretmem", "/[aio]" };

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (!strncmp(link, names[i], strlen(names[i])))
			return true;
	return link[0] != '/';
}

int foreign_files_find(struct dump *d, struct fd_info *info, const char *path, const char *link)
{
	struct foreign *f = foreign_files_mounts(d);
	struct foreign_mount *m;
	struct statx x;
	int err;

	if (!f)
		return -EIO;
	m = info->mnt_id >= 0 ? foreign_mount_by_id(f, info->mnt_id) : NULL;
	info->foreign = m && m->foreign ? m : m ? NULL : foreign_mount_by_path(f, link);
	err = info->foreign ? refuse_served(d, info, link) : 0;
	if (!err && info->foreign && info->foreign->silent)
		err = refuse_silent(d, info, link);
	err = err ?: get_handle(d, info, path, link);
	err = err ?: look_at_mount(info, &x);
	if (err)
		return err;
	m = foreign_mount_by_id(f, (int)x.stx_mnt_id);
	info->foreign = m && m->foreign ? m : NULL;
	if (!m && !is_of_kernel(link) && !is_mqueue(d, &x))
		err = find_unseen(d, info, &x, link);
	if (info->foreign)
		info->mnt_id = (int)x.stx_mnt_id;
	return err ?: info->foreign ? refuse_served(d, info, link) : 0;
}

struct foreign_mount *foreign_files_mount(struct dump *d, const struct fd_info *info, const char *path)
{
	struct foreign *f = foreign_files_mounts(d);

	return info->foreign ?: f ? foreign_mount_by_path(f, path) : NULL;
}

bool foreign_files_enters(struct dump *d, const char *path)
{
	struct foreign *f = foreign_files_mounts(d);

	return f && foreign_mount_by_path(f, path);
}

/* ---- looking ---- */

int foreign_files_refuse(struct dump *d, const struct fd_info *info)
{
	return refuse_silent(d, info, info->link ?: "");
}

struct foreign_access foreign_files_access(struct dump *d, const struct fd_info *info, const char *path)
{
	return (struct foreign_access) {
		.f = foreign_files_mounts(d),
		.mount = foreign_files_mount(d, info, path),
		.who = info->task->threads[0].dump->status,
		.handle = info->handle,
		.path = path,
	};
}

static int look_at_handle(struct foreign_job *job)
{
	return fd_info_look(job->fds[0], job->result);
}

int foreign_files_look(struct dump *d, struct fd_info *info)
{
	struct foreign_call call = { .fn = look_at_handle,
		                     .result = &info->st,
		                     .result_len = sizeof(info->st),
		                     .fds = { info->handle },
		                     .n_fds = 1 };
	struct foreign_access a = foreign_files_access(d, info, info->link ?: "a file");
	int err = foreign_run(&a, &call);

	if (err == -ETIMEDOUT)
		return refuse_silent(d, info, info->link ?: "");
	return err ? log_errno(err, "%s: %s: fstat as the task", fd_name(info), info->link ?: "") : 0;
}

int foreign_files_open_plain(struct dump *d, struct task *t, const char *path, const char *what)
{
	struct fd_info info = {
		.task = t, .number = -1, .what = what, .fd = -1, .by_path = true, .path = path, .info = "", .mnt_id = -1
	};
	char link[PATH_MAX];
	ssize_t n = readlink(path, link, sizeof(link) - 1);
	int err = n < 0 ? -ENODATA : 0, fd = -ENODATA;

	link[MAX(n, 0)] = 0;
	err = err ?: foreign_files_find(d, &info, path, link);
	/* The holder of a lease may be in the tree, and stands still. */
	if (!err && !info.foreign && S_ISREG(info.st.st_mode) && info.st.st_nlink && !lockline_is_leased(&info.st))
		fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	foreign_files_close(&info);
	if (err)
		return err == DUMP_REFUSED ? -ENOTSUP : err;
	return fd == -1 ? -ENODATA : fd;
}

void foreign_files_close(struct fd_info *info)
{
	if (info->handle > 0)
		close(info->handle);
	info->handle = 0;
}

struct path_look {
	int flags;
	bool wants_mount;
	char path[];
};

struct path_seen {
	struct stat st;
	int mnt_id;
};

static int look_at_path(struct foreign_job *job)
{
	const struct path_look *look = job->arg;
	struct path_seen *seen = job->result;
	int err = long_path_stat(look->path, look->flags, &seen->st);

	seen->mnt_id = look->wants_mount ? mountinfo_mount_id(AT_FDCWD, look->path) : -1;
	return err;
}

static int stat_foreign(struct dump *d, const struct fd_info *info, const char *path, int flags, struct path_seen *seen)
{
	size_t size = sizeof(struct path_look) + strlen(path) + 1;
	_cleanup_free_ struct path_look *look = malloc(size);
	struct foreign_call call = {
		.fn = look_at_path, .arg = look, .arg_len = size, .result = seen, .result_len = sizeof(*seen)
	};
	struct foreign_access a = foreign_files_access(d, info, path);

	if (!look)
		return -ENOMEM;
	*look = (struct path_look) { .flags = flags, .wants_mount = true };
	memcpy(look->path, path, strlen(path) + 1);
	return foreign_run(&a, &call);
}

int foreign_files_stat(struct dump *d, const struct fd_info *info, const char *path, int flags, struct stat *st,
                       int *mnt_id)
{
	struct path_seen seen = { .mnt_id = -1 };
	int err;

	if (!foreign_files_mount(d, info, path)) {
		err = long_path_stat(path, flags, st);
		if (mnt_id)
			*mnt_id = mountinfo_mount_id(AT_FDCWD, path);
		return err;
	}
	err = stat_foreign(d, info, path, flags, &seen);
	*st = seen.st;
	if (mnt_id)
		*mnt_id = seen.mnt_id;
	return err;
}

bool foreign_files_leads_to(struct dump *d, const struct fd_info *info, const char *path)
{
	int flags = (S_ISLNK(info->st.st_mode) ? AT_SYMLINK_NOFOLLOW : 0) | AT_NO_AUTOMOUNT;
	struct stat now;

	if (!foreign_files_mount(d, info, path))
		return long_path_leads_to(path, &info->st);
	return info->st.st_mode && !foreign_files_stat(d, info, path, flags, &now, NULL) &&
	       now.st_dev == info->st.st_dev && now.st_ino == info->st.st_ino;
}

/* ---- walks ---- */

static bool is_below(const char *path, const char *dir)
{
	size_t n = strlen(dir);

	return !strcmp(dir, "/") || (!strncmp(path, dir, n) && (!path[n] || path[n] == '/'));
}

bool foreign_files_block(struct dump *d, const char *dir)
{
	struct path_look *look = arena_alloc(d->arena, sizeof(*look) + PATH_MAX);
	struct foreign *f = foreign_files_mounts(d);
	struct path_seen seen;
	struct foreign_call call = { .fn = look_at_path,
		                     .arg = look,
		                     .arg_len = sizeof(*look) + PATH_MAX,
		                     .result = &seen,
		                     .result_len = sizeof(seen) };
	int number;

	for (size_t i = 0; f && f->any && i < f->n_mounts; i++) {
		struct foreign_mount *m = &f->mounts[i];

		if (!m->foreign || !is_below(m->path, dir))
			continue;
		snprintf(look->path, PATH_MAX, "%s", m->path);
		call.what = m->path;
		if (!(m->fuse && foreign_server_of(d, m, &number)) && foreign_ask(f, m, NULL, &call) != -ETIMEDOUT)
			continue;
		log_warn("files are not looked for below %s: %s (%s) does not answer", dir, m->path, m->type);
		return true;
	}
	return false;
}

/* ---- the row ---- */

static void end_foreign(struct dump *d)
{
	foreign_end(&foreign_dump_of(d)->mounts);
}

const struct subsys foreign_subsys = {
	.name = "foreign file systems",
	.state = { .dump = sizeof(struct foreign_dump), .restore = sizeof(struct foreign_restore) },
	.end = end_foreign,
	.done = foreign_restore_done,
};
