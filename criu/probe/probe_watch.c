/* SPDX-License-Identifier: GPL-2.0-only */
/* Probes of what watches others: epoll, inotify, file handles, userfaultfd. */
#include <fcntl.h>
#include <linux/kcmp.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "probe/probe_fns.h"
#include "uapi/inotify_bits.h"
#include "uapi/userfaultfd_more.h"

/* An instance that watches another. */
int probe_epoll_targets(void)
{
	_cleanup_close_ int watcher = epoll_create1(EPOLL_CLOEXEC), watched = epoll_create1(EPOLL_CLOEXEC);
	struct kcmp_epoll_slot slot = { .efd = (uint32_t)watcher, .tfd = (uint32_t)watched };
	struct epoll_event e = { .events = EPOLLIN };
	long order;

	if (watcher < 0 || watched < 0 || epoll_ctl(watcher, EPOLL_CTL_ADD, watched, &e))
		return -errno;
	order = syscall(SYS_kcmp, getpid(), getpid(), KCMP_EPOLL_TFD, (long)watched, &slot);
	return order < 0 ? -errno : order ? -EOPNOTSUPP : 0;
}

int probe_inotify_wd(void)
{
	_cleanup_close_ int fd = inotify_init1(IN_CLOEXEC);
	int wd;

	if (fd < 0 || ioctl(fd, INOTIFY_IOC_SETNEXTWD, 1000))
		return -errno;
	wd = inotify_add_watch(fd, "/proc/self/exe", IN_DELETE_SELF);
	return wd < 0 ? -errno : wd == 1000 ? 0 : -EOPNOTSUPP;
}

/* A file in memory, by its handle. Needs CAP_DAC_READ_SEARCH. */
int probe_fhandles(void)
{
	_cleanup_close_ int fd = memfd_create("criu", MFD_CLOEXEC), again = -1;
	union {
		struct file_handle fh;
		char bytes[sizeof(struct file_handle) + MAX_HANDLE_SZ];
	} u = { .fh.handle_bytes = MAX_HANDLE_SZ };
	int mount;

	if (fd < 0 || name_to_handle_at(fd, "", &u.fh, &mount, AT_EMPTY_PATH))
		return -errno;
	again = open_by_handle_at(fd, &u.fh, O_PATH | O_CLOEXEC);
	return again < 0 ? -errno : 0;
}

/* ---- lazy pages: faults of the kernel too, and what else happens to memory ---- */

static int try_userfaultfd(uint64_t features)
{
	_cleanup_close_ int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
	struct uffdio_api api = { .api = UFFD_API, .features = features };

	return fd < 0 || ioctl(fd, UFFDIO_API, &api) ? -errno : 0;
}

int probe_lazy_uffd(void)
{
	return try_userfaultfd(0);
}

int probe_lazy_noncoop(void)
{
	return try_userfaultfd(UFFD_FEATURE_EVENT_FORK | UFFD_FEATURE_EVENT_REMAP | UFFD_FEATURE_EVENT_REMOVE |
	                       UFFD_FEATURE_EVENT_UNMAP);
}
