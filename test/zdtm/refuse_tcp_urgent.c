/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Urgent bytes in a connection: one that waits, one that waits in line, and one that was read before what is in front
 * of it, so that the kernel does not count what stands behind.
 *
 * zdtm: dump --tcp-established
 * zdtm: refuse fd 100: the connection .*urgent data waits
 * zdtm: refuse fd 101: the connection .*urgent data waits
 * zdtm: refuse fd 102: the connection .*urgent data waits
 */
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include "zdtm.h"

static int connected(int number, int *other)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(at);
	int l = socket(AF_INET, SOCK_STREAM, 0), fd;

	zdtm_must(!bind(l, (struct sockaddr *)&at, len) && !listen(l, 1));
	zdtm_must(!getsockname(l, (struct sockaddr *)&at, &len));
	*other = socket(AF_INET, SOCK_STREAM, 0);
	zdtm_must(!connect(*other, (struct sockaddr *)&at, len) && (fd = accept(l, NULL, NULL)) >= 0);
	zdtm_must(dup2(fd, number) == number && !close(fd) && !close(l));
	return number;
}

static void put(int from)
{
	zdtm_must(send(from, "before", 6, 0) == 6 && send(from, "!", 1, MSG_OOB) == 1 &&
	          send(from, "behind", 6, 0) == 6);
}

static void until(int fd, const char *text, int len)
{
	char buf[32];
	int n = 0;

	while (n < len) {
		ssize_t r = recv(fd, buf + n, (size_t)(len - n), 0);

		if (!zdtm_check(r > 0, "fd %d: %s", fd, strerror(errno)))
			return;
		n += (int)r;
	}
	zdtm_check(!memcmp(buf, text, (size_t)len), "fd %d: %.*s", fd, len, buf);
}

int main(void)
{
	int a, b, c, on = 1, waits = connected(100, &a), inlined = connected(101, &b), read_one = connected(102, &c);
	char byte;

	zdtm_must(!setsockopt(inlined, SOL_SOCKET, SO_OOBINLINE, &on, sizeof(on)));
	put(a);
	put(b);
	put(c);
	while (recv(read_one, &byte, 1, MSG_OOB) != 1)
		usleep(1000);
	zdtm_ready();
	zdtm_wait();
	zdtm_check(recv(waits, &byte, 1, MSG_OOB) == 1 && byte == '!', "the urgent byte");
	until(waits, "beforebehind", 12);
	until(inlined, "before!behind", 13);
	until(read_one, "beforebehind", 12);
	zdtm_pass();
}
