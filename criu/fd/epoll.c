/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * epoll: what is watched, under which number, for what. The kernel knows a watched file by its description and the
 * number that it had when it was added; epoll_targets.c finds where that description is now.
 */
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include "agent/agent.h"
#include "agent/batch.h"
#include "fd/epoll_numbers.h"
#include "fd/epoll_targets.h"
#include "fd/epoll_view.h"
#include "files/files.h"
#include "lib/log.h"
#include "lib/message.h"
#include "eventpoll.pb-c.h"
#include "uapi/epoll_bits.h"

extern const struct fd_kind epoll_kind;

/* The instances of a dump, in the order of their ids. */
struct epoll_dump {
	struct epoll_instance *first, **last;
};

static bool epoll_match(const struct fd_info *info)
{
	return !strcmp(info->link, "anon_inode:[eventpoll]");
}

/* "tfd:       12 events:       19 data: ffffffffffffffff  pos:0 ino:40e sdev:10" */
static int parse_target(const char *line, size_t len, EventpollTfdEntry *e)
{
	unsigned long long data, ino;
	unsigned tfd, events, dev;
	char copy[160];
	long long pos;

	if (len >= sizeof(copy))
		return -EBADMSG;
	memcpy(copy, line, len);
	copy[len] = 0;
	if (sscanf(copy, "tfd: %u events: %x data: %llx pos:%lld ino:%llx sdev:%x", &tfd, &events, &data, &pos, &ino,
	           &dev) != 6 ||
	    tfd > INT32_MAX)
		return -EBADMSG;
	e->tfd = tfd;
	e->events = events;
	e->data = data;
	e->has_pos = e->has_inode = e->has_dev = true;
	e->pos = (uint64_t)pos;
	e->inode = ino;
	e->dev = dev;
	return 0;
}

static int parse_targets(struct dump *d, const struct fd_info *info, EventpollFileEntry *m)
{
	for (const char *line = info->info, *end; *line; line = *end ? end + 1 : end) {
		EventpollTfdEntry *e;

		end = strchrnul(line, '\n');
		if (strncmp(line, "tfd:", 4))
			continue;
		e = arena_msg(d->arena, EventpollTfdEntry, eventpoll_tfd_entry);
		e->id = m->id;
		if (parse_target(line, (size_t)(end - line), e))
			return log_errno(-EBADMSG, "%s: epoll: unknown line in its fdinfo: %.*s", fd_name(info),
			                 (int)MIN(end - line, 100), line);
		arena_push(d->arena, &m->tfd, &m->n_tfd, e);
	}
	return 0;
}

static struct epoll_dump *epoll_dump_of(struct dump *d)
{
	struct epoll_dump *s = dump_state(d, &epoll_kind);

	s->last = s->last ?: &s->first;
	return s;
}

static int epoll_dump(struct dump *d, const struct fd_info *info, void *msg)
{
	struct epoll_dump *s = epoll_dump_of(d);
	struct epoll_instance *w = arena_new_of(d->arena, struct epoll_instance);
	struct pollfd p = { .fd = info->fd, .events = POLLIN };
	struct epoll_params params = { 0 };
	EventpollFileEntry *m = msg;
	int err = parse_targets(d, info, m);

	if (err)
		return err;
	if (!ioctl(info->fd, EPIOCGPARAMS, &params) &&
	    (params.busy_poll_usecs || params.busy_poll_budget || params.prefer_busy_poll)) {
		m->has_busy_poll_usecs = m->has_busy_poll_budget = m->has_prefer_busy_poll = true;
		m->busy_poll_usecs = params.busy_poll_usecs;
		m->busy_poll_budget = params.busy_poll_budget;
		m->prefer_busy_poll = params.prefer_busy_poll;
	}
	m->has_quiet = true;
	m->quiet = poll(&p, 1, 0) == 0;
	w->m = m;
	w->task = info->task;
	w->name = arena_strdup(d->arena, fd_name(info));
	w->pid = info->number < 0 ? getpid() : info->task->pid;
	w->efd = info->number < 0 ? info->fd : info->number;
	*s->last = w;
	s->last = &w->next;
	return DUMP_LATER;
}

static int epoll_collected(struct dump *d)
{
	struct epoll_dump *s = epoll_dump_of(d);
	dev_t sockets = epoll_device_of_sockets();
	int err = 0;

	for (struct epoll_instance *w = s->first; w && !err; w = w->next) {
		w->sockets = sockets;
		err = epoll_targets_find(d, w);
		if (!err)
			err = files_write_entry(d, &epoll_kind, w->m->id, w->m);
	}
	epoll_view_end(d);
	return err;
}

/* ---- restore ---- */

