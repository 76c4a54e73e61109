/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Reading a receive queue without taking anything out of it: MSG_PEEK at an offset (SO_PEEK_OFF, see socket(7)), with
 * SO_PASSCRED on, so that the kernel shows the credentials and ends a read of a stream where they change.
 */
#include <linux/sockios.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>

#include "files/files.h"
#include "files/net_ns.h"
#include "lib/fault.h"
#include "lib/log.h"
#include "sock/peer_pid.h"
#include "sock/opts.h"
#include "sock/queue.h"
#include "sock/queue_peek.h"
#include "sk-packet.pb-c.h"
#include "tree/subsys.h"

/* ---- options that are changed while the queue is read ---- */

/* An option that is changed; level 0: none. */
struct changed_option {
	int level, name, was;
};

struct switches {
	struct changed_option opt[3];
};

static int restore_switches(int fd, const struct switches *s)
{
	int err = 0;

	for (size_t i = 0; i < ARRAY_SIZE(s->opt); i++) {
		const struct changed_option *c = &s->opt[i];

		if (c->level && setsockopt(fd, c->level, c->name, &c->was, sizeof(c->was)))
			err = -errno;
	}
	return err;
}

static int undo_switches(const struct undo *u)
{
	struct switches s;

	if (u->data_len != sizeof(s))
		return -EINVAL;
	memcpy(&s, u->data, sizeof(s));
	return restore_switches(u->fd, &s);
}

static int read_option(const struct fd_info *info, int name, const char *text, struct changed_option *c)
{
	socklen_t len = sizeof(c->was);

	if (getsockopt(info->fd, SOL_SOCKET, name, &c->was, &len))
		return log_errno(-errno, "%s: getsockopt(%s), to read its receive queue", fd_name(info), text);
	c->level = SOL_SOCKET;
	c->name = name;
	return 0;
}

static int turn_on(const struct fd_info *info, const struct changed_option *c, int value)
{
	if (c->level && setsockopt(info->fd, c->level, c->name, &value, sizeof(value)))
		return log_errno(-errno, "%s: setsockopt of option %d, to read its receive queue", fd_name(info),
		                 c->name);
	return 0;
}

/* A read skips out-of-band bytes unless they are inline. */
static int change_switches(struct dump *d, const struct queue_walk *w, struct switches *s, int *undo)
{
	const struct fd_info *info = w->info;
	int err = read_option(info, SO_PEEK_OFF, "SO_PEEK_OFF", &s->opt[0]);

	if (!err && w->is_unix)
		err = read_option(info, SO_PASSCRED, "SO_PASSCRED", &s->opt[1]);
	if (!err && w->has_oob)
		err = read_option(info, SO_OOBINLINE, "SO_OOBINLINE", &s->opt[2]);
	if (err)
		return err;
	*undo = guardian_note(d->guardian, &(struct undo) { .type = UNDO_CALL,
	                                                    .while_stopped = true,
	                                                    .call = undo_switches,
	                                                    .fd = info->fd,
	                                                    .data = s,
	                                                    .data_len = sizeof(*s) });
	if (*undo < 0)
		return *undo;
	err = turn_on(info, &s->opt[0], 0);
	err = err ?: turn_on(info, &s->opt[1], 1);
	return err ?: turn_on(info, &s->opt[2], 1);
}

/* ---- writing ---- */

struct queue_dump {
	struct image *img; /* sk-queues.img; NULL before the first message */
	bool knows_ids;
	uint32_t no_uid, no_gid; /* queue_overflow_ids() */
};

const struct subsys queue_dump_subsys = { .name = "receive queues", .state = { .dump = sizeof(struct queue_dump) } };

static int open_image(struct dump *d)
{
	struct queue_dump *q = dump_state(d, &queue_dump_subsys);

	return q->img ? 0 : image_create(d->dir, IMG_SK_QUEUES, 0, &q->img);
}

