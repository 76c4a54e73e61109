/* SPDX-License-Identifier: GPL-2.0-only */
#include <linux/sched.h>
#include <netinet/tcp.h>
#include <string.h>

#include "files/files.h"
#include "files/net_ns.h"
#include "lib/log.h"
#include "proc/proc_maps.h"
#include "sock/diag.h"
#include "sock/tcp/tcp_handshakes.h"
#include "sock/tcp/tcp_listen.h"
#include "sock/tcp/tcp_port.h"
#include "tree/ns_ids.h"

#define LITTLE_MEMORY (64UL << 20)

/* ---- dump ---- */

/* A listening socket of the tree. */
struct listener {
	const InetSkEntry *m;
	const char *name, *at; /* the descriptor, and the address */
	uint32_t queued;       /* connections that were not accepted */
	struct tcp_handshakes *handshakes;
	struct listener *next;
};

/* Of a network namespace. */
struct listened_net {
	uint32_t id;
	struct tcp_handshakes *handshakes;
	struct listened_net *next;
};

struct listen_dump {
	struct listener *listeners;
	struct listened_net *nets;
};

/* Connections that were not accepted yet, or are still in their handshake. */
struct pending_conns {
	const struct listener *l;
	size_t n, handshakes;
	char peers[400];
};

extern const struct subsys tcp_listen_subsys;

/* Whether a connection came to the listening socket; one of IPv4 to a socket of IPv6 is listed as one of IPv6. */
static bool came_to(const struct listener *l, const struct diag_inet *s)
{
	const InetSkEntry *m = l->m;
	union inet_addr own;

	if (s->sport != m->src_port || s->family != m->family)
		return false;
	return inet_addr_from_words((int)m->family, m->src_addr, m->n_src_addr, 0, NULL, &own) ||
	       inet_addr_is_any(&own) || !memcmp(m->src_addr, s->src, m->n_src_addr * sizeof(*s->src));
}

static int add_pending(const struct diag_inet *s, void *arg)
{
	struct pending_conns *p = arg;
	union inet_addr dst;
	size_t len = strlen(p->peers);

	/* A connection with an inode was accepted: it is a socket of some task. */
	if (s->ino || s->state == TCP_LISTEN || s->state == TCP_TIME_WAIT || !came_to(p->l, s))
		return 0;
	inet_addr_from_words(s->family, s->dst, s->family == AF_INET6 ? 4 : 1, s->dport, NULL, &dst);
	if (p->n++ < 5)
		snprintf(p->peers + len, sizeof(p->peers) - len, "%s%s", len ? ", " : "", inet_addr_text(&dst));
	p->handshakes += s->state == TCP_SYN_RECV;
	return 0;
}

static const char *pending_text(struct arena *a, const struct pending_conns *p)
{
	const char *more = p->n > 5 ? ", ..." : "";

	if (!p->handshakes)
		return arena_printf(a, "%u connections that were not accepted yet, from %s%s", p->l->queued, p->peers,
		                    more);
	return arena_printf(a, "%u connections that were not accepted yet and %zu in their handshake, from %s%s",
	                    p->l->queued, p->handshakes, p->peers, more);
}

/* 0 or DUMP_REFUSED. */
static int judge_pending(struct dump *d, const struct pending_conns *p)
{
	const struct listener *l = p->l;
	const char *text;

	if (!l->queued && !p->handshakes)
		return 0;
	text = pending_text(d->arena, p);
	if (d->opts->skip_in_flight) {
		log_warn("%s: dropped (--skip-in-flight): %s", l->name, text);
		return 0;
	}
	log_refusal(-ENOTSUP,
	            "%s: a TCP socket listening at %s with %s; let the task accept them, or drop them with "
	            "--skip-in-flight",
	            l->name, l->at, text);
	return DUMP_REFUSED;
}

