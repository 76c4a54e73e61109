/* SPDX-License-Identifier: GPL-2.0-only */
/* Unix sockets at dump, when all of the tree are known: which are connected to each other, and what cannot be saved. */
#include <netinet/tcp.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include "options/external.h"
#include "lib/log.h"
#include "sock/unix/unix_client.h"
#include "sock/unix/unix_creds.h"
#include "sock/unix/unix_dump.h"
#include "sock/unix/unix_embryo.h"
#include "sock/unix/unix_name.h"
#include "tree/subsys.h"

#define SHUT_BOTH 3

/* A refusal that names a process outside: that is looked for when all refusals are known. */
struct outside_reason {
	const struct unix_seen *u;
	uint32_t ino; /* the socket outside */
	enum { STREAM_OUTSIDE, DGRAM_OUTSIDE, CLIENT_OUTSIDE } why;
};

struct unix_collect {
	struct dump *d;
	struct unix_dump *all;
	struct unix_holder *outside; /* sockets whose processes are to be found */
	struct unix_holder *externs; /* datagram peers outside for which an entry was written */
	struct unix_holder *lost;    /* peers outside that count as closed (--external-lost) */
	struct outside_reason *reasons;
	size_t n_reasons;
};

static struct unix_seen *find_seen(const struct unix_collect *c, uint32_t ino)
{
	struct unix_seen *u;

	HASH_FIND(hh, c->all->by_ino, &ino, sizeof(ino), u);
	return u;
}

/* Enters an inode into a table of inodes; false when the table had it. */
static bool note_ino(struct dump *d, struct unix_holder **table, uint32_t ino)
{
	struct unix_holder *h;

	HASH_FIND(hh, *table, &ino, sizeof(ino), h);
	if (h)
		return false;
	h = arena_new_of(d->arena, struct unix_holder);
	h->ino = ino;
	HASH_ADD_IN(d->arena, hh, *table, ino, sizeof(ino), h);
	return true;
}

static void add_reason(struct unix_collect *c, const struct unix_seen *u, uint32_t ino, int why)
{
	struct outside_reason r = { .u = u, .ino = ino, .why = why };

	note_ino(c->d, &c->outside, ino);
	arena_push(c->d->arena, &c->reasons, &c->n_reasons, r);
}

static const char *name_of_ino(const struct unix_collect *c, uint32_t ino)
{
	const struct diag_unix *diag = diag_unix_by_ino(c->d, ino);

	return diag && diag->name_len ? unix_name_text(c->d->arena, diag->name, diag->name_len)
	                              : "a socket without a name";
}

/* What a socket is connected to: as getpeername(2) shows it, or else the name of the peer's inode. */
static const char *peer_text(const struct unix_collect *c, const struct unix_seen *u)
{
	if (u->peername.len)
		return unix_name_text(c->d->arena, u->peername.data, u->peername.len);
	return u->m->peer ? name_of_ino(c, u->m->peer) : "?";
}

/* The peer is gone: getpeername(2) shows its name nevertheless. */
static void keep_peername(const struct unix_seen *u)
{
	u->m->has_peer_name = u->peername.len > 0;
	u->m->peer_name = u->peername;
}

static void refuse_outside_peer(const struct unix_collect *c, const struct outside_reason *r)
{
	const char *who = "an unknown process", *name = name_of_ino(c, r->ino);
	struct unix_holder *h;

	HASH_FIND(hh, c->outside, &r->ino, sizeof(r->ino), h);
	if (h && h->who)
		who = h->who;
	if (r->why == STREAM_OUTSIDE)
		log_refusal(
		    -ENOTCONN,
		    "%s: a unix socket connected to %s (%s, inode %u), which %s has, outside of the tree; dump both "
		    "together, or give --external 'socket:[%u]' here and a connected socket at restore "
		    "(--inherit-fd 'fd[N]:socket:[%u]'), or --external-lost close to have that end closed",
		    r->u->who, peer_text(c, r->u), r->u->m->type == SOCK_STREAM ? "stream" : "seqpacket", r->ino, who,
		    r->u->ino, r->u->ino);
	else if (r->why == DGRAM_OUTSIDE)
		log_refusal(
		    -ENOTCONN,
		    "%s: a unix datagram socket connected to %s (inode %u), which %s has, outside of the tree; %s",
		    r->u->who, name, r->ino, who,
		    diag_unix_by_ino(c->d, r->ino) && diag_unix_by_ino(c->d, r->ino)->name_len
		        ? "give --ext-unix-sk (-x) to have it connected to that name again"
		        : "a restore could not find it again, since it has no name");
	else
		log_refusal(-ENOTCONN,
		            "%s: a listening unix socket (%s): a connection waits to be accepted from %s, which is "
		            "outside of the tree (inode %u); let it be accepted or the client end first, or dump the "
		            "client too",
		            r->u->who, unix_name_text(c->d->arena, r->u->diag->name, r->u->diag->name_len), who,
		            r->ino);
}

