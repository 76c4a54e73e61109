/* SPDX-License-Identifier: LGPL-2.1-only */
/* Requests and answers: one message a packet. What criu tells on the way, notifications, goes to the caller's callback.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "inner.h"

/* The peer is gone, or the connection is broken: errno has what is known. */
static int broken(int err)
{
	errno = err ? err : ECONNRESET;
	return -ECOMM;
}

/* A packet that is larger than what a socket takes by default needs room first. */
static bool make_room(int fd, size_t size)
{
	int room = size < INT32_MAX / 4 ? (int)size * 2 + 4096 : INT32_MAX;

	return !setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &room, sizeof(room)) ||
	       !setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &room, sizeof(room));
}

static ssize_t send_packet(int fd, const void *data, size_t size)
{
	bool roomy = false;

	for (;;) {
		ssize_t n = send(fd, data, size, MSG_NOSIGNAL);

		if (n >= 0)
			return n;
		if (errno == EMSGSIZE && !roomy && make_room(fd, size)) {
			roomy = true;
			continue;
		}
		if (errno != EINTR)
			return -errno;
	}
}

static int send_request(int fd, const CriuReq *req)
{
	size_t size = criu_req__get_packed_size(req);
	uint8_t *data = malloc(size ? size : 1);
	ssize_t n;

	if (!data)
		return libcriu_fail(-ENOMEM);
	criu_req__pack(req, data);
	n = send_packet(fd, data, size);
	free(data);
	return n < 0 ? broken(-n) : 0;
}

struct packet {
	uint8_t *data;
	size_t size;
	int fd; /* that came with it; -1 */
};

/* A peer that ends with something unread is told of first (ECONNRESET, once), before what it had sent. */
static ssize_t receive(int fd, struct msghdr *msg, int flags)
{
	bool reset = false;

	for (;;) {
		ssize_t n = recvmsg(fd, msg, flags);

		if (n >= 0 || (errno != EINTR && (errno != ECONNRESET || reset)))
			return n;
		reset |= errno == ECONNRESET;
	}
}

static int passed_fd(struct msghdr *msg)
{
	struct cmsghdr *c = CMSG_FIRSTHDR(msg);
	int fd = -1;

	if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS && c->cmsg_len == CMSG_LEN(sizeof(fd)))
		memcpy(&fd, CMSG_DATA(c), sizeof(fd));
	return fd;
}

/* p->data is to be freed. */
static int receive_packet(int fd, struct packet *p)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control;
	struct iovec iov = { 0 };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	ssize_t n = receive(fd, &msg, MSG_PEEK | MSG_TRUNC);

	*p = (struct packet) { .fd = -1 };
	if (n <= 0)
		return broken(n ? errno : 0);
	iov.iov_base = p->data = malloc((size_t)n);
	if (!p->data)
		return libcriu_fail(-ENOMEM);
	iov.iov_len = (size_t)n;
	msg.msg_control = control.bytes;
	msg.msg_controllen = sizeof(control.bytes);
	n = receive(fd, &msg, MSG_CMSG_CLOEXEC);
	if (n <= 0)
		return broken(n ? errno : 0);
	p->size = (size_t)n;
	p->fd = passed_fd(&msg);
	return 0;
}

/* -ECONNREFUSED: the packet says that there is no criu. */
static int check_executed(const struct packet *p)
{
	struct libcriu_no_exec said;

	if (p->size != sizeof(said))
		return 0;
	memcpy(&said, p->data, sizeof(said));
	if (memcmp(said.words, LIBCRIU_NO_EXEC, sizeof(said.words)))
		return 0;
	errno = said.err;
	return -ECONNREFUSED;
}

/* A descriptor comes with one notification; any other is not for the caller. */
static void keep_pts_master(criu_opts *opts, const CriuResp *resp, int fd)
{
	int unwanted = fd;

	if (fd < 0)
		return;
	if (resp && resp->notify && resp->notify->script && !strcmp(resp->notify->script, "orphan-pts-master")) {
		unwanted = opts->pts_master;
		opts->pts_master = fd;
	}
	if (unwanted >= 0)
		close(unwanted);
}

static int receive_response(criu_opts *opts, int fd, CriuResp **resp)
{
	struct packet p;
	int err = receive_packet(fd, &p);

	*resp = NULL;
	if (!err)
		err = check_executed(&p);
	if (!err) {
		*resp = criu_resp__unpack(NULL, p.size, p.data);
		err = *resp ? 0 : libcriu_fail(-EBADMSG);
	}
	keep_pts_master(opts, *resp, p.fd);
	free(p.data);
	return err;
}

/* Asks the caller, and tells criu. */
static int answer_notification(criu_opts *opts, int fd, const CriuResp *resp)
{
	struct criu_notify_arg arg = { .pid = resp->notify && resp->notify->has_pid ? resp->notify->pid : 0 };
	CriuReq req = CRIU_REQ__INIT;

	if (!resp->notify || !resp->notify->script)
		return libcriu_fail(-EBADMSG);
	req.type = CRIU_REQ_TYPE__NOTIFY;
	req.has_notify_success = true;
	req.notify_success = !opts->notify || !opts->notify(resp->notify->script, &arg);
	return send_request(fd, &req);
}

static int check_type(const CriuReq *req, const CriuResp *resp)
{
	if (resp->type == req->type)
		return 0;
	return libcriu_fail(resp->type == CRIU_REQ_TYPE__EMPTY && !resp->success ? -EINVAL : -EBADMSG);
}

/* What the peer said before it went, if there is something, tells more than that it is gone. */
static int last_words(criu_opts *opts, int fd, int err)
{
	CriuResp *resp;
	int was = errno;

	if (receive_response(opts, fd, &resp) == -ECONNREFUSED)
		return -ECONNREFUSED;
	if (resp)
		criu_resp__free_unpacked(resp, NULL);
	errno = was;
	return err;
}

int libcriu_ask(criu_opts *opts, int fd, CriuReq *req, CriuResp **resp)
{
	int err = send_request(fd, req);

	*resp = NULL;
	if (err)
		return errno == EPIPE || errno == ECONNRESET ? last_words(opts, fd, err) : err;
	for (;;) {
		err = receive_response(opts, fd, resp);
		if (err || (*resp)->type != CRIU_REQ_TYPE__NOTIFY)
			break;
		err = answer_notification(opts, fd, *resp);
		if (err)
			break;
		criu_resp__free_unpacked(*resp, NULL);
	}
	if (!err)
		err = check_type(req, *resp);
	if (err && *resp) {
		criu_resp__free_unpacked(*resp, NULL);
		*resp = NULL;
	}
	return err;
}

int libcriu_verdict(const CriuResp *resp)
{
	if (resp->success)
		return 0;
	errno = resp->has_cr_errno && resp->cr_errno > 0 ? resp->cr_errno : EBADE;
	return -EBADE;
}
