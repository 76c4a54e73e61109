/* SPDX-License-Identifier: GPL-2.0-only */
/* IPv4 and IPv6: UDP, UDP-Lite, raw, ping, and TCP sockets without a connection. */
#include <linux/sockios.h>
#include <net/if.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "core/fd_flags.h"
#include "core/files.h"
#include "core/log.h"
#include "core/table.h"
#include "sock/diag.h"
#include "sock/inet.h"
#include "sock/opts.h"
#include "sock/queue.h"
#include "sock/tcp.h"
#include "sock/tcp_ended.h"

extern const struct fd_kind inet_kind;

static int int_option(int fd, int name)
{
	socklen_t len = sizeof(int);
	int v;

	return getsockopt(fd, SOL_SOCKET, name, &v, &len) ? -1 : v;
}

static bool is_udp(const InetSkEntry *m)
{
	return m->type == SOCK_DGRAM && (m->proto == IPPROTO_UDP || m->proto == IPPROTO_UDPLITE);
}

static const char *what_is(const InetSkEntry *m)
{
	if (m->proto == IPPROTO_TCP)
		return m->state == TCP_LISTEN ? "listening TCP socket" : "TCP socket";
	if (m->type == SOCK_RAW)
		return "raw socket";
	return m->proto == IPPROTO_UDP ? "UDP socket" : m->proto == IPPROTO_UDPLITE ? "UDP-Lite socket" : "ping socket";
}

static bool inet_match(const struct fd_info *info)
{
	int domain;

	if (info->by_path || !S_ISSOCK(info->st.st_mode))
		return false;
	domain = int_option(info->fd, SO_DOMAIN);
	return domain == AF_INET || domain == AF_INET6;
}

/* ---- dump ---- */

static int refuse(const struct fd_info *info, const char *text)
{
	log_refusal(-ENOTSUP, "%s: %s", fd_name(info), text);
	return DUMP_REFUSED;
}

static bool is_known(const InetSkEntry *m)
{
	if (m->type == SOCK_STREAM)
		return m->proto == IPPROTO_TCP;
	if (m->type == SOCK_DGRAM)
		return is_udp(m) || m->proto == (m->family == AF_INET6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP);
	return m->type == SOCK_RAW;
}

/* Its own name, and that of its peer (family 0: none). */
static int dump_names(struct dump *d, const struct fd_info *info, InetSkEntry *m, union inet_name *src,
                      union inet_name *dst)
{
	socklen_t len = sizeof(*src);
	char ifname[IF_NAMESIZE];

	memset(dst, 0, sizeof(*dst));
	if (getsockname(info->fd, &src->any, &len))
		return log_errno(-errno, "%s: its address", fd_name(info));
	len = sizeof(*dst);
	if (getpeername(info->fd, &dst->any, &len)) {
		dst->any.sa_family = 0;
		if (m->proto != IPPROTO_TCP && !is_udp(m) &&
		    inet_proc_peer((int)m->family, m->type == SOCK_RAW, info->st.st_ino, dst))
			dst->any.sa_family = 0;
	}
	inet_name_to_words(d->arena, src, &m->src_addr, &m->n_src_addr);
	/* Of a raw socket it is the protocol. */
	m->src_port = m->type == SOCK_RAW ? 0 : inet_name_port(src);
	if (src->any.sa_family == AF_INET6 && src->v6.sin6_scope_id && if_indextoname(src->v6.sin6_scope_id, ifname))
		m->ifname = arena_strdup(d->arena, ifname);
	if (!dst->any.sa_family) {
		union inet_name none = { .any.sa_family = src->any.sa_family };

		inet_name_to_words(d->arena, &none, &m->dst_addr, &m->n_dst_addr);
		return 0;
	}
	inet_name_to_words(d->arena, dst, &m->dst_addr, &m->n_dst_addr);
	m->dst_port = inet_name_port(dst);
	if (dst->any.sa_family == AF_INET6 && dst->v6.sin6_scope_id && if_indextoname(dst->v6.sin6_scope_id, ifname))
		m->dst_ifname = arena_strdup(d->arena, ifname);
	return 0;
}

