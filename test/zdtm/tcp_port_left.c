/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Servers without SO_REUSEADDR, at whose ports connections have just ended (TIME_WAIT): they listen there again, with
 * the same options, and let nobody else.
 *
 * zdtm: iters 2
 * zdtm: restores 3
 */
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include "zdtm.h"

static const char *const names[] = { "IPv4", "IPv6", "IPv4, any address" };

struct server {
	int fd;
	struct sockaddr_storage at;
	socklen_t len;
};

static int option(int fd, int name)
{
	socklen_t len = sizeof(int);
	int v = -1;

	getsockopt(fd, SOL_SOCKET, name, &v, &len);
	return v;
}

static int client(const struct server *s)
{
	struct sockaddr_in to = *(const struct sockaddr_in *)&s->at;
	int fd = socket(s->at.ss_family, SOCK_STREAM, 0), err;

	if (s->at.ss_family == AF_INET)
		to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	err =
	    connect(fd, s->at.ss_family == AF_INET ? (struct sockaddr *)&to : (const struct sockaddr *)&s->at, s->len);
	if (!err)
		return fd;
	close(fd);
	return -1;
}

/* Closed here first: what is left of it is at the server's port. */
static int served(const struct server *s)
{
	int c = client(s), fd;
	char byte;

	if (c < 0)
		return 0;
	fd = accept(s->fd, NULL, NULL);
	if (fd < 0)
		return 0;
	close(fd);
	if (recv(c, &byte, 1, 0))
		return 0;
	close(c);
	return 1;
}

static void start(struct server *s, int family, uint32_t addr)
{
	struct sockaddr_in *a4 = (struct sockaddr_in *)&s->at;
	struct sockaddr_in6 *a6 = (struct sockaddr_in6 *)&s->at;

	memset(&s->at, 0, sizeof(s->at));
	s->at.ss_family = (sa_family_t)family;
	s->len = family == AF_INET ? sizeof(*a4) : sizeof(*a6);
	if (family == AF_INET)
		a4->sin_addr.s_addr = htonl(addr);
	else
		a6->sin6_addr = in6addr_loopback;
	s->fd = socket(family, SOCK_STREAM, 0);
	zdtm_must(!bind(s->fd, (struct sockaddr *)&s->at, s->len) && !listen(s->fd, 5));
	zdtm_must(!getsockname(s->fd, (struct sockaddr *)&s->at, &s->len));
}

/* Nobody else may bind there, whatever he asks for. */
static void alone(const struct server *s, const char *name)
{
	int on = 1;

	for (int option_of = 0; option_of < 3; option_of++) {
		int fd = socket(s->at.ss_family, SOCK_STREAM, 0);

		if (option_of)
			setsockopt(fd, SOL_SOCKET, option_of == 1 ? SO_REUSEADDR : SO_REUSEPORT, &on, sizeof(on));
		zdtm_check(bind(fd, (const struct sockaddr *)&s->at, s->len) < 0 || listen(fd, 5) < 0,
		           "%s: another one listens there too (%d)", name, option_of);
		close(fd);
	}
}

int main(void)
{
	struct server s[3];

	start(&s[0], AF_INET, INADDR_LOOPBACK);
	start(&s[1], AF_INET6, 0);
	start(&s[2], AF_INET, INADDR_ANY);
	for (int i = 0; i < 3; i++)
		zdtm_must(served(&s[i]) && served(&s[i]));
	zdtm_ready();
	zdtm_wait();
	for (int i = 0; i < 3; i++) {
		zdtm_check(!option(s[i].fd, SO_REUSEADDR), "%s: SO_REUSEADDR is %d", names[i],
		           option(s[i].fd, SO_REUSEADDR));
		zdtm_check(!option(s[i].fd, SO_REUSEPORT), "%s: SO_REUSEPORT is %d", names[i],
		           option(s[i].fd, SO_REUSEPORT));
		zdtm_check(served(&s[i]), "%s: it does not serve: %s", names[i], strerror(errno));
		alone(&s[i], names[i]);
		zdtm_check(served(&s[i]), "%s: it does not serve after others have tried: %s", names[i],
		           strerror(errno));
	}
	zdtm_pass();
}
