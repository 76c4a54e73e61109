/* SPDX-License-Identifier: GPL-2.0-only */
/* TCP sockets: in which state they are, and so which part of sock/tcp/ dumps and restores them. */
#include <net/if.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include "files/files.h"
#include "lib/fd_flags.h"
#include "lib/log.h"
#include "sock/diag.h"
#include "sock/inet/inet.h"
#include "sock/opts.h"
#include "sock/tcp/tcp.h"
#include "sock/tcp/tcp_check.h"
#include "sock/tcp/tcp_ended.h"
#include "sock/tcp/tcp_entry.h"
#include "sock/tcp/tcp_listen.h"

/* ---- dump ---- */

static int dump_connection(struct dump *d, const struct fd_info *info, InetSkEntry *m, const struct diag_inet *s)
{
	const char *why = d->opts->tcp_close ? NULL : tcp_check_beyond_repair(d, info->fd, s);

	if (!why)
		return inet_shutdown_dump(info, m, s) ?: tcp_dump(d, info, m);
	log_refusal(-ENOTSUP, "%s: the connection %s: %s; let the task close it, or give --tcp-close", fd_name(info),
	            tcp_tuple_text(m), why);
	return DUMP_REFUSED;
}

/* While a socket connects, getpeername(2) does not tell to which address. */
static void take_peer_of_diag(struct dump *d, InetSkEntry *m, const struct diag_inet *s)
{
	char ifname[IF_NAMESIZE];

	m->n_dst_addr = m->family == AF_INET6 ? 4 : 1;
	m->dst_addr = arena_memdup(d->arena, s->dst, m->n_dst_addr * sizeof(*s->dst));
	m->dst_port = s->dport;
	if (m->family == AF_INET6 && IN6_IS_ADDR_LINKLOCAL((const struct in6_addr *)s->dst) &&
	    if_indextoname(s->ifindex, ifname))
		m->ifname = m->dst_ifname = arena_strdup(d->arena, ifname);
}

static int read_tcp_state(const struct fd_info *info, InetSkEntry *m)
{
	struct tcp_info tcp = { 0 };
	socklen_t len = sizeof(tcp);

	if (getsockopt(info->fd, IPPROTO_TCP, TCP_INFO, &tcp, &len))
		return log_errno(-errno, "%s: getsockopt(TCP_INFO)", fd_name(info));
	m->state = tcp.tcpi_state;
	return 0;
}

static bool has_pending_error(int fd)
{
	struct pollfd p = { .fd = fd };

	return poll(&p, 1, 0) > 0 && p.revents & POLLERR;
}

int inet_tcp_dump(struct dump *d, const struct fd_info *info, InetSkEntry *m, const union inet_addr *src)
{
	const struct diag_inet *s = NULL;
	int err = read_tcp_state(info, m), found;

	if (err)
		return err;
	found = diag_find_inet(d, info->fd, (int)m->family, IPPROTO_TCP, &s);
	if (found && found != -ENOENT)
		return found;
	/* It may have ended before diag was asked. Its TIME_WAIT has the same cookie. */
	if (m->state == TCP_SYN_SENT && !s)
		err = read_tcp_state(info, m);
	if (s && (!s->ino || (m->state == TCP_CLOSE && s->state != TCP_CLOSE)))
		s = NULL;
	if (!err && m->state == TCP_SYN_SENT) {
		if (!s)
			return log_errno(found, "%s: the kernel does not list this TCP socket, which connects",
			                 fd_name(info));
		take_peer_of_diag(d, m, s);
	}
	if (!err && tcp_is_connection(m))
		return dump_connection(d, info, m, s);
	if (!err && m->state == TCP_LISTEN)
		return s ? tcp_listen_dump(d, info, m, s, src)
		         : log_errno(found, "%s: the kernel does not list this listening socket", fd_name(info));
	err = err ?: inet_shutdown_dump(info, m, s);
	if (err || (m->shutdown != SK_SHUTDOWN__BOTH && !(m->state == TCP_CLOSE && has_pending_error(info->fd))))
		return err;
	return tcp_dump_ended(d, info, m, s);
}

/* ---- restore ---- */

