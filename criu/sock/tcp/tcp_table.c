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

struct entry {
	struct net_tuple key;
	uint32_t ino;
	UT_hash_handle hh;
};

struct tcp_table {
	struct arena *arena;
	struct entry *entries;
};

static struct net_tuple key_of(const struct diag_inet *s)
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

struct asking {
	struct arena *arena;
	int (*fn)(const struct diag_inet *s, void *arg);
	void *arg;
	int result;
};

static int take(const struct nlmsghdr *h, void *arg)
{
	struct asking *q = arg;
	struct diag_inet s;

	if (q->result || diag_parse_inet(q->arena, mnl_nlmsg_get_payload(h), mnl_nlmsg_get_payload_len(h), &s))
		return MNL_CB_OK;
	q->result = s.ino ? q->fn(&s, q->arg) : 0;
	return MNL_CB_OK;
}

static int ask(struct asking *q, struct mnl_socket *nl, uint8_t family, uint16_t port, uint32_t states)
{
	char buf[16384];
	struct nlmsghdr *h = mnl_nlmsg_put_header(buf);
	struct inet_diag_req_v2 *req = mnl_nlmsg_put_extra_header(h, sizeof(*req));
	int more = 1;

	h->nlmsg_type = SOCK_DIAG_BY_FAMILY;
	h->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
	h->nlmsg_seq = family;
	req->sdiag_family = family;
	req->sdiag_protocol = IPPROTO_TCP;
	req->idiag_states = states;
	req->id.idiag_sport = htons(port);
	if (mnl_socket_sendto(nl, h, h->nlmsg_len) < 0)
		return -errno;
	while (more > 0) {
		ssize_t n = mnl_socket_recvfrom(nl, buf, sizeof(buf));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		more = mnl_cb_run(buf, (size_t)n, family, 0, take, q);
	}
	return more < 0 ? -errno : 0;
}

int tcp_table_each(struct arena *a, uint16_t port, uint32_t states, int (*fn)(const struct diag_inet *s, void *arg),
                   void *arg)
{
	struct asking q = { .arena = a, .fn = fn, .arg = arg };
	struct mnl_socket *nl = mnl_socket_open2(NETLINK_SOCK_DIAG, SOCK_CLOEXEC);
	int err;

	if (!nl)
		return -errno;
	err = mnl_socket_bind(nl, 0, MNL_SOCKET_AUTOPID) < 0 ? -errno : 0;
	err = err ?: ask(&q, nl, AF_INET, port, states) ?: ask(&q, nl, AF_INET6, port, states);
	mnl_socket_close(nl);
	return err ?: q.result;
}

static int enter(const struct diag_inet *s, void *arg)
{
	struct tcp_table *t = arg;
	struct entry *e = arena_new_of(t->arena, struct entry);

	e->key = key_of(s);
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
	return tcp_table_each(a, 0, states, enter, t);
}

uint32_t tcp_table_find(const struct tcp_table *t, const struct net_tuple *tuple)
{
	struct entry *e = NULL;

	HASH_FIND(hh, t->entries, tuple, sizeof(*tuple), e);
	return e ? e->ino : 0;
}
