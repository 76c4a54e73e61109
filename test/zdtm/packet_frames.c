/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The mapped ring of a packet socket with frames (TPACKET_V2), filtered: the program goes on at its frame, gets what it
 * had not read (over the end of the ring, too), and all that comes, in order, for several rounds of the ring.
 *
 * zdtm: needs-root
 * zdtm: iters 3
 * zdtm: restores 2
 * zdtm: no-userns has packet sockets
 */
#include <arpa/inet.h>
#include <linux/filter.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/ip.h>
#include <netinet/udp.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "zdtm.h"

#define FRAME  1024U
#define FRAMES 20U /* 4 in a block */
#define MAGIC  0x5eed0000U

static unsigned char *ring;
static unsigned next_frame;
static int sock, udp;

static struct tpacket2_hdr *frame(void)
{
	return (struct tpacket2_hdr *)(ring + next_frame * FRAME);
}

static int is_ours(void)
{
	return __atomic_load_n(&frame()->tp_status, __ATOMIC_ACQUIRE) & TP_STATUS_USER;
}

/* The number in the next packet; 0: none came in 10 seconds. */
static unsigned receive(void)
{
	uint32_t word;

	for (int tries = 0; !is_ours(); tries++) {
		struct pollfd p = { .fd = sock, .events = POLLIN };

		if (tries == 1000)
			return 0;
		poll(&p, 1, 10);
	}
	memcpy(&word, (unsigned char *)frame() + frame()->tp_net + sizeof(struct iphdr) + sizeof(struct udphdr), 4);
	__atomic_store_n(&frame()->tp_status, TP_STATUS_KERNEL, __ATOMIC_RELEASE);
	next_frame = (next_frame + 1) % FRAMES;
	return (word & 0xffff0000) == MAGIC ? word & 0xffff : 1U << 20;
}

/* Nothing receives them: the error of the one before may come instead. */
static void send_number(unsigned n)
{
	uint32_t word = MAGIC | n;

	if (send(udp, &word, sizeof(word), 0) != sizeof(word))
		zdtm_must(send(udp, &word, sizeof(word), 0) == sizeof(word));
}

static void expect(unsigned n)
{
	unsigned got = receive();

	zdtm_check(got == n, "packet %u came for %u", got, n);
}

int main(void)
{
	/* IPv4, UDP, to port 9 */
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_H | BPF_ABS, 12), BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ETH_P_IP, 0, 5),
		BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 23), BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, IPPROTO_UDP, 0, 3),
		BPF_STMT(BPF_LD | BPF_H | BPF_ABS, 36), BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 9, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, 65535),       BPF_STMT(BPF_RET | BPF_K, 0)
	};
	struct sock_fprog filter = { .len = sizeof(code) / sizeof(code[0]), .filter = code };
	struct tpacket_req req = {
		.tp_block_size = 4096, .tp_block_nr = FRAMES / 4, .tp_frame_size = FRAME, .tp_frame_nr = FRAMES
	};
	struct sockaddr_ll lo = { .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_IP) };
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(9) };
	struct tpacket_stats stats;
	socklen_t len = sizeof(stats);
	int version = TPACKET_V2;

	lo.sll_ifindex = (int)if_nametoindex("lo");
	to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	udp = socket(AF_INET, SOCK_DGRAM, 0);
	zdtm_must(!connect(udp, (struct sockaddr *)&to, sizeof(to)));
	sock = socket(AF_PACKET, SOCK_RAW, 0);
	zdtm_must(sock >= 0 && !setsockopt(sock, SOL_SOCKET, SO_ATTACH_FILTER, &filter, sizeof(filter)));
	zdtm_must(!setsockopt(sock, SOL_PACKET, PACKET_VERSION, &version, sizeof(version)));
	zdtm_must(!setsockopt(sock, SOL_PACKET, PACKET_RX_RING, &req, sizeof(req)));
	ring = mmap(NULL, FRAMES * FRAME, PROT_READ | PROT_WRITE, MAP_SHARED, sock, 0);
	zdtm_must(ring != MAP_FAILED && !bind(sock, (struct sockaddr *)&lo, sizeof(lo)));
	for (unsigned n = 1; next_frame != FRAMES - 2; n++) {
		send_number(n);
		expect(n);
	}
	for (unsigned n = 2000; n < 2005; n++) /* two up to the end of the ring, and three behind it */
		send_number(n);
	zdtm_must(!getsockopt(sock, SOL_PACKET, PACKET_STATISTICS, &stats, &len));
	zdtm_ready();
	zdtm_wait();
	for (unsigned n = 2000; n < 2005; n++)
		expect(n);
	for (unsigned n = 3000; n < 3100; n++) {
		send_number(n);
		expect(n);
	}
	zdtm_must(!getsockopt(sock, SOL_PACKET, PACKET_STATISTICS, &stats, &len));
	zdtm_check(stats.tp_packets == 100, "%u packets were counted", stats.tp_packets);
	zdtm_pass();
}
