/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Many pairs and accepted connections that several processes with different ids made, in turns: SO_PEERCRED of each end
 * shows who made the other, and each leads to its other end.
 */
#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "zdtm.h"

#define KIDS  3
#define PAIRS 70
#define EACH  120 /* connections of one process to each listener */

static int pairs[PAIRS][2], clients[2][EACH], listeners[2], accepted[2][KIDS * EACH];
static struct ucred seen[2][KIDS * EACH];

static socklen_t address(struct sockaddr_un *a, int which)
{
	*a = (struct sockaddr_un) { .sun_family = AF_UNIX };
	if (which)
		return offsetof(struct sockaddr_un, sun_path) + 1 +
		       (socklen_t)sprintf(a->sun_path + 1, "peercred many %d", getpgrp());
	strcpy(a->sun_path, "listener");
	return sizeof(*a);
}

static struct ucred cred_of(int fd)
{
	struct ucred c = { 0 };
	socklen_t len = sizeof(c);

	zdtm_check(!getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &c, &len), "SO_PEERCRED: %s", strerror(errno));
	return c;
}

static bool leads_to(int from, int to, int i)
{
	int got = -1;

	return send(from, &i, sizeof(i), 0) == sizeof(i) && recv(to, &got, sizeof(got), MSG_DONTWAIT) == sizeof(got) &&
	       got == i;
}

static void make_pairs(int from, int to)
{
	for (int i = from; i < to; i++)
		zdtm_must(!socketpair(AF_UNIX, (i % 3 ? SOCK_STREAM : SOCK_SEQPACKET) | (i % 2 ? SOCK_NONBLOCK : 0), 0,
		                      pairs[i]));
}

/* Its number is what each client has sent, still unread. */
static void kid(int k, int from_parent)
{
	struct sockaddr_un a;
	struct ucred c;
	int turn;

	zdtm_must(!setresgid(2000 + k, 2000 + k, 0) && !setresuid(-1, 1000 + k, 0));
	make_pairs(0, PAIRS / 2);
	for (int i = 0; i < EACH; i++) {
		zdtm_must(read(from_parent, &turn, sizeof(turn)) == sizeof(turn));
		for (int which = 0; which < 2; which++) {
			socklen_t len = address(&a, which);

			clients[which][i] = socket(AF_UNIX, SOCK_STREAM, 0);
			zdtm_must(!connect(clients[which][i], (struct sockaddr *)&a, len));
			zdtm_must(write(clients[which][i], &turn, sizeof(turn)) == sizeof(turn));
		}
	}
	make_pairs(PAIRS / 2, PAIRS);
	zdtm_touch(k == 0 ? "ready.0" : k == 1 ? "ready.1" : "ready.2");
	zdtm_wait();
	for (int i = 0; i < PAIRS; i++) {
		c = cred_of(pairs[i][i % 2]);
		zdtm_check(c.pid == getpid() && c.uid == 1000U + k && c.gid == 2000U + k, "pair %d: %d %u %u", i, c.pid,
		           c.uid, c.gid);
		zdtm_check(leads_to(pairs[i][0], pairs[i][1], i), "pair %d", i);
	}
	for (int i = 0; i < 2 * EACH; i++) {
		c = cred_of(clients[i % 2][i / 2]);
		zdtm_check(c.pid == getppid() && c.uid == 0 && c.gid == 0, "client %d: %d %u", i, c.pid, c.uid);
	}
	_exit(0);
}

static void check_accepted(void)
{
	for (int i = 0; i < 2 * KIDS * EACH; i++) {
		int which = i % 2, n = i / 2, got = -1;
		struct ucred c = cred_of(accepted[which][n]), *was = &seen[which][n];

		zdtm_check(c.pid == was->pid && c.uid == was->uid && c.gid == was->gid, "%d: %d %u %u, was %d %u %u", n,
		           c.pid, c.uid, c.gid, was->pid, was->uid, was->gid);
		zdtm_check(recv(accepted[which][n], &got, sizeof(got), MSG_DONTWAIT) == sizeof(got) && got == n,
		           "connection %d has the bytes of %d", n, got);
	}
}

int main(void)
{
	pid_t kids[KIDS];
	int to[KIDS][2], status;
	struct sockaddr_un a;

	for (int which = 0; which < 2; which++) {
		socklen_t len = address(&a, which);

		listeners[which] = socket(AF_UNIX, SOCK_STREAM, 0);
		zdtm_must(!bind(listeners[which], (struct sockaddr *)&a, len) && !listen(listeners[which], 5));
	}
	zdtm_must(!chmod("listener", 0777) && !chmod(".", 0777));
	for (int k = 0; k < KIDS; k++) {
		zdtm_must(!pipe(to[k]) && (kids[k] = fork()) >= 0);
		if (!kids[k])
			kid(k, to[k][0]);
	}
	for (int n = 0; n < KIDS * EACH; n++) {
		zdtm_must(write(to[n % KIDS][1], &n, sizeof(n)) == sizeof(n));
		for (int which = 0; which < 2; which++) {
			zdtm_must((accepted[which][n] = accept(listeners[which], NULL, NULL)) >= 0);
			seen[which][n] = cred_of(accepted[which][n]);
			zdtm_must(seen[which][n].uid == 1000U + n % KIDS);
		}
	}
	while (access("ready.0", F_OK) || access("ready.1", F_OK) || access("ready.2", F_OK))
		zdtm_nap();
	zdtm_ready();
	zdtm_wait();
	check_accepted();
	for (int k = 0; k < KIDS; k++)
		zdtm_check(waitpid(kids[k], &status, 0) == kids[k] && !status, "process %d: %x", k, status);
	zdtm_pass();
}
