/* SPDX-License-Identifier: GPL-2.0-only WITH Linux-syscall-note */
/* struct tcp_info of linux/tcp.h: what follows the part that the libc's header knows. */
#ifndef UAPI_TCP_INFO_BITS_H
#define UAPI_TCP_INFO_BITS_H

#include <netinet/tcp.h>
#include <stdint.h>

struct tcp_info_counts {
	struct tcp_info base; /* up to tcpi_total_retrans */
	uint64_t pacing_rate, max_pacing_rate;
	uint64_t bytes_acked, bytes_received;
	uint32_t segs_out, segs_in;
};

/* The beginning of struct tcp_zerocopy_receive of linux/tcp.h (5.2), and its length up to `inq`. */
struct tcp_zerocopy_inq {
	uint64_t address;
	uint32_t length, recv_skip_hint, inq;
};
#define TCP_ZEROCOPY_INQ_LEN 20

#endif
