/* SPDX-License-Identifier: GPL-2.0-only */
/* Probes of /proc, of memory, and of calls that are only looked at. */
#include <fcntl.h>
#include <linux/membarrier.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#include "arch_page.h"
#include "lib/memfd_exec.h"
#include "probe/probe_fns.h"
#include "proc/proc.h"
#include "uapi/fcntl_bits.h"
#include "uapi/futex_waitv.h"
#include "uapi/pagemap.h"
#include "uapi/prctl_new.h"
#include "uapi/probe_bits.h"
#include "uapi/userfaultfd_more.h"

static int errno_if(long ret)
{
	return ret < 0 ? -errno : 0;
}

static int can_open(const char *path)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);

	return errno_if(fd);
}

static int has_text(const char *path, const char *text)
{
	_cleanup_free_ char *all = NULL;
	int err = proc_read(AT_FDCWD, path, &all, NULL);

	if (err)
		return err;
	return strstr(all, text) ? 0 : -EOPNOTSUPP;
}

/* ---- /proc ---- */

int probe_map_files(void)
{
	void *p = mmap(NULL, PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	_cleanup_close_ int fd = -1;
	char path[96];
	int err;

	if (p == MAP_FAILED)
		return -errno;
	snprintf(path, sizeof(path), "/proc/self/map_files/%lx-%lx", (unsigned long)p, (unsigned long)p + PAGE_SIZE);
	fd = open(path, O_RDWR | O_CLOEXEC);
	err = errno_if(fd);
	munmap(p, PAGE_SIZE);
	return err;
}

int probe_children(void)
{
	return can_open("/proc/thread-self/children");
}

int probe_ns_pids(void)
{
	return has_text("/proc/self/status", "\nNSpid:");
}

int probe_vm_flags(void)
{
	return has_text("/proc/self/smaps", "\nVmFlags:");
}

int probe_proc_timers(void)
{
	return can_open("/proc/self/timers");
}

/* A present page of ours, and its frame. */
int probe_page_frames(void)
{
	_cleanup_close_ int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	volatile char here = 1;
	uint64_t entry = 0;
	off_t at = (off_t)((uintptr_t)&here / PAGE_SIZE * sizeof(entry));

	if (fd < 0 || pread(fd, &entry, sizeof(entry), at) != sizeof(entry))
		return -errno ?: -EIO;
	return entry & PM_PFN ? 0 : -EPERM;
}

int probe_pagemap_scan(void)
{
	_cleanup_close_ int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	volatile char here = 1;
	uintptr_t start = (uintptr_t)&here / PAGE_SIZE * PAGE_SIZE;
	struct page_region region;
	struct pm_scan_arg arg = { .size = sizeof(arg), .start = start, .end = start + PAGE_SIZE, .vec_len = 1 };

	arg.vec = (uintptr_t)&region;
	arg.category_mask = arg.return_mask = PAGE_IS_PRESENT;
	if (fd < 0)
		return -errno;
	return errno_if(ioctl(fd, PAGEMAP_SCAN, &arg));
}

/* ---- memory ---- */

/* Asynchronous write protection by userfaultfd (Linux 6.7; not everywhere), and reading what it has noted. */
int probe_mem_dirty_track(void)
{
	struct uffdio_api api = { .api = UFFD_API, .features = UFFD_TRACK_FEATURES };
	_cleanup_close_ int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | UFFD_USER_MODE_ONLY);

	if (fd < 0 || ioctl(fd, UFFDIO_API, &api))
		return -errno;
	return probe_pagemap_scan();
}

int probe_process_vm_readv(void)
{
	char from = 1, to = 0;
	struct iovec local = { &to, 1 }, remote = { &from, 1 };

	return errno_if(process_vm_readv(getpid(), &local, 1, &remote, 1, 0));
}

int probe_madv_collapse(void)
{
	/* Nothing to do, but the advice is looked at first. */
	return errno_if(madvise(NULL, 0, PROBE_MADV_COLLAPSE));
}

int probe_anon_vma_name(void)
{
	void *p = mmap(NULL, PAGE_SIZE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int err;

	if (p == MAP_FAILED)
		return -errno;
	err = errno_if(prctl(PROBE_PR_SET_VMA, PROBE_PR_SET_VMA_ANON_NAME, p, PAGE_SIZE, "probe"));
	munmap(p, PAGE_SIZE);
	return err;
}

/* An empty file is no program (ENOEXEC), but it shows whether one may be executed (EACCES: vm.memfd_noexec). */
int probe_memfd_exec(void)
{
	_cleanup_close_ int fd = memfd_exec("criu-check", MFD_CLOEXEC);
	static char *const none[] = { NULL };

	if (fd < 0)
		return fd;
	syscall(SYS_execveat, fd, "", none, none, AT_EMPTY_PATH);
	return errno == ENOEXEC ? 0 : -errno;
}

/* ---- calls ---- */

int probe_kcmp(void)
{
	return errno_if(syscall(SYS_kcmp, getpid(), getpid(), PROBE_KCMP_VM, 0, 0));
}

int probe_pidfd_getfd(void)
{
	_cleanup_close_ int pidfd = (int)syscall(SYS_pidfd_open, getpid(), 0);
	_cleanup_close_ int copy = -1;

	if (pidfd < 0)
		return -errno;
	copy = (int)syscall(SYS_pidfd_getfd, pidfd, pidfd, 0);
	return errno_if(copy);
}

int probe_tid_address(void)
{
	int *address;

	return errno_if(prctl(PR_GET_TID_ADDRESS, &address));
}

int probe_robust_list(void)
{
	void *head;
	size_t len;

	return errno_if(syscall(SYS_get_robust_list, 0, &head, &len));
}

/* No futex to wait for is EINVAL where the kernel has the call. */
int probe_futex_waitv(void)
{
	syscall(SYS_futex_waitv, NULL, 0, 0, NULL, 0);
	return errno == EINVAL ? 0 : -errno;
}

int probe_timer_ids(void)
{
	return errno_if(prctl(PR_TIMER_CREATE_RESTORE_IDS, PROBE_TIMER_IDS_GET, 0, 0, 0));
}

int probe_membarrier(void)
{
	return errno_if(syscall(SYS_membarrier, MEMBARRIER_GET_REGISTRATIONS, 0, 0));
}

int probe_owner_uids(void)
{
	_cleanup_close_ int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	uid_t ids[2];

	return fd < 0 ? -errno : errno_if(fcntl(fd, F_GETOWNER_UIDS, ids));
}
