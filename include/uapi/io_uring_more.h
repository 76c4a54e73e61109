/* SPDX-License-Identifier: GPL-2.0-only */
/* What older headers of io_uring(7) do not have. */
#ifndef CRIU_UAPI_IO_URING_MORE_H
#define CRIU_UAPI_IO_URING_MORE_H

#include <linux/io_uring.h>

#define URING_REGISTER_PBUF_STATUS 26         /* Linux 6.8 */
#define URING_SETUP_NO_MMAP        (1U << 14) /* Linux 6.5 */
#define URING_SETUP_REGISTERED     (1U << 15) /* Linux 6.5, IORING_SETUP_REGISTERED_FD_ONLY */
#define URING_SETUP_NO_SQARRAY     (1U << 16) /* Linux 6.6 */
#define URING_SETUP_CQE_MIXED      (1U << 18) /* Linux 6.18 */
#define URING_SETUP_SQE_MIXED      (1U << 19) /* Linux 6.19 */
#define URING_TIMEOUT_MULTISHOT    (1U << 6)  /* Linux 6.4 */
#define URING_POLL_ADD_LEVEL       (1U << 3)  /* Linux 6.0 */
#define URING_RECV_BUNDLE          (1U << 4)  /* Linux 6.10 */
#define URING_PBUF_RING_MMAP       1U         /* Linux 6.4 */
#define URING_PBUF_RING_INC        2U         /* Linux 6.12 */
#define URING_OFF_PBUF_RING        0x80000000ULL
#define URING_OFF_PBUF_SHIFT       16
#define URING_OP_READ_MULTISHOT    49 /* Linux 6.7 */
#define URING_OP_MSG_RING          40 /* Linux 5.18 */
#define URING_OP_FUTEX_WAIT        51 /* Linux 6.7 */
#define URING_OP_EPOLL_WAIT        59 /* Linux 6.15 */
#define URING_FUTEX2_U32           2
#define URING_FUTEX2_PRIVATE       128
#define URING_FUTEX_SHARED         0x10U /* of the kernel's own flags of a futex */

/* struct io_uring_buf_status */
struct uring_buf_status {
	uint32_t group, head, resv[8];
};

#endif
