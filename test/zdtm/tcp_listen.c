/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A server with connections at its port, all with SO_REUSEADDR, and a child that has the other ends. With a word as
 * argument the port is nobody's listener any more when it is dumped (test/zdtm/tcp_listen_race.py).
 *	tcp_listen race PORT		listens at that port again and again, until the file "stop-racing" is there;
 *prints to the file "race" how often, how often it failed, and how many times it began to fail
 *
 * zdtm: iters 2
 * zdtm: restores 3
 * zdtm: victim points
 * zdtm: dump --tcp-established
 * zdtm: restore --tcp-established
 */
#include <netinet/in.h>
#include <stdbool.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#include "zdtm.h"

#define CONNS 16

static int listen_at(uint16_t port, struct sockaddr_in *at)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1, err;

	*at =
	    (struct sockaddr_in) { .sin_family = AF_INET, .sin_port = port, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	zdtm_must(fd >= 0 && !setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)));
	if (!bind(fd, (struct sockaddr *)at, sizeof(*at)) && !listen(fd, CONNS))
		return fd;
	err = errno;
	close(fd);
	errno = err;
	return -1;
}

static int race(uint16_t port)
{
	unsigned long tries = 0, failed = 0, began = 0;
	bool well = true;
	struct sockaddr_in at;
	FILE *f;

	zdtm_touch("racing");
	do {
		for (int i = 0; i < 200; i++) {
			int fd = listen_at(port, &at);

			tries++;
			failed += fd < 0;
			began += fd < 0 && well;
			well = fd >= 0;
			if (fd >= 0)
				close(fd);
		}
	} while (access(zdtm_path("stop-racing"), F_OK));
	f = fopen(zdtm_path("race"), "we");
	zdtm_must(f != NULL);
	fprintf(f, "%lu %lu %lu\n", tries, failed, began);
	return fclose(f);
}

static void second(const int *fds)
{
	char c;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (int i = 0;; i = (i + 1) % CONNS) {
		ssize_t n;

		do
			n = recv(fds[i], &c, 1, 0);
		while (n < 0 && errno == EINTR);
		if (n <= 0)
			_exit(n < 0);
		c++;
		if (send(fds[i], &c, 1, MSG_NOSIGNAL) != 1)
			_exit(1);
	}
}

static void look(const int *fds)
{
	for (int i = 0; i < CONNS; i++) {
		char out = (char)i, in = 0;
		int on = 0;
		socklen_t len = sizeof(on);

		zdtm_check(send(fds[i], &out, 1, MSG_NOSIGNAL) == 1 && recv(fds[i], &in, 1, 0) == 1 && in == out + 1,
		           "connection %d: %s", i, strerror(errno));
		zdtm_check(!getsockopt(fds[i], SOL_SOCKET, SO_REUSEADDR, &on, &len) && on == 1,
		           "connection %d: SO_REUSEADDR is %d", i, on);
	}
}

int main(int argc, char **argv)
{
	struct timeval patience = { .tv_sec = 60 };
	struct sockaddr_in at;
	socklen_t len = sizeof(at);
	int l, fds[CONNS][2], mine[CONNS], other[CONNS], status;
	pid_t pid;

	if (argc == 3)
		return race(htons((uint16_t)atoi(argv[2])));
	l = listen_at(0, &at);
	zdtm_must(l >= 0 && !getsockname(l, (struct sockaddr *)&at, &len));
	for (int i = 0; i < CONNS; i++) {
		fds[i][1] = socket(AF_INET, SOCK_STREAM, 0);
		zdtm_must(fds[i][1] >= 0 && !connect(fds[i][1], (struct sockaddr *)&at, sizeof(at)));
		fds[i][0] = accept(l, NULL, NULL);
		zdtm_must(fds[i][0] >= 0);
		mine[i] = fds[i][0];
		other[i] = fds[i][1];
		zdtm_must(!setsockopt(mine[i], SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)));
	}
	if (argc == 2) {
		FILE *f = fopen(zdtm_path("port"), "we");

		zdtm_must(f != NULL);
		fprintf(f, "%u\n", ntohs(at.sin_port));
		zdtm_must(!fclose(f));
		close(l);
	}
	pid = fork();
	zdtm_must(pid >= 0);
	for (int i = 0; i < CONNS; i++)
		close(pid ? other[i] : mine[i]);
	if (!pid)
		second(other);
	zdtm_ready();
	while (zdtm_asked()) {
		look(mine);
		zdtm_answer();
	}
	look(mine);
	for (int i = 0; i < CONNS; i++)
		close(mine[i]);
	zdtm_check(waitpid(pid, &status, 0) == pid && !status, "the child ended with %x", status);
	zdtm_pass();
}