/* Which directions are shut. Diag knows; where it does not list the socket, poll() says some of it. */
static int dump_shutdown(struct dump *d, const struct fd_info *info, InetSkEntry *m, const struct diag_inet *s)
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

/* What waits to be sent is in no queue that could be read: MSG_MORE, UDP_CORK. What is on its way to a device ends
 * soon. */
static int check_unsent(const struct fd_info *info)
{
	int bytes = 0;

	for (int i = 0; i < 20; i++) {
		if (ioctl(info->fd, SIOCOUTQ, &bytes) || !bytes)
			return 0;
		poll(NULL, 0, 1);
	}
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
	err = dump_shutdown(d, info, m, s);
	err = err ?: check_unsent(info);
	return err ?: queue_dump(d, info, m->id, SOCK_DGRAM);
}

/* Connections that nobody has accepted yet. */
struct waiting {
	const struct fd_info *info;
	const InetSkEntry *m;
	size_t n;
	char peers[400];
};

static int add_waiting(const struct diag_inet *s, void *arg)
{
	struct waiting *w = arg;
	union inet_name dst;
	size_t len = strlen(w->peers);

	/* Without an inode it is in no socket of a task; SYN_RECV is no connection yet. */
	if (s->ino || s->sport != w->m->src_port || s->state == TCP_LISTEN || s->state == TCP_SYN_RECV ||
	    s->state == TCP_TIME_WAIT)
		return 0;
	inet_name_from_words(s->family, s->dst, s->family == AF_INET6 ? 4 : 1, s->dport, NULL, &dst);
	if (w->n++ < 5)
		snprintf(w->peers + len, sizeof(w->peers) - len, "%s%s", len ? ", " : "", inet_name_text(&dst));
	return 0;
}

static int dump_listening(struct dump *d, const struct fd_info *info, InetSkEntry *m, const struct diag_inet *s,
                          const union inet_name *src)
{
	struct waiting w = { .info = info, .m = m };

	m->backlog = s->wqueue;
	if (!s->rqueue)
		return 0;
	diag_each_inet(d, (int)m->family, IPPROTO_TCP, add_waiting, &w);
	if (d->opts->skip_in_flight) {
		log_warn("%s: %u connections that nobody has accepted yet are dropped (--skip-in-flight): %s",
		         fd_name(info), s->rqueue, w.peers);
		return 0;
	}
	log_refusal(
	    -ENOTSUP,
	    "%s: a TCP socket listening at %s with %u connections that nobody has accepted yet, from %s%s; let the "
	    "task accept them, or drop them with --skip-in-flight",
	    fd_name(info), inet_name_text(src), s->rqueue, w.peers, w.n > 5 ? ", ..." : "");
	return DUMP_REFUSED;
}

static int dump_tcp(struct dump *d, const struct fd_info *info, InetSkEntry *m, const union inet_name *src,
                    const union inet_name *dst)
{
	const struct diag_inet *s = NULL;
	struct tcp_info tcp = { 0 };
	socklen_t len = sizeof(tcp);
	int err;

	if (getsockopt(info->fd, IPPROTO_TCP, TCP_INFO, &tcp, &len))
		return log_errno(-errno, "%s: the state of a TCP socket", fd_name(info));
	m->state = tcp.tcpi_state;
	err = diag_find_inet(d, info->fd, (int)m->family, IPPROTO_TCP, &s);
	if (err && err != -ENOENT)
		return err;
	/* Its TIME_WAIT has the same cookie. */
	if (s && (!s->ino || (m->state == TCP_CLOSE && s->state != TCP_CLOSE)))
		s = NULL;
	if (tcp_is_connection(m))
		return dump_shutdown(d, info, m, s) ?: tcp_dump(d, info, m);
	if (m->state == TCP_LISTEN) {
		if (!s)
			return log_errno(err, "%s: the kernel does not list this listening socket", fd_name(info));
		return s->has_md5
		           ? refuse(info, "a listening TCP socket with MD5 signatures (TCP_MD5SIG), whose keys do not "
		                          "belong into images; let the task take them off before the dump")
		           : dump_listening(d, info, m, s, src);
	}
	err = dump_shutdown(d, info, m, s);
	return err || m->shutdown != SK_SHUTDOWN__BOTH ? err : tcp_dump_ended(d, info, m, s);
}

