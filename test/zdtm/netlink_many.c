/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * 2,000 netlink sockets, every third connected: of so many the kernel's list (netlink_diag) leaves some out. (Not in a
 * user namespace: connecting to a group is for who has CAP_NET_ADMIN over the network.)
 *
 * zdtm: iters 2
 */
#include <linux/netlink.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include "zdtm.h"

#define N 2000

static struct sockaddr_nl names[N];

static int is_as_it_was(int fd, int i)
{
	struct sockaddr_nl a = { 0 }, to = { 0 };
	socklen_t len = sizeof(a), to_len = sizeof(to);

	return !getsockname(fd, (struct sockaddr *)&a, &len) && !getpeername(fd, (struct sockaddr *)&to, &to_len) &&
	       a.nl_pid == names[i].nl_pid && to.nl_groups == (i % 3 ? 0U : 1U << i % 7);
}

int main(void)
{
	struct rlimit lim;
	int fds[N];

	zdtm_must(!getrlimit(RLIMIT_NOFILE, &lim));
	lim.rlim_cur = lim.rlim_max;
	zdtm_must(!setrlimit(RLIMIT_NOFILE, &lim));
	if (lim.rlim_max < N + 50)
		zdtm_skip("only %lu open files are allowed", (unsigned long)lim.rlim_max);
	for (int i = 0; i < N; i++) {
		struct sockaddr_nl a = { .nl_family = AF_NETLINK }, to = a;
		socklen_t len = sizeof(a);

		to.nl_groups = 1U << i % 7;
		fds[i] = socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE);
		zdtm_must(fds[i] >= 0 && !bind(fds[i], (struct sockaddr *)&a, sizeof(a)));
		zdtm_must(!getsockname(fds[i], (struct sockaddr *)&names[i], &len));
		if (i % 3 == 0 && connect(fds[i], (struct sockaddr *)&to, sizeof(to)))
			zdtm_skip("connecting to a group: %s", strerror(errno));
	}
	zdtm_ready();
	zdtm_wait();
	for (int i = 0; i < N; i++)
		if (!zdtm_check(is_as_it_was(fds[i], i), "socket %d has another name or peer", i))
			break;
	zdtm_pass();
}
