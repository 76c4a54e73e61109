/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * epoll: what is watched, under which number, for what. The kernel knows a watched file by the description and the
 * number that it had when it was added; where that description is now, if anywhere, has to be found.
 */
#include <fcntl.h>
#include <linux/kcmp.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>

#include "fd/epoll_add.h"
#include "fd/epoll_find.h"
#include "files/files.h"
#include "lib/log.h"
#include "lib/message.h"
#include "fd/watched_by.h"
#include "eventpoll.pb-c.h"
#include "uapi/epoll_bits.h"

extern const struct fd_kind epoll_kind;

/* An instance whose targets are found when all descriptors are known. */
struct waiting {
	EventpollFileEntry *m;
	struct task *task;
	const char *name; /* for messages */
	pid_t pid;        /* who has it, and as which number: a task, or we (one that came out of a queue) */
	int efd;
	struct waiting *next;
};

struct epoll_dump {
	struct waiting *first, **last;
	dev_t sockets; /* the device of all sockets */
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
			return log_errno(-EBADMSG, "%s: epoll: its fdinfo is not understood: %.*s", fd_name(info),
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
	struct waiting *w = arena_new_of(d->arena, struct waiting);
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

/* ---- finding the targets ---- */

/* A target, and which of those with the same number it is: the kernel counts in the order of fdinfo. */
struct target {
	EventpollTfdEntry *e;
	size_t index;
	uint32_t nth;
	bool same; /* it is what the task has under that number */
};

/* From so many on a thread is cheaper than what kcmp takes. */
#define MANY 64

static int by_number(const void *a, const void *b)
{
	const struct target *x = a, *y = b;

	if (x->e->tfd != y->e->tfd)
		return x->e->tfd < y->e->tfd ? -1 : 1;
	return (x->index > y->index) - (x->index < y->index);
}

static struct target *sort_targets(struct dump *d, const EventpollFileEntry *m)
{
	struct target *t = arena_array(d->arena, struct target, m->n_tfd);

	for (size_t i = 0; i < m->n_tfd; i++)
		t[i] = (struct target) { .e = m->tfd[i], .index = i };
	if (m->n_tfd)
		qsort(t, m->n_tfd, sizeof(*t), by_number);
	for (size_t i = 1; i < m->n_tfd; i++)
		t[i].nth = t[i].e->tfd == t[i - 1].e->tfd ? t[i - 1].nth + 1 : 0;
	return t;
}

/* What a task has under a number: in ascending order. */
static const FdinfoEntry *fd_at(FdinfoEntry *const *fds, size_t n, uint32_t number)
{
	size_t low = 0;

	while (low < n) {
		size_t mid = low + (n - low) / 2;

		if (fds[mid]->fd == number)
			return fds[mid];
		if (fds[mid]->fd < number)
			low = mid + 1;
		else
			n = mid;
	}
	return NULL;
}

/* A socket has one description, so that its inode is enough; of others kcmp tells, which walks the whole instance. */
static int find_file(struct dump *d, const struct waiting *w, const struct target *t, const FdinfoEntry *same,
                     uint32_t *id)
{
	struct kcmp_epoll_slot slot = { .efd = (uint32_t)w->efd, .tfd = t->e->tfd, .toff = t->nth };
	dev_t dev = makedev(t->e->dev >> 20, t->e->dev & 0xfffff);
	const struct file_at *at = dev == epoll_dump_of(d)->sockets ? files_at(d, dev, t->e->inode) : NULL;
	long order = 1;
	int err = 0;

	*id = at ? at->id : 0;
	if (*id)
		return 0;
	if (t->same)
		order = 0;
	else if (same)
		order = syscall(SYS_kcmp, w->task->pid, w->pid, KCMP_EPOLL_TFD, (long)same->fd, &slot);
	if (order < 0)
		err = -errno;
	if (order == 0)
		*id = same->id;
	else if (!err)
		err = files_find_watched(d, dev, t->e->inode, w->pid, &slot, id);
	return err ? log_errno(err, "%s: epoll: looking for what it watches as number %u (kcmp)", w->name, t->e->tfd)
	           : 0;
}

/* tfd is where the task that has the instance finds the file, as other tools read it; `number` what it was added as. */
static void set_number(struct dump *d, const struct waiting *w, EventpollTfdEntry *e, const FdinfoEntry *same)
{
	const struct file_at *at;

	e->has_file_id = true;
	if (same && same->id == e->file_id)
		return;
	e->has_number = true;
	e->number = e->tfd;
	at = files_at(d, makedev(e->dev >> 20, e->dev & 0xfffff), e->inode);
	while (at && (at->task != w->task || at->id != e->file_id))
		at = at->next;
	if (at)
		e->tfd = (uint32_t)at->number;
}

static int find_target(struct dump *d, const struct waiting *w, const struct target *t)
{
	const FdinfoEntry *same = fd_at(w->task->fds, w->task->n_fds, t->e->tfd);
	struct watched_by by = { .pid = w->pid, .efd = w->efd, .tfd = t->e->tfd, .nth = t->nth };
	int err = find_file(d, w, t, same, &t->e->file_id);

	if (err)
		return err;
	if (t->e->file_id) {
		set_number(d, w, t->e, same);
		return 0;
	}
	if (watched_by_find(d, makedev(t->e->dev >> 20, t->e->dev & 0xfffff), t->e->inode, &by) > 0) {
		if (!by.in_tree) /* else it was refused itself */
			log_refusal(-ENOTSUP,
			            "%s: epoll: what it watches as number %u is outside of the tree, as descriptor %d "
			            "of pid %d (%s): dump that process too, or end it",
			            w->name, t->e->tfd, by.number, by.holder, by.comm);
		return 0;
	}
	log_refusal(-ENOTSUP,
	            "%s: epoll: what it watches as number %u (inode %llu on device %u:%u) is in no process's table: it "
	            "may lie in a socket's queue outside of the tree; have it received or closed before the dump",
	            w->name, t->e->tfd, (unsigned long long)t->e->inode, t->e->dev >> 20, t->e->dev & 0xfffff);
	return 0;
}

/* Those whose number is theirs alone, and which can be asked for at once. */
static void guess_targets(struct dump *d, const struct waiting *w, struct target *t, size_t n)
{
	dev_t sockets = epoll_dump_of(d)->sockets;
	struct epoll_guess *g = arena_array(d->arena, struct epoll_guess, n + 1);
	struct target **of = arena_array(d->arena, struct target *, n + 1);
	_cleanup_close_ int efd = -1;
	size_t k = 0;

	for (size_t i = 0; i < n; i++) {
		const EventpollTfdEntry *e = t[i].e;
		bool alone = !t[i].nth && (i + 1 == n || t[i + 1].e->tfd != e->tfd);

		if (!alone || !epoll_can_guess(e->events) || makedev(e->dev >> 20, e->dev & 0xfffff) == sockets ||
		    !fd_at(w->task->fds, w->task->n_fds, e->tfd))
			continue;
		of[k] = &t[i];
		g[k++] = (struct epoll_guess) { .number = (int)e->tfd, .events = e->events, .data = e->data };
	}
	if (k < MANY)
		return;
	efd = w->pid == getpid() ? fcntl(w->efd, F_DUPFD_CLOEXEC, 0)
	                         : (int)syscall(SYS_pidfd_getfd, w->task->dump->pidfd, w->efd, 0);
	if (efd >= 0)
		epoll_guess(efd, w->task->dump->pidfd, g, k);
	for (size_t i = 0; i < k; i++)
		of[i]->same = g[i].right;
}

static dev_t device_of_sockets(void)
{
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct stat st;

	return fd < 0 || fstat(fd, &st) ? 0 : st.st_dev; /* 0: no file has it, kcmp is asked for all */
}

static int epoll_collected(struct dump *d)
{
	struct epoll_dump *s = epoll_dump_of(d);
	int err = 0;

	s->sockets = device_of_sockets();
	for (struct waiting *w = s->first; w && !err; w = w->next) {
		struct target *t = sort_targets(d, w->m);

		guess_targets(d, w, t, w->m->n_tfd);
		for (size_t i = 0; !err && i < w->m->n_tfd; i++)
			err = find_target(d, w, &t[i]);
		if (!err)
			err = files_write_entry(d, &epoll_kind, w->m->id, w->m);
	}
	return err;
}

/* ---- restore ---- */

/* Other tools' images name no file: it is what a task with this instance has under that number. */
static uint32_t file_of(struct restore *r, const EventpollFileEntry *m, const EventpollTfdEntry *e)
{
	if (e->has_file_id)
		return e->file_id;
	for (size_t i = 0; i < r->tree.n_tasks; i++) {
		const struct task *t = r->tree.tasks[i];
		const FdinfoEntry *at = fd_at(t->fds, t->n_fds, e->tfd);

		for (size_t j = 0; at && j < t->n_fds; j++)
			if (t->fds[j]->id == m->id)
				return at->id;
	}
	return 0;
}

static uint32_t number_of(const EventpollTfdEntry *e)
{
	return e->has_number ? e->number : e->tfd;
}

static int epoll_check(struct restore *r, const void *msg, const char **why)
{
	const EventpollFileEntry *m = msg;
	const struct fd_kind *kind;

	for (size_t i = 0; i < m->n_tfd; i++) {
		uint32_t number = number_of(m->tfd[i]), id = file_of(r, m, m->tfd[i]);

		if (number > INT32_MAX || !files_message(r, id, &kind) || !kind) {
			*why =
			    arena_printf(r->arena, "epoll: there is no file for what it watches as number %u", number);
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
		return log_errno(-errno, "making an epoll instance");
	if ((m->flags & O_NONBLOCK) && fcntl(fd, F_SETFL, O_NONBLOCK)) /* without effect, but shown */
		return log_errno(-errno, "epoll: setting O_NONBLOCK");
	if (m->has_busy_poll_usecs && ioctl(fd, EPIOCSPARAMS, &params))
		log_warn("epoll instance %u: its busy polling cannot be set here: %s", m->id, strerror(errno));
	return move_fd(&fd);
}

/* In handfuls: we may not have room for all targets at once. */
/*
 * Whether the edge that it gives, if it is ready, was seen before: nothing waited in the instance then, and it cannot
 * have become ready since, as nobody outside of the tree can write to it.
 */
static bool is_seen(struct restore *r, const EventpollFileEntry *m, const EventpollTfdEntry *e)
{
	const struct fd_kind *kind = NULL;
	const void *target = m->quiet ? files_message(r, file_of(r, m, e), &kind) : NULL;
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

static int add_some(struct restore *r, const EventpollFileEntry *m, int epfd, size_t *at, bool alone)
{
	struct epoll_batch b = { .epfd = epfd };
	int err = 0;

	for (; !err && *at < m->n_tfd && b.n < EPOLL_BATCH; ++*at) {
		const EventpollTfdEntry *e = m->tfd[*at];
		struct epoll_one *one = &b.one[b.n];

		bool seen = is_seen(r, m, e);

		if ((seen || epoll_is_disarmed(e->events)) != alone)
			continue;
		*one = (struct epoll_one) {
			.number = (int)number_of(e), .events = e->events, .data = e->data, .seen = seen
		};
		one->fd = files_borrow(r, file_of(r, m, e));
		if (one->fd < 0)
			err = one->fd;
		else
			b.n++;
	}
	if (!err && b.n)
		err = epoll_add_batch(&b);
	if (err && b.failed)
		log_errno(err, "epoll instance %u: adding what it watched as number %d", m->id, b.failed->number);
	for (size_t i = 0; i < b.n; i++)
		close(b.one[i].fd);
	return err;
}

/* Those that are disarmed or were seen first: events of theirs are taken, which must be nobody else's. */
static int epoll_late(struct restore *r, const void *msg, int fd)
{
	const EventpollFileEntry *m = msg;
	int err = 0;

	for (size_t i = 0; !err && i < m->n_tfd;)
		err = add_some(r, m, fd, &i, true);
	for (size_t i = 0; !err && i < m->n_tfd;)
		err = add_some(r, m, fd, &i, false);
	return err;
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
	.post_open = epoll_late,
};
