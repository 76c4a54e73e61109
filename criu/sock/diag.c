/* SPDX-License-Identifier: GPL-2.0-only */
#include <libmnl/libmnl.h>
#include <linux/inet_diag.h>
#include <linux/netlink_diag.h>
#include <linux/packet_diag.h>
#include <linux/sock_diag.h>
#include <linux/unix_diag.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "files/net_ns.h"
#include "lib/log.h"
#include "lib/arena_hash.h"
#include "sock/diag.h"
#include "tree/subsys.h"

/* How often a family is queried again: when other sockets end during an answer, the kernel may skip one of ours. */
#define ASK_AGAIN 3
/* So many TCP sockets are queried one by one: for a list of them the kernel walks through all of its tables. */
#define SINGLES   32

/* One socket of an answer. */
struct diag_found {
	uint64_t cookie;
	const void *socket; /* struct diag_* */
	UT_hash_handle hh;
};

struct diag_unix_found {
	uint32_t ino;
	const struct diag_unix *socket;
	UT_hash_handle hh;
};

/* One query: for a family, or a family and a protocol. */
struct diag_query {
	bool done;
	unsigned times;
	int err; /* of the query; logged */
	struct diag_found *found;
};

enum { V4, V6, N_INET_FAMILIES };
enum { TCP, UDP, UDPLITE, RAW, N_INET_PROTOCOLS };

/* Of one network namespace: the kernel answers for the one that the caller is in. */
struct diag {
	struct arena *arena;
	uint32_t net_ns; /* its number, 0: criu's own */
	struct diag_query unix_sockets, netlink, packet, inet[N_INET_FAMILIES][N_INET_PROTOCOLS];
	unsigned singles;
	struct diag_all *all;
	struct diag *next;
};

struct diag_all {
	struct diag *first;
	struct diag_unix_found *unix_by_ino; /* inodes of sockets are the machine's */
};

const struct subsys diag_subsys = { .name = "socket diagnostics", .state = { .dump = sizeof(struct diag_all) } };

/* Parses one answer and keeps it. */
typedef int (*take_fn)(struct diag *g, struct diag_query *q, const void *answer, size_t len);

struct diag_request {
	const void *message; /* behind the nlmsghdr */
	size_t size;
	uint16_t flags;
	take_fn take;
	const char *module; /* that answers */
};

static struct diag *diag_of(struct dump *d)
{
	struct diag_all *all = dump_state(d, &diag_subsys);
	uint32_t net_ns = net_ns_here(d);
	struct diag *g = all->first;

	while (g && g->net_ns != net_ns)
		g = g->next;
	if (!g) {
		g = arena_new_of(d->arena, struct diag);
		*g = (struct diag) { .arena = d->arena, .net_ns = net_ns, .all = all, .next = all->first };
		all->first = g;
	}
	return g;
}

static void keep_socket(struct diag *g, struct diag_query *q, uint64_t cookie, const void *socket)
{
	struct diag_found *f;

	HASH_FIND(hh, q->found, &cookie, sizeof(cookie), f);
	if (!f) {
		f = arena_new_of(g->arena, struct diag_found);
		f->cookie = cookie;
		HASH_ADD_IN(g->arena, hh, q->found, cookie, sizeof(f->cookie), f);
	}
	f->socket = socket;
}

static int take_unix(struct diag *g, struct diag_query *q, const void *answer, size_t len)
{
	struct diag_unix *s = arena_new_of(g->arena, struct diag_unix);
	struct diag_unix_found *f;
	int err = diag_parse_unix(g->arena, answer, len, s);

	if (err)
		return err;
	keep_socket(g, q, s->cookie, s);
	HASH_FIND(hh, g->all->unix_by_ino, &s->ino, sizeof(s->ino), f);
	if (!f) {
		f = arena_new_of(g->arena, struct diag_unix_found);
		f->ino = s->ino;
		HASH_ADD_IN(g->arena, hh, g->all->unix_by_ino, ino, sizeof(f->ino), f);
	}
	f->socket = s;
	return 0;
}

static int take_inet(struct diag *g, struct diag_query *q, const void *answer, size_t len)
{
	struct diag_inet *s = arena_new_of(g->arena, struct diag_inet);
	int err = diag_parse_inet(g->arena, answer, len, s);

	if (!err)
		keep_socket(g, q, s->cookie, s);
	return err;
}

static int take_netlink(struct diag *g, struct diag_query *q, const void *answer, size_t len)
{
	struct diag_netlink *s = arena_new_of(g->arena, struct diag_netlink);
	int err = diag_parse_netlink(g->arena, answer, len, s);

	if (!err)
		keep_socket(g, q, s->cookie, s);
	return err;
}

