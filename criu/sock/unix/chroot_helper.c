/* SPDX-License-Identifier: GPL-2.0-only */
#include <fcntl.h>
#include <linux/mount.h>
#include <sched.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "helper/helper.h"
#include "sock/unix/chroot_helper.h"

socklen_t unix_address(struct sockaddr_un *a, const void *name, size_t len)
{
	memset(a, 0, sizeof(*a));
	a->sun_family = AF_UNIX;
	memcpy(a->sun_path, name, MIN(len, sizeof(a->sun_path)));
	/* A path that fills all of sun_path has no zero behind it. */
	if (len && a->sun_path[0])
		len++;
	return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + MIN(len, sizeof(a->sun_path)));
}

/* What is changed below by calls that criu itself never makes (chdir, chroot) is the helper's own. */

struct job {
	int dir, fd;
	const char *name;
	size_t len;
	struct chroot_helper_bind *binds;
	size_t n_binds;
};

static int run_aside(helper_fn fn, void *job, uint64_t new_namespaces)
{
	struct helper_spec spec = { .flags = CLONE_VM | CLONE_FILES | new_namespaces };

	return helper_run(&spec, fn, job);
}

/* The folders of a path, as the dumped program saw them. */
static int make_folders(const char *name)
{
	char path[sizeof(((struct sockaddr_un *)0)->sun_path) + 1];

	for (const char *slash = strchr(name + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		memcpy(path, name, slash - name);
		path[slash - name] = 0;
		if (mkdir(path, 0700) && errno != EEXIST)
			return -errno;
	}
	return 0;
}

/* A relative name may go up: cwd lies as deep as it can go. */
static int go_down(const char *name)
{
	for (const char *s = name; s; s = strstr(s + 1, ".."))
		if ((mkdir("w", 0700) && errno != EEXIST) || syscall(SYS_chdir, "w"))
			return -errno;
	return 0;
}

static int enter(int at, const char *folder)
{
	_cleanup_close_ int dir = openat(at, folder, O_PATH | O_DIRECTORY | O_CLOEXEC);

	return dir < 0 || syscall(SYS_fchdir, dir) || chroot(".") ? -errno : 0;
}

/* In the folder, which is the root. */
static int bind_one(const struct chroot_helper_bind *b)
{
	char name[sizeof(((struct sockaddr_un *)0)->sun_path) + 1];
	struct sockaddr_un a;
	socklen_t len = unix_address(&a, b->name, b->len);
	char path[32];
	int err;

	memcpy(name, b->name, b->len);
	name[b->len] = 0;
	err = name[0] == '/' ? 0 : go_down(name);
	err = err ?: make_folders(name);
	if (err)
		return err;
	if (bind(b->fd, (struct sockaddr *)&a, len))
		return -errno;
	snprintf(path, sizeof(path), "/%s", b->file);
	return rename(name, path) ? -errno : 0;
}

static int bind_job(void *arg)
{
	const struct job *job = arg;
	_cleanup_close_ int root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	int err = root < 0 ? -errno : 0;

	for (size_t i = 0; i < job->n_binds && !err; i++) {
		struct chroot_helper_bind *b = &job->binds[i];

		if (i && b->folder == b[-1].folder && !b[-1].err)
			b->err = syscall(SYS_chdir, "/") ? -errno : 0;
		else
			b->err = (i ? enter(root, ".") : 0) ?: enter(b->at, b->folder);
		err = b->err == -EPERM ? -EPERM : 0; /* no chroot(2) */
		b->err = b->err ?: bind_one(b);
	}
	return err;
}

/* An ordinary user has CAP_SYS_CHROOT in a user namespace of its own; files made there are that user's as well. */
int chroot_helper_bind(struct chroot_helper_bind *binds, size_t n)
{
	struct job job = { .binds = binds, .n_binds = n };
	int err;

	for (size_t i = 0; i < n; i++)
		binds[i].err = -ECANCELED;
	err = n ? run_aside(bind_job, &job, 0) : 0;
	return err == -EPERM ? run_aside(bind_job, &job, CLONE_NEWUSER) : err;
}

static int connect_job(void *arg)
{
	const struct job *job = arg;
	struct sockaddr_un a;
	socklen_t len = unix_address(&a, job->name, job->len);

	if (syscall(SYS_fchdir, job->dir))
		return -errno;
	return connect(job->fd, (struct sockaddr *)&a, len) ? -errno : 0;
}

/* By way of /proc, or with the folder as cwd where the name is too long for that. */
int chroot_helper_connect(int fd, int dir, const char *name, size_t len)
{
	struct job job = { .dir = dir, .fd = fd, .name = name, .len = len };
	char path[200];
	size_t n = (size_t)snprintf(path, sizeof(path), "/proc/self/fd/%d/%.*s", dir, (int)len, name);
	struct sockaddr_un a;

	if (n >= sizeof(a.sun_path))
		return run_aside(connect_job, &job, 0);
	return connect(fd, (struct sockaddr *)&a, unix_address(&a, path, n)) ? -errno : 0;
}

struct mount_ids {
	unsigned uid, gid;
};

static int mount_job(void *unused)
{
	_cleanup_close_ int fs = (int)syscall(SYS_fsopen, "tmpfs", FSOPEN_CLOEXEC);
	int mnt;

	if (fs < 0 || syscall(SYS_fsconfig, fs, FSCONFIG_SET_STRING, "mode", "0755", 0) ||
	    syscall(SYS_fsconfig, fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0))
		return -errno;
	mnt = (int)syscall(SYS_fsmount, fs, FSMOUNT_CLOEXEC, 0);
	return mnt < 0 ? -errno : mnt;
}

static int write_map(const char *path, unsigned id)
{
	_cleanup_close_ int fd = open(path, O_WRONLY | O_CLOEXEC);

	return fd < 0 || dprintf(fd, "%u %u 1", id, id) < 0 ? -errno : 0;
}

/*
 * In a user namespace of its own, which the file system belongs to: with the caller's ids, so that the caller can make
 * files in there. An ordinary user's criu may have a file with capabilities, whose /proc/self is root's while criu is
 * not dumpable.
 */
static int map_and_mount(void *arg)
{
	const struct mount_ids *ids = arg;
	int dumpable = (int)syscall(SYS_prctl, PR_GET_DUMPABLE), err;
	_cleanup_close_ int groups = -1;

	syscall(SYS_prctl, PR_SET_DUMPABLE, 1);
	groups = open("/proc/self/setgroups", O_WRONLY | O_CLOEXEC);
	err = groups < 0 || write(groups, "deny", 4) != 4 ? -errno : 0;
	err = err ?: write_map("/proc/self/uid_map", ids->uid);
	err = err ?: write_map("/proc/self/gid_map", ids->gid);
	if (dumpable != 1)
		syscall(SYS_prctl, PR_SET_DUMPABLE, 0);
	return err ?: mount_job(NULL);
}

/* A mount needs a mount namespace that is ours: in a user namespace the caller's may not be. */
int chroot_helper_tmpfs(void)
{
	struct mount_ids ids = { geteuid(), getegid() };
	int mnt = run_aside(mount_job, NULL, 0);

	if (mnt == -EPERM)
		mnt = run_aside(mount_job, NULL, CLONE_NEWNS);
	return mnt == -EPERM ? run_aside(map_and_mount, &ids, CLONE_NEWNS | CLONE_NEWUSER) : mnt;
}
