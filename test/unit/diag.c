/* SPDX-License-Identifier: GPL-2.0-only */
/* Socket diagnostics: parsers of whole, cut and foreign answers, and what the kernel says of our own sockets. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <arpa/inet.h>
#include <libmnl/libmnl.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/netlink_diag.h>
#include <linux/packet_diag.h>
#include <linux/unix_diag.h>
#include <net/ethernet.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "lib/arena.h"
#include "sock/diag.h"
#include "sock/inet/inet.h"
#include "unit_skip.h"

#define TCP_LISTEN_STATE 10

static int setup(void **state)
{
	struct dump *d = calloc(1, sizeof(*d));

	d->arena = arena_new();
	*state = d;
	return d->arena ? 0 : 1;
}

static int teardown(void **state)
{
	struct dump *d = *state;

	arena_free(d->arena);
	free(d);
	return 0;
}

/* An answer: a fixed part, and attributes one by one. */
struct answer {
	char bytes[1024] __attribute__((aligned(8)));
	size_t len;
};

static void put_attr(struct answer *an, uint16_t type, const void *data, size_t len)
{
	struct nlattr attr = { .nla_len = (uint16_t)(sizeof(attr) + len), .nla_type = type };

	memcpy(an->bytes + an->len, &attr, sizeof(attr));
	memcpy(an->bytes + an->len + sizeof(attr), data, len);
	an->len += round_up(sizeof(attr) + len, 4);
}

static void put_fixed(struct answer *an, const void *data, size_t len)
{
	*an = (struct answer) { .len = len };
	memcpy(an->bytes, data, len);
}

/* Cut at every length, in memory of exactly that size: AddressSanitizer sees a read behind it. */
#define cut_everywhere(d, an, parse, type)                                                                             \
	do {                                                                                                           \
		for (size_t cut_ = 0; cut_ < (an)->len; cut_++) {                                                      \
			char *copy_ = malloc(cut_ ?: 1);                                                               \
			type out_;                                                                                     \
			memcpy(copy_, (an)->bytes, cut_);                                                              \
			parse((d)->arena, copy_, cut_, &out_);                                                         \
			free(copy_);                                                                                   \
		}                                                                                                      \
	} while (0)

static void test_parse_unix(void **state)
{
	struct unix_diag_msg m = { .udiag_family = AF_UNIX,
		                   .udiag_type = SOCK_STREAM,
		                   .udiag_state = TCP_LISTEN_STATE,
		                   .udiag_ino = 4711,
		                   .udiag_cookie = { 0x89abcdef, 0x01234567 } };
	struct unix_diag_vfs vfs = { .udiag_vfs_ino = 99, .udiag_vfs_dev = 0xfe00001 };
	struct unix_diag_rqlen queue = { 3, 128 };
	const uint32_t icons[] = { 11, 0, 13 };
	struct dump *d = *state;
	struct diag_unix s;
	struct answer an;

	put_fixed(&an, &m, sizeof(m));
	put_attr(&an, UNIX_DIAG_NAME, "\0abstract", 9);
	put_attr(&an, UNIX_DIAG_VFS, &vfs, sizeof(vfs));
	put_attr(&an, UNIX_DIAG_ICONS, icons, sizeof(icons));
	put_attr(&an, UNIX_DIAG_RQLEN, &queue, sizeof(queue));
	put_attr(&an, UNIX_DIAG_SHUTDOWN, "\3", 1);
	put_attr(&an, 31000, "unknown", 8);
	assert_int_equal(diag_parse_unix(d->arena, an.bytes, an.len, &s), 0);
	assert_true(s.cookie == 0x0123456789abcdefULL && s.ino == 4711 && s.type == SOCK_STREAM);
	assert_true(s.state == TCP_LISTEN_STATE && s.shutdown == 3 && s.peer == 0);
	assert_true(s.name_len == 9 && !memcmp(s.name, "\0abstract", 9));
	assert_true(s.has_vfs && s.vfs_ino == 99 && s.vfs_dev == 0xfe00001);
	assert_true(s.n_icons == 3 && s.icons[0] == 11 && !s.icons[1] && s.icons[2] == 13);
	assert_true(s.rqueue == 3 && s.wqueue == 128);
	cut_everywhere(d, &an, diag_parse_unix, struct diag_unix);
	assert_int_equal(diag_parse_unix(d->arena, an.bytes, sizeof(m) - 1, &s), -EBADMSG);
	put_fixed(&an, &m, sizeof(m));
	put_attr(&an, UNIX_DIAG_VFS, &vfs, 4);
	assert_int_equal(diag_parse_unix(d->arena, an.bytes, an.len, &s), -EBADMSG);
	put_fixed(&an, &m, sizeof(m));
	assert_int_equal(diag_parse_unix(d->arena, an.bytes, an.len, &s), 0);
	assert_true(!s.name && !s.name_len && !s.has_vfs);
}

