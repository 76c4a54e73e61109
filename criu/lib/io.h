/* SPDX-License-Identifier: GPL-2.0-only */
/* Whole reads and writes, where the system calls may do a part or be interrupted. Nothing is logged here. */
#ifndef CRIU_LIB_IO_H
#define CRIU_LIB_IO_H

#include <sys/uio.h>

#include "common.h"

/* Writes all of data at the descriptor's position. 0 or a negative errno. */
int io_write_all(int fd, const void *data, size_t len);
int io_pwrite_all(int fd, const void *data, size_t len, off_t at);

/* How many bytes came, fewer than `len` only where the file ends; or a negative errno. */
ssize_t io_read_all(int fd, void *buf, size_t len);
ssize_t io_pread_all(int fd, void *buf, size_t len, off_t at);

/*
 * The memory of a process, at any number of places behind one another. `remote` is used up. All of it, or a negative
 * errno: -EFAULT where the process has nothing.
 */
int io_read_process(pid_t pid, void *buf, struct iovec *remote, size_t n);
int io_write_process(pid_t pid, const void *data, struct iovec *remote, size_t n);

#endif
