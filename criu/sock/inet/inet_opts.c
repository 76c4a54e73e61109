/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Options of IPv4, IPv6, raw, TCP and UDP. Missing, since the kernel does not let them be read: IP_MULTICAST_IF by
 * index alone, sticky IPv6 headers, IPsec policies of a socket, groups joined with IPV6_JOIN_ANYCAST. TCP_FASTOPEN_KEY
 * is left out: secrets do not belong into images.
 */
#include <arpa/inet.h>
#include <net/if.h>
#include <netinet/icmp6.h>
#include <poll.h>
#include <string.h>

#include "files/files.h"
#include "files/net_ns.h"
#include "lib/log.h"
#include "sock/inet/inet.h"
#include "sock/opts.h"
#include "sock/tcp/tcp_entry.h"
#include "uapi/inet_bits.h"

#define ROW(at, option, of_field) .level = (at), .name = (option), .field = (of_field)
#define IP(option, of_field)                                                                                           \
	{                                                                                                              \
		.text = #option, ROW(IPPROTO_IP, option, of_field)                                                     \
	}
#define IP_IS(option, of_field)                                                                                        \
	{                                                                                                              \
		.text = #option, ROW(IPPROTO_IP, option, of_field), .absent = SOCK_OPT_ALWAYS                          \
	}
#define IP_ONE(option, of_field)                                                                                       \
	{                                                                                                              \
		.text = #option, ROW(IPPROTO_IP, option, of_field), .absent = 1                                        \
	}
#define V6(option, of_field)                                                                                           \
	{                                                                                                              \
		.text = #option, ROW(IPPROTO_IPV6, option, of_field)                                                   \
	}
#define V6_IS(option, of_field)                                                                                        \
	{                                                                                                              \
		.text = #option, ROW(IPPROTO_IPV6, option, of_field), .absent = SOCK_OPT_ALWAYS                        \
	}
#define V6_ONE(option, of_field)                                                                                       \
	{                                                                                                              \
		.text = #option, ROW(IPPROTO_IPV6, option, of_field), .absent = 1                                      \
	}
#define OF_TCP(option, of_field)                                                                                       \
	{                                                                                                              \
		.text = #option, ROW(IPPROTO_TCP, option, of_field)                                                    \
	}
#define OF_TCP_IS(option, of_field)                                                                                    \
	{                                                                                                              \
		.text = #option, ROW(IPPROTO_TCP, option, of_field), .absent = SOCK_OPT_ALWAYS                         \
	}
#define UDP(option, of_field)                                                                                          \
	{                                                                                                              \
		.text = #option, ROW(IPPROTO_UDP, option, of_field)                                                    \
	}
/* Options that would change or refuse the datagrams that are put back into the receive queue. */
#define UDP_LATER(option, of_field)                                                                                    \
	{                                                                                                              \
		.text = #option, ROW(IPPROTO_UDP, option, of_field), .late = true                                      \
	}

/* For IPv6 sockets too, which may carry IPv4. */
static const struct sock_opt ip_table[] = {
	IP_IS(IP_TOS, "tos"),
	IP_IS(IP_TTL, "ttl"),
	IP_IS(IP_MTU_DISCOVER, "mtu_discover"),
	IP(IP_RECVERR, "recverr"),
	IP(IP_RECVTTL, "recvttl"),
	IP(IP_RECVTOS, "recvtos"),
	IP(IP_RECVOPTS, "recvopts"),
	IP(IP_RETOPTS, "retopts"),
	IP(IP_RECVORIGDSTADDR, "recvorigdstaddr"),
	{ .text = "IP_MINTTL", ROW(IPPROTO_IP, IP_MINTTL, "minttl"), .late = true },
	IP(IP_TRANSPARENT, "transparent"),
	IP(IP_BIND_ADDRESS_NO_PORT, "bind_address_no_port"),
	IP(IP_RECVFRAGSIZE, "recvfragsize"),
	IP(IP_RECVERR_RFC4884, "recverr_rfc4884"),
	IP(IP_CHECKSUM, "checksum"),
	IP(IP_PASSSEC, "passsec"),
	IP_ONE(IP_MULTICAST_LOOP, "multicast_loop"),
	IP(IP_LOCAL_PORT_RANGE, "local_port_range"),
	{ 0 },
};

/* Not for streams: they refuse to set it, and accepted ones show the unicast hop limit instead. */
static const struct sock_opt ip_mcast_table[] = {
	IP_ONE(IP_MULTICAST_TTL, "multicast_ttl"),
	{ 0 },
};

