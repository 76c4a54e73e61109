/* SPDX-License-Identifier: GPL-2.0-only */
#include "netdev/rtnl.h"

#include <linux/fib_rules.h>
#include <linux/genetlink.h>
#include <linux/if_addr.h>
#include <linux/neighbour.h>
#include <linux/netlink.h>
#include <linux/nexthop.h>
#include <string.h>

#include "lib/log.h"

int rtnl_open(struct rtnl *r)
{
	return rtnl_open_family(r, NETLINK_ROUTE);
}

int rtnl_open_family(struct rtnl *r, int family)
{
	int on = 1;

	*r = (struct rtnl) { .buf = malloc(RTNL_BUFFER), .seq = 1 };
	if (!r->buf)
		return log_errno(-ENOMEM, "memory for rtnetlink");
	r->nl = mnl_socket_open2(family, SOCK_CLOEXEC);
	if (!r->nl || mnl_socket_bind(r->nl, 0, MNL_SOCKET_AUTOPID))
		return log_errno(-errno, "netlink socket of family %d, or its bind", family);
	mnl_socket_setsockopt(r->nl, NETLINK_EXT_ACK, &on, sizeof(on));
	mnl_socket_setsockopt(r->nl, NETLINK_CAP_ACK, &on, sizeof(on));
	return 0;
}

void rtnl_close(struct rtnl *r)
{
	if (r->nl)
		mnl_socket_close(r->nl);
	free(r->buf);
	*r = (struct rtnl) { 0 };
}

struct nlmsghdr *rtnl_message(struct rtnl *r, uint16_t type, uint16_t flags, size_t size, void *head)
{
	struct nlmsghdr *h;

	memset(r->buf, 0, NLMSG_HDRLEN + size);
	h = mnl_nlmsg_put_header(r->buf);
	h->nlmsg_type = type;
	h->nlmsg_flags = NLM_F_REQUEST | flags;
	*(void **)head = mnl_nlmsg_put_extra_header(h, size);
	return h;
}

static int note_said(const struct nlattr *a, void *said)
{
	if (mnl_attr_get_type(a) == NLMSGERR_ATTR_MSG)
		snprintf(said, sizeof(((struct rtnl *)0)->said), ": %.*s", (int)mnl_attr_get_payload_len(a),
		         (const char *)mnl_attr_get_payload(a));
	return MNL_CB_OK;
}

static int errno_of(struct rtnl *r, const struct nlmsghdr *h)
{
	const struct nlmsgerr *e = mnl_nlmsg_get_payload(h);

	if (mnl_nlmsg_get_payload_len(h) < sizeof(e->error))
		return -EBADMSG;
	if (h->nlmsg_flags & NLM_F_ACK_TLVS && mnl_nlmsg_get_payload_len(h) >= sizeof(*e))
		mnl_attr_parse(h, sizeof(*e), note_said, r->said);
	return e->error > 0 ? -EBADMSG : e->error;
}

struct rtnl_reading {
	int (*fn)(const struct nlmsghdr *h, void *arg);
	void *arg;
	bool many, changed;
};

/* 1: more is to come. */
static int take_answer(struct rtnl *r, struct rtnl_reading *g, const struct nlmsghdr *h)
{
	if (h->nlmsg_seq != r->seq)
		return 1;
	g->changed |= h->nlmsg_flags & NLM_F_DUMP_INTR;
	if (h->nlmsg_type == NLMSG_DONE)
		return mnl_nlmsg_get_payload_len(h) >= sizeof(int) ? *(const int *)mnl_nlmsg_get_payload(h) : 0;
	if (h->nlmsg_type == NLMSG_ERROR)
		return errno_of(r, h);
	if (h->nlmsg_type < NLMSG_MIN_TYPE || !g->fn)
		return 1;
	return g->fn(h, g->arg) ?: g->many ? 1 : 0;
}

static int read_answers(struct rtnl *r, struct rtnl_reading *g)
{
	int ret = 1;

	while (ret == 1) {
		ssize_t n = mnl_socket_recvfrom(r->nl, r->buf, RTNL_BUFFER);
		int left = (int)n;

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		for (const struct nlmsghdr *h = (void *)r->buf; ret == 1 && mnl_nlmsg_ok(h, left);
		     h = mnl_nlmsg_next(h, &left))
			ret = take_answer(r, g, h);
	}
	return ret;
}

static int send_and_read(struct rtnl *r, struct nlmsghdr *h, struct rtnl_reading *g)
{
	h->nlmsg_seq = ++r->seq;
	*r->said = 0;
	if (mnl_socket_sendto(r->nl, h, h->nlmsg_len) < 0)
		return -errno;
	return read_answers(r, g);
}

int rtnl_do(struct rtnl *r, struct nlmsghdr *h)
{
	struct rtnl_reading g = { .many = true };

	h->nlmsg_flags |= NLM_F_ACK;
	return send_and_read(r, h, &g);
}

int rtnl_ask(struct rtnl *r, struct nlmsghdr *h, int (*fn)(const struct nlmsghdr *h, void *arg), void *arg)
{
	struct rtnl_reading g = { .fn = fn, .arg = arg };

	return send_and_read(r, h, &g);
}

