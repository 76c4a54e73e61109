/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Mappings that cannot come back, each refused by its name: the ring of a packet socket that has got frames
 * (TPACKET_V1), a TCP socket, the buffer of a perf event, memory of memfd_secret that is mapped in part.
 *
 * zdtm: needs-root
 * zdtm: refuse mapping .* socket:.*TPACKET_V1
 * zdtm: refuse fd 100: .*PACKET_TX_RING
 * zdtm: refuse mapping .* socket:.*that are no packet sockets
 * zdtm: refuse mapping .*perf_event.*: mappings of this kind of descriptor
 * zdtm: refuse memory of memfd_secret, of which no task has all 8192 bytes
 * zdtm: no-userns has packet sockets
 */
#include <arpa/inet.h>
#include <linux/if_packet.h>
#include <linux/perf_event.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "zdtm.h"

#define PAGE 4096UL

static unsigned char *map(unsigned long size, int fd)
{
	unsigned char *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	zdtm_must(p != MAP_FAILED);
	return p;
}

static void packet_ring(void)
{
	struct tpacket_req ring = { .tp_block_size = PAGE, .tp_block_nr = 2, .tp_frame_size = 2048, .tp_frame_nr = 4 };
	struct sockaddr_ll lo = { .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL) };
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(9) };
	int fd = socket(AF_PACKET, SOCK_RAW, 0), udp = socket(AF_INET, SOCK_DGRAM, 0);
	volatile uint32_t *frame;

	zdtm_must(fd >= 0 && udp >= 0 && !setsockopt(fd, SOL_PACKET, PACKET_RX_RING, &ring, sizeof(ring)));
	frame = (void *)map(2 * PAGE, fd);
	lo.sll_ifindex = (int)if_nametoindex("lo");
	to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	zdtm_must(!bind(fd, (struct sockaddr *)&lo, sizeof(lo)));
	zdtm_must(sendto(udp, "x", 1, 0, (struct sockaddr *)&to, sizeof(to)) == 1);
	while (!*frame)
		zdtm_nap();
	close(udp);
}

static void ring_for_sending(void)
{
	struct tpacket_req ring = { .tp_block_size = PAGE, .tp_block_nr = 2, .tp_frame_size = 2048, .tp_frame_nr = 4 };
	int fd = socket(AF_PACKET, SOCK_RAW, 0);

	zdtm_must(fd >= 0 && !setsockopt(fd, SOL_PACKET, PACKET_TX_RING, &ring, sizeof(ring)) && dup2(fd, 100) == 100);
	map(2 * PAGE, 100)[50] = 1;
	close(fd);
}

static void tcp_mapping(void)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	void *p = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, 0);

	if (p == MAP_FAILED)
		zdtm_skip("TCP sockets cannot be mapped: %s", strerror(errno));
}

static void perf_buffer(void)
{
	struct perf_event_attr attr = { .type = PERF_TYPE_SOFTWARE,
		                        .size = sizeof(attr),
		                        .config = PERF_COUNT_SW_CPU_CLOCK,
		                        .exclude_kernel = 1,
		                        .sample_period = 1000000 };
	int fd = syscall(SYS_perf_event_open, &attr, 0, -1, -1, 0);

	if (fd < 0)
		zdtm_skip("no perf events: %s", strerror(errno));
	map(2 * PAGE, fd);
}

/* Not one page has to be there. */
static unsigned char *secret(void)
{
	int fd = syscall(SYS_memfd_secret, 0);
	unsigned char *p;

	if (fd < 0)
		zdtm_skip("no memfd_secret: %s", strerror(errno));
	zdtm_must(!ftruncate(fd, 2 * PAGE));
	p = map(2 * PAGE, fd);
	zdtm_must(!munmap(p, PAGE) && !close(fd));
	p[PAGE] = 5;
	return p;
}

int main(void)
{
	unsigned char *p;

	packet_ring();
	ring_for_sending();
	tcp_mapping();
	perf_buffer();
	p = secret();
	zdtm_ready();
	zdtm_wait();
	zdtm_check(p[PAGE] == 5, "secret memory holds %x", p[PAGE]);
	zdtm_pass();
}
