/* SPDX-License-Identifier: GPL-2.0-only */
#include <arpa/inet.h>
#include <net/if.h>
#include <netinet/tcp.h>
#include <string.h>

#include "fdinfo.pb-c.h"
#include "lib/log.h"
#include "sock/tcp/tcp_entry.h"

bool tcp_is_connection(const InetSkEntry *m)
{
	return m->proto == IPPROTO_TCP && m->type == SOCK_STREAM && m->state != TCP_LISTEN && m->state != TCP_CLOSE;
}

static int fill_address(const InetSkEntry *m, const uint32_t *words, size_t n, uint32_t port, union soccr_addr *a)
{
	memset(a, 0, sizeof(*a));
	if (port > UINT16_MAX)
		return -EINVAL;
	a->any.sa_family = (sa_family_t)m->family;
	if (m->family == AF_INET && n >= 1) {
		a->v4.sin_port = htons((uint16_t)port);
		memcpy(&a->v4.sin_addr, words, 4);
		return 0;
	}
	if (m->family != AF_INET6 || n != 4)
		return -EINVAL;
	a->v6.sin6_port = htons((uint16_t)port);
	memcpy(&a->v6.sin6_addr, words, 16);
	if (IN6_IS_ADDR_LINKLOCAL(&a->v6.sin6_addr) && m->ifname)
		a->v6.sin6_scope_id = if_nametoindex(m->ifname);
	return 0;
}

int tcp_addresses_of(const InetSkEntry *m, union soccr_addr *local, union soccr_addr *remote)
{
	return fill_address(m, m->src_addr, m->n_src_addr, m->src_port, local)
	           ?: fill_address(m, m->dst_addr, m->n_dst_addr, m->dst_port, remote);
}

static int address_in_packets(const union soccr_addr *a, uint8_t addr[16], uint16_t *port)
{
	memset(addr, 0, 16);
	if (a->any.sa_family == AF_INET) {
		memcpy(addr, &a->v4.sin_addr, 4);
		*port = a->v4.sin_port;
		return AF_INET;
	}
	*port = a->v6.sin6_port;
	if (IN6_IS_ADDR_V4MAPPED(&a->v6.sin6_addr)) {
		memcpy(addr, (const uint8_t *)&a->v6.sin6_addr + 12, 4);
		return AF_INET;
	}
	memcpy(addr, &a->v6.sin6_addr, 16);
	return AF_INET6;
}

struct net_tuple tcp_tuple_of(const InetSkEntry *m)
{
	union soccr_addr local, remote;
	struct net_tuple t;

	memset(&t, 0, sizeof(t)); /* padding too: the tuple may become the key of a table */
	t.family = AF_INET;
	if (tcp_addresses_of(m, &local, &remote))
		return t;
	t.family = address_in_packets(&local, t.local, &t.local_port);
	address_in_packets(&remote, t.remote, &t.remote_port);
	return t;
}

int tcp_tuples_read(struct image_dir *dir, struct arena *a, struct tcp_tuples *all)
{
	_cleanup_image_ struct image *img = NULL;
	int err = image_open(dir, IMG_FILES, 0, &img);
	FileEntry *fe;

	*all = (struct tcp_tuples) { 0 };
	if (err)
		return err == -ENOENT ? log_errno(err, "files.img is missing: the checkpoint is incomplete") : err;
	while ((err = image_read(img, &file_entry__descriptor, a, &fe)) > 0)
		if (fe->isk && tcp_is_connection(fe->isk) && !fe->isk->external)
			arena_push(a, &all->tuples, &all->n, tcp_tuple_of(fe->isk));
	return err;
}

const char *tcp_tuple_text(const InetSkEntry *m)
{
	/* lint: global: a message's text, used up in the same expression */
	static _Thread_local char ring[2][2 * INET6_ADDRSTRLEN + 24];
	/* lint: global: its place */
	static _Thread_local unsigned next;
	char *text = ring[next++ % ARRAY_SIZE(ring)], a[INET6_ADDRSTRLEN] = "?", b[INET6_ADDRSTRLEN] = "?";
	struct net_tuple t = tcp_tuple_of(m);

	inet_ntop(t.family, t.local, a, sizeof(a));
	inet_ntop(t.family, t.remote, b, sizeof(b));
	snprintf(text, sizeof(ring[0]), t.family == AF_INET ? "%s:%u - %s:%u" : "[%s]:%u - [%s]:%u", a, m->src_port, b,
	         m->dst_port);
	return text;
}
