/* SPDX-License-Identifier: GPL-2.0-only */
/* Addresses and ports: read, checked on the host of a restore, and bound. */
#include <fcntl.h>
#include <net/if.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>

#include "files/files.h"
#include "files/net_ns.h"
#include "lib/arena_hash.h"
#include "lib/log.h"
#include "sock/inet/inet.h"
#include "sock/queue.h"
#include "sock/tcp/tcp_entry.h"
#include "sock/tcp/tcp_port.h"
#include "tree/subsys.h"

/* ---- dump ---- */

/* getpeername(2) fails for raw and ping sockets that are connected without a port. */
static bool read_peer(const struct fd_info *info, const InetSkEntry *m, union inet_addr *dst)
{
	socklen_t len = sizeof(*dst);

	memset(dst, 0, sizeof(*dst));
	if (!getpeername(info->fd, &dst->any, &len))
		return true;
	return !inet_is_tcp(m) && !inet_is_udp(m) &&
	       !inet_proc_peer((int)m->family, m->type == SOCK_RAW, info->st.st_ino, dst);
}

/* The interface of a link-local address, or NULL. */
static char *scope_name(struct dump *d, const union inet_addr *n)
{
	char ifname[IF_NAMESIZE];

	if (n->any.sa_family != AF_INET6 || !n->v6.sin6_scope_id || !if_indextoname(n->v6.sin6_scope_id, ifname))
		return NULL;
	return arena_strdup(d->arena, ifname);
}

/* Whether this host lacks an address, to which only IP_FREEBIND could bind a socket. Tried with one of our own. */
static bool is_nonlocal(const union inet_addr *n)
{
	_cleanup_close_ int fd = -1;
	union inet_addr at = *n;

	if (inet_addr_is_any(n) || (n->any.sa_family == AF_INET && n->v4.sin_addr.s_addr == htonl(INADDR_LOOPBACK)))
		return false;
	fd = socket(n->any.sa_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	inet_addr_set_port(&at, 0);
	return fd >= 0 && bind(fd, &at.any, inet_addr_len(&at)) && errno == EADDRNOTAVAIL;
}

int inet_bind_dump(struct dump *d, const struct fd_info *info, InetSkEntry *m, union inet_addr *src,
                   union inet_addr *dst)
{
	socklen_t len = sizeof(*src);

	if (getsockname(info->fd, &src->any, &len))
		return log_errno(-errno, "%s: getsockname", fd_name(info));
	inet_addr_to_words(d->arena, src, &m->src_addr, &m->n_src_addr);
	/* The "port" of a raw socket is its protocol. */
	m->src_port = m->type == SOCK_RAW ? 0 : inet_addr_port(src);
	m->ifname = scope_name(d, src);
	if (!read_peer(info, m, dst)) {
		union inet_addr none = { .any.sa_family = src->any.sa_family };

		dst->any.sa_family = 0;
		inet_addr_to_words(d->arena, &none, &m->dst_addr, &m->n_dst_addr);
		m->has_nonlocal = m->nonlocal = is_nonlocal(src);
		return 0;
	}
	inet_addr_to_words(d->arena, dst, &m->dst_addr, &m->n_dst_addr);
	m->dst_port = inet_addr_port(dst);
	m->dst_ifname = scope_name(d, dst);
	return 0;
}

/* ---- ports that several sockets of the tree have ---- */

struct bound_port {
	struct {
		uint32_t net_ns, proto, port;
	} key;
	unsigned sockets;
	const InetSkEntry **bound; /* those with SO_REUSEPORT, in the order in which they were bound */
	const InetSkEntry **all;
	size_t n_bound, n_all;
	UT_hash_handle hh;
};

struct inet_bind_state {
	struct bound_port *ports;
	int *lent; /* descriptors of ours: sockets with SO_REUSEPORT until all are bound and listen */
	size_t n_lent;
	const InetSkEntry *checked; /* the last one whose address this host was found to have */
};

extern const struct subsys inet_bind_subsys;

static struct bound_port *find_port(struct restore *r, const InetSkEntry *m, bool add)
{
	struct inet_bind_state *state = restore_state(r, &inet_bind_subsys);
	struct bound_port *p, key = { .key = { net_ns_of_msg(r, m), m->proto, m->src_port } };

	HASH_FIND(hh, state->ports, &key.key, sizeof(key.key), p);
	if (!p && add) {
		p = arena_new_of(r->arena, struct bound_port);
		p->key = key.key;
		HASH_ADD_IN(r->arena, hh, state->ports, key, sizeof(p->key), p);
	}
	return p;
}

void inet_bind_count_port(struct restore *r, const InetSkEntry *m)
{
	struct bound_port *p = find_port(r, m, true);

	p->sockets++;
	arena_push(r->arena, &p->all, &p->n_all, m);
}

static bool shares_port(struct restore *r, const InetSkEntry *m)
{
	const struct bound_port *p = m->src_port ? find_port(r, m, false) : NULL;

	return p && p->sockets > 1;
}

static int set_reuseaddr(int fd, int value)
{
	return setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &value, sizeof(value)) ? -errno : 0;
}