static int dump_by_protocol(struct dump *d, const struct fd_info *info, InetSkEntry *m, const union inet_name *src,
                            const union inet_name *dst)
{
	uint32_t bytes;

	if (m->proto == IPPROTO_TCP)
		return dump_tcp(d, info, m, src, dst);
	m->state = dst->any.sa_family ? TCP_ESTABLISHED : TCP_CLOSE;
	if (is_udp(m))
		return dump_udp(d, info, m);
	bytes = sock_queued(info->fd);
	if (bytes)
		log_warn("%s: packets in the queue of this %s (%u bytes, as the kernel counts) are dropped: they "
		         "cannot be sent "
		         "to it again",
		         fd_name(info), what_is(m), bytes);
	return dump_shutdown(d, info, m, NULL);
}

static int inet_dump(struct dump *d, const struct fd_info *info, void *msg)
{
	InetSkEntry *m = msg;
	union inet_name src, dst;
	int err = diag_check_net(d, info);

	if (err)
		return err;
	m->ino = (uint32_t)info->st.st_ino;
	m->family = (uint32_t)int_option(info->fd, SO_DOMAIN);
	m->type = (uint32_t)int_option(info->fd, SO_TYPE);
	m->proto = (uint32_t)int_option(info->fd, SO_PROTOCOL);
	if (!is_known(m))
		return refuse(info, arena_printf(d->arena,
		                                 "a socket of type %u and protocol %u (SCTP, MPTCP and others are not "
		                                 "supported); let the task close it before the dump",
		                                 m->type, m->proto));
	err = dump_names(d, info, m, &src, &dst);
	err = err ?: sock_opts_dump(d, info, &m->opts);
	err = err ?: inet_opts_dump(d, info, m);
	err = err ?: inet_mcast_dump(d, info, m);
	m->uid = info->st.st_uid;
	m->has_uid = m->uid != 0;
	m->gid = info->st.st_gid;
	m->has_gid = m->gid != 0;
	return err ?: dump_by_protocol(d, info, m, &src, &dst);
}

/* ---- restore ---- */

/* Sockets of the tree with one protocol and port: they must be bound side by side. */
struct port {
	struct {
		uint32_t proto, port;
	} key;
	unsigned sockets;
	const InetSkEntry **bound; /* those with SO_REUSEPORT, in the order in which they were */
	size_t n_bound;
	UT_hash_handle hh;
};

struct ports {
	struct port *by_key;
};

static struct port *port_of(struct restore *r, const InetSkEntry *m, bool add)
{
	struct ports **ports = (struct ports **)restore_kind_state(r, &inet_kind);
	struct arena *table_arena = r->arena;
	struct port *p, key = { .key = { m->proto, m->src_port } };

	if (!*ports)
		*ports = arena_new_of(r->arena, struct ports);
	HASH_FIND(hh, (*ports)->by_key, &key.key, sizeof(key.key), p);
	if (!p && add) {
		p = arena_new_of(r->arena, struct port);
		p->key = key.key;
		HASH_ADD(hh, (*ports)->by_key, key, sizeof(p->key), p);
	}
	return p;
}

static bool shares_port(struct restore *r, const InetSkEntry *m)
{
	const struct port *p = m->src_port ? port_of(r, m, false) : NULL;

	return p && p->sockets > 1;
}

