/* SPDX-License-Identifier: GPL-2.0-only */
#include <netinet/tcp.h>
#include <sys/resource.h>

#include "lib/arena_hash.h"
#include "lib/log.h"
#include "sock/diag.h"
#include "sock/inet_proc.h"
#include "sock/tcp/tcp_check.h"
#include "sock/tcp/tcp_entry.h"
#include "sock/tcp/tcp_stream.h"
#include "sock/tcp/tcp_table.h"
#include "tree/subsys.h"
#include "uapi/inet_bits.h"

extern const struct subsys tcp_check_subsys;

/* ---- dump ---- */

struct tcp_dump_checks {
	bool without_ao; /* this kernel is */
};

/* ENOENT: this socket has none. */
static bool has_ao(struct dump *d, int fd)
{
	struct tcp_dump_checks *c = dump_state(d, &tcp_check_subsys);
	char ao[256] = "";
	socklen_t len = sizeof(ao);

	if (c->without_ao)
		return false;
	if (!getsockopt(fd, IPPROTO_TCP, TCP_AO_INFO, ao, &len))
		return true;
	c->without_ao = errno == ENOPROTOOPT;
	return false;
}

const char *tcp_check_beyond_repair(struct dump *d, int fd, const struct diag_inet *s)
{
	char ulp[16] = "";
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
	return has_ao(d, fd) ? "it has signatures (TCP-AO), whose keys do not belong into images" : NULL;
}

/* ---- restore ---- */

/* A connection that is restored closed (--tcp-fallback close). */
struct given_up {
	uint32_t id;
	UT_hash_handle hh;
};

struct tcp_checks {
	struct tcp_table *here; /* the connections of this host before anything is started */
	struct given_up *given_up;
	size_t n_checked;
	rlim_t limit; /* of descriptors, as it was when it was reached last */
};

const struct subsys tcp_check_subsys = { .name = "checks of TCP connections",
	                                 .state = { .dump = sizeof(struct tcp_dump_checks),
	                                            .restore = sizeof(struct tcp_checks) } };

/* Releasing takes one descriptor for each; criu has some of its own, and a pidfd for each task. Reported once. */
static int check_descriptors(struct restore *r, const char **why)
{
	struct tcp_checks *c = restore_state(r, &tcp_check_subsys);
	struct rlimit most = { .rlim_cur = RLIM_INFINITY }, more;
	size_t others = 50 + 2 * r->tree.n_tasks;

	if (++c->n_checked + others < c->limit)
		return 0;
	getrlimit(RLIMIT_NOFILE, &most);
	c->limit = most.rlim_cur;
	if (c->n_checked + others != most.rlim_cur)
		return 0;
	more.rlim_cur = more.rlim_max = 2 * most.rlim_cur;
	if (!setrlimit(RLIMIT_NOFILE, &more))
		return 0;
	*why = arena_printf(
	    r->arena,
	    "%zu TCP connections, and perhaps more: each needs a descriptor of criu's until all are "
	    "restored, and the hard limit of open files is %llu here; restore with a higher one (ulimit -Hn)",
	    c->n_checked, (unsigned long long)most.rlim_cur);
	return -EMFILE;
}

int tcp_check(struct restore *r, const InetSkEntry *m, const char **why)
{
	union soccr_addr local, remote;
	int err;

	if (r->opts->tcp_close)
		return 0;
	if (!r->opts->tcp_established) {
		*why = arena_printf(r->arena,
		                    "the connection %s: give --tcp-established, or --tcp-close to have it closed",
		                    tcp_tuple_text(m));
		return -EBUSY;
	}
	if (tcp_addresses_of(m, &local, &remote) || m->state > TCP_CLOSING) {
		*why = arena_printf(r->arena, "its addresses or its state (%u) are impossible", m->state);
		return -EINVAL;
	}
	err = tcp_stream_check(r, m);
	if (err)
		*why = arena_printf(r->arena, "the connection %s: tcp-stream-%x.img is missing or damaged",
		                    tcp_tuple_text(m), m->ino);
	return err ?: check_descriptors(r, why);
}

int tcp_check_free(struct restore *r, const InetSkEntry *m, const char **why)
{
	struct tcp_checks *c = restore_state(r, &tcp_check_subsys);
	struct net_tuple tuple = tcp_tuple_of(m);
	uint32_t ino;
	const char *holder;

	/* Without diag, the conflict shows when the socket is made. */
	if (!c->here && tcp_table_read(r->arena, &c->here))
		log_info("the kernel does not list its TCP sockets: not checked whether connections are free");
	ino = c->here ? tcp_table_find(c->here, &tuple) : 0;
	if (!ino)
		return 0;
	holder = inet_proc_holder(r->arena, ino);
	*why =
	    arena_printf(r->arena, "the connection %s is in use by %s; end that process, or give --tcp-fallback close",
	                 tcp_tuple_text(m), holder ?: "another socket");
	return -EADDRINUSE;
}

/* ---- --tcp-fallback close ---- */

void tcp_give_up(struct restore *r, const InetSkEntry *m)
{
	struct tcp_checks *c = restore_state(r, &tcp_check_subsys);
	struct given_up *g = arena_new_of(r->arena, struct given_up);

	g->id = m->id;
	HASH_ADD_IN(r->arena, hh, c->given_up, id, sizeof(g->id), g);
}

bool tcp_given_up(struct restore *r, const InetSkEntry *m)
{
	struct tcp_checks *c = restore_state(r, &tcp_check_subsys);
	struct given_up *g = NULL;

	HASH_FIND(hh, c->given_up, &m->id, sizeof(m->id), g);
	return g;
}

bool tcp_gave_up_any(struct restore *r)
{
	struct tcp_checks *c = restore_state(r, &tcp_check_subsys);

	return c->given_up;
}
