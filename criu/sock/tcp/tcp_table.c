/* SPDX-License-Identifier: GPL-2.0-only */
#include <libmnl/libmnl.h>
#include <linux/inet_diag.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>

#include "lib/arena_hash.h"
#include "sock/diag.h"
#include "sock/tcp/tcp_table.h"

/* ---- listing ---- */

struct table_entry {
	struct net_tuple key;
	uint32_t ino;
	UT_hash_handle hh;
};

struct tcp_table {
	struct arena *arena;
	struct table_entry *entries;
};

static struct net_tuple tuple_of_diag(const struct diag_inet *s)
{
	struct net_tuple t;
	const struct in6_addr *src = (const void *)s->src, *dst = (const void *)s->dst;

	memset(&t, 0, sizeof(t));
	t.local_port = htons(s->sport);
	t.remote_port = htons(s->dport);
	t.family = s->family;
	if (s->family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(src)) {
		t.family = AF_INET;
		memcpy(t.local, &s->src[3], 4);
		memcpy(t.remote, &s->dst[3], 4);
	} else {
		memcpy(t.local, src, s->family == AF_INET6 ? 16 : 4);
		memcpy(t.remote, dst, s->family == AF_INET6 ? 16 : 4);
	}
	return t;
}

struct table_socket {
	struct diag_inet socket;
	struct table_socket *next;
};

struct table_query {
	struct arena *arena;
	struct table_socket *first, **last;
};

static int take_answer(const struct nlmsghdr *h, void *arg)
{
	struct table_query *q = arg;
	struct table_socket *s = arena_new_of(q->arena, struct table_socket);

	if (diag_parse_inet(q->arena, mnl_nlmsg_get_payload(h), mnl_nlmsg_get_payload_len(h), &s->socket))
		return MNL_CB_OK;
	s->next = NULL;
	*q->last = s;
	q->last = &s->next;
	return MNL_CB_OK;
}

static int ask_list(struct table_query *q, struct mnl_socket *nl, const struct nlmsghdr *h)
{
	char buf[16384];
	int more = 1;

	if (mnl_socket_sendto(nl, h, h->nlmsg_len) < 0)
		return -errno;
	while (more > 0) {
		ssize_t n = mnl_socket_recvfrom(nl, buf, sizeof(buf));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		more = mnl_cb_run(buf, (size_t)n, h->nlmsg_seq, 0, take_answer, q);
	}
	return more < 0 ? -errno : 0;
}

static struct nlmsghdr *put_list_request(char *buf, uint16_t type, uint32_t seq)
{
	struct nlmsghdr *h = mnl_nlmsg_put_header(buf);

	h->nlmsg_type = type;
	h->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
	h->nlmsg_seq = seq;
	return h;
}

/*
 * By a request of before Linux 3.3, which has both families answered at once: for each list the kernel walks through
 * its whole table, 2 MiB and more.
 */
static int ask_both(struct table_query *q, struct mnl_socket *nl, uint16_t port, uint32_t states)
{
	char buf[256];
	struct nlmsghdr *h = put_list_request(buf, TCPDIAG_GETSOCK, 1);
	struct inet_diag_req *req = mnl_nlmsg_put_extra_header(h, sizeof(*req));

	req->idiag_states = states;
	req->id.idiag_sport = htons(port);
	return ask_list(q, nl, h);
}

static int ask_family(struct table_query *q, struct mnl_socket *nl, uint8_t family, uint16_t port, uint32_t states)
{
	char buf[256];
	struct nlmsghdr *h = put_list_request(buf, SOCK_DIAG_BY_FAMILY, family);
	struct inet_diag_req_v2 *req = mnl_nlmsg_put_extra_header(h, sizeof(*req));

	req->sdiag_family = family;
	req->sdiag_protocol = IPPROTO_TCP;
	req->idiag_states = states;
	req->id.idiag_sport = htons(port);
	return ask_list(q, nl, h);
}

/* family: 0: both. What another query has left behind is not read: each has a socket of its own. */
static int list_sockets(struct table_query *q, uint8_t family, uint16_t port, uint32_t states)
{
	struct mnl_socket *nl = mnl_socket_open2(NETLINK_SOCK_DIAG, SOCK_CLOEXEC);
	int err;

	if (!nl)
		return -errno;
	err = mnl_socket_bind(nl, 0, MNL_SOCKET_AUTOPID) < 0 ? -errno : 0;
	if (!err)
		err = family ? ask_family(q, nl, family, port, states) : ask_both(q, nl, port, states);
	mnl_socket_close(nl);
	return err;
}

