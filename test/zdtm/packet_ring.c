/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The mapped ring of a packet socket (TPACKET_V3): the program goes on at its block, gets what it had not read, and all
 * that comes, in order, for several rounds of the ring; and rings of TPACKET_V2, for both directions, in which nothing
 * was yet.
 *
 * zdtm: needs-root
 * zdtm: iters 3
 * zdtm: no-userns has packet sockets
 */
#include <arpa/inet.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/ip.h>
#include <netinet/udp.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "zdtm.h"

#define BLOCK  (16U << 10)
#define BLOCKS 8U
#define MAGIC  0x5eed0000U

static unsigned char *ring;
static unsigned next_block, left, current;
static int sock, udp;

static struct tpacket_block_desc *block(void)
{
	return (struct tpacket_block_desc *)(ring + next_block * BLOCK);
}

static int is_ours(void)
{
	return __atomic_load_n(&block()->hdr.bh1.block_status, __ATOMIC_ACQUIRE) & TP_STATUS_USER;
}

/* The number in the next packet of ours; 0: none came in 10 seconds. */
static unsigned receive(void)
{
	for (int tries = 0; tries < 1000;) {
		struct tpacket3_hdr *h;
		uint32_t word;

		if (!current) {
			if (!is_ours()) {
				struct pollfd p = { .fd = sock, .events = POLLIN };

				tries++;
				poll(&p, 1, 10);
				continue;
			}
			left = block()->hdr.bh1.num_pkts;
			current = block()->hdr.bh1.offset_to_first_pkt;
		}
		if (!left) {
			__atomic_store_n(&block()->hdr.bh1.block_status, TP_STATUS_KERNEL, __ATOMIC_RELEASE);
			next_block = (next_block + 1) % BLOCKS;
			current = 0;
			continue;
		}
		h = (struct tpacket3_hdr *)((unsigned char *)block() + current);
		memcpy(&word, (unsigned char *)h + h->tp_net + sizeof(struct iphdr) + sizeof(struct udphdr), 4);
		current += h->tp_next_offset;
		left--;
		if ((word & 0xffff0000) == MAGIC)
			return word & 0xffff;
	}
	return 0;
}

static void send_number(unsigned n)
{
	uint32_t word = MAGIC | n;

	zdtm_must(send(udp, &word, sizeof(word), 0) == sizeof(word));
}

/* Each is seen twice on lo: when it is sent, and when it is received. */
static void exchange(unsigned from, unsigned to)
{
	for (unsigned n = from; n < to; n++) {
		unsigned got;

		send_number(n);
		for (int i = 0; i < 2; i++) {
			got = receive();
			if (!zdtm_check(got == n, "packet %u came for %u", got, n))
				return;
		}
	}
}

static void make_ring(int fd, int version, void *request, socklen_t len)
{
	zdtm_must(!setsockopt(fd, SOL_PACKET, PACKET_VERSION, &version, sizeof(version)));
	zdtm_must(!setsockopt(fd, SOL_PACKET, PACKET_RX_RING, request, len));
}

int main(void)
{
	struct tpacket_req3 three = { .tp_block_size = BLOCK,
		                      .tp_block_nr = BLOCKS,
		                      .tp_frame_size = 2048,
		                      .tp_frame_nr = BLOCKS * BLOCK / 2048,
		                      .tp_retire_blk_tov = 1 };
	struct tpacket_req two = { .tp_block_size = 4096, .tp_block_nr = 4, .tp_frame_size = 2048, .tp_frame_nr = 8 };
	struct sockaddr_ll lo = { .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL) };
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(9) };
	int fresh = socket(AF_PACKET, SOCK_RAW, 0);
	unsigned char *unused;

	lo.sll_ifindex = (int)if_nametoindex("lo");
	to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	udp = socket(AF_INET, SOCK_DGRAM, 0);
	zdtm_must(bind(udp, (struct sockaddr *)&to, sizeof(to)) == 0 &&
	          !connect(udp, (struct sockaddr *)&to, sizeof(to)));
	sock = socket(AF_PACKET, SOCK_RAW, 0);
	zdtm_must(sock >= 0 && fresh >= 0);
	make_ring(fresh, TPACKET_V2, &two, sizeof(two));
	zdtm_must(!setsockopt(fresh, SOL_PACKET, PACKET_TX_RING, &two, sizeof(two)));
	unused = mmap(NULL, 8 * 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fresh, 0);
	make_ring(sock, TPACKET_V3, &three, sizeof(three));
	ring = mmap(NULL, BLOCKS * BLOCK, PROT_READ | PROT_WRITE, MAP_SHARED, sock, 0);
	zdtm_must(unused != MAP_FAILED && ring != MAP_FAILED && !bind(sock, (struct sockaddr *)&lo, sizeof(lo)));
	exchange(1, 30);
	while (next_block != 3) /* in the middle, so that the rest goes up to the end */
		exchange(30, 31);
	send_number(40);
	while (!is_ours())
		zdtm_nap();
	zdtm_ready();
	zdtm_wait();
	for (int i = 0; i < 2; i++)
		zdtm_check(receive() == 40, "what was not read is lost");
	exchange(41, 141);
	zdtm_pass();
}