static int check_message(struct restore *r, const void *msg, void *arg)
{
	const InetSkEntry *m = msg;
	union inet_name n;

	if ((m->family != AF_INET && m->family != AF_INET6) || !is_known(m) ||
	    inet_name_from_words((int)m->family, m->src_addr, m->n_src_addr, m->src_port, NULL, &n) ||
	    inet_name_from_words((int)m->family, m->dst_addr, m->n_dst_addr, m->dst_port, NULL, &n) ||
	    (m->ended && (m->state != TCP_CLOSE || m->proto != IPPROTO_TCP || m->ended->error > 4095)))
		return log_errno(-EINVAL, "file %u: an impossible socket of family %u, type %u, protocol %u", m->id,
		                 m->family, m->type, m->proto);
	port_of(r, m, true)->sockets++;
	return 0;
}

static int inet_collected(struct dump *d)
{
	return tcp_collected(d, &inet_kind);
}

static int inet_read_images(struct restore *r)
{
	int err = files_all(r, &inet_kind, check_message, NULL);

	return err ?: queue_read_images(r);
}

static const char *who_is(struct restore *r, const InetSkEntry *m)
{
	union inet_name n;

	inet_name_from_words((int)m->family, m->src_addr, m->n_src_addr, m->src_port, m->ifname, &n);
	return arena_printf(r->arena, "%s %s", what_is(m), inet_name_text(&n));
}

/* What has to wait until a connection's queues are full. */
static int tcp_options(struct restore *r, int fd, const InetSkEntry *m)
{
	const char *who = who_is(r, m);

	return inet_opts_late(r, fd, m, who) ?: sock_opts_restore(r, fd, m->opts, who);
}

static int inet_prepare(struct restore *r)
{
	return tcp_prepare(r, &inet_kind, tcp_options);
}

static int bind_to(int fd, const union inet_name *n)
{
	return bind(fd, &n->any, inet_name_len(n)) ? -errno : 0;
}

static bool must_bind(const InetSkEntry *m, const union inet_name *n)
{
	return m->src_port || !inet_name_is_any(n);
}

static int set_reuse(int fd, int value)
{
	return setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &value, sizeof(value)) ? -errno : 0;
}

/* Why a name cannot be bound, tried before anything is started. */
static const char *why_not(struct restore *r, const InetSkEntry *m, const union inet_name *n, int err)
{
	const char *name = inet_name_text(n), *owner = NULL;

	if (err == -EADDRINUSE && m->type != SOCK_RAW)
		owner = inet_port_owner(r->arena, (int)m->proto, inet_name_port(n));
	if (err == -EADDRINUSE)
		return arena_printf(r->arena, "the address of its %s, %s, is in use%s%s", what_is(m), name,
		                    owner ? " by " : "", owner ?: "");
	if (err == -EADDRNOTAVAIL || err == -ENODEV)
		return arena_printf(r->arena, "the address of its %s, %s%s%s, is not on this host", what_is(m), name,
		                    m->ifname ? " on " : "", m->ifname ?: "");
	return arena_printf(r->arena, "its %s cannot be bound to %s: %s", what_is(m), name, strerror(-err));
}

static int set_bool(int fd, int level, int name, bool on)
{
	int v = 1;

	return on ? setsockopt(fd, level, name, &v, sizeof(v)) : 0;
}

/* The options without which the same address could not be bound; no word where they cannot be set: bind() will tell. */
static void trial_options(struct restore *r, int fd, const InetSkEntry *m, bool device)
{
	const IpOptsEntry *o = m->ip_opts;
	const char *dev = m->opts->so_bound_dev;

	set_reuse(fd, m->opts->reuseaddr || shares_port(r, m));
	set_bool(fd, SOL_SOCKET, SO_REUSEPORT, m->opts->so_reuseport);
	set_bool(fd, IPPROTO_IP, IP_FREEBIND, o && o->freebind);
	set_bool(fd, IPPROTO_IP, IP_TRANSPARENT, o && o->transparent);
	if (m->family == AF_INET6) {
		int only = m->v6only;

		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &only, sizeof(only));
	}
	if (dev && device)
		setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, dev, (socklen_t)strlen(dev));
}