int tcp_table_each(struct arena *a, uint16_t port, uint32_t states, int (*fn)(const struct diag_inet *s, void *arg),
                   void *arg)
{
	struct table_query q = { .arena = a, .last = &q.first };
	int err = list_sockets(&q, 0, port, states);

	if (err) {
		q = (struct table_query) { .arena = a, .last = &q.first };
		err = list_sockets(&q, AF_INET, port, states) ?: list_sockets(&q, AF_INET6, port, states);
	}
	for (const struct table_socket *s = q.first; s && !err; s = s->next)
		err = fn(&s->socket, arg);
	return err;
}

static int add_connection(const struct diag_inet *s, void *arg)
{
	struct tcp_table *t = arg;
	struct table_entry *e = s->ino ? arena_new_of(t->arena, struct table_entry) : NULL;

	if (!e) /* nobody's */
		return 0;
	e->key = tuple_of_diag(s);
	e->ino = s->ino;
	HASH_ADD_IN(t->arena, hh, t->entries, key, sizeof(e->key), e);
	return 0;
}

int tcp_table_read(struct arena *a, struct tcp_table **tp)
{
	struct tcp_table *t = *tp = arena_new_of(a, struct tcp_table);
	uint32_t states = (1U << (TCP_CLOSING + 1)) - 1;

	t->arena = a;
	states &= ~(1U << TCP_LISTEN | 1U << TCP_TIME_WAIT | 1U << TCP_CLOSE);
	return tcp_table_each(a, 0, states, add_connection, t);
}

uint32_t tcp_table_find(const struct tcp_table *t, const struct net_tuple *tuple)
{
	struct table_entry *e = NULL;

	HASH_FIND(hh, t->entries, tuple, sizeof(*tuple), e);
	return e ? e->ino : 0;
}

/* ---- what an earlier connection left: TIME_WAIT, or a closed socket that still sends its FIN ---- */

static struct nlmsghdr *put_tuple_request(char *buf, uint16_t type, const struct net_tuple *t)
{
	struct nlmsghdr *h = mnl_nlmsg_put_header(buf);
	struct inet_diag_req_v2 *req = mnl_nlmsg_put_extra_header(h, sizeof(*req));

	h->nlmsg_type = type;
	h->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
	req->sdiag_family = (uint8_t)t->family;
	req->sdiag_protocol = IPPROTO_TCP;
	req->idiag_states = ~0U;
	memcpy(req->id.idiag_src, t->local, sizeof(t->local));
	memcpy(req->id.idiag_dst, t->remote, sizeof(t->remote));
	req->id.idiag_sport = t->local_port;
	req->id.idiag_dport = t->remote_port;
	req->id.idiag_cookie[0] = req->id.idiag_cookie[1] = INET_DIAG_NOCOOKIE;
	return h;
}

/* Sends a request and reads the answer: 0 and *found where a socket matches, or a negative errno. */
static int exchange_one(struct mnl_socket *nl, struct nlmsghdr *h, struct inet_diag_msg *found)
{
	char buf[8192];
	ssize_t n;
	int left;

	if (mnl_socket_sendto(nl, h, h->nlmsg_len) < 0)
		return -errno;
	for (;;) {
		n = mnl_socket_recvfrom(nl, buf, sizeof(buf));
		if (n < 0)
			return -errno;
		left = (int)n;
		for (h = (void *)buf; mnl_nlmsg_ok(h, left); h = mnl_nlmsg_next(h, &left)) {
			const struct nlmsgerr *e = mnl_nlmsg_get_payload(h);

			if (h->nlmsg_type == NLMSG_ERROR && mnl_nlmsg_get_payload_len(h) >= sizeof(e->error))
				return e->error;
			if (found && mnl_nlmsg_get_payload_len(h) >= sizeof(*found))
				memcpy(found, mnl_nlmsg_get_payload(h), sizeof(*found));
		}
	}
}

/* A socket that a task has open has an inode; what the kernel alone keeps has 0. */
static int destroy_if_left(struct mnl_socket *nl, const struct net_tuple *t)
{
	char buf[512];
	struct inet_diag_msg found = { 0 };
	int err = exchange_one(nl, put_tuple_request(buf, SOCK_DIAG_BY_FAMILY, t), &found);

	if (err)
		return err;
	if (found.idiag_inode)
		return -EADDRINUSE;
	return exchange_one(nl, put_tuple_request(buf, SOCK_DESTROY, t), NULL);
}

int tcp_table_clear(const struct net_tuple *t)
{
	struct mnl_socket *nl = mnl_socket_open2(NETLINK_SOCK_DIAG, SOCK_CLOEXEC);
	int err;

	if (!nl)
		return -errno;
	err = mnl_socket_bind(nl, 0, MNL_SOCKET_AUTOPID) < 0 ? -errno : destroy_if_left(nl, t);
	mnl_socket_close(nl);
	return err;
}