static const struct sock_opt v6_mcast_table[] = {
	V6_ONE(IPV6_MULTICAST_HOPS, "multicast_hops"),
	{ 0 },
};

static const struct sock_opt ip_only_table[] = {
	IP_IS(IP_FREEBIND, "freebind"),
	IP_IS(IP_PKTINFO, "pktinfo"),
	IP_ONE(IP_MULTICAST_ALL, "multicast_all"),
	{ 0 },
};

/* In the same fields as the options of IPv4 sockets that mean the same. */
static const struct sock_opt v6_shared_table[] = {
	V6_IS(IPV6_FREEBIND, "freebind"),
	V6_IS(IPV6_RECVPKTINFO, "pktinfo"),
	IP(IP_PKTINFO, "pktinfo_v4"),
	IP_IS(IP_MULTICAST_ALL, "multicast_all"), /* unlike IPv4 sockets, a new one has it off */
	{ 0 },
};

/* A field of inet_sk_entry itself. On raw sockets it is off and cannot be changed. */
static const struct sock_opt v6only_table[] = {
	V6_IS(IPV6_V6ONLY, "v6only"),
	{ 0 },
};

/* The route's, where the task has set none. */
static const struct sock_opt v6_route_table[] = {
	{ .text = "IPV6_UNICAST_HOPS",
	  ROW(IPPROTO_IPV6, IPV6_UNICAST_HOPS, "unicast_hops"),
	  .absent = SOCK_OPT_ALWAYS,
	  .moving = true },
	{ 0 },
};

static const struct sock_opt v6_table[] = {
	V6_ONE(IPV6_MULTICAST_LOOP, "multicast_loop"),
	V6_ONE(IPV6_MULTICAST_ALL, "multicast_all"),
	V6_IS(IPV6_MTU_DISCOVER, "mtu_discover"),
	V6(IPV6_RECVERR, "recverr"),
	V6(IPV6_RECVHOPLIMIT, "recvhoplimit"),
	V6(IPV6_RECVTCLASS, "recvtclass"),
	V6_IS(IPV6_TCLASS, "tclass"),
	V6(IPV6_TRANSPARENT, "transparent"),
	V6(IPV6_DONTFRAG, "dontfrag"),
	V6(IPV6_RECVPATHMTU, "recvpathmtu"),
	V6(IPV6_RECVRTHDR, "recvrthdr"),
	V6(IPV6_RECVHOPOPTS, "recvhopopts"),
	V6(IPV6_RECVDSTOPTS, "recvdstopts"),
	V6(IPV6_FLOWINFO, "recvflowinfo"),
	V6(IPV6_FLOWINFO_SEND, "flowinfo_send"),
	V6_IS(IPV6_AUTOFLOWLABEL, "autoflowlabel"),
	V6(IPV6_RECVORIGDSTADDR, "recvorigdstaddr"),
	V6(IPV6_RECVFRAGSIZE, "recvfragsize"),
	V6_IS(IPV6_ADDR_PREFERENCES, "addr_preferences"),
	{ .text = "IPV6_MINHOPCOUNT", ROW(IPPROTO_IPV6, IPV6_MINHOPCOUNT, "minhopcount"), .late = true },
	V6(IPV6_RECVERR_RFC4884, "recverr_rfc4884"),
	V6(IPV6_ROUTER_ALERT_ISOLATE, "router_alert_isolate"),
	V6(IPV6_2292PKTINFO, "old_pktinfo"),
	V6(IPV6_2292HOPOPTS, "old_hopopts"),
	V6(IPV6_2292DSTOPTS, "old_dstopts"),
	V6(IPV6_2292RTHDR, "old_rthdr"),
	V6(IPV6_2292HOPLIMIT, "old_hoplimit"),
	{ 0 },
};

static const struct sock_opt raw_table[] = {
	IP_IS(IP_HDRINCL, "hdrincl"),
	IP_IS(IP_NODEFRAG, "nodefrag"),
	{ 0 },
};

static const struct sock_opt raw6_table[] = {
	{ .text = "IPV6_HDRINCL", ROW(IPPROTO_IPV6, IPV6_HDRINCL, "hdrincl"), .absent = SOCK_OPT_ALWAYS },
	{ .text = "IPV6_CHECKSUM", ROW(IPPROTO_IPV6, IPV6_CHECKSUM, "checksum_offset"), .absent = -1 },
	{ 0 },
};

