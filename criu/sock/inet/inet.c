/* SPDX-License-Identifier: GPL-2.0-only */
/* IPv4 and IPv6 sockets: UDP, UDP-Lite, raw, ping, TCP. */
#include <net/if.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include "files/files.h"
#include "files/net_ns.h"
#include "lib/fd_flags.h"
#include "lib/log.h"
#include "sock/inet/inet_foresee.h"
#include "options/external.h"
#include "sock/diag.h"
#include "sock/inet/inet.h"
#include "sock/opts.h"
#include "sock/queue.h"
#include "sock/tcp/tcp.h"
#include "sock/tcp/tcp_check.h"
#include "sock/tcp/tcp_ended.h"
#include "sock/tcp/tcp_entry.h"
#include "sock/tcp/tcp_listen.h"
#include "uapi/inet_bits.h"
#include "uapi/sock_bits.h"

extern const struct fd_kind inet_kind;

static bool inet_match(const struct fd_info *info)
{
	int domain = sock_domain(info);

	/* SMC: to be refused by name. */
	return domain == AF_INET || domain == AF_INET6 || domain == AF_SMC;
}

/* ---- dump ---- */

static int dump_udp(struct dump *d, const struct fd_info *info, InetSkEntry *m)
{
	const struct diag_inet *s = NULL;
	int err = diag_find_inet(d, info->fd, (int)m->family, (int)m->proto, &s);

	if (err && err != -ENOENT)
		return err;
	return inet_shutdown_dump(info, m, s) ?: inet_queue_dump(d, info, m);
}

static int dump_by_protocol(struct dump *d, const struct fd_info *info, InetSkEntry *m, const union inet_addr *src,
                            const union inet_addr *dst)
{
	uint32_t bytes;

	if (inet_is_tcp(m))
		return inet_tcp_dump(d, info, m, src);
	m->state = dst->any.sa_family ? TCP_ESTABLISHED : TCP_CLOSE;
	if (inet_is_udp(m))
		return dump_udp(d, info, m);
	bytes = sock_queued(info->fd);
	if (bytes)
		log_warn("%s: dropping the packets in the receive queue of this %s (%u bytes, as the kernel counts): "
		         "they cannot be sent to it again",
		         fd_name(info), inet_what(m), bytes);
	return inet_shutdown_dump(info, m, NULL);
}

static const char *protocol_name(struct arena *a, const InetSkEntry *m)
{
	static const struct {
		uint32_t protocol;
		const char *name;
	} known[] = { { IPPROTO_SCTP, "an SCTP socket" },
		      { IPPROTO_MPTCP, "an MPTCP socket" },
		      { IPPROTO_SMC, "an SMC socket" },
		      { IPPROTO_DCCP, "a DCCP socket" },
		      { IPPROTO_L2TP, "an L2TP socket" } };

	if (m->family == AF_SMC)
		return "an SMC socket";
	for (size_t i = 0; i < ARRAY_SIZE(known); i++)
		if (known[i].protocol == m->proto)
			return known[i].name;
	return arena_printf(a, "a socket of type %u and protocol %u", m->type, m->proto);
}

static int refuse_protocol(struct dump *d, const struct fd_info *info, const InetSkEntry *m)
{
	log_refusal(-ENOTSUP,
	            "%s: %s, %s: the kernel does not let its state be read; let the task close it before the dump, "
	            "or use TCP",
	            fd_name(info), protocol_name(d->arena, m), inet_addr_names(d->arena, info->fd));
	return DUMP_REFUSED;
}

/* Only what tells which sockets can take its place at the restore. */
static void dump_external(struct dump *d, const struct fd_info *info, InetSkEntry *m, const union inet_addr *dst)
{
	if (inet_is_tcp(m) && inet_int_option(info->fd, SO_ACCEPTCONN) == 1)
		m->state = TCP_LISTEN;
	else
		m->state = dst->any.sa_family ? TCP_ESTABLISHED : TCP_CLOSE;
	m->opts = arena_msg(d->arena, SkOptsEntry, sk_opts_entry);
	m->has_external = m->external = true;
}

/*
 * A label that its packets have, leased or not (IPV6_FLOWINFO_SEND). It comes by connect(2), and nothing shows what
 * lease it is of.
 */
