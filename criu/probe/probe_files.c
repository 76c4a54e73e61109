/* SPDX-License-Identifier: GPL-2.0-only */
/* Features of CRIU's list that concern files, mounts and mappings. */
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <linux/mount.h>
#include <linux/openat2.h>
#include <sched.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>

#include "arch_page.h"
#include "helper/helper.h"
#include "probe/probe_fns.h"
#include "proc/proc.h"
#include "uapi/feature_bits.h"
#include "uapi/pagemap.h"

static int fdinfo_has(int fd, const char *key)
{
	_cleanup_free_ char *text = NULL;
	char path[40];
	int err;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	err = proc_read(AT_FDCWD, path, &text, NULL);
	return err ?: strstr(text, key) ? 0 : -EOPNOTSUPP;
}

int probe_mnt_id(void)
{
	return fdinfo_has(STDERR_FILENO, "mnt_id:");
}

int probe_fdinfo_lock(void)
{
	_cleanup_close_ int fd = memfd_create("criu-probe", MFD_CLOEXEC);

	return fd < 0 || flock(fd, LOCK_EX) ? -errno : fdinfo_has(fd, "lock:");
}

/* The ring of an AIO context goes where its mapping is moved, and the context's number with it. */
int probe_aio_remap(void)
{
	aio_context_t ctx = 0;
	struct timespec no_time = { 0 };
	struct io_event event;
	void *hole = mmap(NULL, PAGE_SIZE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), *moved;
	int err = 0;

	if (hole == MAP_FAILED || syscall(SYS_io_setup, 1, &ctx))
		return -errno;
	moved = mremap((void *)ctx, PAGE_SIZE, PAGE_SIZE, MREMAP_FIXED | MREMAP_MAYMOVE, hole);
	if (moved == MAP_FAILED)
		err = -errno;
	else
		ctx = (aio_context_t)moved;
	if (!err && syscall(SYS_io_getevents, ctx, 0, 1, &event, &no_time) < 0)
		err = -errno;
	syscall(SYS_io_destroy, ctx);
	if (moved == MAP_FAILED)
		munmap(hole, PAGE_SIZE);
	return err;
}

int probe_memfd_hugetlb(void)
{
	_cleanup_close_ int fd = memfd_create("criu-probe", MFD_CLOEXEC | MFD_HUGETLB);

	return fd < 0 ? -errno : 0;
}

int probe_openat2(void)
{
	struct open_how how = { .flags = O_PATH | O_CLOEXEC };
	_cleanup_close_ int fd = (int)syscall(SYS_openat2, AT_FDCWD, "/", &how, sizeof(how));

	return fd < 0 ? -errno : 0;
}

int probe_autofs(void)
{
	_cleanup_close_ int fd = (int)syscall(SYS_fsopen, "autofs", FSOPEN_CLOEXEC);

	return fd < 0 ? -errno : 0;
}

/* A guard page shows as such in PAGEMAP_SCAN. */
int probe_pagemap_guard(void)
{
	_cleanup_close_ int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	char *p = mmap(NULL, PAGE_SIZE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct page_region region = { 0 };
	struct pm_scan_arg arg = {
		.size = sizeof(arg),
		.start = (uintptr_t)p,
		.end = (uintptr_t)p + PAGE_SIZE,
		.vec = (uintptr_t)&region,
		.vec_len = 1,
		.category_mask = PROBE_PAGE_IS_GUARD,
		.return_mask = PROBE_PAGE_IS_GUARD,
	};
	int found;

	if (fd < 0 || p == MAP_FAILED || madvise(p, PAGE_SIZE, PROBE_MADV_GUARD_INSTALL))
		return -errno;
	found = ioctl(fd, PAGEMAP_SCAN, &arg);
	munmap(p, PAGE_SIZE);
	return found < 0 ? -errno : found == 1 ? 0 : -EOPNOTSUPP;
}

/* ---- in a mount namespace that is thrown away ---- */

static int in_new_mounts(int (*fn)(void *unused))
{
	return helper_run(&(struct helper_spec) { .flags = CLONE_NEWNS }, fn, NULL);
}

static int try_set_group(void *unused)
{
	_cleanup_close_ int from = -1, to = -1;

	if (mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) || mount("none", "/proc", "tmpfs", 0, NULL) ||
	    mkdir("/proc/a", 0700) || mount("none", "/proc/a", "tmpfs", 0, NULL))
		return -errno;
	from = (int)syscall(SYS_open_tree, AT_FDCWD, "/proc/a", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
	if (from < 0 || mount("none", "/proc/a", NULL, MS_SHARED, NULL))
		return -errno;
	to = from;
	from = open("/proc/a", O_PATH | O_CLOEXEC);
	return from < 0 || syscall(SYS_move_mount, from, "", to, "",
	                           MOVE_MOUNT_SET_GROUP | MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH)
	           ? -errno
	           : 0;
}

int probe_move_mount_set_group(void)
{
	return in_new_mounts(try_set_group);
}

/* The device that /proc/PID/maps shows for a file of an overlay is the one that stat(2) shows. */
static int try_overlay(void *unused)
{
	static const char *const dirs[] = { "/proc/l", "/proc/u", "/proc/w", "/proc/m" };
	_cleanup_free_ char *text = NULL;
	_cleanup_close_ int fd = -1;
	unsigned major_shown, minor_shown;
	struct stat st;
	char *line;
	int err;

	if (mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL))
		return -errno;
	fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC); /* before a tmpfs covers /proc */
	if (fd < 0 || mount("none", "/proc", "tmpfs", 0, NULL))
		return -errno;
	for (size_t i = 0; i < ARRAY_SIZE(dirs); i++)
		if (mkdir(dirs[i], 0700))
			return -errno;
	close(open("/proc/l/criu-probe-file", O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
	if (truncate("/proc/l/criu-probe-file", PAGE_SIZE) ||
	    mount("none", "/proc/m", "overlay", 0, "lowerdir=/proc/l,upperdir=/proc/u,workdir=/proc/w"))
		return -errno;
	{
		_cleanup_close_ int file = open("/proc/m/criu-probe-file", O_RDONLY | O_CLOEXEC);

		if (file < 0 || fstat(file, &st) ||
		    mmap(NULL, PAGE_SIZE, PROT_READ, MAP_PRIVATE, file, 0) == MAP_FAILED)
			return -errno;
	}
	umount2("/proc", MNT_DETACH);
	err = proc_read(AT_FDCWD, "/proc/self/maps", &text, NULL);
	line = err ? NULL : strstr(text, "criu-probe-file");
	while (line && line > text && line[-1] != '\n')
		line--;
	if (!line || sscanf(line, "%*x-%*x %*s %*x %x:%x", &major_shown, &minor_shown) != 2)
		return err ?: -EBADMSG;
	return makedev(major_shown, minor_shown) == st.st_dev ? 0 : -EOPNOTSUPP;
}

int probe_overlayfs_maps(void)
{
	return in_new_mounts(try_overlay);
}

/* ---- what criu itself does not do yet, whatever the kernel can ---- */

int probe_external_net_ns(void)
{
	return -EOPNOTSUPP;
}
