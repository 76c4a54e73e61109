/* SPDX-License-Identifier: GPL-2.0-only */
/* TCP sockets, read: listening ones, and those that sock/tcp/tcp.h takes over. */
#include <net/if.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>

#include "files/files.h"
#include "lib/log.h"
#include "sock/diag.h"
#include "sock/inet/inet.h"
#include "sock/tcp/tcp.h"
#include "sock/tcp/tcp_tuple.h"
#include "uapi/inet_bits.h"

/* ---- listening ---- */

/* Connections that nobody has accepted yet, or that are not there yet. */
struct waiting {
	const InetSkEntry *m;
	size_t n, handshakes;
	char peers[400];
};

static bool is_for(const InetSkEntry *m, const struct diag_inet *s)
{
	union inet_addr own;

	if (s->sport != m->src_port)
		return false;
	return s->family != m->family ||
	       inet_addr_from_words((int)m->family, m->src_addr, m->n_src_addr, 0, NULL, &own) ||
	       inet_addr_is_any(&own) || !memcmp(m->src_addr, s->src, m->n_src_addr * sizeof(*s->src));
}

static int add_waiting(const struct diag_inet *s, void *arg)
{
	struct waiting *w = arg;
	union inet_addr dst;
	size_t len = strlen(w->peers);

	/* Without an inode it is in no socket of a task. */
	if (s->ino || s->state == TCP_LISTEN || s->state == TCP_TIME_WAIT || !is_for(w->m, s))
		return 0;
	inet_addr_from_words(s->family, s->dst, s->family == AF_INET6 ? 4 : 1, s->dport, NULL, &dst);
	if (w->n++ < 5)
		snprintf(w->peers + len, sizeof(w->peers) - len, "%s%s", len ? ", " : "", inet_addr_text(&dst));
	w->handshakes += s->state == TCP_SYN_RECV;
	return 0;
}

static const char *waiting_text(struct arena *a, const struct waiting *w, uint32_t queued)
{
	const char *more = w->n > 5 ? ", ..." : "";

	if (!w->handshakes)
		return arena_printf(a, "%u connections that nobody has accepted yet, from %s%s", queued, w->peers,
		                    more);
	return arena_printf(a, "%u connections that nobody has accepted yet and %zu in their handshake, from %s%s",
	                    queued, w->handshakes, w->peers, more);
}

static int dump_listening(struct dump *d, const struct fd_info *info, InetSkEntry *m, const struct diag_inet *s,
                          const union inet_addr *src)
{
	struct waiting w = { .m = m };
	const char *text;

	m->backlog = s->wqueue;
	if (s->has_md5) {
		log_refusal(
		    -ENOTSUP,
		    "%s: a TCP socket listening at %s with MD5 signatures (TCP_MD5SIG), whose keys do not belong "
		    "into images; let the task take them off before the dump",
		    fd_name(info), inet_addr_text(src));
		return DUMP_REFUSED;
	}
	diag_each_inet(d, (int)m->family, IPPROTO_TCP, add_waiting, &w);
	if (!s->rqueue && !w.handshakes)
		return 0;
	text = waiting_text(d->arena, &w, s->rqueue);
	if (d->opts->skip_in_flight) {
		log_warn("%s: dropped (--skip-in-flight): %s", fd_name(info), text);
		return 0;
	}
	log_refusal(-ENOTSUP,
	            "%s: a TCP socket listening at %s with %s; let the task accept them, or drop them with "
	            "--skip-in-flight",
	            fd_name(info), inet_addr_text(src), text);
	return DUMP_REFUSED;
}

/* ---- connections ---- */

