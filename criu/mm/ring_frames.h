/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Inside of mm/: rings of frames (TPACKET_V2 of packet(7)) at restore. The kernel is brought to its place in a new ring
 * by frames of ours over the loopback device; then the ring is made what it was. (Frames of TPACKET_V1 have times in
 * microseconds, which do not always tell the newest.)
 */
#ifndef CRIU_MM_RING_FRAMES_H
#define CRIU_MM_RING_FRAMES_H

#include "common.h"
#include "packet-sock.pb-c.h"

/* fd: the socket, not bound; map: its ring; bytes: what the ring has to hold. 0 or a negative errno (logged). */
int ring_frames_fill(int fd, uint8_t *map, const PacketRing *ring, const uint8_t *bytes);

#endif