/* Its port may be shared with a listener; the address is what can be missing. */
static int check_connection(struct restore *r, const InetSkEntry *m, int fd, union inet_name *n, const char **why)
{
	int err = tcp_check(r, m, why);

	if (err || r->opts->tcp_close)
		return err;
	trial_options(r, fd, m, true);
	inet_name_set_port(n, 0);
	err = bind_to(fd, n);
	inet_name_set_port(n, m->src_port);
	if (err)
		*why = why_not(r, m, n, err);
	return err;
}

static int inet_check(struct restore *r, const void *msg, const char **why)
{
	const InetSkEntry *m = msg;
	_cleanup_close_ int fd = socket((int)m->family, (int)m->type | SOCK_CLOEXEC, (int)m->proto);
	union inet_name n;
	int err;

	if (fd < 0) {
		err = -errno;
		*why = arena_printf(r->arena, "a %s cannot be made: %s%s", what_is(m), strerror(-err),
		                    err == -EACCES && m->type == SOCK_DGRAM ? " (net.ipv4.ping_group_range)" : "");
		return err;
	}
	if (m->opts->so_bound_dev && !if_nametoindex(m->opts->so_bound_dev)) {
		*why = arena_printf(r->arena, "there is no network interface %s, to which its %s is bound",
		                    m->opts->so_bound_dev, what_is(m));
		return -ENODEV;
	}
	inet_name_from_words((int)m->family, m->src_addr, m->n_src_addr, m->src_port, m->ifname, &n);
	if (tcp_is_connection(m))
		return check_connection(r, m, fd, &n, why);
	if (m->ended)
		return tcp_check_ended(r, m, why);
	if (!must_bind(m, &n))
		return 0;
	trial_options(r, fd, m, true);
	err = bind_to(fd, &n);
	/* What is left of a connection that has ended is only tried. */
	if (!err || (m->proto == IPPROTO_TCP && m->state == TCP_CLOSE && m->has_shutdown))
		return 0;
	*why = why_not(r, m, &n, err);
	return err;
}

/*
 * Binds and connects. Of a connected socket the kernel does not tell whether its task had chosen the address or only
 * connect() had; without one, connect() chooses again, and the task may connect it elsewhere later.
 */
static int place(int fd, const InetSkEntry *m, const char *who)
{
	union inet_name src, dst, any, now = { 0 };
	socklen_t len = sizeof(now);
	bool connected = m->proto != IPPROTO_TCP && m->state == TCP_ESTABLISHED;
	int err = 0;

	inet_name_from_words((int)m->family, m->src_addr, m->n_src_addr, m->src_port, m->ifname, &src);
	inet_name_from_words((int)m->family, NULL, 0, m->src_port, NULL, &any);
	inet_name_from_words((int)m->family, m->dst_addr, m->n_dst_addr, m->dst_port, m->dst_ifname, &dst);
	if (must_bind(m, &src))
		err = connected && m->src_port ? bind_to(fd, &any) : bind_to(fd, &src);
	if (err && m->proto == IPPROTO_TCP && m->state == TCP_CLOSE && m->has_shutdown)
		return 0; /* the port of a connection that has ended went to somebody else */
	if (err && !connected)
		return log_errno(err, "%s: binding it", who);
	if (!connected)
		return 0;
	if (!err && !connect(fd, &dst.any, inet_name_len(&dst)) && !getsockname(fd, &now.any, &len) &&
	    (inet_name_equal(&now, &src) || m->type == SOCK_RAW))
		return 0;
	return 1;
}

