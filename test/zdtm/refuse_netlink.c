/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Netlink sockets with what only the kernel could send again: an answer, an event, and answers with the error that says
 * that messages were lost.
 *
 * zdtm: refuse fd 100: .*messages wait.*netlink.*--skip-in-flight
 * zdtm: refuse fd 101: .*messages wait.*netlink.*--skip-in-flight
 * zdtm: refuse fd 102: .*netlink.*--skip-in-flight
 * zdtm: no-userns changes a network device
 */
#include <linux/if.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "zdtm.h"

static void at(int number, unsigned groups)
{
	struct sockaddr_nl a = { .nl_family = AF_NETLINK, .nl_groups = groups };
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_NONBLOCK, NETLINK_ROUTE);

	zdtm_must(fd >= 0 && !bind(fd, (struct sockaddr *)&a, sizeof(a)) && dup2(fd, number) == number);
	close(fd);
}

static int ask(int fd)
{
	struct {
		struct nlmsghdr h;
		struct ifinfomsg i;
	} q = { .h = { .nlmsg_len = sizeof(q), .nlmsg_type = RTM_GETLINK, .nlmsg_flags = NLM_F_REQUEST } };
	struct sockaddr_nl kernel = { .nl_family = AF_NETLINK };

	q.i.ifi_index = 1;
	return sendto(fd, &q, sizeof(q), 0, (struct sockaddr *)&kernel, sizeof(kernel)) == sizeof(q);
}

static void change_link(void)
{
	struct ifreq r = { .ifr_name = "lo" };
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	zdtm_must(!ioctl(fd, SIOCGIFMTU, &r));
	r.ifr_mtu -= 8;
	zdtm_must(!ioctl(fd, SIOCSIFMTU, &r));
	r.ifr_mtu += 8;
	zdtm_must(!ioctl(fd, SIOCSIFMTU, &r));
	close(fd);
}

int main(void)
{
	char buf[16384];
	int small = 1;

	at(100, 0);
	zdtm_must(ask(100));
	at(101, RTMGRP_LINK);
	change_link();
	at(102, 0);
	zdtm_must(!setsockopt(102, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small)));
	for (int i = 0; i < 20; i++)
		ask(102);
	zdtm_ready();
	zdtm_wait();
	zdtm_check(recv(100, buf, sizeof(buf), 0) > 0, "the answer: %s", strerror(errno));
	zdtm_check(recv(101, buf, sizeof(buf), 0) > 0, "the event: %s", strerror(errno));
	zdtm_check(recv(102, buf, sizeof(buf), 0) == -1 && errno == ENOBUFS, "no error: %s", strerror(errno));
	zdtm_pass();
}
