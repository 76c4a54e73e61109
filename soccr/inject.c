/* SPDX-License-Identifier: LGPL-2.1-only */
/* Sends single TCP segments as if from the peer. */
#include <libnet.h>
#include <string.h>

#include "inner.h"
#include "segment.h"

#define BINDTOIFINDEX 62 /* SO_BINDTOIFINDEX of asm-generic/socket.h, since 5.0 */

static bool is_v4(const union soccr_addr *a)
{
	return a->any.sa_family == AF_INET || IN6_IS_ADDR_V4MAPPED(&a->v6.sin6_addr);
}

static uint32_t v4_of(const union soccr_addr *a)
{
	uint32_t v;

	if (a->any.sa_family == AF_INET)
		return a->v4.sin_addr.s_addr;
	memcpy(&v, (const uint8_t *)&a->v6.sin6_addr + 12, sizeof(v));
	return v;
}

static uint16_t port_of(const union soccr_addr *a)
{
	return ntohs(a->any.sa_family == AF_INET ? a->v4.sin_port : a->v6.sin6_port);
}

static bool add_ip(libnet_t *l, const struct soccr_segment *s)
{
	struct libnet_in6_addr from, to;

	if (is_v4(s->from))
		return libnet_build_ipv4(LIBNET_IPV4_H + LIBNET_TCP_H, 0, 0, 0, 64, IPPROTO_TCP, 0, v4_of(s->from),
		                         v4_of(s->to), NULL, 0, l, 0) != -1;
	memcpy(&from, &s->from->v6.sin6_addr, sizeof(from));
	memcpy(&to, &s->to->v6.sin6_addr, sizeof(to));
	return libnet_build_ipv6(0, 0, LIBNET_TCP_H, IPPROTO_TCP, 64, from, to, NULL, 0, l, 0) != -1;
}

static int set_route(libnet_t *l, const struct soccr_segment *s, uint32_t mark)
{
	int fd = libnet_getfd(l), device = is_v4(s->to) ? 0 : (int)s->to->v6.sin6_scope_id;

	if (setsockopt(fd, SOL_SOCKET, SO_MARK, &mark, sizeof(mark)))
		return -errno;
	if (device && setsockopt(fd, SOL_SOCKET, BINDTOIFINDEX, &device, sizeof(device)))
		return -errno;
	return 0;
}

int soccr_inject(const struct soccr_segment *s, uint32_t mark)
{
	char text[LIBNET_ERRBUF_SIZE];
	libnet_t *l = libnet_init(is_v4(s->from) ? LIBNET_RAW4 : LIBNET_RAW6, NULL, text);
	int err;

	if (!l)
		return errno ? -errno : -EIO;
	err = set_route(l, s, mark);
	if (!err && libnet_build_tcp(port_of(s->from), port_of(s->to), s->seq, s->ack, s->flags, s->window, 0, 0,
	                             LIBNET_TCP_H, NULL, 0, l, 0) == -1)
		err = -EINVAL;
	if (!err && !add_ip(l, s))
		err = -EINVAL;
	if (!err && libnet_write(l) < 0)
		err = errno ? -errno : -EIO;
	libnet_destroy(l);
	return err;
}
