/* SPDX-License-Identifier: GPL-2.0-only */
/* Receive queues at restore: sk-queues.img is read into memory, and its messages are sent again. */
#include <string.h>
#include <sys/socket.h>

#include "agent/impersonate.h"
#include "files/files.h"
#include "lib/log.h"
#include "lib/arena_hash.h"
#include "sock/queue.h"
#include "uapi/scm.h"
#include "uapi/sock_bits.h"
#include "sk-packet.pb-c.h"
#include "tree/ns_ids.h"
#include "tree/subsys.h"

struct receive_queue {
	uint32_t id;
	struct queued_message *messages;
	size_t n;
	UT_hash_handle hh;
};

struct queue_restore {
	bool read;
	struct receive_queue *by_id;
};

const struct subsys queue_restore_subsys = { .name = "receive queues",
	                                     .state = { .restore = sizeof(struct queue_restore) } };

/* ---- reading ---- */

static struct receive_queue *find_queue(struct restore *r, uint32_t id)
{
	struct queue_restore *all = restore_state(r, &queue_restore_subsys);
	struct receive_queue *q = NULL;

	HASH_FIND(hh, all->by_id, &id, sizeof(id), q);
	return q;
}

static struct receive_queue *find_or_add_queue(struct restore *r, uint32_t id)
{
	struct queue_restore *all = restore_state(r, &queue_restore_subsys);
	struct receive_queue *q = find_queue(r, id);

	if (q)
		return q;
	q = arena_new_of(r->arena, struct receive_queue);
	q->id = id;
	HASH_ADD_IN(r->arena, hh, all->by_id, id, sizeof(q->id), q);
	return q;
}

static int check_rights(struct restore *r, const struct image *img, const SkPacketEntry *e)
{
	size_t n = 0;
	int err = 0;

	for (size_t i = 0; i < e->n_scm; i++) {
		if (e->scm[i]->type != SCM_RIGHTS)
			return log_errno(-EINVAL, "%s: file %u: a message with control data of the unknown type %u",
			                 image_name(img), e->id_for, e->scm[i]->type);
		n += e->scm[i]->n_rights;
	}
	if (n > SCM_MAX_FD)
		return log_errno(-EINVAL,
		                 "%s: file %u: a message with %zu in-flight descriptors (at most %d are possible)",
		                 image_name(img), e->id_for, n, SCM_MAX_FD);
	for (size_t i = 0; !err && i < e->n_scm; i++)
		for (size_t j = 0; !err && j < e->scm[i]->n_rights; j++)
			err = files_pin(r, e->scm[i]->rights[j]);
	return err ? log_errno(err, "%s: an in-flight descriptor of file %u", image_name(img), e->id_for) : 0;
}

static int check_packet(struct restore *r, const struct image *img, const SkPacketEntry *e)
{
	if (!files_message(r, e->id_for, NULL))
		return log_errno(-ENOENT, "%s: a message for file %u, which does not exist", image_name(img),
		                 e->id_for);
	if (e->length > image_left(img))
		return log_errno(-EINVAL, "%s: file %u: a message of %u bytes, which go beyond the end of the image",
		                 image_name(img), e->id_for, e->length);
	if (e->has_sender && e->sender.len > sizeof(struct sockaddr_storage))
		return log_errno(-EINVAL, "%s: file %u: a sender's address of %zu bytes", image_name(img), e->id_for,
		                 e->sender.len);
	if (e->has_pid && e->pid > INT32_MAX)
		return log_errno(-EINVAL, "%s: file %u: a message from the invalid pid %u", image_name(img), e->id_for,
		                 e->pid);
	if (e->oob && e->length != 1)
		return log_errno(-EINVAL, "%s: file %u: %u out-of-band bytes at once", image_name(img), e->id_for,
		                 e->length);
	return check_rights(r, img, e);
}

int queue_read_images(struct restore *r)
{
	struct queue_restore *all = restore_state(r, &queue_restore_subsys);
	_cleanup_image_ struct image *img = NULL;
	SkPacketEntry *e;
	int err;

	if (all->read)
		return 0;
	all->read = true;
	err = image_open(r->dir, IMG_SK_QUEUES, 0, &img);
	if (err)
		return err == -ENOENT ? 0 : err;
	while ((err = image_read(img, &sk_packet_entry__descriptor, r->arena, &e)) > 0) {
		struct receive_queue *q;
		void *bytes;

		err = check_packet(r, img, e);
		if (err)
			return err;
		bytes = arena_alloc(r->arena, e->length + 1UL);
		err = image_read_raw(img, bytes, e->length);
		if (err)
			return err;
		q = find_or_add_queue(r, e->id_for);
		arena_push(r->arena, &q->messages, &q->n, ((struct queued_message) { e, bytes }));
	}
	return err;
}