static const struct sock_opt tcp_table[] = {
	OF_TCP_IS(TCP_CORK, "cork"),
	OF_TCP_IS(TCP_NODELAY, "nodelay"),
	OF_TCP_IS(TCP_KEEPCNT, "keepcnt"),
	OF_TCP_IS(TCP_KEEPIDLE, "keepidle"),
	OF_TCP_IS(TCP_KEEPINTVL, "keepintvl"),
	OF_TCP(TCP_USER_TIMEOUT, "user_timeout"),
	OF_TCP_IS(TCP_SYNCNT, "syncnt"),
	OF_TCP_IS(TCP_LINGER2, "linger2"),
	OF_TCP(TCP_THIN_LINEAR_TIMEOUTS, "thin_linear"),
	OF_TCP_IS(TCP_NOTSENT_LOWAT, "notsent_lowat"),
	OF_TCP(TCP_INQ, "inq"),
	OF_TCP(TCP_TX_DELAY, "tx_delay"),
	OF_TCP_IS(TCP_RTO_MAX_MS, "rto_max_ms"),
	OF_TCP_IS(TCP_RTO_MIN_US, "rto_min_us"),
	OF_TCP_IS(TCP_DELACK_MAX_US, "delack_max_us"),
	{ 0 },
};

/* For listening and for connecting: on a connection they mean something else, or cannot be set. */
static const struct sock_opt tcp_start_table[] = {
	OF_TCP(TCP_DEFER_ACCEPT, "defer_accept"),
	OF_TCP_IS(TCP_MAXSEG, "maxseg"),
	OF_TCP(TCP_WINDOW_CLAMP, "window_clamp"),
	OF_TCP(TCP_FASTOPEN, "fastopen"),
	OF_TCP(TCP_FASTOPEN_CONNECT, "fastopen_connect"),
	OF_TCP(TCP_FASTOPEN_NO_COOKIE, "fastopen_no_cookie"),
	OF_TCP(TCP_SAVE_SYN, "save_syn"),
	{ 0 },
};

/* Every connection has a clamp, set or not, and it grows with the receive buffer. */
static const struct sock_opt tcp_connected_table[] = {
	{ .text = "TCP_WINDOW_CLAMP", ROW(IPPROTO_TCP, TCP_WINDOW_CLAMP, "window_clamp"), .moving = true },
	{ 0 },
};

static const struct sock_opt udp_table[] = {
	UDP(UDP_CORK, "cork"),
	UDP(UDP_NO_CHECK6_TX, "no_check6_tx"),
	UDP(UDP_NO_CHECK6_RX, "no_check6_rx"),
	UDP(UDP_SEGMENT, "segment"),
	UDP_LATER(UDP_ENCAP, "encap"),
	UDP_LATER(UDP_GRO, "gro"),
	{ 0 },
};

static const struct sock_opt udplite_table[] = {
	{ .text = "UDPLITE_SEND_CSCOV", ROW(IPPROTO_UDPLITE, UDPLITE_SEND_CSCOV, "send_cscov") },
	{ .text = "UDPLITE_RECV_CSCOV", ROW(IPPROTO_UDPLITE, UDPLITE_RECV_CSCOV, "recv_cscov") },
	{ 0 },
};

/* ---- dump ---- */

static const char *name_of_index(struct arena *a, uint32_t index)
{
	char name[IF_NAMESIZE];

	return index && if_indextoname(index, name) ? arena_strdup(a, name) : NULL;
}

static char *interface_option(struct arena *a, int fd, int level, int name, bool swapped)
{
	uint32_t index = 0;
	socklen_t len = sizeof(index);

	if (getsockopt(fd, level, name, &index, &len))
		return NULL;
	return (char *)name_of_index(a, swapped ? ntohl(index) : index);
}

static void dump_ip_others(struct arena *a, const struct fd_info *info, bool stream, IpOptsEntry *o)
{
	struct in_addr addr = { 0 };
	socklen_t len = sizeof(addr);
	uint8_t bytes[64];

	if (!stream && !getsockopt(info->fd, IPPROTO_IP, IP_MULTICAST_IF, &addr, &len) && addr.s_addr) {
		o->has_multicast_if = true;
		o->multicast_if = addr.s_addr;
	}
	o->unicast_ifname = interface_option(a, info->fd, IPPROTO_IP, IP_UNICAST_IF, true);
	len = sizeof(bytes);
	if (!getsockopt(info->fd, IPPROTO_IP, IP_OPTIONS, bytes, &len) && len) {
		o->has_options = true;
		o->options.len = len;
		o->options.data = arena_memdup(a, bytes, len);
	}
}

