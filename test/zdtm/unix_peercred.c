/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * SO_PEERCRED and SO_PEERGROUPS of unix sockets at both ends: a pair that a child made who is gone, a listener and a
 * client of different tasks with different ids, one whose ids have changed since, a client that is gone.
 *
 * zdtm: needs-root
 * zdtm: iters 2
 * zdtm: flavour pidns
 */
#include <grp.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "zdtm.h"

static void stamp(const char *what, int fd, pid_t pid, uid_t uid, gid_t gid, gid_t group)
{
	struct ucred c;
	socklen_t len = sizeof(c);
	gid_t groups[70];

	zdtm_check(!getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &c, &len), "%s: %s", what, strerror(errno));
	zdtm_check(c.pid == pid && c.uid == uid && c.gid == gid,
	           "%s: pid %d instead of %d, uid %d instead of %d, gid %d instead of %d", what, c.pid, pid, c.uid, uid,
	           c.gid, gid);
	if (!group)
		return;
	len = sizeof(groups);
	zdtm_check(!getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &len) && len == sizeof(gid_t) &&
	               groups[0] == group,
	           "%s: groups: %u bytes, %u", what, len, groups[0]);
}

static void send_fd(int to, int fd)
{
	union {
		char buf[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} u;
	char c = 'f';
	struct iovec iov = { .iov_base = &c, .iov_len = 1 };
	struct msghdr mh = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &u, .msg_controllen = sizeof(u) };

	memset(&u, 0, sizeof(u));
	u.align.cmsg_level = SOL_SOCKET;
	u.align.cmsg_type = SCM_RIGHTS;
	u.align.cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(&u.align), &fd, sizeof(fd));
	zdtm_must(sendmsg(to, &mh, 0) == 1);
}

static int get_fd(int from)
{
	union {
		char buf[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} u;
	char c;
	struct iovec iov = { .iov_base = &c, .iov_len = 1 };
	struct msghdr mh = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &u, .msg_controllen = sizeof(u) };
	int fd;

	zdtm_must(recvmsg(from, &mh, 0) == 1 && u.align.cmsg_type == SCM_RIGHTS);
	memcpy(&fd, CMSG_DATA(&u.align), sizeof(fd));
	return fd;
}

static struct sockaddr_un addr;

static int client(void)
{
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	zdtm_must(!connect(fd, (struct sockaddr *)&addr, sizeof(addr)));
	return fd;
}

int main(void)
{
	int l, sv[2], way[2], way_c[2], a[3], c, pair_gone[2], status, go[2];
	pid_t maker, other, dead;
	gid_t group = 77;
	char b;

	zdtm_must(!socketpair(AF_UNIX, SOCK_STREAM, 0, way) && !socketpair(AF_UNIX, SOCK_STREAM, 0, way_c) &&
	          !pipe(go));
	zdtm_must((maker = fork()) >= 0);
	if (!maker) {
		zdtm_must(!setgroups(1, &group) && !setresgid(55, 55, 55) && !setresuid(44, 44, 44));
		zdtm_must(!socketpair(AF_UNIX, SOCK_STREAM, 0, sv) && !socketpair(AF_UNIX, SOCK_DGRAM, 0, pair_gone));
		send_fd(way[1], sv[0]);
		send_fd(way[1], sv[1]);
		send_fd(way[1], pair_gone[0]);
		_exit(0);
	}
	sv[0] = get_fd(way[0]);
	sv[1] = get_fd(way[0]);
	pair_gone[0] = get_fd(way[0]);
	zdtm_must(waitpid(maker, &status, 0) == maker && !status);
	/* The listener listens as 66:65, and has other ids afterwards. */
	addr.sun_family = AF_UNIX;
	strcpy(addr.sun_path, "listener.sock");
	l = socket(AF_UNIX, SOCK_STREAM, 0);
	zdtm_must(!bind(l, (struct sockaddr *)&addr, sizeof(addr)) && !chmod("listener.sock", 0777));
	zdtm_must(!setegid(65) && !seteuid(66) && !listen(l, 5) && !seteuid(0) && !setegid(0));
	zdtm_must((other = fork()) >= 0);
	if (!other) {
		zdtm_must(!setegid(11) && !seteuid(12));
		c = client();
		zdtm_must(!seteuid(0) && !setegid(0));
		zdtm_must(write(go[1], "x", 1) == 1);
		zdtm_wait();
		stamp("child's client", c, getppid(), 66, 65, 0);
		zdtm_check(write(c, "c", 1) == 1, "child: %s", strerror(errno));
		_exit(0);
	}
	zdtm_must(read(go[0], &b, 1) == 1 && (a[0] = accept(l, NULL, NULL)) >= 0);
	zdtm_must((dead = fork()) >= 0);
	if (!dead) {
		zdtm_must(!setgroups(1, &group) && !setegid(13) && !seteuid(14));
		c = client();
		send_fd(way_c[1], c);
		c = client();
		zdtm_must(write(c, "left", 4) == 4);
		_exit(0);
	}
	c = get_fd(way_c[0]);
	zdtm_must((a[1] = accept(l, NULL, NULL)) >= 0 && (a[2] = accept(l, NULL, NULL)) >= 0);
	zdtm_must(waitpid(dead, &status, 0) == dead && !status);
	zdtm_ready();
	zdtm_wait();

	stamp("a dead child's pair", sv[0], maker, 44, 55, 77);
	stamp("a dead child's pair", sv[1], maker, 44, 55, 77);
	stamp("a dead child's datagram pair", pair_gone[0], maker, 44, 55, 77);
	stamp("our own", way[0], getpid(), 0, 0, 0);
	stamp("listener", l, getpid(), 66, 65, 0);
	stamp("accepted from the child", a[0], other, 12, 11, 0);
	stamp("accepted from the dead", a[1], dead, 14, 13, 77);
	stamp("a dead one's client", c, getpid(), 66, 65, 0);
	stamp("accepted, and the client is gone", a[2], dead, 14, 13, 77);
	char buf[10] = "";

	zdtm_check(read(a[2], buf, 9) == 4 && !strcmp(buf, "left") && read(a[2], buf, 9) == 0,
	           "what the dead one left: %s", buf);
	zdtm_check(waitpid(other, &status, 0) == other && !status, "child: %x", status);
	zdtm_check(read(a[0], &b, 1) == 1 && b == 'c', "from the child");
	zdtm_check(write(sv[0], "p", 1) == 1 && read(sv[1], &b, 1) == 1, "the pair");
	zdtm_pass();
}