/* ---- listening sockets ---- */

/* What it sent before it ended waits in a socket that no descriptor leads to, and that the kernel does not list. */
static void refuse_gone_client(struct unix_collect *c, const struct unix_seen *u, const char *why)
{
	const char *name = unix_name_text(c->d->arena, u->diag->name, u->diag->name_len);

	if (c->d->opts->skip_in_flight)
		log_warn("%s: a listening unix socket (%s): a connection waits to be accepted whose client is gone "
		         "already: what that may have sent is lost (--skip-in-flight)",
		         u->who, name);
	else
		log_refusal(
		    -EBUSY,
		    "%s: a listening unix socket (%s): a connection waits to be accepted whose client is gone "
		    "already: what that may have sent cannot be read before (%s); let it be accepted first (try "
		    "again), or give --skip-in-flight to have it end without that",
		    u->who, name, why);
}

/* The kernel shows how much memory the messages take; their bytes are in a socket that no descriptor leads to. */
static void refuse_unread(const struct unix_seen *u, const char *why)
{
	log_refusal(
	    -EBUSY,
	    "%s: a unix socket that waits to be accepted by %s has sent data already (%d bytes of memory), which "
	    "cannot be read before (%s); let it be accepted first (try again)",
	    u->who, u->listener->who, u->unread, why);
}

/* Those that wait: their order, and what they have sent. */
static void collect_waiting(struct unix_collect *c, struct unix_seen *u)
{
	bool outside = false, gone = false;
	UnixSkEntry *m = u->m;
	const char *why = "";

	for (size_t i = 0; i < u->diag->n_icons; i++) {
		uint32_t ino = u->diag->icons[i];
		struct unix_seen *client = ino ? find_seen(c, ino) : NULL;

		if (ino && !client) {
			add_reason(c, u, ino, CLIENT_OUTSIDE);
			outside = true;
			continue;
		}
		gone |= !ino;
		if (client) {
			client->listener = u;
			client->m->peer = u->ino;
		}
		arena_push(c->d->arena, &m->waiting, &m->n_waiting, ino);
	}
	if (outside || unix_embryo_dump(c->d, u, &why) != -EAGAIN)
		return;
	log_debug("%s: what waits to be accepted cannot be looked at: %s", u->who, why);
	if (gone)
		refuse_gone_client(c, u, why);
	for (size_t i = 0; i < m->n_waiting; i++) {
		const struct unix_seen *client = m->waiting[i] ? find_seen(c, m->waiting[i]) : NULL;

		if (client && client->unread)
			refuse_unread(client, why);
	}
}

static void collect_listener(struct unix_collect *c, struct unix_seen *u)
{
	if (u->diag->state == TCP_LISTEN && u->diag->n_icons)
		collect_waiting(c, u);
}

/* ---- connected ones ---- */

/* A connected stream or seqpacket socket whose peer is outside and counts as closed by --external-lost. */
static bool is_lost(const struct unix_collect *c, const struct unix_seen *u)
{
	return c->d->opts->external_lost_close && !u->external && u->m->type != SOCK_DGRAM &&
	       u->m->state == TCP_ESTABLISHED && !u->listener && u->m->peer && !find_seen(c, u->m->peer);
}

/* As if the peer had closed its end. */
static void close_peer(const struct unix_seen *u)
{
	u->m->peer = 0;
	u->m->has_shutdown = true;
	u->m->shutdown = SHUT_BOTH;
	keep_peername(u);
}

static void lose_peer(struct unix_collect *c, struct unix_seen *u)
{
	uint32_t ino = u->m->peer;
	struct unix_holder *h;

	HASH_FIND(hh, c->lost, &ino, sizeof(ino), h);
	u->m->lost_to = arena_strdup(c->d->arena, h && h->who ? h->who : "an unknown process");
	log_warn(
	    "%s: a unix socket connected to %s (%s, inode %u), which %s has, outside of the tree; in a restored tree "
	    "that end is closed",
	    u->who, peer_text(c, u), u->m->type == SOCK_STREAM ? "stream" : "seqpacket", ino, u->m->lost_to);
	close_peer(u);
}

/* What its queue holds would have to come through a peer that only the plugin knows. */
static int refuse_queued(const struct unix_seen *u, int fd)
{
	int bytes = 0;

	if (ioctl(fd, FIONREAD, &bytes) || !bytes)
		return 0;
	log_refusal(-EBUSY,
	            "%s: a unix socket that a plugin is to bring back has %d bytes in its receive queue, which would "
	            "be lost; let the program read them before the dump",
	            u->who, bytes);
	return 0;
}

