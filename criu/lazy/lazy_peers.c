/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Connections to the daemon. Several may be open: the first that sends a task is the restore, and then the others are
 * closed, the listening socket too. One that says what makes no sense is closed, and costs nothing else.
 */
#include <string.h>
#include <sys/socket.h>

#include "lazy/lazy_server.h"
#include "lib/fault.h"
#include "lib/log.h"
#include "lib/rights.h"

static void close_peer(struct lazy_peer *p)
{
	close(p->fd);
	*p = (struct lazy_peer) { .fd = -1 };
}

void lazy_close_peers(struct lazy_server *s)
{
	for (size_t i = 0; i < LAZY_PEERS; i++)
		if (s->peers[i].fd >= 0)
			close_peer(&s->peers[i]);
}

/* ---- coming ---- */

static bool may_connect(int sock)
{
	struct ucred peer;
	socklen_t len = sizeof(peer);

	if (getsockopt(sock, SOL_SOCKET, SO_PEERCRED, &peer, &len))
		return false;
	if (!peer.uid || peer.uid == geteuid())
		return true;
	log_warn("a connection of pid %d is closed: it is of user %u", peer.pid, peer.uid);
	return false;
}

/* A free place, or that of the oldest that has said nothing: a restore is silent until its tasks stand. */
static struct lazy_peer *find_place(struct lazy_server *s)
{
	for (size_t i = 0; i < LAZY_PEERS; i++)
		if (s->peers[i].fd < 0)
			return &s->peers[i];
	log_warn("%d connections are open, and none is a restore's: the oldest is closed", LAZY_PEERS);
	close(s->peers[0].fd);
	memmove(s->peers, s->peers + 1, (LAZY_PEERS - 1) * sizeof(*s->peers));
	return &s->peers[LAZY_PEERS - 1];
}

int lazy_accept(struct lazy_server *s)
{
	_cleanup_close_ int sock = accept4(s->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	struct lazy_peer *p;
	int err;

	if (sock < 0)
		return errno == EAGAIN || errno == EINTR || errno == ECONNABORTED
		           ? 0
		           : log_errno(-errno, "accept4 of a connection");
	if (!may_connect(sock))
		return 0;
	err = lazy_watch_fd(s, sock);
	if (err)
		return err;
	p = find_place(s);
	*p = (struct lazy_peer) { .fd = move_fd(&sock) };
	return 0;
}

/* ---- going ---- */

void lazy_answer(int sock, uint32_t word)
{
	if (send(sock, &word, sizeof(word), MSG_NOSIGNAL | MSG_DONTWAIT) != sizeof(word))
		log_debug("the restore does not wait for an answer: %m");
}

static int leave(struct lazy_server *s, struct lazy_peer *p)
{
	if (p->fd == s->restore) {
		lazy_note(s, LAZY_CLOSED, VPID(0), p->fd);
		s->restore = -1;
	}
	close_peer(p);
	return 0;
}

/* One whose restore ends before the end: its tasks do, too. Who has not said anything at all was to be one. */
static int ended_early(struct lazy_server *s, struct lazy_peer *p)
{
	bool was = p->fd == s->restore, silent = !s->began && !p->spoke;

	leave(s, p);
	if (was && s->finished)
		return 0;
	if (was || silent)
		return log_errno(-ECONNRESET, "the restore has ended before all its tasks stood");
	log_warn("a connection has ended that was no restore's");
	return 0;
}

static int reject(struct lazy_server *s, struct lazy_peer *p, const char *why)
{
	bool was = p->fd == s->restore;

	log_warn("a connection %s: it is closed", why);
	leave(s, p);
	return was ? -EPROTO : 0;
}

/* ---- what a restore says ---- */

/* From here on one that is killed has somebody who goes on. */
static int begin_restore(struct lazy_server *s, struct lazy_peer *p)
{
	s->began = true;
	s->restore = p->fd;
	for (size_t i = 0; i < LAZY_PEERS; i++)
		if (s->peers[i].fd >= 0 && s->peers[i].fd != p->fd)
			close_peer(&s->peers[i]);
	cleanup_close(&s->listener);
	s->listener = -1;
	socket_file_remove(s->file);
	return lazy_keeper_start(s);
}

static bool is_userfaultfd(int fd)
{
	char path[40], link[40];
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	n = readlink(path, link, sizeof(link) - 1);
	link[MAX(n, 0)] = '\0';
	return !strcmp(link, "anon_inode:[userfaultfd]");
}

static int take_descriptor(struct lazy_server *s, struct lazy_peer *p)
{
	size_t n_fds = 1;
	_cleanup_close_ int fd = -1;
	char byte;
	int taken;
	ssize_t n = rights_receive(p->fd, &byte, 1, &taken, &n_fds);

	if (n == -EAGAIN)
		return 0;
	if (n == 1 && n_fds)
		fd = taken;
	if (!n)
		return ended_early(s, p);
	if (fd < 0 || !is_userfaultfd(fd))
		return reject(s, p, "names a task, and sends no userfaultfd");
	if (lazy_add(s, VPID(p->vpid), move_fd(&fd)))
		return reject(s, p, "names a task whose memory cannot be read");
	p->vpid = 0;
	if (!s->began && begin_restore(s, p))
		return reject(s, p, "is a restore's, whose tasks nobody would keep");
	return 0;
}

/* The keeper has to know before the restore does. */
static int take_end(struct lazy_server *s, struct lazy_peer *p)
{
	s->finished = true;
	lazy_note(s, LAZY_ENDS, VPID(0), p->fd);
	fault_point("the restore has sent all");
	lazy_answer(p->fd, LAZY_HELD);
	log_info("the restore has sent all: %zu address spaces", s->n_spaces);
	if (!s->asker)
		return leave(s, p);
	s->restore = p->fd; /* where no task had anything to be brought it is known only now */
	return 0;
}

static int take_commit(struct lazy_server *s, struct lazy_peer *p)
{
	log_info("the restore is done");
	s->committed = true;
	return leave(s, p);
}

static int take_word(struct lazy_server *s, struct lazy_peer *p)
{
	uint32_t word;

	memcpy(&word, p->got, sizeof(word));
	p->n_got = 0;
	if (word == LAZY_FINISHED && !s->finished)
		return take_end(s, p);
	if (s->finished)
		return word == LAZY_RUNS ? take_commit(s, p) : reject(s, p, "says what makes no sense at its end");
	if (!word)
		return reject(s, p, "names a task 0");
	p->vpid = MAX((int32_t)word, 0); /* of one below 0 nothing follows */
	return 0;
}

int lazy_hear(struct lazy_server *s, struct lazy_peer *p)
{
	ssize_t n;

	if (p->vpid)
		return take_descriptor(s, p);
	n = recv(p->fd, p->got + p->n_got, sizeof(p->got) - p->n_got, MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (n <= 0)
		return ended_early(s, p);
	p->spoke = true;
	p->n_got += (size_t)n;
	return p->n_got == sizeof(p->got) ? take_word(s, p) : 0;
}