static void test_parse_inet(void **state)
{
	struct inet_diag_msg m = { .idiag_family = AF_INET6, .idiag_state = 7, .idiag_rqueue = 5, .idiag_inode = 12 };
	struct dump *d = *state;
	struct diag_inet s;
	struct answer an;

	m.id.idiag_sport = htons(80);
	m.id.idiag_dport = htons(53);
	m.id.idiag_src[3] = htonl(1);
	m.id.idiag_cookie[0] = 7;
	put_fixed(&an, &m, sizeof(m));
	put_attr(&an, INET_DIAG_SHUTDOWN, "\2", 1);
	put_attr(&an, INET_DIAG_SKV6ONLY, "\1", 1);
	assert_int_equal(diag_parse_inet(d->arena, an.bytes, an.len, &s), 0);
	assert_true(s.sport == 80 && s.dport == 53 && s.src[3] == htonl(1) && s.cookie == 7 && s.v6only);
	assert_true(s.shutdown == 2 && s.rqueue == 5 && s.ino == 12 && s.family == AF_INET6);
	cut_everywhere(d, &an, diag_parse_inet, struct diag_inet);
	put_attr(&an, INET_DIAG_PROTOCOL, "", 0);
	assert_int_equal(diag_parse_inet(d->arena, an.bytes, an.len, &s), -EBADMSG);
}

static void test_parse_netlink(void **state)
{
	struct netlink_diag_msg m = { .ndiag_family = AF_NETLINK, .ndiag_protocol = 15, .ndiag_portid = 812 };
	const uint32_t groups[] = { 5, 1 };
	uint32_t flags = NDIAG_FLAG_PKTINFO;
	struct dump *d = *state;
	struct diag_netlink s;
	struct answer an;

	put_fixed(&an, &m, sizeof(m));
	put_attr(&an, NETLINK_DIAG_GROUPS, groups, sizeof(groups));
	put_attr(&an, NETLINK_DIAG_FLAGS, &flags, sizeof(flags));
	assert_int_equal(diag_parse_netlink(d->arena, an.bytes, an.len, &s), 0);
	assert_true(s.n_groups == 2 && s.groups[0] == 5 && s.groups[1] == 1 && s.portid == 812 && s.protocol == 15);
	assert_true(s.flags == NDIAG_FLAG_PKTINFO);
	cut_everywhere(d, &an, diag_parse_netlink, struct diag_netlink);
}

static void test_parse_packet(void **state)
{
	struct packet_diag_msg m = { .pdiag_family = AF_PACKET, .pdiag_num = ETH_P_ALL };
	struct packet_diag_info info = { .pdi_index = 1, .pdi_version = 2, .pdi_reserve = 8 };
	struct packet_diag_mclist mc = { .pdmc_index = 1, .pdmc_count = 2, .pdmc_alen = 999 };
	struct packet_diag_ring ring = { .pdr_block_size = 4096 };
	struct dump *d = *state;
	uint32_t fanout = 77;
	struct diag_packet s;
	struct answer an;

	put_fixed(&an, &m, sizeof(m));
	put_attr(&an, PACKET_DIAG_INFO, &info, sizeof(info));
	put_attr(&an, PACKET_DIAG_MCLIST, &mc, sizeof(mc));
	put_attr(&an, PACKET_DIAG_RX_RING, &ring, sizeof(ring));
	put_attr(&an, PACKET_DIAG_FANOUT, &fanout, sizeof(fanout));
	assert_int_equal(diag_parse_packet(d->arena, an.bytes, an.len, &s), 0);
	assert_true(s.num == ETH_P_ALL && s.ifindex == 1 && s.version == 2 && s.reserve == 8 && !s.tx_ring);
	assert_true(s.n_mc == 1 && s.mc[0].count == 2 && s.mc[0].alen == 32 && s.has_fanout && s.fanout == 77);
	assert_int_equal(((const struct packet_diag_ring *)s.rx_ring)->pdr_block_size, 4096);
	cut_everywhere(d, &an, diag_parse_packet, struct diag_packet);
}

