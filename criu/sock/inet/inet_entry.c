/* SPDX-License-Identifier: GPL-2.0-only */
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>

#include "files/net_ns.h"
#include "lib/log.h"
#include "sock/inet/inet.h"
#include "sock/tcp/tcp_entry.h"

bool inet_is_udp(const InetSkEntry *m)
{
	return m->type == SOCK_DGRAM && (m->proto == IPPROTO_UDP || m->proto == IPPROTO_UDPLITE);
}

/* A raw socket may have the protocol of TCP. */
bool inet_is_tcp(const InetSkEntry *m)
{
	return m->type == SOCK_STREAM && m->proto == IPPROTO_TCP;
}

bool inet_has_peer(const InetSkEntry *m)
{
	return m->ended || tcp_is_connection(m);
}

bool inet_is_known(const InetSkEntry *m)
{
	if (m->type == SOCK_STREAM)
		return m->proto == IPPROTO_TCP;
	if (m->type == SOCK_DGRAM)
		return inet_is_udp(m) || m->proto == (m->family == AF_INET6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP);
	return m->type == SOCK_RAW;
}

const char *inet_what(const InetSkEntry *m)
{
	if (inet_is_tcp(m))
		return m->state == TCP_LISTEN ? "listening TCP socket" : "TCP socket";
	if (m->type == SOCK_RAW)
		return "raw socket";
	return m->proto == IPPROTO_UDP ? "UDP socket" : m->proto == IPPROTO_UDPLITE ? "UDP-Lite socket" : "ping socket";
}

const char *inet_who(struct restore *r, const InetSkEntry *m)
{
	union inet_addr n;

	inet_addr_from_words((int)m->family, m->src_addr, m->n_src_addr, m->src_port, m->ifname, &n);
	return arena_printf(r->arena, "%s %s", inet_what(m), inet_addr_text(&n));
}

int inet_int_option(int fd, int name)
{
	socklen_t len = sizeof(int);
	int v;

	return getsockopt(fd, SOL_SOCKET, name, &v, &len) ? -1 : v;
}

void inet_set_owner(struct restore *r, int fd, const InetSkEntry *m, const char *who)
{
	uint32_t uid = m->uid, gid = m->gid;

	if ((uid || gid) && (!net_ns_ids_here(r, &uid, &gid) || fchown(fd, uid, gid)))
		log_warn("%s: fchown to %u:%u: %s", who, m->uid, m->gid, strerror(errno));
}
