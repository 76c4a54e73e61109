/* SPDX-License-Identifier: GPL-2.0-only */
/* IPv4 and IPv6 sockets, read. */
#include <linux/sockios.h>
#include <net/if.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "options/external.h"
#include "files/files.h"
#include "lib/log.h"
#include "sock/diag.h"
#include "sock/inet/inet.h"
#include "sock/opts.h"
#include "sock/queue.h"
#include "sock/tcp/tcp.h"
#include "uapi/inet_bits.h"
#include "uapi/sock_bits.h"

int inet_int_option(int fd, int name)
{
	socklen_t len = sizeof(int);
	int v;

	return getsockopt(fd, SOL_SOCKET, name, &v, &len) ? -1 : v;
}

bool inet_match(const struct fd_info *info)
{
	int domain;

	if (info->by_path || !S_ISSOCK(info->st.st_mode))
		return false;
	domain = inet_int_option(info->fd, SO_DOMAIN);
	/* SMC: to be refused by name. */
	return domain == AF_INET || domain == AF_INET6 || domain == AF_SMC;
}

static int refuse(const struct fd_info *info, const char *text)
{
	log_refusal(-ENOTSUP, "%s: %s", fd_name(info), text);
	return DUMP_REFUSED;
}

/* Its own name, and that of its peer (family 0: none). */
static int dump_names(struct dump *d, const struct fd_info *info, InetSkEntry *m, union inet_addr *src,
                      union inet_addr *dst)
{
	socklen_t len = sizeof(*src);
	char ifname[IF_NAMESIZE];

	memset(dst, 0, sizeof(*dst));
	if (getsockname(info->fd, &src->any, &len))
		return log_errno(-errno, "%s: its address", fd_name(info));
	len = sizeof(*dst);
	if (getpeername(info->fd, &dst->any, &len)) {
		dst->any.sa_family = 0;
		if (m->proto != IPPROTO_TCP && !inet_is_udp(m) &&
		    inet_proc_peer((int)m->family, m->type == SOCK_RAW, info->st.st_ino, dst))
			dst->any.sa_family = 0;
	}
	inet_addr_to_words(d->arena, src, &m->src_addr, &m->n_src_addr);
	/* Of a raw socket it is the protocol. */
	m->src_port = m->type == SOCK_RAW ? 0 : inet_addr_port(src);
	if (src->any.sa_family == AF_INET6 && src->v6.sin6_scope_id && if_indextoname(src->v6.sin6_scope_id, ifname))
		m->ifname = arena_strdup(d->arena, ifname);
	if (!dst->any.sa_family) {
		union inet_addr none = { .any.sa_family = src->any.sa_family };

		inet_addr_to_words(d->arena, &none, &m->dst_addr, &m->n_dst_addr);
		return 0;
	}
	inet_addr_to_words(d->arena, dst, &m->dst_addr, &m->n_dst_addr);
	m->dst_port = inet_addr_port(dst);
	if (dst->any.sa_family == AF_INET6 && dst->v6.sin6_scope_id && if_indextoname(dst->v6.sin6_scope_id, ifname))
		m->dst_ifname = arena_strdup(d->arena, ifname);
	return 0;
}

/* Which directions are shut. Diag knows; where it does not list the socket, poll() says some of it. */
int inet_dump_shutdown(struct dump *d, const struct fd_info *info, InetSkEntry *m, const struct diag_inet *s)
{
	struct pollfd p = { .fd = info->fd, .events = POLLRDHUP };
	unsigned how = s ? s->shutdown : 0;

	if (!s && poll(&p, 1, 0) > 0) {
		if (p.revents & POLLRDHUP)
			how = SK_SHUTDOWN__READ;
		/* A TCP socket without a connection says so always. */
		if (p.revents & POLLRDHUP && p.revents & POLLHUP)
			how = SK_SHUTDOWN__BOTH;
	}
	if (how > SK_SHUTDOWN__BOTH)
		return log_errno(-EBADMSG, "%s: shut down in an unknown way: %u", fd_name(info), how);
	m->has_shutdown = how;
	m->shutdown = (SkShutdown)how;
	return 0;
}

/*
 * Whether MSG_MORE or UDP_CORK holds something back. To send nothing to port 0 is an error, but not where there is
 * something to add it to (udp_sendmsg()); MSG_PROBE and MSG_MORE see to it that nothing happens then.
 */
