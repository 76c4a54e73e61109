/* SPDX-License-Identifier: GPL-2.0-only */
#include <fcntl.h>
#include <string.h>

#include "files/files.h"
#include "lib/log.h"
#include "proc/proc.h"
#include "sock/peer_pid.h"
#include "sock/queue_peek.h"
#include "uapi/scm.h"

/* Descriptors, credentials, and what else options of the socket ask for (times, labels, addresses). */
#define CONTROL_SIZE (CMSG_SPACE(SCM_MAX_FD * sizeof(int)) + 8192)

static void take_fds(struct peeked *p, const struct cmsghdr *c)
{
	size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);

	for (size_t i = 0; i < n; i++) {
		int fd;

		memcpy(&fd, CMSG_DATA(c) + i * sizeof(fd), sizeof(fd));
		if (c->cmsg_type == SCM_RIGHTS && p->n_fds < SCM_MAX_FD)
			p->fds[p->n_fds++] = fd;
		else if (fd >= 0)
			close(fd);
	}
}

static void parse_control(struct msghdr *mh, struct peeked *p)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(mh); c; c = CMSG_NXTHDR(mh, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_len < CMSG_LEN(0))
			continue;
		if (c->cmsg_type == SCM_RIGHTS || c->cmsg_type == SCM_PIDFD) {
			take_fds(p, c);
		} else if (c->cmsg_type == SCM_CREDENTIALS && c->cmsg_len >= CMSG_LEN(sizeof(p->cred))) {
			memcpy(&p->cred, CMSG_DATA(c), sizeof(p->cred));
			p->said_cred = true;
		}
	}
}

struct inner_peek {
	int fd, off;
	struct peeked p;
};

static int peek_inside(void *arg)
{
	struct inner_peek *i = arg;
	union {
		char bytes[CONTROL_SIZE];
		struct cmsghdr align;
	} control;
	char byte;
	struct iovec iov = { &byte, 1 };
	struct msghdr mh = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)
	};

	if (setsockopt(i->fd, SOL_SOCKET, SO_PEEK_OFF, &i->off, sizeof(i->off)) ||
	    recvmsg(i->fd, &mh, MSG_PEEK | MSG_DONTWAIT | MSG_CMSG_CLOEXEC) < 0)
		return -errno;
	i->p = (struct peeked) { 0 };
	parse_control(&mh, &i->p);
	queue_peek_close(&i->p);
	return i->p.cred.pid;
}

/*
 * The number of a sender in the tree's own pid namespace. One that is gone has left it with the message, and the kernel
 * says it to processes in there. (An empty message is not seen a second time.)
 */
static void find_sender(struct queue_walk *w, int off, struct peeked *p)
{
	struct inner_peek i = { .fd = w->info->fd, .off = off };
	int pid;

	if (!p->said_cred)
		return;
	pid = p->length ? peer_pid_gone(w->d, w->info->task, p->cred.pid, peek_inside, &i)
	                : (int)peer_pid_in_tree(w->d, p->cred.pid);
	p->vpid = (uint32_t)MAX(pid, 0);
	if (pid < 0)
		log_warn("%s: a message in its queue is from pid %d, which is gone, and its number in the pid "
		         "namespace of the tree cannot be told: %s",
		         fd_name(w->info), p->cred.pid, strerror(-pid));
}

int queue_peek(struct queue_walk *w, size_t want, struct peeked *p)
{
	int fd = w->info->fd, off = w->at_head ? -1 : (int)w->at;
	union {
		char bytes[CONTROL_SIZE];
		struct cmsghdr align;
	} control;
	struct iovec iov[] = { { w->buf, want }, { NULL, 1 } };
	struct msghdr mh = {
		.msg_name = &p->sender,
		.msg_namelen = sizeof(p->sender),
		.msg_iov = iov,
		.msg_iovlen = w->type == SOCK_STREAM ? 2 : 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control),
	};
	/* MSG_TRUNC: the length of a datagram as it is. A stream is different. */
	int flags = MSG_PEEK | MSG_DONTWAIT | MSG_CMSG_CLOEXEC | (w->type == SOCK_STREAM ? 0 : MSG_TRUNC);
	ssize_t n;

	memset(p, 0, sizeof(*p));
	if (w->at > INT32_MAX)
		return -EFBIG;
	if (setsockopt(fd, SOL_SOCKET, SO_PEEK_OFF, &off, sizeof(off)))
		return -errno;
	n = recvmsg(fd, &mh, flags);
	if (n < 0)
		return -errno;
	p->sender_len = MIN(mh.msg_namelen, sizeof(p->sender));
	parse_control(&mh, p);
	p->length = (size_t)n;
	p->n = MIN(p->length, want);
	/* criu has no number left for descriptors of this message. */
	if (mh.msg_flags & MSG_CTRUNC) {
		queue_peek_close(p);
		return -EMFILE;
	}
	find_sender(w, off, p);
	return 0;
}

int queue_peek_whole(struct queue_walk *w, struct peeked *p)
{
	int err = queue_peek(w, w->size, p);
	char *larger;

	if (err || p->length <= w->size)
		return err;
	queue_peek_close(p);
	larger = realloc(w->buf, p->length);
	if (!larger)
		return -ENOMEM;
	w->buf = larger;
	w->size = p->length;
	err = queue_peek(w, w->size, p);
	if (!err && p->length > w->size) {
		queue_peek_close(p);
		err = -EMSGSIZE;
	}
	return err;
}

void queue_peek_close(struct peeked *p)
{
	for (size_t i = 0; i < p->n_fds; i++)
		if (p->fds[i] >= 0)
			close(p->fds[i]);
	p->n_fds = 0;
}

bool queue_peek_is_message(const struct queue_walk *w, const struct peeked *p)
{
	return !w->is_unix || p->said_cred;
}

static uint32_t read_id(const char *path)
{
	_cleanup_free_ char *text = NULL;

	return proc_read(AT_FDCWD, path, &text, NULL) ? 65534 : (uint32_t)strtoul(text, NULL, 10);
}

void queue_overflow_ids(struct queue_walk *w)
{
	w->no_uid = read_id("/proc/sys/kernel/overflowuid");
	w->no_gid = read_id("/proc/sys/kernel/overflowgid");
}

bool queue_peek_has_cred(const struct queue_walk *w, const struct peeked *p)
{
	return p->said_cred && (p->cred.pid || p->cred.uid != w->no_uid || p->cred.gid != w->no_gid);
}

bool queue_peek_same_cred(const struct peeked *p, const struct ucred *cred)
{
	return p->cred.pid == cred->pid && p->cred.uid == cred->uid && p->cred.gid == cred->gid;
}
