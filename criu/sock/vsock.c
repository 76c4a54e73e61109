/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * vsock(7): sockets that are bound, that listen, or that are new. A connection has its other end in another machine, or
 * in the host. How many connections may wait to be accepted is not shown: a listening socket gets as many as there can
 * be.
 */
#include <linux/vm_sockets.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>

#include "files/files.h"
#include "lib/fd_flags.h"
#include "lib/log.h"
#include "sk-vsock.pb-c.h"
#include "sock/opts.h"

#define USEC 1000000U
#define ROW(option, of_field)                                                                                          \
	{                                                                                                              \
		.level = AF_VSOCK, .name = (option), .text = #option, .field = (of_field), .bytes = 8,                 \
		.absent = SOCK_OPT_ALWAYS                                                                              \
	}

/* The limits first: the size is kept within them. */
static const struct sock_opt vsock_opts[] = {
	ROW(SO_VM_SOCKETS_BUFFER_MAX_SIZE, "buffer_max"),
	ROW(SO_VM_SOCKETS_BUFFER_MIN_SIZE, "buffer_min"),
	ROW(SO_VM_SOCKETS_BUFFER_SIZE, "buffer_size"),
	{ 0 },
};

static int option_of(int fd, int name)
{
	socklen_t len = sizeof(int);
	int v;

	return getsockopt(fd, SOL_SOCKET, name, &v, &len) ? -1 : v;
}

static bool vsock_match(const struct fd_info *info)
{
	return sock_domain(info) == AF_VSOCK;
}

/* ---- dump ---- */

static int refuse_vsock(const struct fd_info *info, const char *why)
{
	log_refusal(-EOPNOTSUPP, "%s: a vsock socket %s", fd_name(info), why);
	return DUMP_REFUSED;
}

static int check_state(const struct fd_info *info, const VsockSkEntry *m)
{
	struct pollfd p = { .fd = info->fd, .events = POLLIN | POLLOUT | POLLRDHUP };
	struct sockaddr_vm peer = { 0 };
	socklen_t len = sizeof(peer);

	if (!getpeername(info->fd, (struct sockaddr *)&peer, &len)) {
		log_refusal(
		    -EOPNOTSUPP,
		    "%s: a vsock connection with port %u of machine %u, whose end there cannot be saved; close it "
		    "before the dump",
		    fd_name(info), peer.svm_port, peer.svm_cid);
		return DUMP_REFUSED;
	}
	if (poll(&p, 1, 0) < 0)
		return log_errno(-errno, "%s: poll", fd_name(info));
	if (m->listening && p.revents & POLLIN)
		return refuse_vsock(info, "has a connection that waits to be accepted; accept it, and close it, before "
		                          "the dump");
	/* One that is not connected polls as writable. */
	if (!m->listening && m->type == SOCK_STREAM && !(p.revents & (POLLOUT | POLLERR | POLLHUP)))
		return refuse_vsock(info, "that is being connected; let that end, or close it, before the dump");
	if (!m->listening && p.revents & (POLLIN | POLLRDHUP | POLLERR))
		return refuse_vsock(info, "of a connection that has ended; close it before the dump");
	return 0;
}

static void dump_connect_timeout(const struct fd_info *info, VsockSkEntry *m)
{
	struct timeval t;
	socklen_t len = sizeof(t);

	if (getsockopt(info->fd, AF_VSOCK, SO_VM_SOCKETS_CONNECT_TIMEOUT, &t, &len) || len != sizeof(t))
		return;
	m->has_connect_timeout = true;
	m->connect_timeout = (uint64_t)t.tv_sec * USEC + (uint64_t)t.tv_usec;
}

static int vsock_dump(struct dump *d, const struct fd_info *info, void *msg)
{
	VsockSkEntry *m = msg;
	struct sockaddr_vm own = { 0 };
	socklen_t len = sizeof(own);
	int err;

	if (getsockname(info->fd, (struct sockaddr *)&own, &len))
		return log_errno(-errno, "%s: getsockname of a vsock socket", fd_name(info));
	m->type = (uint32_t)option_of(info->fd, SO_TYPE);
	m->has_cid = m->has_port = own.svm_port != VMADDR_PORT_ANY;
	m->cid = own.svm_cid;
	m->port = own.svm_port;
	m->listening = m->has_listening = option_of(info->fd, SO_ACCEPTCONN) > 0;
	err = check_state(info, m);
	if (err)
		return err;
	dump_connect_timeout(info, m);
	err = sock_opt_table_dump(info, vsock_opts, m);
	return err ?: sock_opts_dump(d->arena, info, &m->opts);
}

/* ---- restore ---- */

static int make_vsock(const VsockSkEntry *m)
{
	int fd = socket(AF_VSOCK, (int)m->type | SOCK_CLOEXEC, 0);

	return fd < 0 ? -errno : fd;
}

static int bind_vsock(int fd, const VsockSkEntry *m)
{
	struct sockaddr_vm own = { .svm_family = AF_VSOCK, .svm_cid = m->cid, .svm_port = m->port };

	return m->has_port && bind(fd, (struct sockaddr *)&own, sizeof(own)) ? -errno : 0;
}

static int vsock_check(struct restore *r, const void *msg, const char **why)
{
	const VsockSkEntry *m = msg;
	_cleanup_close_ int fd = make_vsock(m);
	int err = fd < 0 ? fd : 0;

	if (err) {
		*why = arena_printf(r->arena, "socket(AF_VSOCK) of type %u: %s", m->type, strerror(-err));
		return err;
	}
	err = bind_vsock(fd, m);
	if (err)
		*why = arena_printf(r->arena, "bind of a vsock socket to port %u of machine %d: %s", m->port,
		                    (int)m->cid, strerror(-err));
	return err;
}

static int set_connect_timeout(int fd, const VsockSkEntry *m, const char *who)
{
	struct timeval t = { .tv_sec = (time_t)(m->connect_timeout / USEC),
		             .tv_usec = (suseconds_t)(m->connect_timeout % USEC) };

	if (m->has_connect_timeout && setsockopt(fd, AF_VSOCK, SO_VM_SOCKETS_CONNECT_TIMEOUT, &t, sizeof(t)))
		return log_errno(-errno, "%s: setsockopt(SO_VM_SOCKETS_CONNECT_TIMEOUT)", who);
	return 0;
}

static int vsock_open(struct restore *r, const void *msg)
{
	const VsockSkEntry *m = msg;
	const char *who = arena_printf(r->arena, "vsock socket of port %u", m->port);
	_cleanup_close_ int fd = make_vsock(m);
	int err;

	if (fd < 0)
		return log_errno(fd, "%s: socket(AF_VSOCK)", who);
	err = sock_opt_table_restore(NULL, fd, vsock_opts, m, false, who);
	err = err ?: set_connect_timeout(fd, m, who);
	err = err ?: sock_opts_before_bind(r, fd, m->opts, NULL, who);
	if (err)
		return err;
	err = bind_vsock(fd, m);
	if (err)
		return log_errno(err, "%s: bind", who);
	if (m->listening && listen(fd, SOMAXCONN))
		return log_errno(-errno, "%s: listen", who);
	err = sock_opts_restore(r, fd, m->opts, NULL, who) ?: fd_flags_restore(fd, m->flags);
	return err ?: move_fd(&fd);
}

const struct fd_kind vsock_kind = {
	.name = "vsock socket",
	.type = FD_TYPES__VSOCKSK,
	.field = 1006,
	.pb = &vsock_sk_entry__descriptor,
	.match = vsock_match,
	.dump = vsock_dump,
	.check = vsock_check,
	.open = vsock_open,
};