/* A plugin may know how to connect it again. 0: it does; -ENOTSUP; or another negative errno (logged). */
static int offer_outside(struct unix_collect *c, const struct unix_seen *u)
{
	_cleanup_close_ int fd = -1;
	int err;

	if (u->number < 0)
		return -ENOTSUP;
	fd = (int)syscall(SYS_pidfd_getfd, u->task->dump->pidfd, u->number, 0);
	if (fd < 0)
		return log_errno(-errno, "%s: pidfd_getfd", u->who);
	err = subsys_externals()->dump_unix_socket(c->d, fd, u->m->id);
	if (err)
		return err;
	u->m->uflags |= USK_CALLBACK;
	return refuse_queued(u, fd);
}

/* A peer outside of the tree that nothing brings back is a reason to refuse. */
static int take_outside(struct unix_collect *c, const struct unix_seen *u, int why)
{
	int err = offer_outside(c, u);

	if (err == -ENOTSUP)
		add_reason(c, u, u->m->peer, why);
	return err == -ENOTSUP ? 0 : err;
}

static int collect_stream(struct unix_collect *c, struct unix_seen *u)
{
	UnixSkEntry *m = u->m;

	if (m->state != TCP_ESTABLISHED)
		return 0;
	if (u->listener) {
		unix_creds_dump_connector(u->task, m);
		return 0;
	}
	if (unix_client_asked(c->d, m->peer)) {
		close_peer(u);
		return 0;
	}
	if (is_lost(c, u)) {
		lose_peer(c, u);
		return 0;
	}
	if (m->peer)
		return find_seen(c, m->peer) ? 0 : take_outside(c, u, STREAM_OUTSIDE);
	/* A peer that is gone shut both directions. */
	if ((u->diag->shutdown & SHUT_BOTH) == SHUT_BOTH)
		keep_peername(u);
	else
		log_refusal(
		    -ENOTCONN,
		    "%s: a unix socket that waits to be accepted at %s, whose server is outside of the tree; let "
		    "it be accepted or closed first, or dump the server too",
		    u->who, peer_text(c, u));
	return 0;
}

/* A peer outside gets an entry without a descriptor: its name says where to connect. */
static int write_extern(struct unix_collect *c, uint32_t ino, const struct diag_unix *diag)
{
	UnixSkEntry e = UNIX_SK_ENTRY__INIT;
	FownEntry fown = FOWN_ENTRY__INIT;
	SkOptsEntry opts = SK_OPTS_ENTRY__INIT;

	if (!note_ino(c->d, &c->externs, ino))
		return 0;
	e.id = files_new_id(c->d);
	e.ino = ino;
	e.type = SOCK_DGRAM;
	e.state = TCP_CLOSE;
	e.uflags = USK_EXTERN;
	e.fown = &fown;
	e.opts = &opts;
	e.name.len = diag->name_len;
	e.name.data = arena_memdup(c->d->arena, diag->name, diag->name_len);
	return files_write_entry(c->d, kind_by_fd_type(FD_TYPES__UNIXSK), e.id, &e);
}

static int collect_dgram(struct unix_collect *c, struct unix_seen *u)
{
	const struct diag_unix *diag;
	UnixSkEntry *m = u->m;

	if (!m->peer && u->has_peer) {
		keep_peername(u);
		m->has_error = true;
		m->error = ECONNREFUSED;
	}
	if (!m->peer || find_seen(c, m->peer))
		return 0;
	diag = diag_unix_by_ino(c->d, m->peer);
	/* The folder that a relative name starts from is not known. */
	if (diag && diag->name_len && (!diag->name[0] || diag->name[0] == '/') && external_unix(c->d->opts, m->peer))
		return write_extern(c, m->peer, diag);
	return take_outside(c, u, DGRAM_OUTSIDE);
}

int unix_collect(struct dump *d)
{
	struct unix_collect c = { .d = d, .all = unix_dump_table(d) };
	int err = 0;

	for (struct unix_seen *u = c.all->by_ino; u; u = u->hh.next)
		collect_listener(&c, u);
	for (struct unix_seen *u = c.all->by_ino; u; u = u->hh.next)
		if (is_lost(&c, u))
			note_ino(d, &c.lost, u->m->peer);
	if (c.lost)
		unix_holders_find(d, c.lost);
	for (struct unix_seen *u = c.all->by_ino; u && !err; u = u->hh.next) {
		if (!u->external && u->m->type == SOCK_DGRAM)
			err = collect_dgram(&c, u);
		else if (!u->external)
			err = collect_stream(&c, u);
		if (!err)
			err = files_write_entry(d, kind_by_fd_type(FD_TYPES__UNIXSK), u->m->id, u->m);
	}
	unix_embryo_end(d);
	if (c.n_reasons)
		unix_holders_find(d, c.outside);
	for (size_t i = 0; i < c.n_reasons; i++)
		refuse_outside_peer(&c, &c.reasons[i]);
	return err;
}