static int dump_v6(struct arena *a, const struct fd_info *info, InetSkEntry *m, IpOptsEntry *o)
{
	Ip6OptsEntry *v6 = arena_msg(a, Ip6OptsEntry, ip6_opts_entry);
	int err = sock_opt_table_dump(info, v6only_table, m);

	o->v6 = v6;
	if (m->type != SOCK_STREAM)
		v6->multicast_ifname = interface_option(a, info->fd, IPPROTO_IPV6, IPV6_MULTICAST_IF, false);
	v6->unicast_ifname = interface_option(a, info->fd, IPPROTO_IPV6, IPV6_UNICAST_IF, true);
	err = err ?: sock_opt_table_dump(info, v6_shared_table, o);
	err = err ?: sock_opt_table_dump(info, v6_route_table, v6);
	return err ?: sock_opt_table_dump(info, v6_table, v6);
}

static int dump_raw(struct arena *a, const struct fd_info *info, const InetSkEntry *m, IpOptsEntry *o)
{
	bool v6 = m->family == AF_INET6, icmp = m->proto == (v6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP);
	uint32_t filter[8];
	socklen_t len = v6 ? sizeof(filter) : sizeof(filter[0]);

	o->raw = arena_msg(a, IpOptsRawEntry, ip_opts_raw_entry);
	if (icmp) {
		if (getsockopt(info->fd, v6 ? SOL_ICMPV6 : SOL_RAW, ICMP_FILTER, filter, &len))
			return log_errno(-errno, "%s: getsockopt(ICMP_FILTER)", fd_name(info));
		o->raw->n_icmpv_filter = len / sizeof(filter[0]);
		o->raw->icmpv_filter = arena_memdup(a, filter, len);
	}
	return sock_opt_table_dump(info, v6 ? raw6_table : raw_table, o->raw);
}

#define MAXSEG_MAX 32767 /* MAX_TCP_WINDOW of net/tcp.h */

static bool has_tcp_peer(int fd)
{
	struct tcp_info info = { 0 };
	socklen_t len = sizeof(info);

	return !getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len) && info.tcpi_state != TCP_CLOSE &&
	       info.tcpi_state != TCP_LISTEN;
}

static int dump_tcp(struct arena *a, const struct fd_info *info, InetSkEntry *m)
{
	char name[32] = "";
	socklen_t len = sizeof(name) - 1;
	int err;

	m->tcp_opts = arena_msg(a, TcpOptsEntry, tcp_opts_entry);
	if (!getsockopt(info->fd, IPPROTO_TCP, TCP_CONGESTION, name, &len) && *name)
		m->tcp_opts->congestion = arena_strdup(a, name);
	err = sock_opt_table_dump(info, tcp_table, m->tcp_opts);
	if (!err)
		err = sock_opt_table_dump(
		    info, tcp_is_connection(m) || has_tcp_peer(info->fd) ? tcp_connected_table : tcp_start_table,
		    m->tcp_opts);
	/* A larger value cannot have been set by a task: it is left of a connection. */
	if (m->tcp_opts->maxseg > MAXSEG_MAX)
		m->tcp_opts->has_maxseg = false;
	return err;
}

/* The end of a connection is another matter: tcp/tcp_ended.c. */
static void warn_errors(const struct fd_info *info, const InetSkEntry *m)
{
	struct pollfd p = { .fd = info->fd };

	if (poll(&p, 1, 0) > 0 && p.revents & POLLERR && (!inet_is_tcp(m) || has_tcp_peer(info->fd)))
		log_warn(
		    "%s: an error, or what is in the socket's error queue (MSG_ERRQUEUE), was not read and does not "
		    "come back: to look at it takes it away",
		    fd_name(info));
}