/* The same with the address as it was. */
static int place_exactly(int fd, const InetSkEntry *m, const char *who)
{
	union inet_name src, dst;

	inet_name_from_words((int)m->family, m->src_addr, m->n_src_addr, m->src_port, m->ifname, &src);
	inet_name_from_words((int)m->family, m->dst_addr, m->n_dst_addr, m->dst_port, m->dst_ifname, &dst);
	if (bind_to(fd, &src))
		return log_errno(-errno, "%s: binding it", who);
	if (connect(fd, &dst.any, inet_name_len(&dst)))
		return log_errno(-errno, "%s: connecting it to %s", who, inet_name_text(&dst));
	return 0;
}

static void set_owner(int fd, const InetSkEntry *m, const char *who)
{
	if ((m->uid || m->gid) && fchown(fd, m->uid, m->gid))
		log_warn("%s: its owner %u:%u: %s", who, m->uid, m->gid, strerror(errno));
}

/* A socket with its options, at its place; 1: its place has to be taken with its exact address. */
static int make(struct restore *r, const InetSkEntry *m, bool exactly, const char *who, int *out)
{
	_cleanup_close_ int fd = socket((int)m->family, (int)m->type | SOCK_CLOEXEC, (int)m->proto);
	int err;

	if (fd < 0)
		return log_errno(-errno, "%s: making a socket", who);
	set_owner(fd, m, who);
	err = sock_opts_before_bind(r, fd, m->opts, who);
	err = err ?: inet_opts_early(r, fd, m, who);
	/* Put back in inet_late(), when all are bound. */
	if (!err && shares_port(r, m) && set_reuse(fd, 1))
		err = log_errno(-errno, "%s: setting SO_REUSEADDR", who);
	if (!err)
		err = exactly ? place_exactly(fd, m, who) : place(fd, m, who);
	if (!err)
		*out = move_fd(&fd);
	return err;
}

static bool same_text(const char *a, const char *b)
{
	return a && b ? !strcmp(a, b) : a == b;
}

static bool same_group(const InetSkEntry *a, const InetSkEntry *b)
{
	return a->family == b->family && a->v6only == b->v6only && a->uid == b->uid && a->n_src_addr == b->n_src_addr &&
	       same_text(a->opts->so_bound_dev, b->opts->so_bound_dev) &&
	       !memcmp(a->src_addr, b->src_addr, a->n_src_addr * sizeof(*a->src_addr));
}

/* Enters a socket into its SO_REUSEPORT group; how many were in there before. */
static uint32_t join_group(struct restore *r, const InetSkEntry *m)
{
	struct port *p = port_of(r, m, true);
	uint32_t before = 0;

	/* A connected one leaves it again. */
	if (!m->src_port || !m->opts->so_reuseport || m->state == TCP_ESTABLISHED)
		return 0;
	for (size_t i = 0; queue_count(r, m->id) && i < p->n_bound; i++)
		before += same_group(p->bound[i], m);
	arena_push(r->arena, &p->bound, &p->n_bound, m);
	return before;
}

/* A new one that is shut and has none of the other's traces. */
static int open_shut(const InetSkEntry *m)
{
	int fd = socket((int)m->family, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_TCP);

	if (fd >= 0)
		shutdown(fd, SHUT_RDWR);
	return fd;
}

/* Its options come last: of those that packets meet only what bind() needs is there before. */
static int open_ended(struct restore *r, const InetSkEntry *m, const InetEndedEntry *e, const char *who)
{
	_cleanup_close_ int fd = socket((int)m->family, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_TCP);
	const char *why;
	int err;

	if (fd < 0)
		return log_errno(-errno, "%s: making a socket", who);
	trial_options(r, fd, m, false);
	err = tcp_ended_make(r, fd, m, e, who, &why);
	if (err && e->unread)
		return log_errno(0, "%s: %u bytes that were not read cannot be put back: %s", who, e->unread, why)
		           ?: err;
	if (err) {
		log_warn("%s: it comes back shut, without its error and its port: %s", who, why);
		close(move_fd(&fd));
		fd = open_shut(m);
		if (fd < 0)
			return log_errno(-errno, "%s: making a socket", who);
	}
	set_owner(fd, m, who);
	err = sock_opts_before_bind(r, fd, m->opts, who);
	err = err ?: inet_opts_early(r, fd, m, who);
	err = err ?: inet_opts_late(r, fd, m, who);
	err = err ?: sock_opts_restore(r, fd, m->opts, who);
	err = err ?: fd_flags_restore(fd, m->flags);
	if (!err && shares_port(r, m) && set_reuse(fd, 1))
		err = log_errno(-errno, "%s: setting SO_REUSEADDR", who);
	return err ?: move_fd(&fd);
}

