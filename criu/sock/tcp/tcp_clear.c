/* SPDX-License-Identifier: GPL-2.0-only */
/* What an earlier life of a connection left on this host: TIME_WAIT, or a FIN that nobody waits for any more. */
#include <libmnl/libmnl.h>
#include <linux/inet_diag.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <string.h>

#include "lib/log.h"
#include "sock/tcp/tcp_clear.h"

static struct nlmsghdr *put_request(char *buf, uint16_t type, const struct net_tuple *t)
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

/* The answer to a request: 0 and, where there is one, the socket; or a negative errno. */
static int ask(struct mnl_socket *nl, struct nlmsghdr *h, struct inet_diag_msg *found)
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

/* Somebody's socket has an inode; what the kernel keeps alone has none. */
static int clear(struct mnl_socket *nl, const struct net_tuple *t)
{
	char buf[512];
	struct inet_diag_msg found = { 0 };
	int err = ask(nl, put_request(buf, SOCK_DIAG_BY_FAMILY, t), &found);

	if (err)
		return err;
	if (found.idiag_inode)
		return -EADDRINUSE;
	return ask(nl, put_request(buf, SOCK_DESTROY, t), NULL);
}

int tcp_clear_way(const struct net_tuple *t)
{
	struct mnl_socket *nl = mnl_socket_open2(NETLINK_SOCK_DIAG, SOCK_CLOEXEC);
	int err;

	if (!nl)
		return -errno;
	err = mnl_socket_bind(nl, 0, MNL_SOCKET_AUTOPID) < 0 ? -errno : clear(nl, t);
	mnl_socket_close(nl);
	return err;
}