static int take_packet(struct diag *g, struct diag_query *q, const void *answer, size_t len)
{
	struct diag_packet *s = arena_new_of(g->arena, struct diag_packet);
	int err = diag_parse_packet(g->arena, answer, len, s);

	if (!err)
		keep_socket(g, q, s->cookie, s);
	return err;
}

/* ---- queries ---- */

/* The last message of an answer carries an errno; a module that is missing shows here. */
static int errno_of_end(const struct nlmsghdr *nlh)
{
	int32_t err = 0;

	if (mnl_nlmsg_get_payload_len(nlh) >= sizeof(err))
		memcpy(&err, mnl_nlmsg_get_payload(nlh), sizeof(err));
	return err > 0 ? -EBADMSG : err;
}

/* All messages of one read. 1: more are to come; 0: that was all; -EINTR: the tables changed during the answer. */
static int take_messages(struct diag *g, struct diag_query *q, take_fn take, const void *buf, size_t n, bool *changed)
{
	const struct nlmsghdr *nlh = buf;
	int len = (int)n, err;

	for (; mnl_nlmsg_ok(nlh, len); nlh = mnl_nlmsg_next(nlh, &len)) {
		*changed |= nlh->nlmsg_flags & NLM_F_DUMP_INTR;
		if (nlh->nlmsg_type == NLMSG_DONE || nlh->nlmsg_type == NLMSG_ERROR) {
			err = errno_of_end(nlh);
			return err ?: *changed ? -EINTR : 0;
		}
		if (nlh->nlmsg_type != SOCK_DIAG_BY_FAMILY)
			continue;
		err = take(g, q, mnl_nlmsg_get_payload(nlh), mnl_nlmsg_get_payload_len(nlh));
		if (err)
			return err;
		if (!(nlh->nlmsg_flags & NLM_F_MULTI))
			return 0;
	}
	return 1;
}

static int exchange_messages(struct diag *g, struct diag_query *q, const struct diag_request *r)
{
	char buf[512] __attribute__((aligned(8)));
	_cleanup_free_ char *answer = malloc(1 << 16);
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);
	struct mnl_socket *nl;
	bool changed = false;
	int err = 1;

	if (!answer)
		return -ENOMEM;
	nl = mnl_socket_open2(NETLINK_SOCK_DIAG, SOCK_CLOEXEC);
	if (!nl)
		return -errno;
	nlh->nlmsg_type = SOCK_DIAG_BY_FAMILY;
	nlh->nlmsg_flags = NLM_F_REQUEST | r->flags;
	memcpy(mnl_nlmsg_put_extra_header(nlh, r->size), r->message, r->size);
	if (mnl_socket_bind(nl, 0, MNL_SOCKET_AUTOPID) || mnl_socket_sendto(nl, nlh, nlh->nlmsg_len) < 0)
		err = -errno;
	while (err == 1) {
		ssize_t n = mnl_socket_recvfrom(nl, answer, 1 << 16);

		if (n >= 0)
			err = take_messages(g, q, r->take, answer, (size_t)n, &changed);
		else if (errno != EINTR)
			err = -errno;
	}
	mnl_socket_close(nl);
	return err;
}

static int query_family(struct diag *g, struct diag_query *q, const struct diag_request *r)
{
	do
		q->err = exchange_messages(g, q, r);
	while (q->err == -EINTR && ++q->times < ASK_AGAIN);
	/* The tree is frozen, so others have changed; one of ours that is missing is looked for again. */
	if (q->err == -EINTR)
		q->err = 0;
	q->done = true;
	if (q->err == -ENOENT || q->err == -EOPNOTSUPP || q->err == -EPROTONOSUPPORT)
		return log_errno(
		    q->err,
		    "the kernel has no socket diagnostics for sockets of the tree: the module %s is missing "
		    "(modprobe %s, or the kernel option of that name)",
		    r->module, r->module);
	return q->err ? log_errno(q->err, "netlink query of the kernel's sockets (%s)", r->module) : 0;
}

static int find_socket(struct diag_query *q, int fd, const void **out)
{
	uint64_t cookie;
	socklen_t len = sizeof(cookie);
	struct diag_found *f;

	if (getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &len))
		return log_errno(-errno, "getsockopt(SO_COOKIE)");
	HASH_FIND(hh, q->found, &cookie, sizeof(cookie), f);
	if (!f)
		return -ENOENT;
	*out = f->socket;
	return 0;
}