/*
 * In an image of CRIU's, of an instance that is in flight: what the tasks have under the number that it watches, if
 * that is one file. (A socket has its inode number in both entries.)
 */
static uint32_t target_of_in_flight(struct restore *r, const EventpollTfdEntry *e)
{
	uint32_t found = 0;

	for (size_t i = 0; i < r->tree.n_tasks; i++) {
		const struct task *t = r->tree.tasks[i];
		const FdinfoEntry *at = epoll_fd_at(t->fds, t->n_fds, e->tfd);
		const struct fd_kind *kind;
		const void *msg = at ? files_message(r, at->id, &kind) : NULL;
		int64_t ino = 0;

		if (!msg ||
		    (e->has_inode && message_get_number(msg, "ino", &ino) && (uint32_t)ino != (uint32_t)e->inode))
			continue;
		if (found && found != at->id)
			return 0;
		found = at->id;
	}
	return found;
}

static bool has_owner(const struct restore *r, uint32_t id)
{
	for (size_t i = 0; i < r->tree.n_tasks; i++)
		for (size_t j = 0; j < r->tree.tasks[i]->n_fds; j++)
			if (r->tree.tasks[i]->fds[j]->id == id)
				return true;
	return false;
}

/* Images of CRIU name no file: it is what a task with this instance has under that number. */
static uint32_t target_file(struct restore *r, const EventpollFileEntry *m, const EventpollTfdEntry *e)
{
	if (e->has_file_id)
		return e->file_id;
	for (size_t i = 0; i < r->tree.n_tasks; i++) {
		const struct task *t = r->tree.tasks[i];
		const FdinfoEntry *at = epoll_fd_at(t->fds, t->n_fds, e->tfd);

		for (size_t j = 0; at && j < t->n_fds; j++)
			if (t->fds[j]->id == m->id)
				return at->id;
	}
	return has_owner(r, m->id) ? 0 : target_of_in_flight(r, e);
}

static uint32_t target_number(const EventpollTfdEntry *e)
{
	return e->has_number ? e->number : e->tfd;
}

static int epoll_check(struct restore *r, const void *msg, const char **why)
{
	const EventpollFileEntry *m = msg;
	const struct fd_kind *kind;

	for (size_t i = 0; i < m->n_tfd; i++) {
		uint32_t number = target_number(m->tfd[i]), id = target_file(r, m, m->tfd[i]);

		if (number > INT32_MAX || !files_message(r, id, &kind) || !kind) {
			*why = arena_printf(r->arena, "epoll: files.img has no file for what it watches as number %u",
			                    number);
			return -EINVAL;
		}
		if (!epoll_number_possible((int)number)) {
			*why =
			    arena_printf(r->arena,
			                 "epoll: something was added to it as number %u, which is above the hard limit "
			                 "of open files here; restore with a higher one (ulimit -Hn)",
			                 number);
			return -EMFILE;
		}
	}
	return 0;
}

static int epoll_open(struct restore *r, const void *msg)
{
	const EventpollFileEntry *m = msg;
	_cleanup_close_ int fd = epoll_create1(EPOLL_CLOEXEC);
	struct epoll_params params = {
		.busy_poll_usecs = m->busy_poll_usecs,
		.busy_poll_budget = (uint16_t)m->busy_poll_budget,
		.prefer_busy_poll = m->prefer_busy_poll,
	};

	if (fd < 0)
		return log_errno(-errno, "epoll_create1");
	if ((m->flags & O_NONBLOCK) && fcntl(fd, F_SETFL, O_NONBLOCK)) /* without effect, but shown */
		return log_errno(-errno, "epoll: fcntl(F_SETFL) of O_NONBLOCK");
	if (m->has_busy_poll_usecs && ioctl(fd, EPIOCSPARAMS, &params))
		log_warn("epoll instance %u: EPIOCSPARAMS (busy polling): %s", m->id, strerror(errno));
	return move_fd(&fd);
}

/*
 * Whether the edge that a target gives, if it is ready, was seen before: it had no event that waited then, and it
 * cannot have become ready since, as no process outside of the tree can write to it.
 */
static bool is_edge_seen(struct restore *r, const EventpollFileEntry *m, const EventpollTfdEntry *e)
{
	const struct fd_kind *kind = NULL;
	const void *target = m->quiet || e->quiet ? files_message(r, target_file(r, m, e), &kind) : NULL;
	int64_t external = 0;

	if (!target || !kind || (e->events & ((uint32_t)EPOLLET | EPOLLONESHOT)) != (uint32_t)EPOLLET)
		return false;
	if (kind->type == FD_TYPES__PIPE)
		return !message_get_number(target, "external", &external) || !external;
	if (kind->type == FD_TYPES__UNIXSK)
		return message_get_u32(target, "type") != SOCK_DGRAM && message_get_u32(target, "peer") &&
		       message_get_u32(target, "state") == TCP_ESTABLISHED;
	return kind->type == FD_TYPES__EVENTFD;
}

