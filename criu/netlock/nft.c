/* SPDX-License-Identifier: GPL-2.0-only */
#include <netinet/in.h>

#include <libmnl/libmnl.h>
#include <libnftnl/common.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nf_tables.h>
#include <string.h>
#include <sys/socket.h>

#include "lib/log.h"
#include "netlock/nft.h"

int nft_open(struct nft_batch *b)
{
	*b = (struct nft_batch) { .seq = 1 };
	b->nl = mnl_socket_open2(NETLINK_NETFILTER, SOCK_CLOEXEC);
	if (!b->nl)
		return log_errno(-errno, "netlink socket for nf_tables (is CONFIG_NF_TABLES in the kernel?)");
	if (mnl_socket_bind(b->nl, 0, MNL_SOCKET_AUTOPID) < 0)
		return log_errno(-errno, "bind of the netlink socket for nf_tables");
	return 0;
}

void nft_close(struct nft_batch *b)
{
	if (b->nl)
		mnl_socket_close(b->nl);
	free(b->buf);
	*b = (struct nft_batch) { 0 };
}

/*
 * Sends the netlink socket into the queue of a unix socket that only this queue refers to. The kernel's collector of
 * such cycles (net/unix/garbage.c) closes both, since 6.10 in a thread of its own; before that in the close() of the
 * other end, which is returned. Or a negative errno.
 */
static int leave_to_collector(int fd)
{
	_cleanup_close_ int in = -1, queue = -1;
	int sp[2];
	char c = 0;
	struct iovec v = { &c, 1 };
	union {
		struct cmsghdr h;
		char room[CMSG_SPACE(sizeof(sp))];
	} u = { .h = { .cmsg_len = CMSG_LEN(sizeof(sp)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS } };
	struct msghdr m = { .msg_iov = &v, .msg_iovlen = 1, .msg_control = u.room, .msg_controllen = sizeof(u.room) };

	if (socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, sp))
		return -errno;
	in = sp[0];
	queue = sp[1];
	memcpy(CMSG_DATA(&u.h), (int[2]) { queue, fd }, sizeof(sp));
	return sendmsg(in, &m, MSG_DONTWAIT) < 0 ? -errno : move_fd(&in);
}

void nft_close_unwaited(struct nft_batch *b)
{
	int last = b->nl ? leave_to_collector(mnl_socket_get_fd(b->nl)) : -1;

	nft_close(
	    b); /* before the close() that wakes the collector: the last close of the netlink socket is the slow one */
	if (last >= 0)
		close(last);
}

/* The messages of a transaction stand between two special ones. */
static void add_frame(struct nft_batch *b, bool begin)
{
	if (begin)
		nftnl_batch_begin(b->buf + b->used, b->seq++);
	else
		nftnl_batch_end(b->buf + b->used, b->seq++);
	b->used += ((struct nlmsghdr *)(void *)(b->buf + b->used))->nlmsg_len;
}

static int grow_batch(struct nft_batch *b)
{
	char *more;

	if (b->size - b->used >= 2 * MESSAGE_ROOM)
		return 0;
	more = realloc(b->buf, b->size * 2 + 4 * MESSAGE_ROOM);
	if (!more)
		return -ENOMEM;
	b->buf = more;
	b->size = b->size * 2 + 4 * MESSAGE_ROOM;
	return 0;
}

struct nlmsghdr *nft_begin(struct nft_batch *b, uint16_t type, uint16_t flags)
{
	if (grow_batch(b))
		return NULL;
	if (!b->used && type != NFT_MSG_GETTABLE)
		add_frame(b, true);
	return nftnl_nlmsg_build_hdr(b->buf + b->used, type, NFPROTO_INET, flags, b->seq++);
}

void nft_end(struct nft_batch *b, const struct nlmsghdr *nlh)
{
	b->used += NLMSG_ALIGN(nlh->nlmsg_len);
}

/* One message of 10,000 connections is 800 KB; the default limit is 208. */
static int send_batch(struct nft_batch *b)
{
	int fd = mnl_socket_get_fd(b->nl), size = (int)MIN(b->used + (64UL << 10), 1UL << 30);
	ssize_t n;

	if (b->used > (100UL << 10) && setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size)))
		setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	n = mnl_socket_sendto(b->nl, b->buf, b->used);
	return n < 0 ? -errno : 0;
}

/* Reads answers until the one to `last`; the first error counts. */
static int read_answers(struct nft_batch *b, uint32_t last)
{
	char buf[8192];
	int err = 0;

	for (;;) {
		ssize_t n = mnl_socket_recvfrom(b->nl, buf, sizeof(buf));
		int left = (int)n;

		if (n < 0 && errno == ENOBUFS) /* more errors than fit into the socket: one of them was read already */
			continue;
		if (n < 0)
			return err ?: -errno;
		for (struct nlmsghdr *h = (void *)buf; mnl_nlmsg_ok(h, left); h = mnl_nlmsg_next(h, &left)) {
			const struct nlmsgerr *e = mnl_nlmsg_get_payload(h);

			if (h->nlmsg_type != NLMSG_ERROR)
				continue;
			if (mnl_nlmsg_get_payload_len(h) < sizeof(e->error))
				return -EBADMSG;
			err = err ?: e->error;
			if (h->nlmsg_seq == last || e->error)
				return err;
		}
	}
}

static int send_and_wait(struct nft_batch *b, struct nlmsghdr *last)
{
	int err;

	last->nlmsg_flags |= NLM_F_ACK;
	err = send_batch(b);
	b->used = 0;
	return err ?: read_answers(b, last->nlmsg_seq);
}

/* The last message before the frame's end is the one that is acknowledged. */
static struct nlmsghdr *last_message(struct nft_batch *b)
{
	struct nlmsghdr *h = (void *)b->buf, *last = h;
	int left = (int)b->used;

	for (; mnl_nlmsg_ok(h, left); h = mnl_nlmsg_next(h, &left))
		last = h;
	return last;
}

int nft_commit(struct nft_batch *b)
{
	struct nlmsghdr *last;

	if (!b->used)
		return 0;
	last = last_message(b);
	add_frame(b, false);
	return send_and_wait(b, last);
}

int nft_ask(struct nft_batch *b)
{
	return send_and_wait(b, last_message(b));
}