static bool address_overlaps(const InetSkEntry *a, const InetSkEntry *b)
{
	union inet_addr na, nb;

	if (inet_addr_from_words((int)a->family, a->src_addr, a->n_src_addr, 0, NULL, &na) ||
	    inet_addr_from_words((int)b->family, b->src_addr, b->n_src_addr, 0, NULL, &nb))
		return false;
	if (a->family != b->family)
		return !a->v6only && !b->v6only && (inet_addr_is_any(&na) || inet_addr_is_any(&nb));
	return inet_addr_is_any(&na) || inet_addr_is_any(&nb) ||
	       !memcmp(a->src_addr, b->src_addr, a->n_src_addr * sizeof(*a->src_addr));
}

/* Two sockets that only SO_REUSEPORT, set on both when they were bound, allowed at one address. */
static bool must_have_shared(const InetSkEntry *a, const InetSkEntry *b)
{
	bool listen = inet_is_tcp(a) && a->state == TCP_LISTEN && b->state == TCP_LISTEN;

	if (a == b || a->uid != b->uid || inet_has_peer(a) || inet_has_peer(b) || a->external || b->external ||
	    !address_overlaps(a, b) || (inet_is_tcp(a) && (a->has_shutdown || b->has_shutdown)))
		return false;
	return listen || !a->opts->reuseaddr || !b->opts->reuseaddr;
}

/* The option was cleared since: it is lent to the socket until all are in their places, and in their group. */
static bool lacks_reuseport(struct restore *r, const InetSkEntry *m)
{
	const struct bound_port *p = m->src_port && !m->opts->so_reuseport ? find_port(r, m, false) : NULL;

	for (size_t i = 0; p && i < p->n_all; i++)
		if (must_have_shared(m, p->all[i]))
			return true;
	return false;
}

static int lend_reuseport(struct restore *r, int fd)
{
	struct inet_bind_state *state = restore_state(r, &inet_bind_subsys);
	int on = 1, own;

	if (setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)))
		return -errno;
	own = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (own < 0)
		return -errno;
	arena_push(r->arena, &state->lent, &state->n_lent, own);
	return 0;
}

static int take_reuseport_back(struct restore *r)
{
	struct inet_bind_state *state = restore_state(r, &inet_bind_subsys);
	int off = 0, err = 0;

	for (size_t i = 0; i < state->n_lent; i++) {
		if (setsockopt(state->lent[i], SOL_SOCKET, SO_REUSEPORT, &off, sizeof(off)))
			err = log_errno(-errno, "setsockopt(SO_REUSEPORT) of a port that several sockets have");
		close(state->lent[i]);
	}
	state->n_lent = 0;
	return err;
}

const struct subsys inet_bind_subsys = {
	.name = "ports of IPv4 and IPv6 sockets",
	.state = { .restore = sizeof(struct inet_bind_state) },
	.settle = take_reuseport_back,
};

int inet_bind_share_port(struct restore *r, int fd, const InetSkEntry *m, const char *who)
{
	int err = shares_port(r, m) ? set_reuseaddr(fd, 1) : 0;

	if (!err && lacks_reuseport(r, m))
		err = lend_reuseport(r, fd);
	return err ? log_errno(err, "%s: setsockopt(SO_REUSEADDR, SO_REUSEPORT)", who) : 0;
}

int inet_bind_unshare_port(struct restore *r, int fd, const InetSkEntry *m)
{
	int err = shares_port(r, m) ? set_reuseaddr(fd, m->opts->reuseaddr) : 0;

	return err ? log_errno(err, "%s: putting SO_REUSEADDR back", inet_who(r, m)) : 0;
}