int inet_opts_dump(struct arena *a, const struct fd_info *info, InetSkEntry *m)
{
	IpOptsEntry *o = m->ip_opts = arena_msg(a, IpOptsEntry, ip_opts_entry);
	int err = sock_opt_table_dump(info, ip_table, o);

	warn_errors(info, m);
	dump_ip_others(a, info, m->type == SOCK_STREAM, o);
	if (!err)
		err = m->family == AF_INET6 ? dump_v6(a, info, m, o) : sock_opt_table_dump(info, ip_only_table, o);
	if (!err && m->type != SOCK_STREAM)
		err = sock_opt_table_dump(info, ip_mcast_table, o)
		          ?: o->v6 ? sock_opt_table_dump(info, v6_mcast_table, o->v6)
		                   : 0;
	if (!err && m->type == SOCK_RAW)
		err = dump_raw(a, info, m, o);
	if (!err && inet_is_tcp(m))
		err = dump_tcp(a, info, m);
	if (!err && m->type == SOCK_DGRAM && (m->proto == IPPROTO_UDP || m->proto == IPPROTO_UDPLITE)) {
		m->udp_opts = arena_msg(a, UdpOptsEntry, udp_opts_entry);
		err = sock_opt_table_dump(info, udp_table, m->udp_opts);
		if (m->proto == IPPROTO_UDPLITE)
			err = err ?: sock_opt_table_dump(info, udplite_table, m->udp_opts);
	}
	return err;
}

int inet_opts_dump_moving(struct arena *a, const struct fd_info *info, InetSkEntry *m)
{
	int err = 0;

	warn_errors(info, m);
	if (m->ip_opts->v6) {
		m->ip_opts = arena_memdup(a, m->ip_opts, sizeof(*m->ip_opts));
		m->ip_opts->v6 = arena_memdup(a, m->ip_opts->v6, sizeof(*m->ip_opts->v6));
		err = sock_opt_table_dump(info, v6_route_table, m->ip_opts->v6);
	}
	m->tcp_opts = arena_memdup(a, m->tcp_opts, sizeof(*m->tcp_opts));
	m->tcp_opts->has_window_clamp = false;
	return err ?: sock_opt_table_dump(info, tcp_connected_table, m->tcp_opts);
}

/* ---- restore ---- */

static int set_option_bytes(int fd, int level, int name, const void *v, size_t len, const char *text, const char *who)
{
	return setsockopt(fd, level, name, v, (socklen_t)len) ? log_errno(-errno, "%s: setsockopt(%s)", who, text) : 0;
}

static int set_interface(int fd, int level, int name, const char *ifname, bool swapped, const char *text,
                         const char *who)
{
	uint32_t index;

	if (!ifname)
		return 0;
	index = if_nametoindex(ifname);
	if (!index)
		return log_errno(-errno, "%s: %s: if_nametoindex(%s)", who, text, ifname);
	if (swapped)
		index = htonl(index);
	return set_option_bytes(fd, level, name, &index, sizeof(index), text, who);
}

static int early_ip(struct sock_new *new, int fd, const IpOptsEntry *o, const char *who)
{
	struct in_addr addr = { .s_addr = o->multicast_if };
	int err = sock_opt_table_restore(new, fd, ip_table, o, false, who);

	if (!err && o->has_multicast_if)
		err = set_option_bytes(fd, IPPROTO_IP, IP_MULTICAST_IF, &addr, sizeof(addr), "IP_MULTICAST_IF", who);
	if (!err && o->has_options)
		err = set_option_bytes(fd, IPPROTO_IP, IP_OPTIONS, o->options.data, o->options.len, "IP_OPTIONS", who);
	return err ?: set_interface(fd, IPPROTO_IP, IP_UNICAST_IF, o->unicast_ifname, true, "IP_UNICAST_IF", who);
}

static int early_v6(struct sock_new *new, int fd, const IpOptsEntry *o, const char *who)
{
	const Ip6OptsEntry *v6 = o->v6;
	int err = sock_opt_table_restore(new, fd, v6_shared_table, o, false, who);

	if (err || !v6)
		return err;
	err = sock_opt_table_restore(new, fd, v6_route_table, v6, false, who);
	err = err ?: sock_opt_table_restore(new, fd, v6_table, v6, false, who);
	err = err
	          ?: set_interface(fd, IPPROTO_IPV6, IPV6_MULTICAST_IF, v6->multicast_ifname, false,
	                           "IPV6_MULTICAST_IF", who);
	return err
	           ?: set_interface(fd, IPPROTO_IPV6, IPV6_UNICAST_IF, v6->unicast_ifname, true, "IPV6_UNICAST_IF",
	                            who);
}