static void overflow_ids_of(struct dump *d, struct queue_walk *w)
{
	struct queue_dump *q = dump_state(d, &queue_dump_subsys);

	if (!q->knows_ids) {
		queue_overflow_ids(w);
		q->no_uid = w->no_uid;
		q->no_gid = w->no_gid;
	}
	q->knows_ids = true;
	w->no_uid = q->no_uid;
	w->no_gid = q->no_gid;
}

static int peek_failed(const struct queue_walk *w, int err, const char *what, size_t at)
{
	struct rlimit lim;

	if (err != -EMFILE || getrlimit(RLIMIT_NOFILE, &lim))
		return log_errno(err, "%s: recvmsg(MSG_PEEK) of %s %zu of its receive queue", fd_name(w->info), what,
		                 at);
	return log_errno(err,
	                 "%s: more in-flight descriptors in queues of the tree's sockets than criu may have open "
	                 "(%llu); give criu a higher hard limit of open files (ulimit -Hn), or have them received",
	                 fd_name(w->info), (unsigned long long)lim.rlim_cur);
}

static int dump_rights(struct dump *d, struct queue_walk *w, struct peeked *p, SkPacketEntry *e)
{
	ScmEntry *scm;
	int ret = 0;

	if (!p->n_fds)
		return 0;
	scm = arena_msg(d->arena, ScmEntry, scm_entry);
	scm->type = SCM_RIGHTS;
	scm->n_rights = p->n_fds;
	scm->rights = arena_array(d->arena, uint32_t, p->n_fds);
	e->n_scm = 1;
	e->scm = arena_array(d->arena, ScmEntry *, 1);
	e->scm[0] = scm;
	for (size_t i = 0; i < p->n_fds; i++) {
		int err = files_dump_in_flight(d, w->info->task, move_fd(&p->fds[i]), w->what, &scm->rights[i]);

		if (err < 0)
			return err;
		ret = err ?: ret;
	}
	return ret;
}

/* Writes the first n bytes of what was peeked as one packet. The descriptors are used up. */
static int write_packet(struct dump *d, struct queue_walk *w, struct peeked *p, size_t n, bool oob)
{
	struct queue_dump *q = dump_state(d, &queue_dump_subsys);
	SkPacketEntry e = SK_PACKET_ENTRY__INIT;
	int err = dump_rights(d, w, p, &e);

	if (err < 0)
		return err;
	w->refused |= err == DUMP_REFUSED;
	e.id_for = w->id;
	e.length = (uint32_t)n;
	if (p->sender_len > sizeof(sa_family_t)) {
		e.has_sender = true;
		e.sender.data = (uint8_t *)&p->sender;
		e.sender.len = p->sender_len;
	}
	if (queue_peek_has_cred(w, p)) {
		e.has_pid = e.has_uid = e.has_gid = true;
		e.pid = p->vpid;
		e.uid = p->cred.uid;
		e.gid = p->cred.gid;
		if (!e.pid && !tree_has_own_pids(&d->tree))
			log_warn("%s: a message in its queue is from a process (uid %u) that has no pid there; "
			         "a restored tree sees it without credentials of a process",
			         fd_name(w->info), e.uid);
	}
	e.has_oob = e.oob = oob;
	err = open_image(d) ?: image_write(q->img, &e);
	return err ?: n ? image_write_raw(q->img, w->buf, n) : 0;
}

/* ---- datagrams ---- */

/*
 * Each peek returns one message and moves the offset behind it. That marks an empty one (skb->peeked,
 * net/core/datagram.c), which all later walks skip: it is only seen as the first of the queue.
 */