/* With the options that matter to how it comes into being; the others in tcp_options(). */
static int open_connection(struct restore *r, const InetSkEntry *m, const char *who)
{
	_cleanup_close_ int fd = socket((int)m->family, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_TCP);
	int err;

	if (fd < 0)
		return log_errno(-errno, "%s: making a socket", who);
	err = sock_opts_before_bind(r, fd, m->opts, who);
	err = err ?: inet_opts_early(r, fd, m, who);
	err = err ?: tcp_open(r, m, fd, who);
	err = err ?: fd_flags_restore(fd, m->flags);
	return err ?: move_fd(&fd);
}

static int inet_open(struct restore *r, const void *msg)
{
	const InetSkEntry *m = msg;
	const char *who = who_is(r, m);
	_cleanup_close_ int fd = -1;
	int err;

	if (m->ended)
		return open_ended(r, m, m->ended, who);
	if (tcp_is_connection(m))
		return r->opts->tcp_close ? open_ended(r, m, tcp_ended_instead(r->arena, m->state), who)
		                          : open_connection(r, m, who);
	err = make(r, m, false, who, &fd);
	if (err == 1)
		err = make(r, m, true, who, &fd);
	err = err ?: inet_mcast_restore(r, fd, m, who);
	if (!err && is_udp(m))
		err = inet_queue_restore(r, fd, m, join_group(r, m), who);
	err = err ?: inet_opts_late(r, fd, m, who);
	err = err ?: sock_opts_restore(r, fd, m->opts, who);
	/* It does so though it says ENOTCONN where there is no connection. */
	if (!err && m->has_shutdown && m->shutdown && shutdown(fd, (int)m->shutdown - 1) && errno != ENOTCONN)
		err = log_errno(-errno, "%s: shutting it down", who);
	err = err ?: fd_flags_restore(fd, m->flags);
	return err ?: move_fd(&fd);
}

/* What it has received since it was made: datagrams that were put into queues of others, among it. */
static void drain(int fd)
{
	char c;

	while (recv(fd, &c, 1, MSG_DONTWAIT | MSG_TRUNC) >= 0)
		;
}

/* Here all are bound: a listening socket lets nobody else bind its port. */
static int inet_late(struct restore *r, const void *msg, int fd)
{
	const InetSkEntry *m = msg;

	if (m->type == SOCK_RAW)
		drain(fd);
	if (m->proto == IPPROTO_TCP && m->state == TCP_LISTEN && listen(fd, (int)MIN(m->backlog, INT32_MAX)))
		return log_errno(-errno, "%s: listening", who_is(r, m));
	if (!tcp_is_connection(m) && shares_port(r, m) && set_reuse(fd, m->opts->reuseaddr))
		return log_errno(-errno, "%s: putting SO_REUSEADDR back", who_is(r, m));
	return 0;
}

const struct fd_kind inet_kind = {
	.name = "IPv4 and IPv6 sockets",
	.type = FD_TYPES__INETSK,
	.field = 4,
	.pb = &inet_sk_entry__descriptor,
	.match = inet_match,
	.dump = inet_dump,
	.collected = inet_collected,
	.check = inet_check,
	.prepare = inet_prepare,
	.open = inet_open,
	.late = inet_late,
	.read_images = inet_read_images,
	.write_images = queue_write_images,
	.where = IN_TOOL,
};