/* Queries at the first call, and again a few times where the answer lacks a socket. */
static int query_and_find(struct diag *g, struct diag_query *q, int fd, const struct diag_request *r, const void **out)
{
	int err = q->err ?: -ENOENT;

	if (q->done)
		err = q->err ?: find_socket(q, fd, out);
	if (err == -ENOENT && !q->err && (!q->done || ++q->times < ASK_AGAIN))
		err = query_family(g, q, r) ?: find_socket(q, fd, out);
	return err;
}

/* ---- families ---- */

static int query_one_unix(struct diag *g, int fd, const void **out)
{
	struct unix_diag_req request = {
		.sdiag_family = AF_UNIX,
		.udiag_states = ~0U,
		.udiag_show = UDIAG_SHOW_NAME | UDIAG_SHOW_VFS | UDIAG_SHOW_PEER | UDIAG_SHOW_ICONS | UDIAG_SHOW_RQLEN,
		.udiag_cookie = { INET_DIAG_NOCOOKIE, INET_DIAG_NOCOOKIE },
	};
	struct stat st;
	int err;

	if (fstat(fd, &st))
		return log_errno(-errno, "fstat of a socket");
	request.udiag_ino = (uint32_t)st.st_ino;
	err = exchange_messages(g, &g->unix_sockets,
	                        &(struct diag_request) { &request, sizeof(request), .take = take_unix });
	if (err && err != -ENOENT)
		return log_errno(err, "netlink query of the unix socket with inode %u", request.udiag_ino);
	return err ?: find_socket(&g->unix_sockets, fd, out);
}

int diag_find_unix(struct dump *d, int fd, const struct diag_unix **out)
{
	struct unix_diag_req request = {
		.sdiag_family = AF_UNIX,
		.udiag_states = ~0U,
		.udiag_show = UDIAG_SHOW_NAME | UDIAG_SHOW_VFS | UDIAG_SHOW_PEER | UDIAG_SHOW_ICONS | UDIAG_SHOW_RQLEN |
		              UDIAG_SHOW_UID,
	};
	const struct diag_request r = { &request, sizeof(request), NLM_F_DUMP, take_unix, "unix_diag" };
	struct diag *g = diag_of(d);
	struct diag_query *q = &g->unix_sockets;
	int err = q->done ? q->err : query_family(g, q, &r);

	if (err)
		return err;
	err = find_socket(q, fd, (const void **)out);
	/* A single unix socket can be queried. */
	return err == -ENOENT ? query_one_unix(g, fd, (const void **)out) : err;
}

const struct diag_unix *diag_unix_by_ino(struct dump *d, uint32_t ino)
{
	const struct diag_all *all = dump_state(d, &diag_subsys);
	struct diag_unix_found *f = NULL;

	HASH_FIND(hh, all->unix_by_ino, &ino, sizeof(ino), f);
	return f ? f->socket : NULL;
}

/* Without a port a socket is in no table, so that another query would not help. */
static bool has_port(int fd)
{
	struct sockaddr_in6 a = { 0 };
	socklen_t len = sizeof(a);

	/* Both families have the port at the same offset. */
	return !getsockname(fd, (struct sockaddr *)&a, &len) && a.sin6_port;
}

static const struct {
	int protocol;
	const char *module;
} inet_protocols[N_INET_PROTOCOLS] = {
	[TCP] = { IPPROTO_TCP, "tcp_diag" },
	[UDP] = { IPPROTO_UDP, "udp_diag" },
	[UDPLITE] = { IPPROTO_UDPLITE, "udp_diag" },
	[RAW] = { IPPROTO_RAW, "raw_diag" },
};

static void ask_inet(struct inet_diag_req_v2 *request, int family, int protocol)
{
	*request = (struct inet_diag_req_v2) {
		.sdiag_family = (uint8_t)family,
		.sdiag_protocol = (uint8_t)protocol,
		.idiag_states = ~0U,
		/* Without it the kernel does not show keys of TCP_MD5SIG. */
		.idiag_ext = protocol == IPPROTO_TCP ? 1 << (INET_DIAG_INFO - 1) : 0,
	};
}

/* An address of the socket as a query has it. false: it has none. */
static bool put_address(const struct sockaddr_in6 *a, __be32 words[4], __be16 *port)
{
	const struct sockaddr_in *v4 = (const void *)a;

	*port = a->sin6_port; /* both families have the port at the same offset */
	if (a->sin6_family == AF_INET6)
		memcpy(words, &a->sin6_addr, 16);
	else if (a->sin6_family == AF_INET)
		memcpy(words, &v4->sin_addr, 4);
	return a->sin6_family == AF_INET6 || a->sin6_family == AF_INET;
}