static int check_flow_label(const struct fd_info *info)
{
	struct sockaddr_in6 peer = { 0 };
	socklen_t len = sizeof(int);
	int sends = 0;

	if (getsockopt(info->fd, IPPROTO_IPV6, IPV6_FLOWINFO_SEND, &sends, &len) || !sends)
		return 0;
	len = sizeof(peer);
	if (getpeername(info->fd, (struct sockaddr *)&peer, &len) || !(peer.sin6_flowinfo & htonl(FLOW_LABEL)))
		return 0;
	log_refusal(-EOPNOTSUPP,
	            "%s: sends IPv6 packets with the flow label %05x (IPV6_FLOWINFO_SEND), which is not supported; let "
	            "the program switch that off before the dump",
	            fd_name(info), ntohl(peer.sin6_flowinfo) & FLOW_LABEL);
	return DUMP_REFUSED;
}

static int inet_dump(struct dump *d, const struct fd_info *info, void *msg)
{
	InetSkEntry *m = msg;
	union inet_addr src, dst;
	int err;

	m->ino = (uint32_t)info->st.st_ino;
	m->family = (uint32_t)sock_domain(info);
	m->type = (uint32_t)inet_int_option(info->fd, SO_TYPE);
	m->proto = (uint32_t)inet_int_option(info->fd, SO_PROTOCOL);
	if (!inet_is_known(m))
		return refuse_protocol(d, info, m);
	err = inet_bind_dump(d, info, m, &src, &dst);
	if (!err && external_named(d->opts, info->link)) {
		dump_external(d, info, m, &dst);
		return 0;
	}
	m->uid = info->st.st_uid;
	m->has_uid = m->uid != 0;
	m->gid = info->st.st_gid;
	m->has_gid = m->gid != 0;
	err = err ?: (m->family == AF_INET6 ? check_flow_label(info) : 0);
	err = err ?: inet_mcast_dump(d, info, m);
	err = err ?: dump_by_protocol(d, info, m, &src, &dst);
	/* The options of connections (DUMP_LATER) are read with them. */
	err = err ?: sock_opts_dump(d->arena, info, &m->opts);
	err = err ?: inet_reuseport_check(d, info, m->opts);
	err = err ?: inet_opts_dump(d->arena, info, m);
	return err ?: inet_foresee(d, info, m);
}

static int inet_collected(struct dump *d)
{
	static const struct tcp_dump_options options = { inet_opts_dump, inet_opts_dump_moving };

	return tcp_collected(d, &inet_kind, &options);
}

/* ---- restore: before anything is started ---- */

static int check_socket_entry(struct restore *r, const void *msg, void *arg)
{
	const InetSkEntry *m = msg;
	union inet_addr n;

	if ((m->family != AF_INET && m->family != AF_INET6) || !inet_is_known(m) ||
	    inet_addr_from_words((int)m->family, m->src_addr, m->n_src_addr, m->src_port, NULL, &n) ||
	    inet_addr_from_words((int)m->family, m->dst_addr, m->n_dst_addr, m->dst_port, NULL, &n) ||
	    (m->ended && (m->state != TCP_CLOSE || !inet_is_tcp(m) || m->ended->error > 4095)))
		return log_errno(-EINVAL, "files.img: file %u: an impossible socket of family %u, type %u, protocol %u",
		                 m->id, m->family, m->type, m->proto);
	inet_bind_count_port(r, m);
	return 0;
}

static int inet_read_images(struct restore *r)
{
	int err = files_all(r, &inet_kind, check_socket_entry, NULL);

	return err ?: queue_read_images(r);
}

static int inet_check_there(struct restore *r, const InetSkEntry *m, const char **why)
{
	return tcp_is_connection(m) ? tcp_check(r, m, why) : m->ended ? tcp_ended_check(r, m, why) : 0;
}

static int inet_check(struct restore *r, const void *msg, const char **why)
{
	const InetSkEntry *m = msg;
	union inet_addr n;

	if (net_ns_of_msg(r, m)) /* new: its devices and addresses come, and nobody has the ports */
		return inet_check_there(r, m, why);
	if (m->opts->so_bound_dev && !if_nametoindex(m->opts->so_bound_dev)) {
		*why = arena_printf(r->arena, "there is no network interface %s, to which its %s is bound",
		                    m->opts->so_bound_dev, inet_what(m));
		return -ENODEV;
	}
	inet_addr_from_words((int)m->family, m->src_addr, m->n_src_addr, m->src_port, m->ifname, &n);
	if (tcp_is_connection(m))
		return inet_tcp_check_connection(r, m, &n, why);
	return m->ended ? tcp_ended_check(r, m, why) : inet_bind_check(r, m, &n, why);
}