/* A batch at a time: criu may not be able to open all targets at once. */
static int add_targets(struct restore *r, const EventpollFileEntry *m, int epfd, size_t *at, bool alone)
{
	struct epoll_batch b = { .epfd = epfd };
	int err = 0;

	for (; !err && *at < m->n_tfd && b.n < EPOLL_BATCH; ++*at) {
		const EventpollTfdEntry *e = m->tfd[*at];
		struct epoll_one *one = &b.one[b.n];
		bool seen = is_edge_seen(r, m, e);

		if ((seen || epoll_is_disarmed(e->events)) != alone)
			continue;
		*one = (struct epoll_one) {
			.number = (int)target_number(e), .events = e->events, .data = e->data, .seen = seen
		};
		one->fd = files_borrow(r, target_file(r, m, e));
		if (one->fd < 0)
			err = one->fd;
		else
			b.n++;
	}
	if (!err && b.n)
		err = epoll_add_batch(&b);
	if (err && b.failed)
		log_errno(err, "epoll instance %u: epoll_ctl(EPOLL_CTL_ADD) of what it watched as number %d", m->id,
		          b.failed->number);
	for (size_t i = 0; i < b.n; i++)
		close(b.one[i].fd);
	return err;
}

/* ---- signalfds: an instance hears of the signals of the process that has added one, for ever ---- */

static int add_in_task(const struct task *t, uint32_t epfd, const EventpollTfdEntry *e)
{
	struct batch *b = agent_batch(t->restore->agent, "adding a signalfd to an epoll instance");
	struct epoll_event ev = { .events = e->events, .data.u64 = e->data };
	uint32_t number = target_number(e);

	batch_reserve(b, 2, sizeof(ev));
	batch_call(b, SYS_epoll_ctl, epfd, EPOLL_CTL_DEL, number, 0);
	batch_call(b, SYS_epoll_ctl, epfd, EPOLL_CTL_ADD, number, batch_data(b, &ev, sizeof(ev)));
	return batch_run(b);
}

/* By the first task, parents before children, that has both under their numbers. */
static int add_signalfd(struct restore *r, const EventpollFileEntry *m, const EventpollTfdEntry *e)
{
	uint32_t id = target_file(r, m, e);

	for (size_t i = 0; i < r->tree.n_tasks; i++) {
		const struct task *t = r->tree.tasks[i];
		const FdinfoEntry *at = t->state == TASK_DEAD ? NULL : epoll_fd_at(t->fds, t->n_fds, target_number(e));

		for (size_t j = 0; at && at->id == id && j < t->n_fds; j++)
			if (t->fds[j]->id == m->id)
				return add_in_task(t, t->fds[j]->fd, e);
	}
	log_warn("epoll instance %u: no task has the signalfd that it watches under its number %u: it tells of no "
	         "new signals",
	         m->id, target_number(e));
	return 0;
}

static int add_signalfds(struct restore *r, const EventpollFileEntry *m)
{
	int err = 0;

	for (size_t i = 0; !err && i < m->n_tfd; i++) {
		const struct fd_kind *kind = NULL;

		if (epoll_is_disarmed(m->tfd[i]->events) || !files_message(r, target_file(r, m, m->tfd[i]), &kind))
			continue;
		err = kind && kind->type == FD_TYPES__SIGNALFD ? add_signalfd(r, m, m->tfd[i]) : 0;
	}
	return err;
}

/* Those that are disarmed or were seen first: an event is taken of each, and no other target may be ready then. */
static int epoll_post_open(struct restore *r, const void *msg, int fd)
{
	const EventpollFileEntry *m = msg;
	int err = 0;

	for (size_t i = 0; !err && i < m->n_tfd;)
		err = add_targets(r, m, fd, &i, true);
	for (size_t i = 0; !err && i < m->n_tfd;)
		err = add_targets(r, m, fd, &i, false);
	return err ?: add_signalfds(r, m);
}

const struct fd_kind epoll_kind = {
	.name = "epoll",
	.state = { .dump = sizeof(struct epoll_dump) },
	.type = FD_TYPES__EVENTPOLL,
	.field = 9,
	.pb = &eventpoll_file_entry__descriptor,
	.match = epoll_match,
	.dump = epoll_dump,
	.all_collected = epoll_collected,
	.check = epoll_check,
	.open = epoll_open,
	.post_open = epoll_post_open,
};