static struct tcp_handshakes *handshakes_here(struct dump *d)
{
	struct listen_dump *all = dump_state(d, &tcp_listen_subsys);
	uint32_t here = net_ns_here(d);
	struct listened_net *net = all->nets;

	while (net && net->id != here)
		net = net->next;
	if (!net) {
		net = arena_new_of(d->arena, struct listened_net);
		*net = (struct listened_net) { here, tcp_handshakes_begin(), all->nets };
		all->nets = net;
	}
	return net->handshakes;
}

int tcp_listen_dump(struct dump *d, const struct fd_info *info, InetSkEntry *m, const struct diag_inet *s,
                    const union inet_addr *own)
{
	struct listen_dump *all = dump_state(d, &tcp_listen_subsys);
	struct listener *l = arena_new_of(d->arena, struct listener);
	struct pending_conns p = { .l = l };
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
	*l = (struct listener) {
		.m = m,
		.name = arena_strdup(d->arena, fd_name(info)),
		.at = arena_strdup(d->arena, inet_addr_text(own)),
		.queued = s->rqueue,
	};
	if (!l->queued && !diag_has_all_tcp(d, (int)m->family))
		l->handshakes = handshakes_here(d);
	if (l->handshakes) {
		l->next = all->listeners;
		all->listeners = l;
		return 0;
	}
	err = diag_each_tcp(d, (int)m->family, add_pending, &p);
	return err ?: judge_pending(d, &p);
}

static int judge_listeners(struct dump *d)
{
	struct listen_dump *all = dump_state(d, &tcp_listen_subsys);
	int refused = 0;

	for (const struct listener *l = all->listeners; l; l = l->next) {
		struct pending_conns p = { .l = l };
		int err = tcp_handshakes_each(l->handshakes, add_pending, &p);

		if (err)
			return log_errno(err, "%s: netlink query of connections in their handshake (tcp_diag)",
			                 l->name);
		refused |= judge_pending(d, &p);
	}
	all->listeners = NULL;
	return refused ? -ENOTSUP : 0;
}

/*
 * The list is there when pages have been written. But a refusal has to come before scripts and others hear that the
 * dump is done, and should come before much has been written.
 */
static bool may_be_late(struct dump *d)
{
	const struct options *o = d->opts;
	uint64_t bytes = 0;

	if (o->lazy_pages || o->page_server || o->stream || d->post_dump_heard || ns_ids_any(d, CLONE_NEWNS))
		return false;
	for (size_t i = 0; i < d->tree.n_tasks; i++) {
		const struct task *t = d->tree.tasks[i];

		for (size_t k = 0; t->dump && k < t->dump->maps.n; k++) {
			const struct proc_map *m = &t->dump->maps.v[k];

			bytes += m->shared ? m->end - m->start : m->anonymous;
		}
	}
	return bytes <= LITTLE_MEMORY;
}

static int judge_early(struct dump *d)
{
	return may_be_late(d) ? 0 : judge_listeners(d);
}

static void end_handshakes(struct dump *d)
{
	const struct listen_dump *all = dump_state(d, &tcp_listen_subsys);

	for (struct listened_net *net = all->nets; net; net = net->next)
		tcp_handshakes_end(move_ptr(net->handshakes));
}

const struct subsys tcp_listen_subsys = {
	.name = "listening TCP sockets",
	.state = { .dump = sizeof(struct listen_dump) },
	.write_images = judge_early,
	.before_commit = judge_listeners,
	.end = end_handshakes,
};

/* ---- restore ---- */

int tcp_listen_start(struct restore *r, const InetSkEntry *m, int fd)
{
	int backlog = (int)MIN(m->backlog, INT32_MAX), err = listen(fd, backlog) ? -errno : 0;
	union inet_addr own;

	inet_addr_from_words((int)m->family, m->src_addr, m->n_src_addr, m->src_port, m->ifname, &own);
	return err == -EADDRINUSE ? tcp_port_listen(r->arena, fd, &own, backlog) : err;
}
