/* SPDX-License-Identifier: GPL-2.0-only */
/* A stand-in for criu, for tests of libcriu: its answers lie ready, and it reads the requests afterwards. */
#ifndef TEST_UNIT_LIBCRIU_PEER_H
#define TEST_UNIT_LIBCRIU_PEER_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "criu.h"
#include "rpc.pb-c.h"

static inline int peer_begin(criu_opts *opts)
{
	int sk[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sk), 0);
	criu_local_set_service_fd(opts, sk[0]);
	return sk[1];
}

static inline void send_response(int fd, const CriuResp *resp, int passed)
{
	uint8_t data[4096];
	char control[CMSG_SPACE(sizeof(int))] = "";
	struct iovec iov = { data, criu_resp__pack(resp, data) };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };

	if (passed >= 0) {
		msg.msg_control = control;
		msg.msg_controllen = sizeof(control);
		*CMSG_FIRSTHDR(&msg) = (struct cmsghdr) { CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS };
		memcpy(CMSG_DATA(CMSG_FIRSTHDR(&msg)), &passed, sizeof(int));
	}
	if (sendmsg(fd, &msg, MSG_NOSIGNAL) != (ssize_t)iov.iov_len)
		abort();
}

static inline void answer(int fd, CriuReqType type, bool success, int cr_errno)
{
	CriuResp resp = CRIU_RESP__INIT;

	resp.type = type;
	resp.success = success;
	resp.has_cr_errno = cr_errno != 0;
	resp.cr_errno = cr_errno;
	send_response(fd, &resp, -1);
}

static inline CriuReq *next_request(int fd)
{
	uint8_t data[65536];
	ssize_t n = recv(fd, data, sizeof(data), 0);

	return n > 0 ? criu_req__unpack(NULL, (size_t)n, data) : NULL;
}

static inline CriuReq *only_request(int fd, CriuReqType type)
{
	CriuReq *req = next_request(fd);

	assert_non_null(req);
	assert_int_equal(req->type, type);
	assert_null(next_request(fd)); /* and the library has closed its end */
	close(fd);
	return req;
}

static inline criu_opts *new_opts(void)
{
	criu_opts *o = NULL;

	assert_int_equal(criu_local_init_opts(&o), 0);
	return o;
}

#endif