static bool same_text(const char *a, const char *b)
{
	return a && b ? !strcmp(a, b) : a == b;
}

static bool same_reuseport_group(const InetSkEntry *a, const InetSkEntry *b)
{
	return a->family == b->family && a->v6only == b->v6only && a->uid == b->uid && a->n_src_addr == b->n_src_addr &&
	       same_text(a->opts->so_bound_dev, b->opts->so_bound_dev) &&
	       !memcmp(a->src_addr, b->src_addr, a->n_src_addr * sizeof(*a->src_addr));
}

uint32_t inet_bind_join_group(struct restore *r, const InetSkEntry *m)
{
	struct bound_port *p = find_port(r, m, true);
	uint32_t before = 0;

	/* connect() takes a socket out of its group. */
	if (!m->src_port || !m->opts->so_reuseport || m->state == TCP_ESTABLISHED)
		return 0;
	for (size_t i = 0; queue_count(r, m->id) && i < p->n_bound; i++)
		before += same_reuseport_group(p->bound[i], m);
	arena_push(r->arena, &p->bound, &p->n_bound, m);
	return before;
}

/* ---- the check, before anything is started ---- */

static int bind_to(int fd, const union inet_addr *n)
{
	return bind(fd, &n->any, inet_addr_len(n)) ? -errno : 0;
}

static bool must_bind(const InetSkEntry *m, const union inet_addr *n)
{
	return m->src_port || !inet_addr_is_any(n);
}

static const char *why_unbound(struct restore *r, const InetSkEntry *m, const union inet_addr *n, int err)
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

static int set_if(int fd, int level, int name, bool on)
{
	int v = 1;

	return on ? setsockopt(fd, level, name, &v, sizeof(v)) : 0;
}

void inet_bind_set_options(struct restore *r, int fd, const InetSkEntry *m, bool device)
{
	const IpOptsEntry *o = m->ip_opts;
	const char *dev = m->opts->so_bound_dev;

	/* Errors are not reported here: bind() will fail. */
	set_reuseaddr(fd, m->opts->reuseaddr || shares_port(r, m));
	set_if(fd, SOL_SOCKET, SO_REUSEPORT, m->opts->so_reuseport || lacks_reuseport(r, m));
	set_if(fd, IPPROTO_IP, IP_FREEBIND, (o && o->freebind) || m->nonlocal);
	set_if(fd, IPPROTO_IP, IP_TRANSPARENT, o && o->transparent);
	if (m->family == AF_INET6) {
		int only = m->v6only;

		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &only, sizeof(only));
	}
	if (dev && device)
		setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, dev, (socklen_t)strlen(dev));
}

/* A socket of our own that is bound in place of the one to be restored, and closed again. */
static int open_trial(struct restore *r, const InetSkEntry *m, const char **why)
{
	int fd = socket((int)m->family, (int)m->type | SOCK_CLOEXEC, (int)m->proto), err = fd < 0 ? -errno : 0;

	if (err)
		*why = arena_printf(r->arena, "a %s cannot be made: %s%s", inet_what(m), strerror(-err),
		                    err == -EACCES && m->type == SOCK_DGRAM ? " (net.ipv4.ping_group_range)" : "");
	return err ?: fd;
}

/* Whether this host has the address of a exactly when it has that of b. */
static bool same_address(const InetSkEntry *a, const InetSkEntry *b)
{
	const IpOptsEntry *oa = a->ip_opts, *ob = b->ip_opts;

	return a->family == b->family && a->n_src_addr == b->n_src_addr &&
	       !memcmp(a->src_addr, b->src_addr, a->n_src_addr * sizeof(*a->src_addr)) && a->v6only == b->v6only &&
	       same_text(a->ifname, b->ifname) && same_text(a->opts->so_bound_dev, b->opts->so_bound_dev) &&
	       (oa && oa->freebind) == (ob && ob->freebind) && a->nonlocal == b->nonlocal &&
	       (oa && oa->transparent) == (ob && ob->transparent);
}

