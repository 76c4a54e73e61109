/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Packet sockets: all interfaces and one, raw and cooked, options, memberships, a filter, a fanout group, rings that
 * nobody has mapped; SOCK_PACKET, the old way; they receive afterwards, and nothing of what the restore sent.
 *
 * zdtm: exclusive
 * zdtm: needs-root
 * zdtm: restores 2
 * zdtm: no-userns has packet sockets
 */
#include <arpa/inet.h>
#include <linux/filter.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "zdtm.h"

static const struct {
	int name;
	const char *text;
	int value;
} options[] = {
	{ PACKET_AUXDATA, "PACKET_AUXDATA", 1 },           { PACKET_ORIGDEV, "PACKET_ORIGDEV", 1 },
	{ PACKET_VNET_HDR, "PACKET_VNET_HDR", 1 },         { PACKET_LOSS, "PACKET_LOSS", 1 },
	{ PACKET_TIMESTAMP, "PACKET_TIMESTAMP", 64 },      { PACKET_RESERVE, "PACKET_RESERVE", 24 },
	{ PACKET_VERSION, "PACKET_VERSION", TPACKET_V2 },  { PACKET_TX_HAS_OFF, "PACKET_TX_HAS_OFF", 1 },
	{ PACKET_QDISC_BYPASS, "PACKET_QDISC_BYPASS", 1 }, { PACKET_IGNORE_OUTGOING, "PACKET_IGNORE_OUTGOING", 1 },
};

#define GROUP_HEX "01005e010203"
#define OPTIONS   (sizeof(options) / sizeof(*options))

static int get(int fd, int name)
{
	int v = -1;
	socklen_t len = sizeof(v);

	return getsockopt(fd, SOL_PACKET, name, &v, &len) ? -1 : v;
}

static int bound(int type, int protocol, int ifindex)
{
	struct sockaddr_ll a = { .sll_family = AF_PACKET, .sll_protocol = htons(protocol), .sll_ifindex = ifindex };
	int fd = socket(AF_PACKET, type, 0);

	zdtm_must(fd >= 0 && !bind(fd, (struct sockaddr *)&a, sizeof(a)));
	return fd;
}

static struct sockaddr_ll name_of(int fd)
{
	struct sockaddr_ll a = { 0 };
	socklen_t len = sizeof(a);

	getsockname(fd, (struct sockaddr *)&a, &len);
	return a;
}

