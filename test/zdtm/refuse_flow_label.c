/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * IPv6 sockets that send a flow label: UDP, and a TCP connection.
 *
 * zdtm: dump --tcp-established
 * zdtm: exclusive
 * zdtm: needs-root
 * zdtm: refuse fd 100: sends IPv6 packets with the flow label 12345
 * zdtm: refuse fd 101: sends IPv6 packets with the flow label 54321
 */
#include <netinet/in.h>
#include <sys/socket.h>

#include "zdtm.h"

#define FLOWLABEL_MGR 32 /* linux/in6.h, which netinet/in.h excludes */
#define FLOWINFO_SEND 33

struct lease {
	struct in6_addr dst;
	uint32_t label;
	uint8_t action, share;
	uint16_t flags, expires, linger;
	uint32_t pad;
};

static void to_label(int number, int type, uint32_t label, struct sockaddr_in6 *peer)
{
	struct lease lease = { .dst = in6addr_loopback, .label = htonl(label), .share = 255, .flags = 1 };
	int fd = socket(AF_INET6, type, 0), on = 1;

	zdtm_must(fd >= 0);
	if (setsockopt(fd, IPPROTO_IPV6, FLOWLABEL_MGR, &lease, sizeof(lease)))
		zdtm_skip("flow labels: %s", strerror(errno));
	zdtm_must(!setsockopt(fd, IPPROTO_IPV6, FLOWINFO_SEND, &on, sizeof(on)));
	peer->sin6_flowinfo = htonl(label);
	zdtm_must(!connect(fd, (struct sockaddr *)peer, sizeof(*peer)) && dup2(fd, number) == number && !close(fd));
}

int main(void)
{
	struct sockaddr_in6 at = { .sin6_family = AF_INET6, .sin6_addr = in6addr_loopback };
	int l = socket(AF_INET6, SOCK_STREAM, 0);
	socklen_t len = sizeof(at);

	if (l < 0 || bind(l, (struct sockaddr *)&at, sizeof(at)))
		zdtm_skip("IPv6: %s", strerror(errno));
	zdtm_must(!listen(l, 1) && !getsockname(l, (struct sockaddr *)&at, &len));
	to_label(101, SOCK_STREAM, 0x54321, &at);
	zdtm_must(accept(l, NULL, NULL) >= 0 && !close(l));
	to_label(100, SOCK_DGRAM, 0x12345, &at);
	zdtm_ready();
	zdtm_wait();
	zdtm_check(send(101, "x", 1, 0) == 1, "send: %s", strerror(errno));
	zdtm_pass();
}
