/* SPDX-License-Identifier: LGPL-2.1-only */
/* Single TCP segments to a socket of this host, as if from its peer: packet(7), raw(7). */
#ifndef SOCCR_SEGMENT_H
#define SOCCR_SEGMENT_H

#include "soccr.h"

/*
 * A segment to our socket as if from its peer. flags: TH_FIN, TH_ACK, TH_RST of netinet/tcp.h; seq and ack in host
 * order, window as it stands in the header.
 */
struct soccr_segment {
	const union soccr_addr *from, *to;
	uint32_t seq, ack;
	uint16_t window;
	uint8_t flags;
};

/* Sends such a segment (by a raw socket with SO_MARK mark). 0 or a negative errno; -EPERM: a firewall dropped it. */
int soccr_inject(const struct soccr_segment *s, uint32_t mark);

#endif