/* To somebody who takes it: nobody answers. */
static void say(int port)
{
	struct sockaddr_in a = { .sin_family = AF_INET,
		                 .sin_port = htons(port),
		                 .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	zdtm_must(!bind(fd, (struct sockaddr *)&a, sizeof(a)));
	zdtm_must(sendto(fd, "packet!", 7, 0, (struct sockaddr *)&a, sizeof(a)) == 7);
	close(fd);
}

/* A UDP packet that say() has sent: 35 bytes behind `before` bytes of headers below. */
static int is_said(int fd, int before, int port)
{
	unsigned char b[200];
	ssize_t n = recv(fd, b, sizeof(b), MSG_DONTWAIT);

	return n == before + 35 && b[before + 9] == IPPROTO_UDP && (b[before + 22] << 8 | b[before + 23]) == port &&
	       !memcmp(b + before + 28, "packet!", 7);
}

static int is_silent(int fd)
{
	char c;

	return recv(fd, &c, 1, MSG_DONTWAIT) == -1 && errno == EAGAIN;
}

/* Nothing came but what the test itself had sent before the dump (which a restore drops). */
static void check_drained(int fd, int before)
{
	for (char c; recv(fd, &c, 1, MSG_DONTWAIT | MSG_PEEK) == 1;)
		zdtm_check(is_said(fd, before, 5000), "there is a packet of somebody else");
}

/* Whether a file has a line that ends so. */
static int has_line(const char *path, const char *end)
{
	FILE *f = fopen(path, "r");
	char line[200];
	int found = 0;

	while (f && fgets(line, sizeof(line), f)) {
		line[strcspn(line, "\n")] = 0;
		found |= strlen(line) >= strlen(end) && !strcmp(line + strlen(line) - strlen(end), end);
	}
	if (f)
		fclose(f);
	return found;
}

static int is_promiscuous(void)
{
	FILE *f = fopen("/sys/class/net/lo/flags", "r");
	unsigned flags = 0;

	if (f && fscanf(f, "%x", &flags) != 1)
		flags = 0;
	if (f)
		fclose(f);
	return !!(flags & 0x100);
}

static void add(int fd, int type, const char *addr, int len)
{
	struct packet_mreq r = { .mr_ifindex = 1, .mr_type = type, .mr_alen = len };

	memcpy(r.mr_address, addr, len);
	zdtm_must(!setsockopt(fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &r, sizeof(r)));
}

static int drop(int fd, int type, const char *addr, int len)
{
	struct packet_mreq r = { .mr_ifindex = 1, .mr_type = type, .mr_alen = len };

	memcpy(r.mr_address, addr, len);
	return setsockopt(fd, SOL_PACKET, PACKET_DROP_MEMBERSHIP, &r, sizeof(r));
}

/* Passes packets to UDP port 4242 alone (cooked: the network header is first). */
static struct sock_filter filter[] = {
	{ BPF_LD | BPF_H | BPF_ABS, 0, 0, 22 },
	{ BPF_JMP | BPF_JEQ | BPF_K, 0, 1, 4242 },
	{ BPF_RET | BPF_K, 0, 0, 0xffff },
	{ BPF_RET | BPF_K, 0, 0, 0 },
};

static struct tpacket_req3 ring = {
	.tp_block_size = 8192, .tp_block_nr = 4, .tp_frame_size = 2048, .tp_frame_nr = 16, .tp_retire_blk_tov = 60
};

/* SOCK_PACKET: its protocol is of its making, its bind() takes a name. */
static int bound_by_name(int protocol, const char *name)
{
	struct sockaddr a = { .sa_family = AF_PACKET };
	int fd = socket(AF_PACKET, SOCK_PACKET, htons(protocol));

	strcpy(a.sa_data, name);
	zdtm_must(fd >= 0 && (!*name || !bind(fd, &a, sizeof(a))));
	return fd;
}

static int has_name(int fd, const char *name)
{
	struct sockaddr a = { 0 };
	socklen_t len = sizeof(a);

	return !getsockname(fd, &a, &len) && !strncmp(a.sa_data, name, sizeof(a.sa_data));
}

int main(void)
{
	struct sock_fprog program = { .len = 4, .filter = filter };
	int old_all, old_one, all, one, set, filtered, ringed, versions, fan[2], fanout, fresh, v3 = TPACKET_V3;
	struct sockaddr_ll a;
	char *map;

	all = bound(SOCK_RAW, ETH_P_ALL, 0);
	one = bound(SOCK_DGRAM, ETH_P_IP, 1);
	fresh = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK, 0);
	set = socket(AF_PACKET, SOCK_RAW, 0);
	for (size_t i = 0; i < OPTIONS; i++)
		zdtm_must(!setsockopt(set, SOL_PACKET, options[i].name, &options[i].value, sizeof(int)));
	add(one, PACKET_MR_MULTICAST, "\1\0\136\1\2\3", 6);
	add(one, PACKET_MR_MULTICAST, "\1\0\136\1\2\3", 6);
	add(one, PACKET_MR_PROMISC, "", 0);
	filtered = socket(AF_PACKET, SOCK_DGRAM, 0);
	zdtm_must(!setsockopt(filtered, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)));
	a = name_of(one);
	zdtm_must(!bind(filtered, (struct sockaddr *)&a, sizeof(a)));
	ringed = socket(AF_PACKET, SOCK_RAW, 0);
	zdtm_must(!setsockopt(ringed, SOL_PACKET, PACKET_RX_RING, &ring, sizeof(struct tpacket_req)));
	zdtm_must(!setsockopt(ringed, SOL_PACKET, PACKET_TX_RING, &ring, sizeof(struct tpacket_req)));
	versions = socket(AF_PACKET, SOCK_RAW, 0);
	zdtm_must(!setsockopt(versions, SOL_PACKET, PACKET_VERSION, &v3, sizeof(v3)));
	zdtm_must(!setsockopt(versions, SOL_PACKET, PACKET_RX_RING, &ring, sizeof(ring)));
	for (int i = 0; i < 2; i++) {
		fan[i] = bound(SOCK_DGRAM, ETH_P_IP, 1);
		fanout = 4711 | PACKET_FANOUT_LB << 16;
		zdtm_must(!setsockopt(fan[i], SOL_PACKET, PACKET_FANOUT, &fanout, sizeof(fanout)));
	}
	old_all = bound_by_name(ETH_P_IP, "");
	old_one = bound_by_name(ETH_P_ALL, "lo");
	say(5000); /* what waits in queues, and is lost */

	zdtm_ready();
	zdtm_wait();

	check_drained(all, 14);
	for (size_t i = 0; i < 4; i++)
		check_drained((int[]) { one, filtered, fan[0], fan[1] }[i], 0);
	check_drained(old_all, 14);
	check_drained(old_one, 14);
	say(4242);
	zdtm_check(is_said(old_all, 14, 4242) && is_silent(old_all), "the old way: what comes over all interfaces");
	zdtm_check(is_said(old_one, 14, 4242) && is_said(old_one, 14, 4242) && is_silent(old_one),
	           "the old way: what goes over one");
	zdtm_check(has_name(old_one, "lo") && has_name(old_all, ""), "the old way: names");
	/* The loopback device shows each packet going out and coming in. */
	zdtm_check(is_said(all, 14, 4242) && is_said(all, 14, 4242) && is_silent(all), "what goes over all interfaces");
	zdtm_check(is_said(one, 0, 4242) && is_silent(one), "what comes over one");
	zdtm_check(is_said(filtered, 0, 4242), "what passes the filter");
	zdtm_check(is_said(fan[0], 0, 4242) + is_said(fan[1], 0, 4242) == 1, "the group");
	say(4243);
	zdtm_check(is_silent(filtered), "what does not pass the filter");
	zdtm_check(is_said(fan[0], 0, 4243) + is_said(fan[1], 0, 4243) == 1, "the group, again");
	zdtm_check(get(fan[0], PACKET_FANOUT) == fanout && get(fan[1], PACKET_FANOUT) == fanout, "fanout %x",
	           get(fan[0], PACKET_FANOUT));
	a = name_of(all);
	zdtm_check(a.sll_ifindex == 0 && a.sll_protocol == htons(ETH_P_ALL), "the name of that of all interfaces");
	a = name_of(one);
	zdtm_check(a.sll_ifindex == 1 && a.sll_protocol == htons(ETH_P_IP), "the name of that of one");
	a = name_of(fresh);
	zdtm_check(a.sll_ifindex == 0 && !a.sll_protocol && fcntl(fresh, F_GETFL) & O_NONBLOCK, "the new one");
	for (size_t i = 0; i < OPTIONS; i++)
		zdtm_check(get(set, options[i].name) == options[i].value, "%s is %d", options[i].text,
		           get(set, options[i].name));
	zdtm_check(is_promiscuous() && !drop(one, PACKET_MR_PROMISC, "", 0) && !is_promiscuous(), "promiscuous");
	for (int i = 0; i < 2; i++)
		zdtm_check(has_line("/proc/net/dev_mcast", GROUP_HEX) &&
		               !drop(one, PACKET_MR_MULTICAST, "\1\0\136\1\2\3", 6),
		           "added to the group once, not twice");
	zdtm_check(!has_line("/proc/net/dev_mcast", GROUP_HEX), "more than twice in the group");
	map = mmap(NULL, 2 * 4 * 8192, PROT_READ | PROT_WRITE, MAP_SHARED, ringed, 0);
	zdtm_check(map != MAP_FAILED, "mapping the rings: %s", strerror(errno));
	zdtm_check(get(versions, PACKET_VERSION) == TPACKET_V3 &&
	               mmap(NULL, 4 * 8192, PROT_READ, MAP_SHARED, versions, 0) != MAP_FAILED,
	           "the ring of version 3");
	zdtm_pass();
}