static int early_raw(struct sock_new *new, int fd, const InetSkEntry *m, const IpOptsRawEntry *raw, const char *who)
{
	bool v6 = m->family == AF_INET6;
	int err = sock_opt_table_restore(new, fd, v6 ? raw6_table : raw_table, raw, false, who);

	if (err || !raw->n_icmpv_filter)
		return err;
	return set_option_bytes(fd, v6 ? SOL_ICMPV6 : SOL_RAW, ICMP_FILTER, raw->icmpv_filter,
	                        raw->n_icmpv_filter * sizeof(uint32_t), "ICMP_FILTER", who);
}

/* Older images have the keepalive options in sk_opts_entry. */
static int set_tcp(struct sock_new *new, int fd, const InetSkEntry *m, const char *who)
{
	TcpOptsEntry old = TCP_OPTS_ENTRY__INIT;
	const TcpOptsEntry *o = m->tcp_opts ?: &old;
	int err;

	old.has_keepcnt = m->opts->has_tcp_keepcnt;
	old.keepcnt = m->opts->tcp_keepcnt;
	old.has_keepidle = m->opts->has_tcp_keepidle;
	old.keepidle = m->opts->tcp_keepidle;
	old.has_keepintvl = m->opts->has_tcp_keepintvl;
	old.keepintvl = m->opts->tcp_keepintvl;
	err = sock_opt_table_restore(new, fd, tcp_table, o, false, who);
	if (!err)
		err = sock_opt_table_restore(new, fd, tcp_is_connection(m) ? tcp_connected_table : tcp_start_table, o,
		                             false, who);
	if (err || !o->congestion)
		return err;
	if (setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, o->congestion, (socklen_t)strlen(o->congestion)))
		log_warn("%s: setsockopt(TCP_CONGESTION, %s): %s (modprobe tcp_%s, or "
		         "net.ipv4.tcp_allowed_congestion_control)",
		         who, o->congestion, strerror(errno), o->congestion);
	return 0;
}

static int udp_opts(struct sock_new *new, int fd, const InetSkEntry *m, bool late, const char *who)
{
	int err = m->udp_opts ? sock_opt_table_restore(new, fd, udp_table, m->udp_opts, late, who) : 0;

	if (m->udp_opts && m->proto == IPPROTO_UDPLITE)
		err = err ?: sock_opt_table_restore(new, fd, udplite_table, m->udp_opts, late, who);
	return err;
}

static int early_mcast(struct sock_new *new, int fd, const IpOptsEntry *o, const char *who)
{
	return sock_opt_table_restore(new, fd, ip_mcast_table, o, false, who)
	           ?: o->v6 ? sock_opt_table_restore(new, fd, v6_mcast_table, o->v6, false, who)
	                    : 0;
}

struct sock_new *inet_opts_new(struct restore *r, const InetSkEntry *m)
{
	return sock_new_of(r, net_ns_of_msg(r, m), (int)m->family, (int)m->type, (int)m->proto);
}

int inet_opts_early(struct restore *r, int fd, const InetSkEntry *m, struct sock_new *new, const char *who)
{
	int err = m->family == AF_INET6 ? sock_opt_table_restore(new, fd, v6only_table, m, false, who) : 0;

	if (!err && m->ip_opts)
		err = early_ip(new, fd, m->ip_opts, who);
	if (!err && m->ip_opts && m->family == AF_INET6)
		err = early_v6(new, fd, m->ip_opts, who);
	if (!err && m->ip_opts && m->family == AF_INET)
		err = sock_opt_table_restore(new, fd, ip_only_table, m->ip_opts, false, who);
	if (!err && m->ip_opts && m->type != SOCK_STREAM)
		err = early_mcast(new, fd, m->ip_opts, who);
	if (!err && m->ip_opts && m->ip_opts->raw)
		err = early_raw(new, fd, m, m->ip_opts->raw, who);
	/* Those of a connection are set when its queues are full. */
	if (!err && inet_is_tcp(m) && !tcp_is_connection(m))
		err = set_tcp(new, fd, m, who);
	return err ?: udp_opts(new, fd, m, false, who);
}

int inet_opts_late(struct restore *r, int fd, const InetSkEntry *m, struct sock_new *new, const char *who)
{
	int err = m->ip_opts ? sock_opt_table_restore(new, fd, ip_table, m->ip_opts, true, who) : 0;

	if (!err && m->ip_opts && m->ip_opts->v6)
		err = sock_opt_table_restore(new, fd, v6_table, m->ip_opts->v6, true, who);
	if (!err && tcp_is_connection(m))
		err = set_tcp(new, fd, m, who);
	return err ?: udp_opts(new, fd, m, true, who);
}
