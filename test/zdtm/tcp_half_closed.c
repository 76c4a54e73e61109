/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Half-closed connections between two processes, FIN_WAIT2 on one side and CLOSE_WAIT on the other, with bytes in the
 * direction that is open; IPv4 and IPv6. tcp_half_closed.py restores it again and again.
 *
 * zdtm: iters 3
 * zdtm: restores 3
 * zdtm: victim points
 * zdtm: dump --tcp-established
 * zdtm: restore --tcp-established
 */
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <sys/socket.h>

#include "zdtm.h"

#define PAIRS 16
#define PART  100

/* One end of each pair; the one that shut its side reads, the other writes. */
struct end {
	int fd;
	bool shut;
	unsigned char out, in; /* numbers of the next bytes */
};

static struct end ends[PAIRS];
static int control;
static const char *me;

static uint8_t state_of(int fd)
{
	struct tcp_info info;
	socklen_t len = sizeof(info);

	return getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len) ? 0 : info.tcpi_state;
}

static void give(struct end *e, int n)
{
	unsigned char bytes[PART];

	for (int i = 0; i < n; i++)
		bytes[i] = e->out++;
	zdtm_check(send(e->fd, bytes, (size_t)n, MSG_NOSIGNAL) == n, "%s: pair %d: send: %s", me, (int)(e - ends),
	           strerror(errno));
}

static void take(struct end *e, int n)
{
	unsigned char bytes[PART * 2];
	ssize_t got = recv(e->fd, bytes, (size_t)n, MSG_WAITALL);

	if (!zdtm_check(got == n, "%s: pair %d: recv: %zd (%s)", me, (int)(e - ends), got, strerror(errno)))
		return;
	for (int i = 0; i < n; i++)
		if (!zdtm_check(bytes[i] == e->in++, "%s: pair %d: another byte", me, (int)(e - ends)))
			return;
}

/* Everybody sends what he may send, reads what comes, and finds the end of the other direction. */
static void look(int waiting)
{
	char end;

	for (int i = 0; i < PAIRS; i++) {
		struct end *e = &ends[i];
		uint8_t want = e->shut ? TCP_FIN_WAIT2 : TCP_CLOSE_WAIT, is = state_of(e->fd);

		zdtm_check(is == want, "%s: pair %d is in state %u instead of %u", me, i, is, want);
		if (!e->shut) {
			give(e, PART);
			zdtm_check(recv(e->fd, &end, 1, 0) == 0, "%s: pair %d has no end", me, i);
		}
	}
	for (int i = 0; i < PAIRS; i++)
		if (ends[i].shut)
			take(&ends[i], PART + (i % 4 < 2 ? waiting : 0));
}

static void tell(char c)
{
	zdtm_check(send(control, &c, 1, MSG_NOSIGNAL) == 1, "%s: telling: %s", me, strerror(errno));
}

static char listen_to(void)
{
	char c = 0;
	ssize_t n;

	do
		n = recv(control, &c, 1, 0);
	while (n < 0 && errno == EINTR);
	return n == 1 ? c : 0;
}

/* As many bytes wait as did before the dump. */
static void wait_again(void)
{
	for (int i = 0; i < PAIRS; i++)
		if (!ends[i].shut && i % 4 < 2)
			give(&ends[i], PART / 2);
}

static void second(void)
{
	char c;

	me = "second";
	while ((c = listen_to()) == 'l' || c == 'w') {
		if (c == 'l')
			look(PART / 2);
		else
			wait_again();
		tell('k');
	}
	_exit(c != 'e');
}

static void both(char c)
{
	tell(c);
	if (c == 'l')
		look(PART / 2);
	else
		wait_again();
	zdtm_check(listen_to() == 'k', "the second process does not answer");
}

static int listener(int family, struct sockaddr_storage *at, socklen_t *len)
{
	struct sockaddr_in *a4 = (struct sockaddr_in *)at;
	struct sockaddr_in6 *a6 = (struct sockaddr_in6 *)at;
	int fd = socket(family, SOCK_STREAM, 0);

	memset(at, 0, sizeof(*at));
	at->ss_family = (sa_family_t)family;
	*len = family == AF_INET ? sizeof(*a4) : sizeof(*a6);
	if (family == AF_INET)
		a4->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	else
		a6->sin6_addr = in6addr_loopback;
	zdtm_must(!bind(fd, (struct sockaddr *)at, *len) && !listen(fd, 50) &&
	          !getsockname(fd, (struct sockaddr *)at, len));
	return fd;
}

static void connected(int l, const struct sockaddr_storage *at, socklen_t len, int fds[2])
{
	fds[0] = socket(at->ss_family, SOCK_STREAM, 0);
	zdtm_must(fds[0] >= 0 && !connect(fds[0], (const struct sockaddr *)at, len));
	fds[1] = accept(l, NULL, NULL);
	zdtm_must(fds[1] >= 0);
}

int main(void)
{
	struct timeval patience = { .tv_sec = 60 };
	struct sockaddr_storage at[2];
	int l[2], fds[PAIRS][2], ctl[2], status;
	socklen_t len[2];
	pid_t pid;

	l[0] = listener(AF_INET, &at[0], &len[0]);
	l[1] = listener(AF_INET6, &at[1], &len[1]);
	connected(l[0], &at[0], len[0], ctl);
	for (int i = 0; i < PAIRS; i++)
		connected(l[i / 8], &at[i / 8], len[i / 8], fds[i]);
	close(l[0]);
	close(l[1]);
	pid = fork();
	zdtm_must(pid >= 0);
	control = ctl[!pid];
	close(ctl[!!pid]);
	for (int i = 0; i < PAIRS; i++) {
		/* Who had connected and who had accepted; the first process and the second. */
		ends[i] = (struct end) { .fd = fds[i][!pid], .shut = (i % 2) ^ !pid };
		close(fds[i][!!pid]);
		zdtm_must(!setsockopt(ends[i].fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)));
		if (ends[i].shut)
			zdtm_must(!shutdown(ends[i].fd, SHUT_WR));
	}
	if (!pid)
		second();
	me = "first";
	both('w');
	for (int i = 0; i < PAIRS; i++)
		while (state_of(ends[i].fd) != (ends[i].shut ? TCP_FIN_WAIT2 : TCP_CLOSE_WAIT))
			zdtm_nap();
	zdtm_ready();
	while (zdtm_asked()) {
		both('l');
		both('w');
		zdtm_answer();
	}
	both('l');
	tell('e');
	zdtm_check(waitpid(pid, &status, 0) == pid && !status, "the second process ended with %x", status);
	zdtm_pass();
}
