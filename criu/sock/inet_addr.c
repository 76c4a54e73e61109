/* SPDX-License-Identifier: GPL-2.0-only */
#include <arpa/inet.h>
#include <net/if.h>
#include <string.h>

#include "sock/inet_addr.h"

socklen_t inet_addr_len(const union inet_addr *n)
{
	return n->any.sa_family == AF_INET6 ? sizeof(n->v6) : sizeof(n->v4);
}

uint16_t inet_addr_port(const union inet_addr *n)
{
	return ntohs(n->any.sa_family == AF_INET6 ? n->v6.sin6_port : n->v4.sin_port);
}

void inet_addr_set_port(union inet_addr *n, uint16_t port)
{
	if (n->any.sa_family == AF_INET6)
		n->v6.sin6_port = htons(port);
	else
		n->v4.sin_port = htons(port);
}

bool inet_addr_is_any(const union inet_addr *n)
{
	if (n->any.sa_family == AF_INET6)
		return IN6_IS_ADDR_UNSPECIFIED(&n->v6.sin6_addr);
	return n->v4.sin_addr.s_addr == INADDR_ANY;
}

bool inet_addr_equal(const union inet_addr *a, const union inet_addr *b)
{
	if (a->any.sa_family != b->any.sa_family || inet_addr_port(a) != inet_addr_port(b))
		return false;
	if (a->any.sa_family == AF_INET6)
		return IN6_ARE_ADDR_EQUAL(&a->v6.sin6_addr, &b->v6.sin6_addr);
	return a->v4.sin_addr.s_addr == b->v4.sin_addr.s_addr;
}

const char *inet_addr_text(const union inet_addr *n)
{
	/* lint: global: texts of messages, used up in the same expression */
	static __thread char ring[4][INET6_ADDRSTRLEN + IF_NAMESIZE + 16];
	/* lint: global: the next of them */
	static __thread unsigned next;
	char *text = ring[next++ % 4], addr[INET6_ADDRSTRLEN] = "?", dev[IF_NAMESIZE + 1] = "%";
	bool v6 = n->any.sa_family == AF_INET6;

	inet_ntop(n->any.sa_family, v6 ? (const void *)&n->v6.sin6_addr : &n->v4.sin_addr, addr, sizeof(addr));
	if (!v6 || !n->v6.sin6_scope_id || !if_indextoname(n->v6.sin6_scope_id, dev + 1))
		*dev = 0;
	snprintf(text, sizeof(ring[0]), v6 ? "[%s%s]:%u" : "%s%s:%u", addr, dev, inet_addr_port(n));
	return text;
}

void inet_addr_to_words(struct arena *a, const union inet_addr *n, uint32_t **words, size_t *n_words)
{
	if (n->any.sa_family == AF_INET6) {
		*n_words = 4;
		*words = arena_memdup(a, &n->v6.sin6_addr, sizeof(n->v6.sin6_addr));
	} else {
		*n_words = 1;
		*words = arena_memdup(a, &n->v4.sin_addr, sizeof(n->v4.sin_addr));
	}
}

/* An IPv4 word in an IPv6 socket's message is taken as such too: CRIU may write no address at all as one zero. */
int inet_addr_from_words(int family, const uint32_t *words, size_t n_words, uint32_t port, const char *ifname,
                         union inet_addr *out)
{
	memset(out, 0, sizeof(*out));
	out->any.sa_family = (sa_family_t)family;
	if (port > UINT16_MAX || n_words > 4)
		return -EINVAL;
	if (family == AF_INET6) {
		out->v6.sin6_port = htons((uint16_t)port);
		out->v6.sin6_scope_id = ifname ? if_nametoindex(ifname) : 0;
		if (n_words == 4)
			memcpy(&out->v6.sin6_addr, words, sizeof(out->v6.sin6_addr));
		return n_words == 4 || !n_words || (n_words == 1 && !words[0]) ? 0 : -EINVAL;
	}
	out->v4.sin_port = htons((uint16_t)port);
	if (n_words)
		out->v4.sin_addr.s_addr = words[0];
	return n_words <= 1 ? 0 : -EINVAL;
}

const char *inet_addr_names(struct arena *a, int fd)
{
	union inet_addr own = { 0 }, peer = { 0 };
	socklen_t len = sizeof(own);

	if (getsockname(fd, &own.any, &len) || (own.any.sa_family != AF_INET && own.any.sa_family != AF_INET6))
		return "without an address";
	len = sizeof(peer);
	if (getpeername(fd, &peer.any, &len))
		return arena_printf(a, "%s, not connected", inet_addr_text(&own));
	return arena_printf(a, "%s connected to %s", inet_addr_text(&own), inet_addr_text(&peer));
}
