/* SPDX-License-Identifier: GPL-2.0-only */
/* Netlink sockets: protocol, port id, groups, options, and the port that they are connected to. */
#include <linux/netlink.h>
#include <linux/netlink_diag.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include "lib/fd_flags.h"
#include "files/files.h"
#include "files/net_ns.h"
#include "lib/log.h"
#include "sock/diag.h"
#include "sock/opts.h"
#include "sk-netlink.pb-c.h"

#define ROW(option, of_field)                                                                                          \
	{                                                                                                              \
		.level = SOL_NETLINK, .name = (option), .text = #option, .field = (of_field)                           \
	}

static const struct sock_opt netlink_opts[] = {
	ROW(NETLINK_PKTINFO, "pktinfo"),
	ROW(NETLINK_BROADCAST_ERROR, "broadcast_error"),
	ROW(NETLINK_NO_ENOBUFS, "no_enobufs"),
	ROW(NETLINK_LISTEN_ALL_NSID, "listen_all_nsid"),
	ROW(NETLINK_CAP_ACK, "cap_ack"),
	ROW(NETLINK_EXT_ACK, "ext_ack"),
	ROW(NETLINK_GET_STRICT_CHK, "get_strict_chk"),
	{ 0 },
};

static int int_option(int fd, int name)
{
	socklen_t len = sizeof(int);
	int v;

	return getsockopt(fd, SOL_SOCKET, name, &v, &len) ? -1 : v;
}

static bool netlink_match(const struct fd_info *info)
{
	return sock_domain(info) == AF_NETLINK;
}

/* A bitmap; the kernel returns its whole length, also where the buffer is shorter. */
static int dump_netlink_groups(struct dump *d, const struct fd_info *info, NetlinkSkEntry *m)
{
	socklen_t len = 0, room;

	if (getsockopt(info->fd, SOL_NETLINK, NETLINK_LIST_MEMBERSHIPS, NULL, &len))
		return errno == EOPNOTSUPP || errno == ENOPROTOOPT
		           ? 0
		           : log_errno(-errno, "%s: getsockopt(NETLINK_LIST_MEMBERSHIPS)", fd_name(info));
	room = len;
	m->groups = arena_array(d->arena, uint32_t, len / sizeof(uint32_t) + 1);
	if (len && getsockopt(info->fd, SOL_NETLINK, NETLINK_LIST_MEMBERSHIPS, m->groups, &len))
		return log_errno(-errno, "%s: getsockopt(NETLINK_LIST_MEMBERSHIPS)", fd_name(info));
	m->n_groups = MIN(len, room) / sizeof(uint32_t);
	while (m->n_groups && !m->groups[m->n_groups - 1])
		m->n_groups--;
	return 0;
}

/*
 * Nothing but the kernel can send what the kernel has sent, and a program waits for an answer for ever. It could be
 * told by ENOBUFS, netlink's own sign of lost messages, but that comes only together with a message that it never asked
 * for: the kernel sets the error when a queue is full, and what makes the queue full stays in it (taking it out clears
 * the error).
 */
static int refuse_lost_messages(struct dump *d, const struct fd_info *info, const struct diag_netlink *s)
{
	uint32_t bytes = sock_queued(info->fd);
	struct pollfd p = { .fd = info->fd };
	const char *what = NULL;

	if (bytes)
		what = arena_printf(d->arena, "messages wait in the queue of this netlink socket (%u bytes of memory)",
		                    bytes);
	else if (poll(&p, 1, 0) == 1 && p.revents & POLLERR)
		what = "this netlink socket has an error to tell (ENOBUFS: messages were lost)";
	else if (s->flags & NDIAG_FLAG_CB_RUNNING)
		what = "the kernel is in the middle of an answer to this netlink socket";
	if (!what)
		return 0;
	if (d->opts->skip_in_flight) {
		log_warn("%s: %s: a restored program does not get it (--skip-in-flight)", fd_name(info), what);
		return 0;
	}
	log_refusal(-EBUSY,
	            "%s: %s, which only the kernel could send again; have the program read it first (try again), or "
	            "give --skip-in-flight to lose it",
	            fd_name(info), what);
	return DUMP_REFUSED;
}

/* From the socket itself: all but whether an answer is under way. */
static int get_addresses(const struct fd_info *info, uint32_t portid, struct diag_netlink *out)
{
	struct sockaddr_nl a = { 0 };
	socklen_t len = sizeof(a);

	if (getpeername(info->fd, (struct sockaddr *)&a, &len))
		return log_errno(-errno, "%s: getpeername of this netlink socket", fd_name(info));
	out->portid = portid;
	out->dst_portid = a.nl_pid;
	out->dst_group = a.nl_groups ? (uint32_t)__builtin_ctz(a.nl_groups) + 1 : 0;
	out->state = a.nl_pid || a.nl_groups ? NETLINK_CONNECTED : 0;
	return 0;
}

/*
 * The kernel lists those that are bound; an unbound one is all zeros. Of many it skips some: those that do not fit into
 * the rest of a message of the answer (__netlink_diag_dump()).
 */
static int find_netlink(struct dump *d, const struct fd_info *info, struct diag_netlink *out)
{
	const struct diag_netlink *s;
	struct sockaddr_nl a = { 0 };
	socklen_t len = sizeof(a);
	int err;

	*out = (struct diag_netlink) { .type = (uint8_t)int_option(info->fd, SO_TYPE),
		                       .protocol = (uint8_t)int_option(info->fd, SO_PROTOCOL) };
	if (getsockname(info->fd, (struct sockaddr *)&a, &len))
		return log_errno(-errno, "%s: getsockname of this netlink socket", fd_name(info));
	if (!a.nl_pid)
		return 0;
	err = diag_find_netlink(d, info->fd, &s);
	if (err == -ENOENT)
		return get_addresses(info, a.nl_pid, out);
	if (!err)
		*out = *s;
	return err;
}

