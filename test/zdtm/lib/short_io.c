/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * For LD_PRELOAD: calls that may move less than asked for do so, and are interrupted now and then, as on file systems
 * in user space, over the network and under signals. Files only: of a packet the rest would be lost.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

ssize_t pread64(int fd, void *buf, size_t len, off_t at);
ssize_t pwrite64(int fd, const void *buf, size_t len, off_t at);

static unsigned calls;

/* /proc/PID/pagemap wants whole entries. What is written into /proc has to come in one piece. */
static int shorten(int fd, size_t *len, int to_kernel)
{
	struct stat st;
	int err = errno;

	if (fstat(fd, &st) || !S_ISREG(st.st_mode) || *len < 64 || (to_kernel && !st.st_size && *len < 4096)) {
		errno = err;
		return 0;
	}
	if (__atomic_add_fetch(&calls, 1, __ATOMIC_RELAXED) % 3 == 0) {
		errno = EINTR;
		return -1;
	}
	errno = err;
	*len = *len / 2 / 8 * 8;
	return 0;
}

ssize_t read(int fd, void *buf, size_t len)
{
	return shorten(fd, &len, 0) ? -1 : syscall(SYS_read, fd, buf, len);
}

ssize_t write(int fd, const void *buf, size_t len)
{
	return shorten(fd, &len, 1) ? -1 : syscall(SYS_write, fd, buf, len);
}

ssize_t pread(int fd, void *buf, size_t len, off_t at)
{
	return shorten(fd, &len, 0) ? -1 : syscall(SYS_pread64, fd, buf, len, at);
}

ssize_t pread64(int fd, void *buf, size_t len, off_t at)
{
	return pread(fd, buf, len, at);
}

ssize_t pwrite(int fd, const void *buf, size_t len, off_t at)
{
	return shorten(fd, &len, 1) ? -1 : syscall(SYS_pwrite64, fd, buf, len, at);
}

ssize_t pwrite64(int fd, const void *buf, size_t len, off_t at)
{
	return pwrite(fd, buf, len, at);
}

static ssize_t part_of_process(long call, pid_t pid, const struct iovec *local, unsigned long n_local,
                               const struct iovec *remote, unsigned long n_remote, unsigned long flags)
{
	struct iovec part = *local;

	if (n_local == 1 && part.iov_len > 1)
		part.iov_len = (part.iov_len + 1) / 2;
	return syscall(call, pid, n_local == 1 ? &part : local, n_local, remote, n_remote, flags);
}

ssize_t process_vm_readv(pid_t pid, const struct iovec *local, unsigned long n_local, const struct iovec *remote,
                         unsigned long n_remote, unsigned long flags)
{
	return part_of_process(SYS_process_vm_readv, pid, local, n_local, remote, n_remote, flags);
}

ssize_t process_vm_writev(pid_t pid, const struct iovec *local, unsigned long n_local, const struct iovec *remote,
                          unsigned long n_remote, unsigned long flags)
{
	return part_of_process(SYS_process_vm_writev, pid, local, n_local, remote, n_remote, flags);
}