int inet_bind_check_address(struct restore *r, const InetSkEntry *m, union inet_addr *n, const char **why)
{
	struct inet_bind_state *state = restore_state(r, &inet_bind_subsys);
	_cleanup_close_ int fd = -1;
	int err;

	/* Thousands of connections have one address: it is tried once. */
	if (state->checked && same_address(state->checked, m))
		return 0;
	fd = open_trial(r, m, why);
	if (fd < 0)
		return fd;
	inet_bind_set_options(r, fd, m, true);
	inet_addr_set_port(n, 0);
	set_if(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, true); /* takes no port that another process may want now */
	err = bind_to(fd, n);
	inet_addr_set_port(n, m->src_port);
	if (err)
		*why = arena_printf(r->arena, "the connection %s: %s; or give --tcp-fallback close", tcp_tuple_text(m),
		                    why_unbound(r, m, n, err));
	else
		state->checked = m;
	return err;
}

int inet_bind_check(struct restore *r, const InetSkEntry *m, const union inet_addr *n, const char **why)
{
	_cleanup_close_ int fd = open_trial(r, m, why);
	int err;

	if (fd < 0 || !must_bind(m, n))
		return MIN(fd, 0);
	inet_bind_set_options(r, fd, m, true);
	err = bind_to(fd, n);
	/* inet_bind() does without an address for what is left of a connection that has ended. */
	if (!err || (inet_is_tcp(m) && m->state == TCP_CLOSE && m->has_shutdown))
		return 0;
	if (err == -EADDRINUSE && inet_is_tcp(m) && tcp_port_is_left(r->arena, inet_addr_port(n)))
		return 0;
	*why = why_unbound(r, m, n, err);
	return err;
}

/* ---- restore ---- */

/* The option is set while the address is bound, and is then what it was. */
static int bind_freely(int fd, const InetSkEntry *m, const union inet_addr *n)
{
	int off = 0, err;

	if (!m->nonlocal)
		return bind_to(fd, n);
	set_if(fd, IPPROTO_IP, IP_FREEBIND, true);
	err = bind_to(fd, n);
	if (!(m->ip_opts && m->ip_opts->freebind) && setsockopt(fd, IPPROTO_IP, IP_FREEBIND, &off, sizeof(off)))
		err = err ?: -errno;
	return err;
}

/*
 * Of a connected socket the kernel does not tell whether its task chose the address or connect() did. So only the port
 * is bound: connect() chooses the address again, and the task may connect it elsewhere later.
 */
int inet_bind(struct restore *r, int fd, const InetSkEntry *m, const char *who)
{
	union inet_addr src, dst, any, now = { 0 };
	socklen_t len = sizeof(now);
	bool connected = !inet_is_tcp(m) && m->state == TCP_ESTABLISHED;
	int err = 0;

	inet_addr_from_words((int)m->family, m->src_addr, m->n_src_addr, m->src_port, m->ifname, &src);
	inet_addr_from_words((int)m->family, NULL, 0, m->src_port, NULL, &any);
	inet_addr_from_words((int)m->family, m->dst_addr, m->n_dst_addr, m->dst_port, m->dst_ifname, &dst);
	if (must_bind(m, &src))
		err = connected && m->src_port ? bind_to(fd, &any) : bind_freely(fd, m, &src);
	if (err && inet_is_tcp(m) && m->state == TCP_CLOSE && m->has_shutdown)
		return 0; /* another socket has taken the port of a connection that has ended */
	if (err == -EADDRINUSE && inet_is_tcp(m))
		err = tcp_port_bind(r->arena, fd, &src);
	if (err && !connected)
		return log_errno(err, "%s: bind", who);
	if (!connected)
		return 0;
	if (!err && !connect(fd, &dst.any, inet_addr_len(&dst)) && !getsockname(fd, &now.any, &len) &&
	    (inet_addr_equal(&now, &src) || m->type == SOCK_RAW))
		return 0;
	return 1;
}

int inet_bind_exactly(int fd, const InetSkEntry *m, const char *who)
{
	union inet_addr src, dst;

	inet_addr_from_words((int)m->family, m->src_addr, m->n_src_addr, m->src_port, m->ifname, &src);
	inet_addr_from_words((int)m->family, m->dst_addr, m->n_dst_addr, m->dst_port, m->dst_ifname, &dst);
	if (bind_to(fd, &src))
		return log_errno(-errno, "%s: bind", who);
	if (connect(fd, &dst.any, inet_addr_len(&dst)))
		return log_errno(-errno, "%s: connect to %s", who, inet_addr_text(&dst));
	return 0;
}
