/* SPDX-License-Identifier: GPL-2.0-only */
/* IPv4 and IPv6: UDP, UDP-Lite, raw, ping, TCP. Reading them is in inet_dump.c. */
#include <net/if.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>

#include "lib/fd_flags.h"
#include "files/files.h"
#include "lib/log.h"
#include "lib/arena_hash.h"
#include "sock/inet/inet.h"
#include "sock/opts.h"
#include "sock/queue.h"
#include "sock/tcp/tcp.h"
#include "sock/tcp/tcp_port.h"
#include "sock/tcp/tcp_ended.h"
#include "sock/tcp/tcp_tuple.h"

extern const struct fd_kind inet_kind;

/* ---- which they are ---- */

bool inet_is_udp(const InetSkEntry *m)
{
	return m->type == SOCK_DGRAM && (m->proto == IPPROTO_UDP || m->proto == IPPROTO_UDPLITE);
}

const char *inet_what(const InetSkEntry *m)
{
	if (m->proto == IPPROTO_TCP)
		return m->state == TCP_LISTEN ? "listening TCP socket" : "TCP socket";
	if (m->type == SOCK_RAW)
		return "raw socket";
	return m->proto == IPPROTO_UDP ? "UDP socket" : m->proto == IPPROTO_UDPLITE ? "UDP-Lite socket" : "ping socket";
}