int inet_tcp_check_connection(struct restore *r, const InetSkEntry *m, union inet_addr *n, const char **why)
{
	int err = tcp_check(r, m, why);

	if (err || r->opts->tcp_close)
		return err;
	/* The port may be shared with a listening socket: only the address can be tried, and the whole tuple looked up.
	 */
	err = inet_bind_check_address(r, m, n, why) ?: tcp_check_free(r, m, why);
	if (!err || !r->opts->tcp_fallback_close)
		return err;
	log_warn("%s: %s: restored closed (--tcp-fallback close)", inet_who(r, m), *why);
	tcp_give_up(r, m);
	*why = NULL;
	return 0;
}

int inet_tcp_set_options(struct restore *r, int fd, const InetSkEntry *m)
{
	const char *who = inet_who(r, m);
	struct sock_new *new = inet_opts_new(r, m);
	int err = sock_opts_buffers(fd, m->opts, new, who);

	err = err ?: inet_opts_late(r, fd, m, new, who);
	return err ?: sock_opts_restore(r, fd, m->opts, new, who);
}

static int open_new(const InetSkEntry *m)
{
	return socket((int)m->family, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_TCP);
}

/* A new socket that is shut down, with no other trace of the connection. */
static int open_shut_down(const InetSkEntry *m)
{
	int fd = open_new(m);

	if (fd >= 0)
		shutdown(fd, SHUT_RDWR);
	return fd;
}

/*
 * Options come last, except for those that bind() needs: others might drop or change the packets by which the ended
 * connection is made.
 */
static int open_ended(struct restore *r, const InetSkEntry *m, const InetEndedEntry *e, const char *who)
{
	bool plain = !e->error && !e->unread && !e->bound;
	_cleanup_close_ int fd = plain ? open_shut_down(m) : open_new(m);
	const char *why;
	int err = 0;

	if (fd < 0)
		return log_errno(-errno, "%s: socket", who);
	if (!plain) {
		inet_bind_set_options(r, fd, m, false);
		err = tcp_ended_make(r, fd, m, e, who, &why);
	}
	if (err && e->unread)
		return log_errno(0, "%s: %u unread bytes cannot be put back: %s", who, e->unread, why) ?: err;
	if (err) {
		log_warn("%s: restored shut down, without its error and its port: %s", who, why);
		close(move_fd(&fd));
		fd = open_shut_down(m);
		if (fd < 0)
			return log_errno(-errno, "%s: socket", who);
	}
	inet_set_owner(r, fd, m, who);
	err = sock_opts_before_bind(r, fd, m->opts, NULL, who);
	err = err ?: inet_opts_early(r, fd, m, NULL, who);
	err = err ?: inet_opts_late(r, fd, m, NULL, who);
	err = err ?: sock_opts_restore(r, fd, m->opts, NULL, who);
	err = err ?: fd_flags_restore(fd, m->flags);
	err = err ?: inet_bind_share_port(r, fd, m, who);
	return err ?: move_fd(&fd);
}

/* With the options that matter while it is built; the others in inet_tcp_set_options(). */
static int open_connection(struct restore *r, const InetSkEntry *m, const char *who)
{
	_cleanup_close_ int fd = socket((int)m->family, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_TCP);
	struct sock_new *new = inet_opts_new(r, m);
	int err;

	if (fd < 0)
		return log_errno(-errno, "%s: socket", who);
	err = sock_opts_before_bind(r, fd, m->opts, new, who);
	err = err ?: inet_opts_early(r, fd, m, new, who);
	err = err ?: tcp_open(r, m, fd, who);
	err = err ?: fd_flags_restore(fd, m->flags);
	return err ?: move_fd(&fd);
}

int inet_tcp_open(struct restore *r, const InetSkEntry *m, const char *who)
{
	if (m->ended)
		return open_ended(r, m, m->ended, who);
	if (!r->opts->tcp_close && !tcp_given_up(r, m)) {
		int fd = open_connection(r, m, who);

		if (fd >= 0 || !r->opts->tcp_fallback_close)
			return fd;
		tcp_give_up(r, m);
	}
	return open_ended(r, m, tcp_ended_instead(r->arena, m->state, !r->opts->tcp_close), who);
}
