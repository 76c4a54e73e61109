/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What looks like a TCP connection and has more to it: MPTCP, MD5 signatures.
 *
 * zdtm: exclusive
 * zdtm: needs-root
 * zdtm: dump --tcp-established
 * zdtm: refuse fd 100: an MPTCP socket, 127\.0\.0\.1:[0-9]+ connected to 127\.0\.0\.1:[0-9]+
 * zdtm: refuse fd 101: the connection 127\.0\.0\.1:[0-9]+ - 127\.0\.0\.1:[0-9]+: it has MD5 signatures.*--tcp-close
 */
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>

#include "zdtm.h"

static struct sockaddr_in at;
static socklen_t len = sizeof(at);

static int as(int number, int fd)
{
	zdtm_must(fd >= 0 && dup2(fd, number) == number && !close(fd));
	return number;
}

static int listener(int protocol)
{
	int fd = socket(AF_INET, SOCK_STREAM, protocol);

	at = (struct sockaddr_in) { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	zdtm_must(fd >= 0 && !bind(fd, (struct sockaddr *)&at, len));
	zdtm_must(!getsockname(fd, (struct sockaddr *)&at, &len));
	return fd;
}

static void sign(int fd)
{
	struct tcp_md5sig sig = { .tcpm_keylen = 6, .tcpm_key = "secret" };
	struct sockaddr_in peer = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };

	memcpy(&sig.tcpm_addr, &peer, sizeof(peer));
	zdtm_must(!setsockopt(fd, IPPROTO_TCP, TCP_MD5SIG, &sig, sizeof(sig)));
}

int main(void)
{
	int l = listener(IPPROTO_MPTCP), c, s, signed_one, other;
	char buf[8];

	zdtm_must(!listen(l, 1));
	c = as(100, socket(AF_INET, SOCK_STREAM, IPPROTO_MPTCP));
	zdtm_must(!connect(c, (struct sockaddr *)&at, len) && (s = accept(l, NULL, NULL)) >= 0);
	close(l);

	l = listener(0);
	sign(l);
	zdtm_must(!listen(l, 1));
	signed_one = as(101, socket(AF_INET, SOCK_STREAM, 0));
	sign(signed_one);
	zdtm_must(!connect(signed_one, (struct sockaddr *)&at, len) && (other = accept(l, NULL, NULL)) >= 0);
	close(l);

	zdtm_ready();
	zdtm_wait();
	zdtm_check(write(c, "hello", 5) == 5 && read(s, buf, 5) == 5, "the MPTCP connection");
	zdtm_check(write(signed_one, "hello", 5) == 5 && read(other, buf, 5) == 5, "the signed connection");
	zdtm_pass();
}