static int refuse_hidden(struct queue_walk *w, bool first_empty)
{
	struct peeked p = { 0 };
	int err;

	w->at_head = true;
	err = queue_peek(w, w->size, &p);
	queue_peek_close(&p);
	if (err == -EAGAIN || (!err && (first_empty || p.length || !queue_peek_is_message(w, &p))))
		return 0;
	if (err)
		return log_errno(err, "%s: recvmsg(MSG_PEEK) of the head of its receive queue", fd_name(w->info));
	log_refusal(-ENOTSUP,
	            "%s: an empty datagram waits in its queue that was peeked at before, by an earlier dump or by the "
	            "task: the kernel does not show any more how many there are; let the task read it before the dump",
	            fd_name(w->info));
	return DUMP_REFUSED;
}

static int walk_datagrams(struct dump *d, struct queue_walk *w)
{
	bool first_empty = false, empty = false;
	int err;

	for (size_t n = 0;; n++) {
		struct peeked p = { 0 };

		err = queue_peek_whole(w, &p);
		if (err == -EAGAIN || (!err && !queue_peek_is_message(w, &p)))
			break;
		if (err)
			return peek_failed(w, err, "message", n);
		first_empty |= !n && !p.length;
		empty |= !p.length;
		err = write_packet(d, w, &p, p.n, false);
		queue_peek_close(&p);
		if (err)
			return err;
		w->at += p.n;
	}
	if (empty)
		log_warn(
		    "%s: an empty datagram waits in its queue: if the task runs on after this dump, later dumps cannot "
		    "see it while it waits",
		    fd_name(w->info));
	return refuse_hidden(w, first_empty);
}

/* ---- streams ---- */

/*
 * A read that brings descriptors ends with what they were sent with, but may begin with bytes that were sent without:
 * how many of them. One byte less, and the kernel leaves the last buffer out.
 */
static int bytes_before_rights(struct queue_walk *w, size_t n, size_t *before)
{
	struct peeked p = { 0 };
	int err = queue_peek(w, n - 1, &p);

	*before = err || p.n_fds ? 0 : p.n;
	queue_peek_close(&p);
	return err == -EFAULT ? 0 : err;
}

/* Whether the read before this one ended at the out-of-band byte: there is no other reason for it. */
static bool at_mark(const struct queue_walk *w, const struct peeked *p, const struct piece *last)
{
	int mark = 0;

	if (!w->has_oob || w->oob_found)
		return false;
	if (!w->at)
		return !ioctl(w->info->fd, SIOCATMARK, &mark) && mark;
	return last->cut_short && queue_peek_same_cred(p, &last->cred);
}

/* One piece of a stream: all its bytes have the same credentials, and its descriptors came with the first. */
static int dump_piece(struct dump *d, struct queue_walk *w, struct piece *last)
{
	struct peeked p = { 0 };
	int err = queue_peek(w, w->size, &p);
	size_t n = p.n, before = 0;
	bool oob;

	if (!err && !n)
		err = -EAGAIN;
	oob = !err && at_mark(w, &p, last);
	if (!err && oob) {
		queue_peek_close(&p);
		n = 1;
		err = queue_peek(w, n, &p);
	} else if (!err && p.n_fds) {
		err = bytes_before_rights(w, n, &before);
	}
	if (before) {
		queue_peek_close(&p);
		n = before;
	}
	*last = (struct piece) { .cred = p.cred, .cut_short = !oob && !before && !p.n_fds && n < w->size };
	if (!err)
		err = write_packet(d, w, &p, n, oob);
	else
		peek_failed(w, err, "byte", w->at);
	queue_peek_close(&p);
	w->oob_found |= oob;
	w->at += n;
	return err;
}

static int walk_stream(struct dump *d, struct queue_walk *w, size_t total)
{
	struct piece last = { 0 };

	while (w->at < total) {
		int err = dump_piece(d, w, &last);

		if (err)
			return err;
	}
	if (!w->has_oob || w->oob_found)
		return 0;
	log_refusal(
	    -ENOTSUP,
	    "%s: an out-of-band byte (MSG_OOB) waits in its queue next to a change of sender or to descriptors in "
	    "flight, so that its place cannot be told; let the task read it before the dump",
	    fd_name(w->info));
	return DUMP_REFUSED;
}

