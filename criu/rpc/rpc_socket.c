/* SPDX-License-Identifier: GPL-2.0-only */
/* Packets of the service protocol. The peer is foreign: it may send anything, and be gone at any moment. */
#include <poll.h>

#include "lib/log.h"
#include "rpc/rpc.h"

#define PACKET_MAX (64U << 20) /* the kernel's own limit is lower, unless root has raised that */

/* Whether a call is to be made again: the client may have made the socket non-blocking, for both. */
static bool is_to_repeat(int sock, ssize_t ret, short events)
{
	struct pollfd p = { .fd = sock, .events = events };

	if (ret >= 0 || (errno != EINTR && errno != EAGAIN))
		return false;
	poll(&p, 1, -1);
	return true;
}

/* The length of the next packet, which stays; it waits for one. */
static ssize_t peek_length(int sock)
{
	ssize_t n;
	char byte;

	do
		n = recv(sock, &byte, sizeof(byte), MSG_PEEK | MSG_TRUNC);
	while (is_to_repeat(sock, n, POLLIN));
	return n < 0 ? -errno : n;
}

bool rpc_has_ended(int sock)
{
	ssize_t len = peek_length(sock);

	return len == 0 || len == -ECONNRESET;
}

int rpc_receive(int sock, CriuReq **req)
{
	_cleanup_free_ uint8_t *data = NULL;
	ssize_t len = peek_length(sock), got;

	if (len == 0 || len == -ECONNRESET)
		return log_errno(-EPIPE, "the client has closed its socket");
	if (len < 0)
		return log_errno((int)len, "recv of a request");
	if (len > (ssize_t)PACKET_MAX)
		return log_errno(-EMSGSIZE, "a request of %zd bytes", len);
	data = malloc((size_t)len);
	if (!data)
		return log_errno(-ENOMEM, "out of memory for a request of %zd bytes", len);
	do
		got = recv(sock, data, (size_t)len, 0);
	while (is_to_repeat(sock, got, POLLIN));
	if (got < 0)
		return log_errno(-errno, "recv of a request");
	*req = criu_req__unpack(NULL, (size_t)got, data);
	return *req ? 0 : log_errno(-EBADMSG, "%zd bytes that are no message criu_req", got);
}

void rpc_end(int sock)
{
	char byte;

	shutdown(sock, SHUT_RD);
	while (recv(sock, &byte, sizeof(byte), MSG_DONTWAIT | MSG_TRUNC) > 0)
		;
}

int rpc_send(int sock, const CriuResp *resp)
{
	size_t len = criu_resp__get_packed_size(resp);
	_cleanup_free_ uint8_t *data = malloc(len);
	ssize_t n;

	if (!data)
		return log_errno(-ENOMEM, "out of memory for a response");
	criu_resp__pack(resp, data);
	do
		n = send(sock, data, len, MSG_NOSIGNAL);
	while (is_to_repeat(sock, n, POLLOUT));
	return n < 0 ? log_errno(-errno, "send of a response to the client") : 0;
}
