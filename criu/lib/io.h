/* SPDX-License-Identifier: GPL-2.0-only */
/* Whole reads and writes, where the system calls may do a part. */
#ifndef CRIU_LIB_IO_H
#define CRIU_LIB_IO_H

#include "common.h"

/* Writes all of data at the descriptor's position. 0 or a negative errno, not logged. */
int io_write_all(int fd, const void *data, size_t len);

#endif