/* ---- one queue ---- */

static int walk_queue(struct dump *d, struct queue_walk *w, size_t bytes)
{
	bool stream = w->type == SOCK_STREAM;
	struct switches s = { 0 };
	int undo = -1, err, back;

	/* To find an out-of-band byte, no read may end because the buffer is full. */
	w->size = MAX(w->has_oob ? bytes + 1 : MIN(bytes, QUEUE_READ_MAX), QUEUE_READ_MIN);
	w->buf = malloc(w->size);
	if (!w->buf)
		return log_errno(-ENOMEM, "%s: out of memory (%zu bytes to read its receive queue)", fd_name(w->info),
		                 w->size);
	err = change_switches(d, w, &s, &undo);
	fault_point("queue switches set");
	if (!err)
		err = stream ? walk_stream(d, w, bytes) : walk_datagrams(d, w);
	free(w->buf);
	fault_point("queue read");
	if (undo < 0)
		return err;
	back = restore_switches(w->info->fd, &s);
	if (back)
		return log_errno(back, "%s: setsockopt of what was changed to read its receive queue",
		                 fd_name(w->info));
	guardian_drop(d->guardian, undo);
	return err ?: w->refused ? DUMP_REFUSED : 0;
}

int queue_dump(struct dump *d, const struct fd_info *info, uint32_t id, int type)
{
	_cleanup_net_visit_ struct net_visit v = NET_VISIT_NONE;
	struct pollfd p = { .fd = info->fd, .events = POLLIN | POLLPRI };
	struct queue_walk w = { .d = d, .info = info, .id = id, .type = type };
	int domain = sock_domain(info), bytes = 0;

	if (ioctl(info->fd, FIONREAD, &bytes))
		return log_errno(-errno, "%s: ioctl(FIONREAD)", fd_name(info));
	if (type == SOCK_STREAM && !bytes)
		return 0;
	if (domain < 0)
		return log_errno(domain, "%s: getsockopt(SO_DOMAIN)", fd_name(info));
	if (poll(&p, 1, 0) < 0)
		return log_errno(-errno, "%s: poll", fd_name(info));
	if (!(p.revents & (POLLIN | POLLPRI)))
		return 0;
	if (type != SOCK_STREAM && (p.revents & POLLERR)) {
		if ((p.revents & POLLHUP) && !bytes)
			return 0;
		log_refusal(
		    -ENOTSUP,
		    "%s: an error is pending before the messages in its queue (a peer that closed it or answered "
		    "with one): to look at the queue would clear it; let the task read it before the dump",
		    fd_name(info));
		return DUMP_REFUSED;
	}
	w.is_unix = domain == AF_UNIX;
	w.has_oob = w.is_unix && type == SOCK_STREAM && (p.revents & POLLPRI);
	if (w.is_unix)
		overflow_ids_of(d, &w);
	w.what = info->number >= 0 ? arena_printf(d->arena, "in flight to its fd %d", info->number)
	                           : arena_printf(d->arena, "in flight to a socket that is %s", info->what);
	return net_ns_home_dumped(d, &v) ?: walk_queue(d, &w, (size_t)MAX(bytes, 0));
}

int queue_add(struct dump *d, uint32_t id, const void *bytes, size_t len)
{
	struct queue_dump *q = dump_state(d, &queue_dump_subsys);
	SkPacketEntry e = SK_PACKET_ENTRY__INIT;
	int err = open_image(d);

	e.id_for = id;
	e.length = (uint32_t)len;
	err = err ?: image_write(q->img, &e);
	return err ?: image_write_raw(q->img, bytes, len);
}

int queue_write_images(struct dump *d)
{
	struct queue_dump *q = dump_state(d, &queue_dump_subsys);

	return image_close(move_ptr(q->img));
}