static void test_proc_line(void **state)
{
	union inet_addr local, peer;
	uint64_t ino = 0;

	assert_int_equal(
	    inet_proc_parse_line(" 253: 0100007F:00FD 0200007F:0000 01 00000000:00000000 00:00000000 00000000  "
	                         "   0        0 35 2 0000000000000000 0",
	                         AF_INET, &ino, &local, &peer),
	    0);
	assert_true(ino == 35);
	assert_string_equal(inet_addr_text(&local), "127.0.0.1:253");
	assert_string_equal(inet_addr_text(&peer), "127.0.0.2:0");
	assert_int_equal(inet_proc_parse_line("  1: 00000000000000000000000001000000:0050 "
	                                      "B80D01200000000000000000010000FF:1F90 01 0:0 00:0 0 1000 0 4711 1",
	                                      AF_INET6, &ino, &local, &peer),
	                 0);
	assert_true(ino == 4711);
	assert_string_equal(inet_addr_text(&local), "[::1]:80");
	assert_string_equal(inet_addr_text(&peer), "[2001:db8::ff00:1]:8080");
	assert_int_equal(
	    inet_proc_parse_line("  sl  local_address rem_address   st tx_queue", AF_INET, &ino, &local, &peer),
	    -EINVAL);
	assert_int_equal(inet_proc_parse_line("", AF_INET6, &ino, &local, &peer), -EINVAL);
}

static void test_words(void **state)
{
	struct dump *d = *state;
	union inet_addr n = { .v6 = { .sin6_family = AF_INET6,
		                      .sin6_port = htons(53),
		                      .sin6_addr = IN6ADDR_LOOPBACK_INIT } },
	                back;
	const uint32_t zero = 0, words[5] = { 0, 0, 0, 0, 1 };
	uint32_t *out;
	size_t count;

	inet_addr_to_words(d->arena, &n, &out, &count);
	assert_true(count == 4 && !out[0] && out[3] == htonl(1));
	assert_int_equal(inet_addr_from_words(AF_INET6, out, count, 53, NULL, &back), 0);
	assert_true(inet_addr_equal(&n, &back) && !inet_addr_is_any(&back));
	assert_int_equal(inet_addr_from_words(AF_INET6, &zero, 1, 0, NULL, &back), 0);
	assert_true(inet_addr_is_any(&back));
	assert_int_equal(inet_addr_from_words(AF_INET6, words, 3, 0, NULL, &back), -EINVAL);
	assert_int_equal(inet_addr_from_words(AF_INET6, words, 5, 0, NULL, &back), -EINVAL);
	assert_int_equal(inet_addr_from_words(AF_INET, words, 4, 0, NULL, &back), -EINVAL);
	assert_int_equal(inet_addr_from_words(AF_INET, words, 1, 65536, NULL, &back), -EINVAL);
}

