/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Connections that wait to be accepted, with what their clients have sent: of clients that are alive, that have shut
 * their end down, and that are gone, of this process, of another with other ids, and of one that is gone; messages with
 * their boundaries and senders, empty ones, large ones, an out-of-band byte; the order of all.
 *
 * zdtm: iters 3
 * zdtm: flavour pidns
 */
#include <grp.h>
#include <sched.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "zdtm.h"

#define ALIVE 70 /* many, so that they do not come back in order by chance */

static struct sockaddr_un addr[3];
static const socklen_t len = sizeof(struct sockaddr_un);
static const int types[] = { SOCK_STREAM, SOCK_SEQPACKET, SOCK_STREAM };
static int l[3], alive[ALIVE], other, shut, large;
static char noise[150000];
static pid_t dead;

static int client(int i)
{
	int fd = socket(AF_UNIX, types[i], 0);

	zdtm_must(fd >= 0 && !connect(fd, (struct sockaddr *)&addr[i], len));
	return fd;
}

static void listen_all(void)
{
	for (int i = 0; i < 3; i++) {
		addr[i].sun_family = AF_UNIX;
		snprintf(addr[i].sun_path + 1, 50, "waiting %d of %d", i, getpid());
		if (i == 2)
			strcat(strcpy(addr[i].sun_path, zdtm_dir), "/listener");
		zdtm_must((l[i] = socket(AF_UNIX, types[i] | SOCK_NONBLOCK, 0)) >= 0);
		zdtm_must(!bind(l[i], (struct sockaddr *)&addr[i], len) && !listen(l[i], 200));
	}
}

/* Of a process that is gone, with other ids and groups. */
static void send_and_end(void)
{
	gid_t groups[] = { 77, 78 };
	int fd;

	zdtm_must((dead = fork()) >= 0);
	if (!dead) {
		zdtm_must(!setgroups(2, groups) && !setresgid(5, 6, 6) && !setresuid(0, 7, 0));
		fd = client(0);
		zdtm_must(send(fd, "of the dead", 11, 0) == 11 && send(fd, "more", 4, 0) == 4);
		_exit(0);
	}
	zdtm_must(waitpid(dead, NULL, 0) == dead);
}

static void fill(void)
{
	char big[3000];
	int fd;

	memset(big, 'b', sizeof(big));
	fd = client(0); /* gone, with 30 messages, more than one page of them */
	for (int i = 0; i < 30; i++)
		zdtm_must(send(fd, big, sizeof(big) - (size_t)i, 0) == (ssize_t)sizeof(big) - i);
	close(fd);
	for (int i = 0; i < ALIVE; i++) {
		alive[i] = client(0);
		if (i % 2)
			zdtm_must(send(alive[i], &i, sizeof(i), 0) == sizeof(i));
	}
	send_and_end();
	close(client(0));

	other = client(1);
	zdtm_must(send(other, "one", 3, 0) == 3 && send(other, "", 0, 0) == 0 && send(other, big, 2000, 0) == 2000);
	fd = client(1);
	zdtm_must(send(fd, "gone", 4, 0) == 4);
	close(fd);

	large = client(1);
	zdtm_must(send(large, noise, sizeof(noise), 0) == sizeof(noise));
	fd = client(2);
	zdtm_must(send(fd, noise, 100000, 0) == 100000);
	close(fd);

	shut = client(2);
	zdtm_must(send(shut, "half", 4, 0) == 4 && send(shut, "!", 1, MSG_OOB) == 1 && !shutdown(shut, SHUT_WR));
}

static int take(const char *what, int i)
{
	int fd = accept4(l[i], NULL, NULL, SOCK_NONBLOCK), on = 1;

	zdtm_check(fd >= 0, "%s: nothing to accept: %s", what, strerror(errno));
	zdtm_must(!setsockopt(fd, SOL_SOCKET, SO_PASSCRED, &on, sizeof(on)));
	return fd;
}

