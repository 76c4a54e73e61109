/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Netlink sockets: port ids (chosen and given), groups below and above 32, options, connected ones, two that speak with
 * each other, a filter; the kernel answers all of them afterwards, and events come.
 *
 * zdtm: exclusive
 * zdtm: needs-root
 * zdtm: restores 2
 * zdtm: no-userns changes a network device
 */
#include <linux/filter.h>
#include <linux/if.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "zdtm.h"

#define GROUP 36 /* RTNLGRP_STATS: above what fits into an address */

static const int options[] = { NETLINK_PKTINFO, NETLINK_BROADCAST_ERROR, NETLINK_NO_ENOBUFS,
	                       NETLINK_CAP_ACK, NETLINK_EXT_ACK,         NETLINK_GET_STRICT_CHK };

static int bound(int type, int protocol, unsigned port, unsigned groups)
{
	struct sockaddr_nl a = { .nl_family = AF_NETLINK, .nl_pid = port, .nl_groups = groups };
	int fd = socket(AF_NETLINK, type, protocol);

	zdtm_must(fd >= 0 && !bind(fd, (struct sockaddr *)&a, sizeof(a)));
	return fd;
}

static unsigned port_of(int fd)
{
	struct sockaddr_nl a = { 0 };
	socklen_t len = sizeof(a);

	getsockname(fd, (struct sockaddr *)&a, &len);
	return a.nl_pid;
}

static int in_group(int fd, unsigned group)
{
	unsigned words[8] = { 0 };
	socklen_t len = sizeof(words);

	getsockopt(fd, SOL_NETLINK, NETLINK_LIST_MEMBERSHIPS, words, &len);
	return words[(group - 1) / 32] >> (group - 1) % 32 & 1;
}

static int option(int fd, int name)
{
	int v = -1;
	socklen_t len = sizeof(v);

	return getsockopt(fd, SOL_NETLINK, name, &v, &len) ? -1 : v;
}

/* The kernel says what the loopback interface is. */
static void check_asks(const char *what, int fd)
{
	struct {
		struct nlmsghdr h;
		struct ifinfomsg i;
	} q = { .h = { .nlmsg_len = sizeof(q),
		       .nlmsg_type = RTM_GETLINK,
		       .nlmsg_flags = NLM_F_REQUEST,
		       .nlmsg_seq = 99 } };
	struct sockaddr_nl kernel = { .nl_family = AF_NETLINK };
	char buf[8192];
	struct nlmsghdr *h = (struct nlmsghdr *)buf;

	q.i.ifi_index = 1;
	zdtm_check(sendto(fd, &q, sizeof(q), 0, (struct sockaddr *)&kernel, sizeof(kernel)) == sizeof(q),
	           "%s: asking: %s", what, strerror(errno));
	zdtm_check(recv(fd, buf, sizeof(buf), 0) >= (ssize_t)sizeof(*h) && h->nlmsg_type == RTM_NEWLINK &&
	               h->nlmsg_seq == 99 && h->nlmsg_pid == port_of(fd),
	           "%s: no answer", what);
}

/* A change of the loopback interface, and back. */
static void change_link(void)
{
	struct ifreq r = { .ifr_name = "lo" };
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	zdtm_check(!ioctl(fd, SIOCGIFMTU, &r), "the MTU");
	r.ifr_mtu -= 8;
	zdtm_check(!ioctl(fd, SIOCSIFMTU, &r), "setting the MTU");
	r.ifr_mtu += 8;
	zdtm_check(!ioctl(fd, SIOCSIFMTU, &r), "setting it back");
	close(fd);
}

static void check_event(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	char buf[8192];
	struct nlmsghdr *h = (struct nlmsghdr *)buf;

	/* Nothing of what was before the checkpoint, or of what the restore did. */
	zdtm_check(poll(&p, 1, 0) == 0, "there is a message already");
	change_link();
	zdtm_check(poll(&p, 1, 60000) == 1 && recv(fd, buf, sizeof(buf), 0) > 0 && h->nlmsg_type == RTM_NEWLINK,
	           "no event");
}

int main(void)
{
	struct sock_filter all[] = { { BPF_RET | BPF_K, 0, 0, 0xffff } };
	struct sock_fprog program = { .len = 1, .filter = all };
	struct sockaddr_nl peer = { .nl_family = AF_NETLINK };
	int fresh, chosen, given, events, set, left, right, on = 1, group = GROUP;
	unsigned chosen_port;
	char buf[100];
	struct sock_filter now[4];
	socklen_t len;

	fresh = socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE);
	chosen = bound(SOCK_RAW, NETLINK_ROUTE, 0, 0);
	chosen_port = port_of(chosen);
	given = bound(SOCK_DGRAM | SOCK_NONBLOCK, NETLINK_ROUTE, 3000000001U, 0);
	events = bound(SOCK_RAW, NETLINK_ROUTE, 0, RTMGRP_LINK);
	zdtm_must(!setsockopt(events, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &group, sizeof(group)));
	set = socket(AF_NETLINK, SOCK_RAW, NETLINK_GENERIC);
	for (size_t i = 0; i < sizeof(options) / sizeof(*options); i++)
		zdtm_must(!setsockopt(set, SOL_NETLINK, options[i], &on, sizeof(on)));
	zdtm_must(!setsockopt(set, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)));
	left = bound(SOCK_RAW, NETLINK_USERSOCK, 0, 0);
	right = bound(SOCK_RAW, NETLINK_USERSOCK, 4000000001U, 0);
	peer.nl_pid = port_of(right);
	zdtm_must(!connect(left, (struct sockaddr *)&peer, sizeof(peer)));
	peer.nl_pid = port_of(left);
	zdtm_must(!connect(right, (struct sockaddr *)&peer, sizeof(peer)));

	zdtm_ready();
	zdtm_wait();

	check_event(events);
	zdtm_check(in_group(events, 1) && in_group(events, GROUP) && !in_group(events, 2), "groups");
	zdtm_check(port_of(chosen) == chosen_port && chosen_port, "port id %u, it was %u", port_of(chosen),
	           chosen_port);
	zdtm_check(port_of(given) == 3000000001U, "the given port id is %u", port_of(given));
	zdtm_check(port_of(fresh) == 0, "the new one is bound");
	check_asks("chosen", chosen);
	zdtm_check(fcntl(given, F_GETFL) & O_NONBLOCK, "O_NONBLOCK");
	check_asks("given", given);
	check_asks("new", fresh);
	for (size_t i = 0; i < sizeof(options) / sizeof(*options); i++)
		zdtm_check(option(set, options[i]) == 1 && option(given, options[i]) == 0, "option %d", options[i]);
	len = 4;
	zdtm_check(!getsockopt(set, SOL_SOCKET, SO_GET_FILTER, now, &len) && len == 1 && !memcmp(now, all, sizeof(all)),
	           "the filter");
	zdtm_check(send(left, "to the right", 12, 0) == 12 && recv(right, buf, 100, MSG_DONTWAIT) == 12,
	           "to the right: %s", strerror(errno));
	zdtm_check(send(right, "to the left", 11, 0) == 11 && recv(left, buf, 100, MSG_DONTWAIT) == 11,
	           "to the left: %s", strerror(errno));
	len = sizeof(on);
	zdtm_check(!getsockopt(given, SOL_SOCKET, SO_TYPE, &on, &len) && on == SOCK_DGRAM, "type %d", on);
	zdtm_pass();
}