/* What TCP_REPAIR does not know of, or what is a secret. NULL: nothing of that. */
static const char *beside_tcp(struct dump *d, int fd, const struct diag_inet *s)
{
	char ulp[16] = "", ao[256] = "";
	socklen_t len = sizeof(ulp) - 1;
	int mptcp = 0;

	if (!getsockopt(fd, IPPROTO_TCP, TCP_ULP, ulp, &len) && *ulp)
		return arena_printf(d->arena, "%s (TCP_ULP) is on in it, whose keys and state the kernel does not give",
		                    ulp);
	len = sizeof(mptcp);
	if (!getsockopt(fd, IPPROTO_TCP, TCP_IS_MPTCP, &mptcp, &len) && mptcp)
		return "it is part of an MPTCP connection, whose state the kernel does not give";
	if (s && s->has_md5)
		return "it has MD5 signatures (TCP_MD5SIG), whose keys do not belong into images";
	len = sizeof(ao);
	if (!getsockopt(fd, IPPROTO_TCP, TCP_AO_INFO, ao, &len))
		return "it has signatures (TCP-AO), whose keys do not belong into images";
	return NULL;
}

static int dump_connection(struct dump *d, const struct fd_info *info, InetSkEntry *m, const struct diag_inet *s)
{
	const char *why = d->opts->tcp_close ? NULL : beside_tcp(d, info->fd, s);

	if (!why)
		return inet_dump_shutdown(d, info, m, s) ?: tcp_dump(d, info, m);
	log_refusal(-ENOTSUP, "%s: the connection %s: %s; let the task close it, or give --tcp-close", fd_name(info),
	            tcp_tuple_text(m), why);
	return DUMP_REFUSED;
}

/* Before it is connected getpeername(2) does not tell to whom it will be. */
static void name_peer(struct dump *d, InetSkEntry *m, const struct diag_inet *s)
{
	char ifname[IF_NAMESIZE];

	m->n_dst_addr = m->family == AF_INET6 ? 4 : 1;
	m->dst_addr = arena_memdup(d->arena, s->dst, m->n_dst_addr * sizeof(*s->dst));
	m->dst_port = s->dport;
	if (m->family == AF_INET6 && IN6_IS_ADDR_LINKLOCAL((const struct in6_addr *)s->dst) &&
	    if_indextoname(s->ifindex, ifname))
		m->ifname = m->dst_ifname = arena_strdup(d->arena, ifname);
}

static int state_of(const struct fd_info *info, InetSkEntry *m)
{
	struct tcp_info tcp = { 0 };
	socklen_t len = sizeof(tcp);

	if (getsockopt(info->fd, IPPROTO_TCP, TCP_INFO, &tcp, &len))
		return log_errno(-errno, "%s: the state of a TCP socket", fd_name(info));
	m->state = tcp.tcpi_state;
	return 0;
}

int inet_dump_tcp(struct dump *d, const struct fd_info *info, InetSkEntry *m, const union inet_addr *src)
{
	const struct diag_inet *s = NULL;
	int err = state_of(info, m), found;

	if (err)
		return err;
	found = diag_find_inet(d, info->fd, (int)m->family, IPPROTO_TCP, &s);
	if (found && found != -ENOENT)
		return found;
	/* It may have ended before diag was asked. Its TIME_WAIT has the same cookie. */
	if (m->state == TCP_SYN_SENT && !s)
		err = state_of(info, m);
	if (s && (!s->ino || (m->state == TCP_CLOSE && s->state != TCP_CLOSE)))
		s = NULL;
	if (!err && m->state == TCP_SYN_SENT) {
		if (!s)
			return log_errno(found, "%s: the kernel does not list this TCP socket, which connects",
			                 fd_name(info));
		name_peer(d, m, s);
	}
	if (!err && tcp_is_connection(m))
		return dump_connection(d, info, m, s);
	if (!err && m->state == TCP_LISTEN)
		return s ? dump_listening(d, info, m, s, src)
		         : log_errno(found, "%s: the kernel does not list this listening socket", fd_name(info));
	err = err ?: inet_dump_shutdown(d, info, m, s);
	return err || m->shutdown != SK_SHUTDOWN__BOTH ? err : tcp_dump_ended(d, info, m, s);
}