static void has(const char *what, int fd, const void *data, size_t n, pid_t pid, uid_t uid, gid_t gid)
{
	union {
		char bytes[CMSG_SPACE(sizeof(struct ucred))];
		struct cmsghdr align;
	} control = { 0 };
	static char buf[sizeof(noise)];
	struct iovec iov = { buf, n ?: sizeof(buf) };
	struct msghdr mh = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)
	};
	struct ucred *c = (struct ucred *)CMSG_DATA(&control.align);

	zdtm_check(recvmsg(fd, &mh, 0) == (ssize_t)n && !memcmp(buf, data, n), "%s: %zu bytes: %s", what, n,
	           strerror(errno));
	zdtm_check(mh.msg_controllen && c->pid == pid && c->uid == uid && c->gid == gid, "%s: from pid %d, %u, %u",
	           what, c->pid, c->uid, c->gid);
}

static void ended(const char *what, int fd)
{
	char c;

	zdtm_check(recv(fd, &c, 1, 0) == 0, "%s: no end: %s", what, strerror(errno));
	close(fd);
}

static void look_at_dead(void)
{
	struct ucred c;
	socklen_t n = sizeof(c);
	gid_t groups[9];
	int fd = take("the dead one's", 0);

	zdtm_check(!getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &c, &n) && c.pid == dead && c.uid == 7 && c.gid == 6,
	           "SO_PEERCRED of the dead one: %d %u %u", c.pid, c.uid, c.gid);
	n = sizeof(groups);
	zdtm_check(!getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &n) && n == 8 && groups[0] == 77 &&
	               groups[1] == 78,
	           "SO_PEERGROUPS of the dead one: %u", n);
	/* What is sent without naming credentials has the real ids. */
	has("the dead one's", fd, "of the dead", 11, dead, 0, 5);
	has("the dead one's", fd, "more", 4, dead, 0, 5);
	ended("the dead one's", fd);
}

static void look(void)
{
	char big[3000], c;
	int fd = take("the large one", 0);

	memset(big, 'b', sizeof(big));
	for (int i = 0; i < 30; i++)
		has("the large one", fd, big, sizeof(big) - (size_t)i, getpid(), 0, 0);
	ended("the large one", fd);
	for (int i = 0; i < ALIVE; i++) {
		fd = take("alive", 0);
		if (i % 2)
			has("alive", fd, &i, sizeof(i), getpid(), 0, 0);
		zdtm_check(recv(fd, &c, 1, 0) == -1 && errno == EAGAIN, "%d: more or an end", i);
		zdtm_check(send(fd, "a", 1, 0) == 1 && recv(alive[i], &c, 1, MSG_DONTWAIT) == 1, "%d: not joined", i);
		close(fd);
		close(alive[i]);
	}
	look_at_dead();
	ended("the silent one", take("the silent one", 0));

	fd = take("packets", 1);
	has("first packet", fd, "one", 3, getpid(), 0, 0);
	has("empty packet", fd, "", 0, getpid(), 0, 0);
	has("large packet", fd, big, 2000, getpid(), 0, 0);
	zdtm_check(recv(fd, &c, 1, 0) == -1 && errno == EAGAIN, "more packets, or an end");
	close(fd);
	close(other);
	fd = take("packets of one that is gone", 1);
	has("gone packet", fd, "gone", 4, getpid(), 0, 0);
	ended("packets of one that is gone", fd);

	fd = take("large packet", 1);
	has("large packet", fd, noise, sizeof(noise), getpid(), 0, 0);
	close(fd);
	close(large);
	fd = take("large stream", 2);
	for (size_t at = 0; at < 100000; at += 10000)
		has("large stream", fd, noise + at, 10000, getpid(), 0, 0);
	ended("large stream", fd);

	fd = take("half shut", 2);
	has("half shut", fd, "half", 4, getpid(), 0, 0);
	zdtm_check(recv(fd, &c, 1, MSG_OOB) == 1 && c == '!', "the out-of-band byte: %s", strerror(errno));
	ended("half shut", fd);
	close(shut);
	for (int i = 0; i < 3; i++)
		zdtm_check(accept(l[i], NULL, NULL) == -1 && errno == EAGAIN, "listener %d has more", i);
}

int main(void)
{
	for (size_t i = 0; i < sizeof(noise); i++)
		noise[i] = (char)(i * i / 77 + i / 4096);
	if (access("/sys/kernel/btf/vmlinux", R_OK))
		zdtm_skip("the kernel has no BTF: nothing shows what waits to be accepted");
	listen_all();
	fill();
	zdtm_ready();
	zdtm_wait();
	look();
	zdtm_pass();
}