static bool holds_back(int fd, uint32_t family)
{
	union inet_addr to = { .any.sa_family = (sa_family_t)family };
	socklen_t len = family == AF_INET6 ? sizeof(to.v6) : sizeof(to.v4);

	return sendto(fd, "", 0, UAPI_MSG_PROBE | MSG_MORE | MSG_DONTWAIT | MSG_NOSIGNAL, &to.any, len) >= 0 ||
	       errno != EINVAL;
}

/* What is held back is in no queue that could be read. What waits for a device or a neighbour goes by itself. */
static int check_unsent(const struct fd_info *info, uint32_t family)
{
	int bytes = 0;

	if (ioctl(info->fd, SIOCOUTQ, &bytes) || !bytes || !holds_back(info->fd, family))
		return 0;
	return refuse(info,
	              "a UDP socket with data that was not sent yet (UDP_CORK, MSG_MORE), which the kernel does not "
	              "show; let the task send it before the dump");
}

static int dump_udp(struct dump *d, const struct fd_info *info, InetSkEntry *m)
{
	const struct diag_inet *s = NULL;
	int err = diag_find_inet(d, info->fd, (int)m->family, (int)m->proto, &s);

	if (err && err != -ENOENT)
		return err;
	err = inet_dump_shutdown(d, info, m, s);
	err = err ?: check_unsent(info, m->family);
	return err ?: queue_dump(d, info, m->id, SOCK_DGRAM);
}

static int dump_by_protocol(struct dump *d, const struct fd_info *info, InetSkEntry *m, const union inet_addr *src,
                            const union inet_addr *dst)
{
	uint32_t bytes;

	if (m->proto == IPPROTO_TCP)
		return inet_dump_tcp(d, info, m, src);
	m->state = dst->any.sa_family ? TCP_ESTABLISHED : TCP_CLOSE;
	if (inet_is_udp(m))
		return dump_udp(d, info, m);
	bytes = sock_queued(info->fd);
	if (bytes)
		log_warn("%s: packets in the queue of this %s (%u bytes, as the kernel counts) are dropped: they "
		         "cannot be sent "
		         "to it again",
		         fd_name(info), inet_what(m), bytes);
	return inet_dump_shutdown(d, info, m, NULL);
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

static int refuse_unknown(struct dump *d, const struct fd_info *info, const InetSkEntry *m)
{
	return refuse(info, arena_printf(d->arena,
	                                 "%s, %s: the kernel does not let its state be read; let the task close it "
	                                 "before the dump, or use TCP",
	                                 protocol_name(d->arena, m), inet_addr_names(d->arena, info->fd)));
}

/* Only what tells which sockets can take its place. */
static void dump_external(struct dump *d, const struct fd_info *info, InetSkEntry *m, const union inet_addr *dst)
{
	if (m->proto == IPPROTO_TCP && inet_int_option(info->fd, SO_ACCEPTCONN) == 1)
		m->state = TCP_LISTEN;
	else
		m->state = dst->any.sa_family ? TCP_ESTABLISHED : TCP_CLOSE;
	m->opts = arena_msg(d->arena, SkOptsEntry, sk_opts_entry);
	m->has_external = m->external = true;
}

int inet_dump(struct dump *d, const struct fd_info *info, void *msg)
{
	InetSkEntry *m = msg;
	union inet_addr src, dst;
	int err = diag_check_net(d, info);

	if (err)
		return err;
	m->ino = (uint32_t)info->st.st_ino;
	m->family = (uint32_t)inet_int_option(info->fd, SO_DOMAIN);
	m->type = (uint32_t)inet_int_option(info->fd, SO_TYPE);
	m->proto = (uint32_t)inet_int_option(info->fd, SO_PROTOCOL);
	if (!inet_is_known(m))
		return refuse_unknown(d, info, m);
	err = dump_names(d, info, m, &src, &dst);
	if (!err && external_named(d->opts, info->link)) {
		dump_external(d, info, m, &dst);
		return 0;
	}
	m->uid = info->st.st_uid;
	m->has_uid = m->uid != 0;
	m->gid = info->st.st_gid;
	m->has_gid = m->gid != 0;
	err = err ?: inet_mcast_dump(d, info, m);
	err = err ?: dump_by_protocol(d, info, m, &src, &dst);
	/* Of those that are read later (DUMP_LATER) the options too. */
	err = err ?: sock_opts_dump(d->arena, info, &m->opts);
	return err ?: inet_opts_dump(d->arena, info, m);
}