static size_t head_of(uint16_t type)
{
	switch (type) {
	case RTM_GETADDR:
		return sizeof(struct ifaddrmsg);
	case RTM_GETROUTE:
		return sizeof(struct rtmsg);
	case RTM_GETRULE:
		return sizeof(struct fib_rule_hdr);
	case RTM_GETNEIGH:
		return sizeof(struct ndmsg);
	case RTM_GETNEXTHOP:
		return sizeof(struct nhmsg);
	default:
		return sizeof(struct ifinfomsg);
	}
}

int rtnl_list(struct rtnl *r, uint16_t type, uint8_t family, int (*fn)(const struct nlmsghdr *h, void *arg), void *arg)
{
	struct rtnl_reading g = { .fn = fn, .arg = arg, .many = true };
	/* All headers begin with the family. */
	uint8_t *head;
	struct nlmsghdr *h = rtnl_message(r, type, NLM_F_DUMP, head_of(type), &head);
	int err;

	*head = family;
	err = send_and_read(r, h, &g);
	return !err && g.changed ? -EINTR : err;
}

int rtnl_list_headed(struct rtnl *r, uint16_t type, size_t size, int (*fn)(const struct nlmsghdr *h, void *arg),
                     void *arg)
{
	struct rtnl_reading g = { .fn = fn, .arg = arg, .many = true };
	void *head;
	struct nlmsghdr *h = rtnl_message(r, type, NLM_F_DUMP, size, &head);

	return send_and_read(r, h, &g);
}

static int take_family(const struct nlmsghdr *h, void *id)
{
	const struct nlattr *tb[CTRL_ATTR_MAX + 1];

	if (!rtnl_attrs(h, GENL_HDRLEN, tb, CTRL_ATTR_MAX) && tb[CTRL_ATTR_FAMILY_ID])
		*(uint16_t *)id = mnl_attr_get_u16(tb[CTRL_ATTR_FAMILY_ID]);
	return 0;
}

uint16_t rtnl_genl_family(struct rtnl *r, const char *name)
{
	struct genlmsghdr *g;
	struct nlmsghdr *h = rtnl_message(r, GENL_ID_CTRL, 0, sizeof(*g), &g);
	uint16_t id = 0;

	g->cmd = CTRL_CMD_GETFAMILY;
	g->version = 1;
	mnl_attr_put_strz(h, CTRL_ATTR_FAMILY_NAME, name);
	return rtnl_ask(r, h, take_family, &id) ? 0 : id;
}

int rtnl_list_asked(struct rtnl *r, struct nlmsghdr *h, int (*fn)(const struct nlmsghdr *h, void *arg), void *arg)
{
	struct rtnl_reading g = { .fn = fn, .arg = arg, .many = true };

	return send_and_read(r, h, &g);
}

int rtnl_list_genl(struct rtnl *r, const struct rtnl_genl *ask, int (*fn)(const struct nlmsghdr *h, void *arg),
                   void *arg)
{
	struct rtnl_reading g = { .fn = fn, .arg = arg, .many = true };
	struct genlmsghdr *head;
	struct nlmsghdr *h = rtnl_message(r, ask->family, NLM_F_DUMP, sizeof(*head), &head);

	head->cmd = ask->cmd;
	head->version = ask->version;
	if (ask->attr)
		mnl_attr_put_u32(h, ask->attr, ask->value);
	return send_and_read(r, h, &g);
}

int rtnl_list_proxies(struct rtnl *r, int (*fn)(const struct nlmsghdr *h, void *arg), void *arg)
{
	struct rtnl_reading g = { .fn = fn, .arg = arg, .many = true };
	struct ndmsg *m;
	struct nlmsghdr *h = rtnl_message(r, RTM_GETNEIGH, NLM_F_DUMP, sizeof(*m), &m);
	int err;

	m->ndm_flags = NTF_PROXY;
	err = send_and_read(r, h, &g);
	return !err && g.changed ? -EINTR : err;
}

struct attr_table {
	const struct nlattr **tb;
	uint16_t most;
};

static int note_attr(const struct nlattr *a, void *arg)
{
	struct attr_table *t = arg;

	if (mnl_attr_get_type(a) <= t->most)
		t->tb[mnl_attr_get_type(a)] = a;
	return MNL_CB_OK;
}

int rtnl_attrs(const struct nlmsghdr *h, size_t head, const struct nlattr **tb, uint16_t most)
{
	struct attr_table t = { tb, most };

	memset(tb, 0, (most + 1UL) * sizeof(*tb));
	if (mnl_nlmsg_get_payload_len(h) < head)
		return -EBADMSG;
	return mnl_attr_parse(h, (unsigned)MNL_ALIGN(head), note_attr, &t) < 0 ? -EBADMSG : 0;
}

int rtnl_nested(const struct nlattr *in, const struct nlattr **tb, uint16_t most)
{
	struct attr_table t = { tb, most };

	memset(tb, 0, (most + 1UL) * sizeof(*tb));
	return in && mnl_attr_parse_nested(in, note_attr, &t) < 0 ? -EBADMSG : 0;
}

uint32_t rtnl_u32(const struct nlattr *a, uint32_t missing)
{
	return a && mnl_attr_get_payload_len(a) >= sizeof(uint32_t) ? mnl_attr_get_u32(a) : missing;
}
