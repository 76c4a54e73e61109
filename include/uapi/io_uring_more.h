/* SPDX-License-Identifier: GPL-2.0-only */
/* What older headers of io_uring(7) do not have. */
#ifndef CRIU_UAPI_IO_URING_MORE_H
#define CRIU_UAPI_IO_URING_MORE_H

#include <linux/io_uring.h>

#define URING_REGISTER_PBUF_STATUS 26         /* Linux 6.8 */
#define URING_SETUP_NO_SQARRAY     (1U << 16) /* Linux 6.6 */

/* struct io_uring_buf_status */
struct uring_buf_status {
	uint32_t group, head, resv[8];
};

#endif
