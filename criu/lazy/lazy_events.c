/* SPDX-License-Identifier: GPL-2.0-only */
/* Messages of userfaultfds, and the table of address spaces. */
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>

#include "lazy/lazy_server.h"
#include "lib/log.h"

#define MESSAGES_AT_ONCE 64

/* ---- the table ---- */

static int make_room(struct lazy_server *s, int fd)
{
	size_t room = MAX((size_t)fd + 1, 2 * s->n_by_fd);
	struct lazy_space **more;

	if ((size_t)fd < s->n_by_fd)
		return 0;
	more = realloc(s->by_fd, room * sizeof(struct lazy_space *));
	if (!more)
		return -ENOMEM;
	memset(more + s->n_by_fd, 0, (room - s->n_by_fd) * sizeof(struct lazy_space *));
	s->by_fd = more;
	s->n_by_fd = room;
	return 0;
}

static struct lazy_space *space_of(const struct lazy_server *s, int fd)
{
	return fd >= 0 && (size_t)fd < s->n_by_fd ? s->by_fd[fd] : NULL;
}

static int put_space(struct lazy_server *s, vpid_t vpid, int fd, struct pages_reader *reader,
                     const struct page_run *runs, size_t n)
{
	struct lazy_space *space = calloc(1, sizeof(*space));
	int err = space ? make_room(s, fd) : -ENOMEM;

	if (!err)
		err = lazy_pieces_set(&space->pieces, runs, n);
	if (err) {
		free(space);
		return log_errno(err, "out of memory for the pages of pid %d", vpid.v);
	}
	space->fd = fd;
	space->vpid = vpid;
	space->reader = reader;
	s->by_fd[fd] = space;
	s->n_spaces++;
	return 0;
}

static int put_task(struct lazy_server *s, vpid_t vpid, int fd)
{
	struct pages_reader *reader;
	const struct pagemap *map;
	int err = pages_reader_open(s->dir, s->arena, vpid, s->asker, &reader);

	if (err)
		return err;
	map = pages_reader_map(reader);
	if (map->with_parent)
		return log_errno(-EOPNOTSUPP, "%s has pages that are stored with another task's: it cannot be lazy",
		                 map->name);
	return put_space(s, vpid, fd, reader, map->runs, map->n_runs);
}

int lazy_add(struct lazy_server *s, vpid_t vpid, int fd)
{
	int flags = fcntl(fd, F_GETFL), err = 0;

	/* Without O_NONBLOCK the kernel lets nobody wait for messages (poll(2)). */
	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK))
		err = log_errno(-errno, "fcntl(F_SETFL) of the userfaultfd of pid %d", vpid.v);
	err = err ?: put_task(s, vpid, fd);
	if (err) {
		close(fd);
		return err;
	}
	lazy_note(s, LAZY_TASK, vpid, fd);
	return lazy_watch_fd(s, fd);
}

void lazy_drop(struct lazy_server *s, struct lazy_space *space)
{
	lazy_note(s, LAZY_CLOSED, space->vpid, space->fd);
	s->by_fd[space->fd] = NULL;
	s->n_spaces--;
	lazy_space_free(space);
}

/* ---- events ---- */

/* The child's descriptor is in our table. Where it cannot be served it stays open: then the child waits. */
static int child_born(struct lazy_server *s, const struct lazy_space *parent, int fd)
{
	int err = put_space(s, parent->vpid, fd, parent->reader, parent->pieces.v, parent->pieces.n);

	s->n_forks++;
	return err ?: s->epoll < 0 ? 0 : lazy_watch_fd(s, fd);
}

static int apply(struct lazy_server *s, struct lazy_space *space, const struct uffd_msg *m)
{
	int err = 0;

	switch (m->event) {
	case UFFD_EVENT_FORK:
		return child_born(s, space, (int)m->arg.fork.ufd);
	case UFFD_EVENT_REMAP:
		err = lazy_pieces_move(&space->pieces, m->arg.remap.from, m->arg.remap.to, m->arg.remap.len);
		break;
	case UFFD_EVENT_REMOVE:
	case UFFD_EVENT_UNMAP:
		err = lazy_pieces_cut(&space->pieces, m->arg.remove.start, m->arg.remove.end);
		break;
	default:
		return log_errno(-EPROTO, "pid %d: a message of userfaultfd of the type %x", space->vpid.v, m->event);
	}
	if (!err)
		return 0;
	space->lost = true; /* what is where is not known any more */
	return log_errno(err, "out of memory for the pages of pid %d", space->vpid.v);
}

int lazy_replay(struct lazy_server *s, const struct lazy_record *r)
{
	struct lazy_space *space = space_of(s, r->fd);

	switch (r->what) {
	case LAZY_TASK:
		return put_task(s, VPID(r->vpid), r->fd);
	case LAZY_MESSAGE:
		return space && r->msg.event != UFFD_EVENT_PAGEFAULT ? apply(s, space, &r->msg) : 0;
	case LAZY_ENDS:
		s->finished = true;
		return 0;
	case LAZY_CLOSED:
		if (!space && s->restore == r->fd)
			s->restore = -1;
		if (!space)
			return 0;
		s->by_fd[r->fd] = NULL; /* it is closed, or as good as that: nothing is missing */
		s->n_spaces--;
		lazy_pieces_free(&space->pieces);
		free(space->waiting);
		free(space);
		return 0;
	default:
		return 0;
	}
}

/* One message: 1, or 0: there is none. What it does is noted before it is done. */
static int read_message(struct lazy_server *s, struct lazy_space *space)
{
	struct lazy_record *r = lazy_next_record(s);
	ssize_t n;

	if (!r)
		return -ENOMEM;
	*r = (struct lazy_record) { .what = LAZY_MESSAGE, .fd = space->fd };
	n = read(space->fd, &r->msg, sizeof(r->msg));
	if (n < 0)
		return errno == EAGAIN || errno == EINTR
		           ? 0
		           : log_errno(-errno, "read of the userfaultfd of pid %d", space->vpid.v);
	if (n != sizeof(r->msg))
		return 0;
	if (r->msg.event != UFFD_EVENT_PAGEFAULT) {
		lazy_logged(s);
		return apply(s, space, &r->msg) ?: 1;
	}
	s->n_faults++;
	return lazy_space_wait(space, r->msg.arg.pagefault.address) ?: 1;
}

int lazy_read_messages(struct lazy_server *s, struct lazy_space *space)
{
	int got = 1;

	for (int i = 0; got > 0 && i < MESSAGES_AT_ONCE; i++)
		got = read_message(s, space);
	return MIN(got, 0);
}