size_t queue_count(struct restore *r, uint32_t id)
{
	const struct receive_queue *q = find_queue(r, id);

	return q ? q->n : 0;
}

const void *queue_sender(struct restore *r, uint32_t id, size_t n, size_t *len)
{
	const struct receive_queue *q = find_queue(r, id);
	const SkPacketEntry *e = q && n < q->n ? q->messages[n].e : NULL;

	*len = e && e->has_sender ? e->sender.len : 0;
	return *len ? e->sender.data : NULL;
}

const void *queue_bytes(struct restore *r, uint32_t id, size_t n, size_t *len)
{
	const struct receive_queue *q = find_queue(r, id);
	const struct queued_message *m = q && n < q->n ? &q->messages[n] : NULL;

	*len = m ? m->e->length : 0;
	return m ? m->bytes : NULL;
}

/* ---- sending ---- */

struct queue_sending {
	struct restore *r;
	int from;
	int type;                                  /* SOCK_* */
	const char *what;                          /* for messages */
	int sndbuf, buf_lock, passcred, passpidfd; /* as they were */
};

static int get_int(int fd, int name, int missing)
{
	socklen_t len = sizeof(int);
	int v;

	return getsockopt(fd, SOL_SOCKET, name, &v, &len) ? missing : v;
}

static void set_int(int fd, int name, int v)
{
	setsockopt(fd, SOL_SOCKET, name, &v, sizeof(v));
}

/* The kernel doubles it. Truesizes are rounded up, to twice the length at most, and a message has its own cost. */
static void raise_sndbuf(const struct queue_sending *s, const struct queued_message *m, size_t n)
{
	uint64_t need = 0;
	int v;

	for (size_t i = 0; i < n; i++)
		need += 2ULL * m[i].e->length + 4096;
	/* Messages that it has sent before count too. */
	need += (uint64_t)s->sndbuf;
	v = (int)MIN(need, 1UL << 30);
	if (setsockopt(s->from, SOL_SOCKET, SO_SNDBUFFORCE, &v, sizeof(v)))
		set_int(s->from, SO_SNDBUF, v);
}

/* A sender that has SO_PASSCRED gives its credentials to all messages, also to those that had none. */
static void begin_sending(struct queue_sending *s, const struct queued_message *m, size_t n)
{
	s->type = get_int(s->from, SO_TYPE, 0);
	s->sndbuf = get_int(s->from, SO_SNDBUF, 0);
	s->buf_lock = get_int(s->from, SO_BUF_LOCK, -1);
	s->passcred = get_int(s->from, SO_PASSCRED, 0);
	s->passpidfd = get_int(s->from, SO_PASSPIDFD, 0);
	raise_sndbuf(s, m, n);
	if (s->passcred > 0)
		set_int(s->from, SO_PASSCRED, 0);
	if (s->passpidfd > 0)
		set_int(s->from, SO_PASSPIDFD, 0);
}

static void end_sending(const struct queue_sending *s)
{
	int half = s->sndbuf / 2;

	if (setsockopt(s->from, SOL_SOCKET, SO_SNDBUFFORCE, &half, sizeof(half)))
		set_int(s->from, SO_SNDBUF, half);
	if (s->buf_lock >= 0)
		set_int(s->from, SO_BUF_LOCK, s->buf_lock);
	if (s->passcred > 0)
		set_int(s->from, SO_PASSCRED, s->passcred);
	if (s->passpidfd > 0)
		set_int(s->from, SO_PASSPIDFD, s->passpidfd);
}

static int explain_failure(const struct queue_sending *s, const SkPacketEntry *e, size_t number, size_t sent, int err)
{
	const char *why = "";

	if (err == -EAGAIN)
		why = ": its queue is full (net.core.wmem_max for senders without privilege, "
		      "net.unix.max_dgram_qlen for datagrams)";
	else if (err == -ETOOMANYREFS)
		why = ": more descriptors are in flight than the limit of open files allows without CAP_SYS_RESOURCE "
		      "or CAP_SYS_ADMIN (ulimit -n)";
	else if (err == -EPERM && e->n_scm)
		why = ": the receiver may not take descriptors any more (SO_PASSRIGHTS)";
	return log_errno(err, "%s: sendmsg of message %zu (%u bytes) into its queue, after %zu bytes%s", s->what,
	                 number, e->length, sent, why);
}

