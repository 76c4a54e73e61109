/* SPDX-License-Identifier: GPL-2.0-only */
#include "mm/ring_frames.h"

#include <arpa/inet.h>
#include <linux/filter.h>
#include <linux/if_packet.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "lib/log.h"

#define OUR_TYPE 0x88b5 /* the type of frames for local experiments (IEEE 802) */
#define LOOPBACK 1      /* its number in every network */

static const struct tpacket2_hdr *frame_of(const uint8_t *bytes, const PacketRing *ring, uint32_t i)
{
	uint32_t in_block = ring->block_size / ring->frame_size;
	size_t off = (size_t)(i / in_block) * ring->block_size + (size_t)(i % in_block) * ring->frame_size;

	return (const void *)(bytes + off);
}

static uint64_t time_of(const struct tpacket2_hdr *h)
{
	return (uint64_t)h->tp_sec << 32 | h->tp_nsec;
}

/*
 * The frame behind those that the program has to read; where there are none, behind the newest, which it has read.
 * (What the kernel was just writing is lost.)
 */
static uint32_t writes_next(const uint8_t *bytes, const PacketRing *ring)
{
	uint32_t next = 0, unread = ring->frame_nr;
	uint64_t newest = 0;

	for (uint32_t i = 0; i < ring->frame_nr; i++) {
		const struct tpacket2_hdr *h = frame_of(bytes, ring, i);

		if (h->tp_status & TP_STATUS_USER &&
		    (unread == ring->frame_nr || time_of(h) < time_of(frame_of(bytes, ring, unread))))
			unread = i;
		if (time_of(h) && time_of(h) >= newest) {
			next = (i + 1) % ring->frame_nr;
			newest = time_of(h);
		}
	}
	if (unread == ring->frame_nr)
		return next;
	for (uint32_t n = 0; n < ring->frame_nr && frame_of(bytes, ring, unread)->tp_status & TP_STATUS_USER; n++)
		unread = (unread + 1) % ring->frame_nr;
	return unread;
}

static int send_frames(int fd, const uint8_t *map, const PacketRing *ring, uint32_t n)
{
	struct sockaddr_ll lo = { .sll_family = AF_PACKET, .sll_protocol = htons(OUR_TYPE), .sll_ifindex = LOOPBACK };
	_cleanup_close_ int out = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
	uint8_t frame[60] = { [12] = OUR_TYPE >> 8, [13] = OUR_TYPE & 0xff };

	if (out < 0 || bind(fd, (struct sockaddr *)&lo, sizeof(lo)))
		return log_errno(-errno, "socket(AF_PACKET), or bind of a ring's socket to the loopback device");
	for (uint32_t i = 0; i < n; i++) {
		const struct tpacket2_hdr *h = frame_of(map, ring, i);

		if (sendto(out, frame, sizeof(frame), 0, (struct sockaddr *)&lo, sizeof(lo)) < 0)
			return log_errno(-errno,
			                 "sendto over the loopback device, to bring the ring of a packet socket to its "
			                 "place (ip link set lo up)");
		for (int tries = 0; !(__atomic_load_n(&h->tp_status, __ATOMIC_ACQUIRE) & TP_STATUS_USER); tries++) {
			if (tries > 5000)
				return log_errno(-ETIMEDOUT,
				                 "frame %u for a ring did not come over the loopback device", i);
			nanosleep(&(struct timespec) { .tv_nsec = 200000 }, NULL);
		}
	}
	return 0;
}

/* Without its filter, which would keep frames of ours out, and with nothing counted. */
static int bring_to_place(int fd, const uint8_t *map, const PacketRing *ring, uint32_t n)
{
	struct sockaddr_ll nowhere = { .sll_family = AF_PACKET };
	struct sock_filter code[BPF_MAXINSNS];
	struct sock_fprog filter = { .filter = code };
	socklen_t len = BPF_MAXINSNS, stats_len = sizeof(struct tpacket_stats);
	struct tpacket_stats stats;
	int err;

	if (getsockopt(fd, SOL_SOCKET, SO_GET_FILTER, code, &len))
		return log_errno(-errno, "getsockopt(SO_GET_FILTER) of a ring's socket");
	filter.len = (unsigned short)len;
	if (len && setsockopt(fd, SOL_SOCKET, SO_DETACH_FILTER, &len, sizeof(len)))
		return log_errno(-errno, "setsockopt(SO_DETACH_FILTER) of a ring's socket");
	err = send_frames(fd, map, ring, n);
	if (bind(fd, (struct sockaddr *)&nowhere, sizeof(nowhere)) && !err)
		err = log_errno(-errno, "bind of a ring's socket to nothing");
	if (len && setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &filter, sizeof(filter)) && !err)
		err = log_errno(-errno, "setsockopt(SO_ATTACH_FILTER) of a ring's socket");
	if (getsockopt(fd, SOL_PACKET, PACKET_STATISTICS, &stats, &stats_len) && !err)
		err = log_errno(-errno, "getsockopt(PACKET_STATISTICS) of a ring's socket");
	return err;
}

int ring_frames_fill(int fd, uint8_t *map, const PacketRing *ring, const uint8_t *bytes)
{
	uint32_t n = writes_next(bytes, ring);
	int err = n ? bring_to_place(fd, map, ring, n) : 0;

	if (!err)
		memcpy(map, bytes, (size_t)ring->block_size * ring->block_nr);
	return err;
}
