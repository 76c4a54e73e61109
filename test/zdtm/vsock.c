/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * vsock sockets: new, bound, listening, of streams and of packets, with sizes of buffers and timeouts.
 *
 * zdtm: iters 3
 * zdtm: needs-root
 * zdtm: exclusive
 */
#include <linux/vm_sockets.h>
#include <sys/socket.h>
#include <sys/time.h>

#include "zdtm.h"

#define N 5

static struct {
	const char *name;
	int type, bind, listen, fd;
	struct sockaddr_vm at;
} sock[N] = {
	{ .name = "new", .type = SOCK_STREAM },
	{ .name = "bound", .type = SOCK_STREAM, .bind = 1 },
	{ .name = "listening", .type = SOCK_STREAM, .bind = 1, .listen = 1 },
	{ .name = "packets", .type = SOCK_SEQPACKET, .bind = 1, .listen = 1 },
	{ .name = "new packets", .type = SOCK_SEQPACKET },
};

static uint64_t size_of(int i, int name)
{
	uint64_t v = 0;
	socklen_t len = sizeof(v);

	return getsockopt(sock[i].fd, AF_VSOCK, name, &v, &len) ? 0 : v;
}

static void set_up(int i)
{
	uint64_t max = 1 << 20, min = 4096, size = 300000 + (unsigned)i * 1000;
	struct timeval t = { 3 + i, 500000 };
	socklen_t len = sizeof(sock[i].at);

	sock[i].fd = socket(AF_VSOCK, sock[i].type | SOCK_NONBLOCK, 0);
	if (sock[i].fd < 0)
		zdtm_skip("AF_VSOCK: %s", strerror(errno));
	zdtm_must(!setsockopt(sock[i].fd, AF_VSOCK, SO_VM_SOCKETS_BUFFER_MAX_SIZE, &max, 8));
	zdtm_must(!setsockopt(sock[i].fd, AF_VSOCK, SO_VM_SOCKETS_BUFFER_MIN_SIZE, &min, 8));
	zdtm_must(!setsockopt(sock[i].fd, AF_VSOCK, SO_VM_SOCKETS_BUFFER_SIZE, &size, 8));
	zdtm_must(!setsockopt(sock[i].fd, AF_VSOCK, SO_VM_SOCKETS_CONNECT_TIMEOUT, &t, sizeof(t)));
	zdtm_must(!setsockopt(sock[i].fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof(t)));
	if (sock[i].bind) {
		struct sockaddr_vm at = { .svm_family = AF_VSOCK,
			                  .svm_cid = VMADDR_CID_ANY,
			                  .svm_port = VMADDR_PORT_ANY };

		zdtm_must(!bind(sock[i].fd, (struct sockaddr *)&at, sizeof(at)));
	}
	zdtm_must(!getsockname(sock[i].fd, (struct sockaddr *)&sock[i].at, &len));
	if (sock[i].listen && listen(sock[i].fd, 7))
		zdtm_skip("listen on vsock: %s", strerror(errno));
}

static void check(int i)
{
	struct sockaddr_vm at = { 0 };
	socklen_t len = sizeof(at);
	struct timeval t;
	int on = -1, fd = sock[i].fd, other = socket(AF_VSOCK, sock[i].type, 0);

	zdtm_check(!getsockname(fd, (struct sockaddr *)&at, &len) && at.svm_cid == sock[i].at.svm_cid &&
	               at.svm_port == sock[i].at.svm_port,
	           "%s: is at %x:%u", sock[i].name, at.svm_cid, at.svm_port);
	len = sizeof(on);
	zdtm_check(!getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &on, &len) && on == sock[i].listen, "%s: listens: %d",
	           sock[i].name, on);
	zdtm_check(!getsockopt(fd, SOL_SOCKET, SO_TYPE, &on, &len) && on == sock[i].type, "%s: type %d", sock[i].name,
	           on);
	zdtm_check(size_of(i, SO_VM_SOCKETS_BUFFER_SIZE) == 300000 + (unsigned)i * 1000 &&
	               size_of(i, SO_VM_SOCKETS_BUFFER_MAX_SIZE) == 1 << 20 &&
	               size_of(i, SO_VM_SOCKETS_BUFFER_MIN_SIZE) == 4096,
	           "%s: sizes of buffers", sock[i].name);
	len = sizeof(t);
	zdtm_check(!getsockopt(fd, AF_VSOCK, SO_VM_SOCKETS_CONNECT_TIMEOUT, &t, &len) && t.tv_sec == 3 + i &&
	               t.tv_usec == 500000,
	           "%s: timeout %ld", sock[i].name, (long)t.tv_sec);
	if (sock[i].bind)
		zdtm_check(bind(other, (struct sockaddr *)&sock[i].at, sizeof(at)) && errno == EADDRINUSE,
		           "%s: its port can be had by another", sock[i].name);
	if (sock[i].listen)
		zdtm_check(accept(fd, NULL, NULL) < 0 && errno == EAGAIN, "%s: accept: %s", sock[i].name,
		           strerror(errno));
	close(other);
}

/* For kinds_gone.py. */
static void say_ports(void)
{
	FILE *f = fopen("ports", "we");

	zdtm_must(f);
	for (int i = 0; i < N; i++)
		if (sock[i].bind)
			fprintf(f, "%u\n", sock[i].at.svm_port);
	fclose(f);
}

int main(void)
{
	for (int i = 0; i < N; i++)
		set_up(i);
	say_ports();
	zdtm_ready();
	zdtm_wait();
	for (int i = 0; i < N; i++)
		check(i);
	zdtm_pass();
}