static int netlink_dump(struct dump *d, const struct fd_info *info, void *msg)
{
	NetlinkSkEntry *m = msg;
	struct diag_netlink s;
	int err = find_netlink(d, info, &s);

	if (err)
		return err;
	m->ino = (uint32_t)info->st.st_ino;
	m->has_type = true;
	m->type = s.type;
	m->protocol = s.protocol;
	m->state = s.state;
	m->portid = s.portid;
	m->dst_portid = s.dst_portid;
	m->dst_group = s.dst_group;
	err = dump_netlink_groups(d, info, m);
	err = err ?: sock_opt_table_dump(info, netlink_opts, m);
	err = err ?: sock_opts_dump(d->arena, info, &m->opts);
	return err ?: refuse_lost_messages(d, info, &s);
}

/* ---- restore ---- */

static int make_netlink(const NetlinkSkEntry *m)
{
	int type = m->has_type ? (int)m->type : SOCK_RAW, fd;

	if (type != SOCK_RAW && type != SOCK_DGRAM)
		return -EINVAL;
	fd = socket(AF_NETLINK, type | SOCK_CLOEXEC, (int)m->protocol);
	return fd < 0 ? -errno : fd;
}

static int bind_port(int fd, const NetlinkSkEntry *m)
{
	struct sockaddr_nl a = { .nl_family = AF_NETLINK, .nl_pid = m->portid };

	/* bind(2) to 0 would choose one. */
	if (m->portid && bind(fd, (struct sockaddr *)&a, sizeof(a)))
		return -errno;
	return 0;
}

static int netlink_check(struct restore *r, const void *msg, const char **why)
{
	const NetlinkSkEntry *m = msg;
	_cleanup_close_ int fd = make_netlink(m);
	int err = fd < 0 ? fd : 0;

	if (!err && net_ns_of_msg(r, m)) /* new: all port ids are free */
		return 0;
	if (err) {
		*why = arena_printf(r->arena, "socket(AF_NETLINK) of protocol %u: %s", m->protocol, strerror(-err));
		return err;
	}
	err = bind_port(fd, m);
	if (err)
		*why = arena_printf(
		    r->arena, "bind to port id %u of its netlink socket (protocol %u): %s (see /proc/net/netlink)",
		    m->portid, m->protocol, strerror(-err));
	return err;
}

static int join_netlink_groups(int fd, const NetlinkSkEntry *m, const char *who)
{
	for (size_t i = 0; i < m->n_groups * 32; i++) {
		unsigned group = (unsigned)i + 1;

		if (m->groups[i / 32] & 1U << i % 32 &&
		    setsockopt(fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &group, sizeof(group)))
			return log_errno(-errno, "%s: setsockopt(NETLINK_ADD_MEMBERSHIP) of group %u", who, group);
	}
	return 0;
}

/*
 * Never one that was not: it would hear of its peer alone, and refuse others. A socket that was never connected has the
 * state TCP_CLOSE, and 0 is that of one that no longer is. The kernel takes a mask here, and so groups up to 32.
 */
static int connect_netlink(int fd, const NetlinkSkEntry *m, const char *who)
{
	struct sockaddr_nl a = { .nl_family = AF_NETLINK, .nl_pid = m->dst_portid };

	if (m->state != NETLINK_CONNECTED)
		return 0;
	if (m->dst_group > 32)
		log_warn("%s: was connected to group %u, which connect(2) cannot name", who, m->dst_group);
	else if (m->dst_group)
		a.nl_groups = 1U << (m->dst_group - 1);
	if (connect(fd, (struct sockaddr *)&a, sizeof(a)))
		return log_errno(-errno, "%s: connect to port id %u, group %u", who, m->dst_portid, m->dst_group);
	return 0;
}

static int netlink_open(struct restore *r, const void *msg)
{
	const NetlinkSkEntry *m = msg;
	const char *who = arena_printf(r->arena, "netlink socket of protocol %u, port id %u", m->protocol, m->portid);
	_cleanup_close_ int fd = make_netlink(m);
	int err = 0;

	if (fd < 0)
		return log_errno(fd, "%s: socket(AF_NETLINK)", who);
	err = sock_opts_before_bind(r, fd, m->opts, NULL, who);
	err = err ?: sock_opt_table_restore(NULL, fd, netlink_opts, m, false, who);
	/* Before any message can come. */
	err = err ?: sock_opts_restore(r, fd, m->opts, NULL, who);
	if (!err && bind_port(fd, m))
		err = log_errno(-errno, "%s: bind", who);
	err = err ?: connect_netlink(fd, m, who);
	err = err ?: fd_flags_restore(fd, m->flags);
	return err ?: move_fd(&fd);
}

/* Late: its groups are not to hear what the restore itself does to interfaces and the like. */
static int netlink_late(struct restore *r, const void *msg, int fd)
{
	const NetlinkSkEntry *m = msg;

	return join_netlink_groups(fd, m, arena_printf(r->arena, "netlink socket of protocol %u", m->protocol));
}

const struct fd_kind netlink_kind = {
	.name = "netlink sockets",
	.type = FD_TYPES__NETLINKSK,
	.field = 7,
	.pb = &netlink_sk_entry__descriptor,
	.in_net_ns = true,
	.match = netlink_match,
	.dump = netlink_dump,
	.check = netlink_check,
	.open = netlink_open,
	.post_open = netlink_late,
};