/* -ENOENT: only the list can tell (a socket that is only bound, one of several that listen at a port). */
static int query_one_tcp(struct diag *g, struct diag_query *q, int fd, int family, const void **out)
{
	struct inet_diag_req_v2 request;
	const struct diag_request r = { &request, sizeof(request), .take = take_inet };
	struct sockaddr_in6 local = { 0 }, remote = { 0 };
	socklen_t n = sizeof(local), m = sizeof(remote), len = sizeof(request.id.idiag_cookie);

	ask_inet(&request, family, IPPROTO_TCP);
	getpeername(fd, (struct sockaddr *)&remote, &m);
	put_address(&remote, request.id.idiag_dst, &request.id.idiag_dport);
	if (getsockname(fd, (struct sockaddr *)&local, &n) ||
	    !put_address(&local, request.id.idiag_src, &request.id.idiag_sport) ||
	    getsockopt(fd, SOL_SOCKET, SO_COOKIE, &request.id.idiag_cookie, &len) || exchange_messages(g, q, &r))
		return -ENOENT;
	return find_socket(q, fd, out);
}

int diag_find_inet(struct dump *d, int fd, int family, int protocol, const struct diag_inet **out)
{
	struct inet_diag_req_v2 request;
	struct diag_request r = { &request, sizeof(request), NLM_F_DUMP, take_inet, NULL };
	struct diag *g = diag_of(d);
	struct diag_query *q;
	size_t i = 0;
	int err = -ENOENT;

	while (i < N_INET_PROTOCOLS && inet_protocols[i].protocol != protocol)
		i++;
	if (i == N_INET_PROTOCOLS)
		return -ENOENT;
	q = &g->inet[family == AF_INET6 ? V6 : V4][i];
	if (q->found && !q->err)
		err = find_socket(q, fd, (const void **)out);
	if (err != -ENOENT || (protocol != IPPROTO_RAW && !has_port(fd)))
		return err;
	if (protocol == IPPROTO_TCP && !q->done && g->singles++ < SINGLES)
		err = query_one_tcp(g, q, fd, family, (const void **)out);
	if (err != -ENOENT)
		return err;
	ask_inet(&request, family, protocol);
	r.module = inet_protocols[i].module;
	return query_and_find(g, q, fd, &r, (const void **)out);
}

static struct diag_query *tcp_query_of(struct dump *d, int family)
{
	return &diag_of(d)->inet[family == AF_INET6 ? V6 : V4][TCP];
}

bool diag_has_all_tcp(struct dump *d, int family)
{
	const struct diag_query *q = tcp_query_of(d, family);

	return q->done && !q->err;
}

int diag_each_tcp(struct dump *d, int family, int (*fn)(const struct diag_inet *s, void *arg), void *arg)
{
	struct inet_diag_req_v2 request;
	const struct diag_request r = { &request, sizeof(request), NLM_F_DUMP, take_inet, inet_protocols[TCP].module };
	struct diag_query *q = tcp_query_of(d, family);
	int err;

	ask_inet(&request, family, IPPROTO_TCP);
	err = q->done ? q->err : query_family(diag_of(d), q, &r);
	for (struct diag_found *f = q->found; f && !err; f = f->hh.next)
		err = fn(f->socket, arg);
	return err;
}

int diag_find_netlink(struct dump *d, int fd, const struct diag_netlink **out)
{
	struct netlink_diag_req request = {
		.sdiag_family = AF_NETLINK,
		.sdiag_protocol = NDIAG_PROTO_ALL,
		.ndiag_show = NDIAG_SHOW_GROUPS | NDIAG_SHOW_FLAGS,
	};
	const struct diag_request r = { &request, sizeof(request), NLM_F_DUMP, take_netlink, "netlink_diag" };
	struct diag *g = diag_of(d);
	int err = query_and_find(g, &g->netlink, fd, &r, (const void **)out);

	return err == -ENOENT && g->netlink.err ? -EPROTONOSUPPORT : err;
}

int diag_find_packet(struct dump *d, int fd, const struct diag_packet **out)
{
	struct packet_diag_req request = {
		.sdiag_family = AF_PACKET,
		.pdiag_show = PACKET_SHOW_INFO | PACKET_SHOW_MCLIST | PACKET_SHOW_RING_CFG | PACKET_SHOW_FANOUT,
	};
	const struct diag_request r = { &request, sizeof(request), NLM_F_DUMP, take_packet, "af_packet_diag" };
	struct diag *g = diag_of(d);

	return query_and_find(g, &g->packet, fd, &r, (const void **)out);
}
