/* SPDX-License-Identifier: GPL-2.0-only */
#include "lib/io.h"

/* One call of a loop: more than 0 is how far it came, 0 is the end. */
typedef ssize_t io_step(int fd, void *buf, size_t len, off_t at);

/* Goes on until all is done, a call fails or comes to the end. */
static ssize_t repeat_step(io_step *step, int fd, void *buf, size_t len, off_t at)
{
	size_t done = 0;

	while (done < len) {
		ssize_t n = step(fd, (char *)buf + done, len - done, at + (off_t)done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (!n)
			break;
		done += (size_t)n;
	}
	return (ssize_t)done;
}

static ssize_t step_read(int fd, void *buf, size_t len, off_t at)
{
	return read(fd, buf, len);
}

static ssize_t step_write(int fd, void *buf, size_t len, off_t at)
{
	return write(fd, buf, len);
}

static ssize_t step_pwrite(int fd, void *buf, size_t len, off_t at)
{
	return pwrite(fd, buf, len, at);
}

static int all_written(ssize_t n, size_t len)
{
	return n < 0 ? (int)n : (size_t)n < len ? -EIO : 0;
}

int io_write_all(int fd, const void *data, size_t len)
{
	return all_written(repeat_step(step_write, fd, (void *)(uintptr_t)data, len, 0), len);
}

int io_pwrite_all(int fd, const void *data, size_t len, off_t at)
{
	return all_written(repeat_step(step_pwrite, fd, (void *)(uintptr_t)data, len, at), len);
}

ssize_t io_read_all(int fd, void *buf, size_t len)
{
	return repeat_step(step_read, fd, buf, len, 0);
}

ssize_t io_pread_all(int fd, void *buf, size_t len, off_t at)
{
	return repeat_step(pread, fd, buf, len, at);
}

/* ---- the memory of a process ---- */

typedef ssize_t process_step(pid_t pid, const struct iovec *local, unsigned long n_local, const struct iovec *remote,
                             unsigned long n_remote, unsigned long flags);

/* Passes over `len` bytes of the places. */
static size_t skip_places(struct iovec **remote, size_t n, size_t len)
{
	for (; n && len >= (*remote)->iov_len; (*remote)++, n--)
		len -= (*remote)->iov_len;
	if (n) {
		(*remote)->iov_base = (char *)(*remote)->iov_base + len;
		(*remote)->iov_len -= len;
	}
	return n;
}

/* The kernel moves no more than 2 GiB in one call, and stops in front of what it cannot reach. */
static int move_all(process_step *step, pid_t pid, void *buf, struct iovec *remote, size_t n)
{
	struct iovec local = { .iov_base = buf };

	for (size_t i = 0; i < n; i++)
		local.iov_len += remote[i].iov_len;
	while (local.iov_len) {
		ssize_t done = step(pid, &local, 1, remote, n, 0);

		if (done < 0 && errno == EINTR)
			continue;
		if (done <= 0)
			return done ? -errno : -EFAULT;
		local.iov_base = (char *)local.iov_base + done;
		local.iov_len -= (size_t)done;
		n = skip_places(&remote, n, (size_t)done);
	}
	return 0;
}

int io_read_process(pid_t pid, void *buf, struct iovec *remote, size_t n)
{
	return move_all(process_vm_readv, pid, buf, remote, n);
}

int io_write_process(pid_t pid, const void *data, struct iovec *remote, size_t n)
{
	return move_all(process_vm_writev, pid, (void *)(uintptr_t)data, remote, n);
}
