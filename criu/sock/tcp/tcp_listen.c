/* SPDX-License-Identifier: GPL-2.0-only */
#include <netinet/tcp.h>
#include <string.h>

#include "files/files.h"
#include "lib/log.h"
#include "sock/diag.h"
#include "sock/tcp/tcp_listen.h"
#include "sock/tcp/tcp_port.h"

/* ---- dump ---- */

/* Connections that were not accepted yet, or are still in their handshake. */
struct pending_conns {
	const InetSkEntry *m;
	bool v6only;
	size_t n, handshakes;
	char peers[400];
};

/* Whether a connection came to the listening socket; one of IPv4 may come to a socket of IPv6. */
static bool came_to(const struct pending_conns *p, const struct diag_inet *s)
{
	const InetSkEntry *m = p->m;
	union inet_addr own;

	if (s->sport != m->src_port)
		return false;
	if (s->family != m->family)
		return m->family == AF_INET6 && !p->v6only;
	return inet_addr_from_words((int)m->family, m->src_addr, m->n_src_addr, 0, NULL, &own) ||
	       inet_addr_is_any(&own) || !memcmp(m->src_addr, s->src, m->n_src_addr * sizeof(*s->src));
}

static int add_pending(const struct diag_inet *s, void *arg)
{
	struct pending_conns *p = arg;
	union inet_addr dst;
	size_t len = strlen(p->peers);

	if (!came_to(p, s))
		return 0;
	inet_addr_from_words(s->family, s->dst, s->family == AF_INET6 ? 4 : 1, s->dport, NULL, &dst);
	if (p->n++ < 5)
		snprintf(p->peers + len, sizeof(p->peers) - len, "%s%s", len ? ", " : "", inet_addr_text(&dst));
	p->handshakes += s->state == TCP_SYN_RECV;
	return 0;
}

static const char *pending_text(struct arena *a, const struct pending_conns *p, uint32_t queued)
{
	const char *more = p->n > 5 ? ", ..." : "";

	if (!p->handshakes)
		return arena_printf(a, "%u connections that were not accepted yet, from %s%s", queued, p->peers, more);
	return arena_printf(a, "%u connections that were not accepted yet and %zu in their handshake, from %s%s",
	                    queued, p->handshakes, p->peers, more);
}

int tcp_listen_dump(struct dump *d, const struct fd_info *info, InetSkEntry *m, const struct diag_inet *s,
                    const union inet_addr *own)
{
	struct pending_conns p = { .m = m, .v6only = s->v6only };
	const char *text;
	int err;

	m->backlog = s->wqueue;
	if (s->has_md5) {
		log_refusal(
		    -ENOTSUP,
		    "%s: a TCP socket listening at %s with MD5 signatures (TCP_MD5SIG), whose keys do not belong "
		    "into images; let the task take them off before the dump",
		    fd_name(info), inet_addr_text(own));
		return DUMP_REFUSED;
	}
	err = diag_each_waiting(d, (int)m->family, s->rqueue, add_pending, &p);
	if (err)
		return err;
	if (!s->rqueue && !p.handshakes)
		return 0;
	text = pending_text(d->arena, &p, s->rqueue);
	if (d->opts->skip_in_flight) {
		log_warn("%s: dropped (--skip-in-flight): %s", fd_name(info), text);
		return 0;
	}
	log_refusal(-ENOTSUP,
	            "%s: a TCP socket listening at %s with %s; let the task accept them, or drop them with "
	            "--skip-in-flight",
	            fd_name(info), inet_addr_text(own), text);
	return DUMP_REFUSED;
}

/* ---- restore ---- */

int tcp_listen_start(struct restore *r, const InetSkEntry *m, int fd)
{
	int backlog = (int)MIN(m->backlog, INT32_MAX), err = listen(fd, backlog) ? -errno : 0;
	union inet_addr own;

	inet_addr_from_words((int)m->family, m->src_addr, m->n_src_addr, m->src_port, m->ifname, &own);
	return err == -EADDRINUSE ? tcp_port_listen(r->arena, fd, &own, backlog) : err;
}
