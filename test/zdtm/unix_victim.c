/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Unix sockets of every sort, asked again and again: for the fault campaigns. A path, an abstract name, a deleted one,
 * a connection that waits, pairs, datagrams between named ones, one whose peer is gone.
 *
 * zdtm: victim points random
 */
#include <sys/socket.h>
#include <sys/un.h>

#include "zdtm.h"

static struct sockaddr_un addr[3];
static int l[3], waiting, sv[2], gram[2], gone;

static int client(int i)
{
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	if (connect(fd, (struct sockaddr *)&addr[i], sizeof(addr[i]))) {
		close(fd);
		return -1;
	}
	return fd;
}

static void setup(void)
{
	int pair[2];

	zdtm_must(strlen(zdtm_dir) < 90);
	for (int i = 0; i < 3; i++) {
		addr[i].sun_family = AF_UNIX;
		strcat(strcpy(addr[i].sun_path, zdtm_dir), i ? "/two" : "/one");
		if (i == 2)
			snprintf(addr[i].sun_path + 1, 50, "victim %d", getpid());
		if (i == 2)
			addr[i].sun_path[0] = 0;
		l[i] = socket(AF_UNIX, SOCK_STREAM, 0);
		zdtm_must(!bind(l[i], (struct sockaddr *)&addr[i], sizeof(addr[i])) && !listen(l[i], 10));
	}
	zdtm_must(!unlink(addr[1].sun_path) && !socketpair(AF_UNIX, SOCK_STREAM, 0, sv));
	for (int i = 0; i < 2; i++) {
		struct sockaddr_un a = { AF_UNIX, "gram0" };

		a.sun_path[4] += i;
		gram[i] = socket(AF_UNIX, SOCK_DGRAM, 0);
		zdtm_must(!bind(gram[i], (struct sockaddr *)&a, sizeof(a)));
		a.sun_path[4] ^= 1;
		if (i)
			zdtm_must(!connect(gram[1], (struct sockaddr *)&a, sizeof(a)));
	}
	zdtm_must(!socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair) && send(pair[1], "left", 4, 0) == 4);
	gone = pair[0];
	close(pair[1]);
}

static void look(void)
{
	char buf[10] = "";
	int fd;

	zdtm_check((fd = accept4(l[0], NULL, NULL, SOCK_NONBLOCK)) >= 0, "nobody waits: %s", strerror(errno));
	zdtm_check(send(waiting, "w", 1, MSG_NOSIGNAL) == 1 && recv(fd, buf, 9, 0) == 1 && *buf == 'w',
	           "who waited: %s", strerror(errno));
	close(fd);
	close(waiting);
	zdtm_check((waiting = client(2)) >= 0 && (fd = accept(l[2], NULL, NULL)) >= 0, "abstract: %s", strerror(errno));
	close(fd);
	close(waiting);
	zdtm_check(client(1) == -1 && errno == ENOENT, "the deleted name is there");
	zdtm_check((waiting = client(0)) >= 0, "path: %s", strerror(errno));
	zdtm_check(send(sv[0], "x", 1, MSG_NOSIGNAL) == 1 && recv(sv[1], buf, 9, MSG_DONTWAIT) == 1, "pair: %s",
	           strerror(errno));
	zdtm_check(recv(gram[0], buf, 9, MSG_DONTWAIT) == 4 && !memcmp(buf, "gram", 4), "datagram: %s",
	           strerror(errno));
	zdtm_check(send(gram[1], "gram", 4, 0) == 4, "datagram: %s", strerror(errno));
	zdtm_check(recv(gone, buf, 9, MSG_DONTWAIT | MSG_PEEK) == 4 && !memcmp(buf, "left", 4), "what was left: %s",
	           strerror(errno));
}

int main(void)
{
	setup();
	zdtm_must((waiting = client(0)) >= 0 && send(gram[1], "gram", 4, 0) == 4);
	zdtm_ready();
	while (zdtm_asked()) {
		look();
		zdtm_answer();
	}
	look();
	zdtm_pass();
}