static int send_message(const struct queue_sending *s, const struct queued_message *m, const int *fds, size_t n_fds)
{
	union {
		char bytes[CMSG_SPACE(SCM_MAX_FD * sizeof(int))];
		struct cmsghdr align;
	} control = { 0 };
	const SkPacketEntry *e = m->e;
	struct iovec iov = { .iov_base = (void *)m->bytes, .iov_len = e->length };
	struct msghdr mh = { .msg_iov = &iov, .msg_iovlen = 1 };
	struct identity as = {
		.pid = VPID(e->has_uid ? e->pid : 0),
		.outside = e->has_uid && e->has_pid && !e->pid && ns_ids_own_pids(s->r),
		.uid = e->uid,
		.gid = e->gid,
	};
	int flags = e->oob ? MSG_OOB : 0;

	if (s->type == SOCK_STREAM && !e->length && n_fds)
		return -EINVAL;
	if (s->type == SOCK_STREAM && !e->length)
		return 0;
	if (n_fds) {
		mh.msg_control = &control;
		mh.msg_controllen = CMSG_SPACE(n_fds * sizeof(int));
		control.align.cmsg_level = SOL_SOCKET;
		control.align.cmsg_type = SCM_RIGHTS;
		control.align.cmsg_len = CMSG_LEN(n_fds * sizeof(int));
		memcpy(CMSG_DATA(&control.align), fds, n_fds * sizeof(int));
	}
	return impersonate_sendmsg(s->r, &as, s->from, &mh, flags, s->what);
}

static int borrow_rights(const struct queue_sending *s, const SkPacketEntry *e, int *fds, size_t *n)
{
	for (size_t i = 0; i < e->n_scm; i++)
		for (size_t j = 0; j < e->scm[i]->n_rights; j++) {
			int fd = files_borrow(s->r, e->scm[i]->rights[j]);

			if (fd < 0)
				return log_errno(fd, "%s: in-flight file %u of its queue", s->what,
				                 e->scm[i]->rights[j]);
			fds[(*n)++] = fd;
		}
	return 0;
}

/* The kernel may take a large part of a stream in several parts. */
static int send_whole(const struct queue_sending *s, const struct queued_message *m, const int *fds, size_t n_fds)
{
	SkPacketEntry part = *m->e;
	struct queued_message rest = { &part, m->bytes };

	for (;;) {
		int sent = send_message(s, &rest, fds, n_fds);

		if (sent < 0)
			return sent;
		if ((uint32_t)sent >= part.length)
			return 0;
		if (!sent || s->type != SOCK_STREAM)
			return -EMSGSIZE;
		part.length -= (uint32_t)sent;
		rest.bytes = (const char *)rest.bytes + sent;
		n_fds = 0; /* they went with the first byte */
	}
}

int queue_send_messages(struct restore *r, const struct queued_message *messages, size_t n, int from, const char *what)
{
	struct queue_sending s = { .r = r, .from = from, .what = what };
	size_t sent = 0;
	int err = 0;

	if (!n)
		return 0;
	begin_sending(&s, messages, n);
	for (size_t i = 0; !err && i < n; i++) {
		const struct queued_message *m = &messages[i];
		int fds[SCM_MAX_FD];
		size_t n_fds = 0;

		err = borrow_rights(&s, m->e, fds, &n_fds);
		if (!err) {
			err = send_whole(&s, m, fds, n_fds);
			err = err ? explain_failure(&s, m->e, i, sent, err) : 0;
		}
		for (size_t j = 0; j < n_fds; j++)
			close(fds[j]);
		sent += m->e->length;
	}
	end_sending(&s);
	return err;
}

int queue_send(struct restore *r, uint32_t id, size_t first, size_t n, int from)
{
	const struct receive_queue *q = find_queue(r, id);
	const char *what = arena_printf(r->arena, "file %u (a socket)", id);

	if (!n)
		return 0;
	if (!q || first > q->n || n > q->n - first)
		return log_errno(-EINVAL, "%s: its queue has no messages %zu to %zu", what, first, first + n);
	return queue_send_messages(r, q->messages + first, n, from, what);
}