bool inet_is_known(const InetSkEntry *m)
{
	if (m->type == SOCK_STREAM)
		return m->proto == IPPROTO_TCP;
	if (m->type == SOCK_DGRAM)
		return inet_is_udp(m) || m->proto == (m->family == AF_INET6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP);
	return m->type == SOCK_RAW;
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

struct inet_restore {
	struct port *ports;
	const InetSkEntry *address; /* the last that this host was found to have */
};

static struct port *port_of(struct restore *r, const InetSkEntry *m, bool add)
{
	struct inet_restore *state = restore_state(r, &inet_kind);
	struct port *p, key = { .key = { m->proto, m->src_port } };

	HASH_FIND(hh, state->ports, &key.key, sizeof(key.key), p);
	if (!p && add) {
		p = arena_new_of(r->arena, struct port);
		p->key = key.key;
		HASH_ADD_IN(r->arena, hh, state->ports, key, sizeof(p->key), p);
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
	union inet_addr n;

	if ((m->family != AF_INET && m->family != AF_INET6) || !inet_is_known(m) ||
	    inet_addr_from_words((int)m->family, m->src_addr, m->n_src_addr, m->src_port, NULL, &n) ||
	    inet_addr_from_words((int)m->family, m->dst_addr, m->n_dst_addr, m->dst_port, NULL, &n) ||
	    (m->ended && (m->state != TCP_CLOSE || m->proto != IPPROTO_TCP || m->ended->error > 4095)))
		return log_errno(-EINVAL, "file %u: an impossible socket of family %u, type %u, protocol %u", m->id,
		                 m->family, m->type, m->proto);
	port_of(r, m, true)->sockets++;
	return 0;
}

static int inet_collected(struct dump *d)
{
	return tcp_collected(d, &inet_kind, inet_opts_dump);
}

static int inet_read_images(struct restore *r)
{
	int err = files_all(r, &inet_kind, check_message, NULL);

	return err ?: queue_read_images(r);
}

static const char *who_is(struct restore *r, const InetSkEntry *m)
{
	union inet_addr n;

	inet_addr_from_words((int)m->family, m->src_addr, m->n_src_addr, m->src_port, m->ifname, &n);
	return arena_printf(r->arena, "%s %s", inet_what(m), inet_addr_text(&n));
}

/* What has to wait until a connection's queues are full. */
static int tcp_options(struct restore *r, int fd, const InetSkEntry *m)
{
	const char *who = who_is(r, m);

	return sock_opts_buffers(r, fd, m->opts, who)
	           ?: inet_opts_late(r, fd, m, who) ?: sock_opts_restore(r, fd, m->opts, who);
}

static int inet_prepare(struct restore *r)
{
	return tcp_prepare(r, &inet_kind, tcp_options);
}

static int bind_to(int fd, const union inet_addr *n)
{
	return bind(fd, &n->any, inet_addr_len(n)) ? -errno : 0;
}

static bool must_bind(const InetSkEntry *m, const union inet_addr *n)
{
	return m->src_port || !inet_addr_is_any(n);
}

static int set_reuse(int fd, int value)
{
	return setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &value, sizeof(value)) ? -errno : 0;
}

/* Why a name cannot be bound, tried before anything is started. */
static const char *why_not(struct restore *r, const InetSkEntry *m, const union inet_addr *n, int err)
{
	const char *name = inet_addr_text(n), *owner = NULL;

	if (err == -EADDRINUSE && m->type != SOCK_RAW)
		owner = inet_proc_port_owner(r->arena, (int)m->proto, inet_addr_port(n));
	if (err == -EADDRINUSE)
		return arena_printf(r->arena, "the address of its %s, %s, is in use%s%s", inet_what(m), name,
		                    owner ? " by " : "", owner ?: "");
	if (err == -EADDRNOTAVAIL || err == -ENODEV)
		return arena_printf(r->arena, "the address of its %s, %s%s%s, is not on this host", inet_what(m), name,
		                    m->ifname ? " on " : "", m->ifname ?: "");
	return arena_printf(r->arena, "its %s cannot be bound to %s: %s", inet_what(m), name, strerror(-err));
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

static int make_trial(struct restore *r, const InetSkEntry *m, const char **why)
{
	int fd = socket((int)m->family, (int)m->type | SOCK_CLOEXEC, (int)m->proto), err = fd < 0 ? -errno : 0;

	if (err)
		*why = arena_printf(r->arena, "a %s cannot be made: %s%s", inet_what(m), strerror(-err),
		                    err == -EACCES && m->type == SOCK_DGRAM ? " (net.ipv4.ping_group_range)" : "");
	return err ?: fd;
}

static bool same_text(const char *a, const char *b)
{
	return a && b ? !strcmp(a, b) : a == b;
}

/* Whether this host has the address of one if it has that of the other. */
static bool same_address(const InetSkEntry *a, const InetSkEntry *b)
{
	const IpOptsEntry *oa = a->ip_opts, *ob = b->ip_opts;

	return a->family == b->family && a->n_src_addr == b->n_src_addr &&
	       !memcmp(a->src_addr, b->src_addr, a->n_src_addr * sizeof(*a->src_addr)) && a->v6only == b->v6only &&
	       same_text(a->ifname, b->ifname) && same_text(a->opts->so_bound_dev, b->opts->so_bound_dev) &&
	       (oa && oa->freebind) == (ob && ob->freebind) && (oa && oa->transparent) == (ob && ob->transparent);
}

/* Thousands of connections have one address: it is tried once. */
static int check_address(struct restore *r, const InetSkEntry *m, union inet_addr *n, const char **why)
{
	const InetSkEntry **last = &((struct inet_restore *)restore_state(r, &inet_kind))->address;
	_cleanup_close_ int fd = -1;
	int err;

	if (*last && same_address(*last, m))
		return 0;
	fd = make_trial(r, m, why);
	if (fd < 0)
		return fd;
	trial_options(r, fd, m, true);
	inet_addr_set_port(n, 0);
	set_bool(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, true); /* somebody may want that very port now */
	err = bind_to(fd, n);
	inet_addr_set_port(n, m->src_port);
	if (err)
		*why = arena_printf(r->arena, "the connection %s: %s; or give --tcp-fallback close", tcp_tuple_text(m),
		                    why_not(r, m, n, err));
	else
		*last = m;
	return err;
}

/* Its port may be shared with a listener; the address is what can be missing, and the connection be another's. */
static int check_connection(struct restore *r, const InetSkEntry *m, union inet_addr *n, const char **why)
{
	int err = tcp_check(r, m, why);

	if (err || r->opts->tcp_close)
		return err;
	err = check_address(r, m, n, why) ?: tcp_check_free(r, m, why);
	if (!err || !r->opts->tcp_fallback_close)
		return err;
	log_warn("%s: %s: it comes back closed (--tcp-fallback close)", who_is(r, m), *why);
	tcp_give_up(r, m);
	*why = NULL;
	return 0;
}

static int check_bind(struct restore *r, const InetSkEntry *m, const union inet_addr *n, const char **why)
{
	_cleanup_close_ int fd = make_trial(r, m, why);
	int err;

	if (fd < 0 || !must_bind(m, n))
		return MIN(fd, 0);
	trial_options(r, fd, m, true);
	err = bind_to(fd, n);
	/* What is left of a connection that has ended is only tried. */
	if (!err || (m->proto == IPPROTO_TCP && m->state == TCP_CLOSE && m->has_shutdown))
		return 0;
	if (err == -EADDRINUSE && m->proto == IPPROTO_TCP && tcp_port_is_left(r->arena, inet_addr_port(n)))
		return 0;
	*why = why_not(r, m, n, err);
	return err;
}

static int inet_check(struct restore *r, const void *msg, const char **why)
{
	const InetSkEntry *m = msg;
	union inet_addr n;

	if (m->opts->so_bound_dev && !if_nametoindex(m->opts->so_bound_dev)) {
		*why = arena_printf(r->arena, "there is no network interface %s, to which its %s is bound",
		                    m->opts->so_bound_dev, inet_what(m));
		return -ENODEV;
	}
	inet_addr_from_words((int)m->family, m->src_addr, m->n_src_addr, m->src_port, m->ifname, &n);
	if (tcp_is_connection(m))
		return check_connection(r, m, &n, why);
	return m->ended ? tcp_check_ended(r, m, why) : check_bind(r, m, &n, why);
}

/*
 * Binds and connects. Of a connected socket the kernel does not tell whether its task had chosen the address or only
 * connect() had; without one, connect() chooses again, and the task may connect it elsewhere later.
 */
static int place(struct restore *r, int fd, const InetSkEntry *m, const char *who)
{
	union inet_addr src, dst, any, now = { 0 };
	socklen_t len = sizeof(now);
	bool connected = m->proto != IPPROTO_TCP && m->state == TCP_ESTABLISHED;
	int err = 0;

	inet_addr_from_words((int)m->family, m->src_addr, m->n_src_addr, m->src_port, m->ifname, &src);
	inet_addr_from_words((int)m->family, NULL, 0, m->src_port, NULL, &any);
	inet_addr_from_words((int)m->family, m->dst_addr, m->n_dst_addr, m->dst_port, m->dst_ifname, &dst);
	if (must_bind(m, &src))
		err = connected && m->src_port ? bind_to(fd, &any) : bind_to(fd, &src);
	if (err && m->proto == IPPROTO_TCP && m->state == TCP_CLOSE && m->has_shutdown)
		return 0; /* the port of a connection that has ended went to somebody else */
	if (err == -EADDRINUSE && m->proto == IPPROTO_TCP)
		err = tcp_port_bind(r->arena, fd, &src);
	if (err && !connected)
		return log_errno(err, "%s: binding it", who);
	if (!connected)
		return 0;
	if (!err && !connect(fd, &dst.any, inet_addr_len(&dst)) && !getsockname(fd, &now.any, &len) &&
	    (inet_addr_equal(&now, &src) || m->type == SOCK_RAW))
		return 0;
	return 1;
}

/* The same with the address as it was. */
static int place_exactly(int fd, const InetSkEntry *m, const char *who)
{
	union inet_addr src, dst;

	inet_addr_from_words((int)m->family, m->src_addr, m->n_src_addr, m->src_port, m->ifname, &src);
	inet_addr_from_words((int)m->family, m->dst_addr, m->n_dst_addr, m->dst_port, m->dst_ifname, &dst);
	if (bind_to(fd, &src))
		return log_errno(-errno, "%s: binding it", who);
	if (connect(fd, &dst.any, inet_addr_len(&dst)))
		return log_errno(-errno, "%s: connecting it to %s", who, inet_addr_text(&dst));
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
		err = exactly ? place_exactly(fd, m, who) : place(r, fd, m, who);
	if (!err)
		*out = move_fd(&fd);
	return err;
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
	if (tcp_is_connection(m) && !r->opts->tcp_close && !tcp_given_up(r, m)) {
		err = open_connection(r, m, who);
		if (err >= 0 || !r->opts->tcp_fallback_close)
			return err;
		tcp_give_up(r, m);
	}
	if (tcp_is_connection(m))
		return open_ended(r, m, tcp_ended_instead(r->arena, m->state), who);
	err = make(r, m, false, who, &fd);
	if (err == 1)
		err = make(r, m, true, who, &fd);
	err = err ?: inet_mcast_restore(r, fd, m, who);
	if (!err && inet_is_udp(m))
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

static int start_listening(struct restore *r, const InetSkEntry *m, int fd)
{
	int backlog = (int)MIN(m->backlog, INT32_MAX), err = listen(fd, backlog) ? -errno : 0;
	union inet_addr n;

	inet_addr_from_words((int)m->family, m->src_addr, m->n_src_addr, m->src_port, m->ifname, &n);
	if (err == -EADDRINUSE)
		err = tcp_port_listen(r->arena, fd, &n, backlog);
	return err ? log_errno(err, "%s: listening", who_is(r, m)) : 0;
}

static bool inet_is_late(const void *msg)
{
	return !tcp_is_connection(msg);
}

/* Here all are bound: a listening socket lets nobody else bind its port. */
static int inet_late(struct restore *r, const void *msg, int fd)
{
	const InetSkEntry *m = msg;
	int err = 0;

	if (m->type == SOCK_RAW)
		drain(fd);
	if (m->proto == IPPROTO_TCP && m->state == TCP_LISTEN)
		err = start_listening(r, m, fd);
	if (err)
		return err;
	if (shares_port(r, m) && set_reuse(fd, m->opts->reuseaddr))
		return log_errno(-errno, "%s: putting SO_REUSEADDR back", who_is(r, m));
	return 0;
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
	bool listens = m->proto == IPPROTO_TCP && m->state == TCP_LISTEN;

	return inet_match(ours) && inet_int_option(ours->fd, SO_DOMAIN) == (int)m->family &&
	       inet_int_option(ours->fd, SO_TYPE) == (int)m->type &&
	       inet_int_option(ours->fd, SO_PROTOCOL) == (int)m->proto &&
	       (inet_int_option(ours->fd, SO_ACCEPTCONN) == 1) == listens;
}

const struct fd_kind inet_kind = {
	.name = "IPv4 and IPv6 sockets",
	.state = { .restore = sizeof(struct inet_restore) },
	.type = FD_TYPES__INETSK,
	.field = 4,
	.pb = &inet_sk_entry__descriptor,
	.match = inet_match,
	.dump = inet_dump,
	.all_collected = inet_collected,
	.check = inet_check,
	.resource = inet_resource,
	.accepts_inherited = inet_accepts,
	.prepare = inet_prepare,
	.open = inet_open,
	.post_open = inet_late,
	.has_post_open = inet_is_late,
	.read_images = inet_read_images,
	.write_images = queue_write_images,
};