static void inet_resource(struct restore *r, const void *msg, char *buf, size_t size, bool *marked)
{
	const InetSkEntry *m = msg;

	snprintf(buf, size, "socket:[%u]", m->ino);
	*marked = m->has_external && m->external;
}

static bool inet_accepts(struct restore *r, const void *msg, const struct fd_info *ours)
{
	const InetSkEntry *m = msg;
	bool listens = inet_is_tcp(m) && m->state == TCP_LISTEN;

	return inet_match(ours) && sock_domain(ours) == (int)m->family &&
	       inet_int_option(ours->fd, SO_TYPE) == (int)m->type &&
	       inet_int_option(ours->fd, SO_PROTOCOL) == (int)m->proto &&
	       (inet_int_option(ours->fd, SO_ACCEPTCONN) == 1) == listens;
}

/* ---- restore ---- */

static int inet_prepare(struct restore *r)
{
	return tcp_prepare(r, inet_tcp_set_options);
}

/* A socket with its options, bound and connected; 1 as inet_bind(). */
static int open_bound(struct restore *r, const InetSkEntry *m, bool exactly, const char *who, int *out)
{
	_cleanup_close_ int fd = socket((int)m->family, (int)m->type | SOCK_CLOEXEC, (int)m->proto);
	int err;

	if (fd < 0)
		return log_errno(-errno, "%s: socket", who);
	inet_set_owner(r, fd, m, who);
	err = sock_opts_before_bind(r, fd, m->opts, NULL, who);
	err = err ?: inet_opts_early(r, fd, m, NULL, who);
	err = err ?: inet_bind_share_port(r, fd, m, who);
	if (!err)
		err = exactly ? inet_bind_exactly(fd, m, who) : inet_bind(r, fd, m, who);
	if (!err)
		*out = move_fd(&fd);
	return err;
}

static int inet_open(struct restore *r, const void *msg)
{
	const InetSkEntry *m = msg;
	const char *who = inet_who(r, m);
	_cleanup_close_ int fd = -1;
	int err;

	if (inet_has_peer(m))
		return inet_tcp_open(r, m, who);
	err = open_bound(r, m, false, who, &fd);
	if (err == 1)
		err = open_bound(r, m, true, who, &fd);
	err = err ?: inet_mcast_restore(r, fd, m, who);
	if (!err && inet_is_udp(m))
		err = inet_queue_restore(r, fd, m, inet_bind_join_group(r, m), who);
	err = err ?: inet_opts_late(r, fd, m, NULL, who);
	err = err ?: sock_opts_restore(r, fd, m->opts, NULL, who);
	err = err ?: inet_shutdown_restore(fd, m, who);
	err = err ?: fd_flags_restore(fd, m->flags);
	return err ?: move_fd(&fd);
}

/* Drops what a raw socket has received since it was made, such as datagrams put into the queues of UDP sockets. */
static void discard_received(int fd)
{
	char c;

	while (recv(fd, &c, 1, MSG_DONTWAIT | MSG_TRUNC) >= 0)
		;
}

static bool inet_has_post_open(const void *msg)
{
	return !tcp_is_connection(msg);
}

/* Here all are bound, and sockets may listen, which keeps others from their port. */
static int inet_post_open(struct restore *r, const void *msg, int fd)
{
	const InetSkEntry *m = msg;
	int err = 0;

	if (m->type == SOCK_RAW)
		discard_received(fd);
	if (inet_is_tcp(m) && m->state == TCP_LISTEN)
		err = tcp_listen_start(r, m, fd);
	if (err)
		return log_errno(err, "%s: listen", inet_who(r, m));
	return inet_bind_unshare_port(r, fd, m);
}

const struct fd_kind inet_kind = {
	.name = "IPv4 and IPv6 sockets",
	.type = FD_TYPES__INETSK,
	.field = 4,
	.pb = &inet_sk_entry__descriptor,
	.in_net_ns = true,
	.match = inet_match,
	.dump = inet_dump,
	.all_collected = inet_collected,
	.check = inet_check,
	.resource = inet_resource,
	.accepts_inherited = inet_accepts,
	.prepare = inet_prepare,
	.open = inet_open,
	.post_open = inet_post_open,
	.has_post_open = inet_has_post_open,
	.read_images = inet_read_images,
	.write_images = queue_write_images,
};
