/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * An epoll instance watches a pipe that only a process outside of the tree has, and one that lies in the queue of a
 * socket there: both are said, the first with that process.
 *
 * zdtm: refuse fd 100: epoll: .*number 101 is outside of the tree, as descriptor 105 of pid
 * zdtm: refuse fd 100: epoll: .*number 102 .*in no process's table
 * zdtm: flavour no pidns
 */
#include <sys/epoll.h>
#include <sys/socket.h>

#include "zdtm.h"

static int watched(int number)
{
	struct epoll_event e = { .events = EPOLLIN, .data.fd = number };
	int p[2];

	zdtm_must(!pipe(p) && dup2(p[0], number) == number && dup2(p[1], number + 10) == number + 10);
	close(p[0]);
	close(p[1]);
	zdtm_must(!epoll_ctl(100, EPOLL_CTL_ADD, number, &e));
	return number;
}

static void send_away(int sock, int fd)
{
	char c = 'x', control[CMSG_SPACE(sizeof(int))] = { 0 };
	struct iovec iov = { .iov_base = &c, .iov_len = 1 };
	struct msghdr m = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)
	};
	struct cmsghdr *h = CMSG_FIRSTHDR(&m);

	h->cmsg_level = SOL_SOCKET;
	h->cmsg_type = SCM_RIGHTS;
	h->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(h), &fd, sizeof(int));
	zdtm_must(sendmsg(sock, &m, 0) == 1);
}

/* Neither gone nor a zombie. */
static int runs(pid_t pid)
{
	char text[64] = "", path[32], *end;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	f = fopen(path, "re");
	if (!f)
		return 0;
	text[fread(text, 1, sizeof(text) - 1, f)] = 0;
	fclose(f);
	end = strrchr(text, ')');
	return end && end[2] != 'Z' && end[2] != 'X';
}

int main(void)
{
	struct epoll_event e;
	int status, ep, sv[2], told[2];
	pid_t kid, away;

	zdtm_must((ep = epoll_create1(0)) >= 0 && dup2(ep, 100) == 100);
	close(ep);
	watched(101);
	watched(102);
	zdtm_must(!pipe(told) && !socketpair(AF_UNIX, SOCK_STREAM, 0, sv));
	zdtm_must((kid = fork()) >= 0);
	if (!kid) {
		zdtm_must((kid = fork()) >= 0);
		if (kid)
			_exit(0);
		/* Not in the tree any more, once the parent is gone. */
		send_away(sv[0], 102);
		zdtm_must(dup2(101, 105) == 105);
		for (int i = 100; i < 105; i++)
			close(i);
		for (int i = 110; i < 115; i++)
			close(i);
		kid = getpid();
		zdtm_must(write(told[1], &kid, sizeof(kid)) == sizeof(kid));
		while (access(zdtm_path("go"), F_OK))
			zdtm_nap();
		_exit(0);
	}
	close(101);
	close(102);
	close(sv[0]);
	close(sv[1]);
	zdtm_must(waitpid(kid, &status, 0) == kid && !status);
	zdtm_must(read(told[0], &away, sizeof(away)) == sizeof(away));
	zdtm_ready();
	zdtm_wait();
	zdtm_check(write(111, "x", 1) == 1 && epoll_wait(100, &e, 1, 0) == 1 && e.data.fd == 101, "the one outside");
	zdtm_touch("go");
	while (runs(away))
		zdtm_nap();
	zdtm_pass();
}
