/* SPDX-License-Identifier: GPL-2.0-only */
/* What the daemon does in turn: messages first, then faults, then one chunk of what is missing. */
#include <sys/epoll.h>
#include <sys/mman.h>

#include "lazy/lazy.h"
#include "lazy/lazy_server.h"
#include "lib/log.h"

#define EVENTS   64
#define AGAIN_MS 1    /* what changes memory is about to tell */
#define LOST_MS  1000 /* nothing but the end of a process is waited for */

int lazy_watch_fd(struct lazy_server *s, int fd)
{
	struct epoll_event e = { .events = EPOLLIN, .data.fd = fd };

	return epoll_ctl(s->epoll, EPOLL_CTL_ADD, fd, &e) ? log_errno(-errno, "epoll_ctl(EPOLL_CTL_ADD)") : 0;
}

/* What came of a request: whether the address space is still there, and has more to be filled. */
static bool is_open(struct lazy_server *s, struct lazy_space *space, int err)
{
	s->n_retries += err == -EAGAIN;
	if (err && err != -EAGAIN && err != -ESRCH) {
		if (err != -EIO) {
			log_errno(err, "pid %d: a request to its userfaultfd", space->vpid.v);
			space->lost = true;
		}
		s->err = err;
	}
	if (err != -ESRCH && (space->pieces.n || space->lost))
		return true;
	log_debug("the memory of pid %d (userfaultfd %d) %s", space->vpid.v, space->fd,
	          err == -ESRCH ? "is gone" : "is all there");
	lazy_drop(s, space);
	return false;
}

/* Those that have to wait for an event stay. */
static bool serve_faults(struct lazy_server *s, struct lazy_space *space)
{
	size_t n = space->n_waiting;

	space->n_waiting = 0;
	for (size_t i = 0; i < n; i++) {
		raddr_t at = space->waiting[i];
		int err = space->lost ? 0 : lazy_space_fault(space, at, s->buf);

		if (err == -EAGAIN)
			space->waiting[space->n_waiting++] = at;
		if (!is_open(s, space, err))
			return false;
	}
	return true;
}

static void serve_space(struct lazy_server *s, struct lazy_space *space)
{
	int err = lazy_read_messages(s, space);

	if (err)
		s->err = err;
	serve_faults(s, space);
}

/* Who has the memory has closed the connection: before a restore there is nothing to be done; tasks lose theirs. */
static void asker_gone(struct lazy_server *s)
{
	epoll_ctl(s->epoll, EPOLL_CTL_DEL, s->asker->peer.fd, NULL);
	s->err =
	    log_errno(-EPIPE, "who has the pages (dump --lazy-pages, page-server) has ended the connection: its log "
	                      "says why");
	page_asker_give_up(s->asker, s->err);
}

static void look_at(struct lazy_server *s, int fd)
{
	if (fd == s->listener) {
		lazy_accept(s);
	} else if (fd == s->keeper_pidfd) {
		log_warn("pid %d, which would go on if this process were killed, has ended: another one begins",
		         s->keeper);
		lazy_keeper_start(s);
	} else if (s->asker && fd == s->asker->peer.fd) {
		asker_gone(s);
	} else if ((size_t)fd < s->n_by_fd && s->by_fd[fd]) {
		serve_space(s, s->by_fd[fd]);
	} else {
		for (size_t i = 0; i < LAZY_PEERS; i++)
			if (s->peers[i].fd == fd)
				s->err = lazy_hear(s, &s->peers[i]) ?: s->err;
	}
}

/* The next address space in turn gets what faults had to wait for, and a chunk. Whether there was one. */
static bool fill_next(struct lazy_server *s)
{
	for (size_t i = 0; i < s->n_by_fd; i++) {
		struct lazy_space *space = s->by_fd[s->next];

		s->next = (s->next + 1) % s->n_by_fd;
		if (!space || (space->n_waiting && !serve_faults(s, space)))
			continue;
		if (space->lost) {
			is_open(s, space, lazy_space_probe(space, s->buf));
			continue;
		}
		s->n_filled++;
		is_open(s, space, space->pieces.n ? lazy_space_fill_some(space, s->buf) : 0);
		return true;
	}
	return false;
}

static bool is_over(const struct lazy_server *s)
{
	if (s->began || s->finished)
		return !s->n_spaces && s->restore < 0;
	return s->err != 0;
}

int lazy_loop(struct lazy_server *s)
{
	bool busy = s->n_spaces;

	while (!is_over(s)) {
		struct epoll_event e[EVENTS];
		uint64_t retries = s->n_retries;
		int n = epoll_wait(s->epoll, e, EVENTS,
		                   busy           ? 0
		                   : s->n_retries ? AGAIN_MS
		                   : s->n_spaces  ? LOST_MS
		                                  : -1);

		if (n < 0 && errno != EINTR)
			return log_errno(-errno, "epoll_wait");
		for (int i = 0; i < n; i++)
			look_at(s, e[i].data.fd);
		busy = fill_next(s);
		if (s->n_retries != retries)
			busy = false; /* a pause */
		else
			s->n_retries = 0;
	}
	log_info("all memory is in place: %llu faults, %llu chunks, %llu forks", (unsigned long long)s->n_faults,
	         (unsigned long long)s->n_filled, (unsigned long long)s->n_forks);
	return s->err;
}

/* Answers are waited for where they are asked for: here it can only be the end. */
static int watch_asker(struct lazy_server *s)
{
	struct epoll_event e = { .events = EPOLLRDHUP, .data.fd = s->asker->peer.fd };

	if (epoll_ctl(s->epoll, EPOLL_CTL_ADD, s->asker->peer.fd, &e))
		return log_errno(-errno, "epoll_ctl(EPOLL_CTL_ADD) of the connection for pages");
	return 0;
}

static int make_server(struct lazy_server *s)
{
	s->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (s->epoll < 0)
		return log_errno(-errno, "epoll_create1");
	s->buf = mmap(NULL, LAZY_BUFFER, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (s->buf == MAP_FAILED || mprotect(s->buf + LAZY_CHUNK, PAGE_SIZE, PROT_NONE)) {
		s->buf = NULL;
		return log_errno(-errno, "mmap of a buffer for pages");
	}
	return lazy_watch_fd(s, s->listener) ?: s->asker ? watch_asker(s) : 0;
}

/* The tree may end where it was dumped, if it lives here. Without a word it runs on there. */
static int finish_asking(const struct lazy_server *s)
{
	if (s->committed)
		return page_asker_finish(s->asker);
	return log_errno(-ECANCELED,
	                 "the restore has not said that it cannot fail any more (a restore of CRIU's does not): "
	                 "the tree runs on where it was dumped");
}

int lazy_serve(struct image_dir *dir, struct arena *a, struct page_asker *asker, struct socket_file *file,
               int *listener)
{
	struct lazy_server s = { .dir = dir, .arena = a, .file = file, .listener = *listener, .restore = -1 };
	int err;

	s.asker = asker;

	s.keeper_pidfd = -1;
	for (size_t i = 0; i < LAZY_PEERS; i++)
		s.peers[i].fd = -1;
	err = make_server(&s) ?: lazy_loop(&s);
	if (!err && asker)
		err = finish_asking(&s);
	lazy_keeper_end(&s);
	lazy_close_peers(&s);
	*listener = s.listener;
	cleanup_close(&s.epoll);
	free(s.by_fd);
	if (s.buf)
		munmap(s.buf, LAZY_BUFFER);
	return err;
}