static void test_live_unix(void **state)
{
	struct sockaddr_un name = { .sun_family = AF_UNIX };
	const struct diag_unix *s, *peer;
	struct dump *d = *state;
	int pair[2], late;
	socklen_t len;

	len = offsetof(struct sockaddr_un, sun_path) + (socklen_t)snprintf(name.sun_path + 1, 50, "diag-%d", getpid()) +
	      1;
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
	assert_int_equal(diag_find_unix(d, pair[0], &s), 0);
	assert_true(s->type == SOCK_SEQPACKET && s->peer && !s->name_len);
	peer = diag_unix_by_ino(d, s->peer);
	assert_true(peer && peer->peer == s->ino);
	assert_null(diag_unix_by_ino(d, 0));
	/* One that was made after the family was asked for. */
	late = socket(AF_UNIX, SOCK_STREAM, 0);
	assert_int_equal(bind(late, (struct sockaddr *)&name, len), 0);
	assert_int_equal(listen(late, 7), 0);
	assert_int_equal(diag_find_unix(d, late, &s), 0);
	assert_true(s->state == TCP_LISTEN_STATE && s->wqueue == 7 && s->name_len == len - 2);
	close(late);
	close(pair[0]);
	close(pair[1]);
}

static void test_live_inet(void **state)
{
	struct sockaddr_in6 a = { .sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT };
	socklen_t len = sizeof(a);
	const struct diag_inet *s;
	struct dump *d = *state;
	int udp = socket(AF_INET6, SOCK_DGRAM, 0), tcp = socket(AF_INET6, SOCK_STREAM, 0), again;

	if (udp < 0 || tcp < 0)
		unit_skip("no IPv6 sockets: %s", strerror(errno));
	assert_int_equal(diag_find_inet(d, udp, AF_INET6, IPPROTO_UDP, &s), -ENOENT);
	assert_int_equal(bind(udp, (struct sockaddr *)&a, len), 0);
	assert_int_equal(getsockname(udp, (struct sockaddr *)&a, &len), 0);
	assert_int_equal(diag_find_inet(d, udp, AF_INET6, IPPROTO_UDP, &s), 0);
	assert_true(s->sport == ntohs(a.sin6_port) && s->src[3] == htonl(1) && s->family == AF_INET6);
	assert_int_equal(bind(tcp, (struct sockaddr *)&a, len), 0);
	assert_int_equal(listen(tcp, 5), 0);
	again = dup(tcp);
	assert_int_equal(diag_find_inet(d, again, AF_INET6, IPPROTO_TCP, &s), 0);
	assert_true(s->state == TCP_LISTEN_STATE && s->wqueue == 5 && s->rqueue == 0);
	assert_int_equal(diag_find_inet(d, tcp, AF_INET6, 99, &s), -ENOENT);
	close(again);
	close(tcp);
	close(udp);
}

static void test_live_netlink(void **state)
{
	struct sockaddr_nl a = { .nl_family = AF_NETLINK, .nl_groups = 5 };
	socklen_t len = sizeof(a);
	const struct diag_netlink *s;
	struct dump *d = *state;
	int fd = socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE);

	assert_int_equal(bind(fd, (struct sockaddr *)&a, len), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &len), 0);
	assert_int_equal(diag_find_netlink(d, fd, &s), 0);
	assert_true(s->portid == a.nl_pid && s->n_groups && s->groups[0] == 5 && s->protocol == NETLINK_ROUTE);
	close(fd);
}

static void test_live_packet(void **state)
{
	const struct diag_packet *s;
	struct dump *d = *state;
	int fd = socket(AF_PACKET, SOCK_DGRAM, htons(ETH_P_ARP));

	if (fd < 0)
		unit_skip("no packet sockets: %s", strerror(errno));
	assert_int_equal(diag_find_packet(d, fd, &s), 0);
	assert_true(s->num == ETH_P_ARP && s->type == SOCK_DGRAM && !s->rx_ring);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_parse_unix, setup, teardown),
		cmocka_unit_test_setup_teardown(test_parse_inet, setup, teardown),
		cmocka_unit_test_setup_teardown(test_parse_netlink, setup, teardown),
		cmocka_unit_test_setup_teardown(test_parse_packet, setup, teardown),
		cmocka_unit_test_setup_teardown(test_proc_line, setup, teardown),
		cmocka_unit_test_setup_teardown(test_words, setup, teardown),
		cmocka_unit_test_setup_teardown(test_live_unix, setup, teardown),
		cmocka_unit_test_setup_teardown(test_live_inet, setup, teardown),
		cmocka_unit_test_setup_teardown(test_live_netlink, setup, teardown),
		cmocka_unit_test_setup_teardown(test_live_packet, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
