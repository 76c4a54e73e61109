/* SPDX-License-Identifier: GPL-2.0-only */
/* POSIX message queues in an ipc namespace of the tree's own that no task has open. */
#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "image/image.h"
#include "ipc/mqueue.h"
#include "lib/log.h"
#include "tree/inventory.h"
#include "tree/kind.h"

/* ---- dump ---- */

struct ipc_ns *mqueue_own_find(struct dump *d, uint64_t dev)
{
	struct stat st;

	for (struct ipc_ns *ns = ipc_ns_dumped(d); ns; ns = ns->next) {
		int dir = ns->elsewhere ? ipc_ns_queues(ns) : -1;

		if (dir >= 0 && !fstat(dir, &st) && st.st_dev == dev)
			return ns;
	}
	return NULL;
}

static MqueueEntry *new_entry(struct dump *d, const struct ipc_ns *ns, const char *name, const struct stat *st)
{
	MqueueEntry *m = arena_msg(d->arena, MqueueEntry, mqueue_entry);

	m->fown = arena_msg(d->arena, FownEntry, fown_entry);
	m->name = arena_printf(d->arena, "/%s", name);
	m->uid = st->st_uid;
	m->gid = st->st_gid;
	m->mode = st->st_mode & 07777;
	m->has_ipc_ns = true;
	m->ipc_ns = ns->id;
	return m;
}

/* There an ordinary user's criu may open what belongs to others. */
static int open_inside(struct ipc_ns *ns, int dir, const char *name)
{
	int fd, err = ipc_ns_enter(ns);

	if (err)
		return err;
	fd = openat(dir, name, O_RDWR | O_NONBLOCK | O_CLOEXEC);
	return ipc_ns_leave(ns, fd < 0 ? -errno : fd);
}

static int add_unopened(struct dump *d, struct ipc_ns *ns, const char *name, struct mqueue_dumped **queues)
{
	int dir = ipc_ns_queues(ns), err;
	struct mqueue_told told; /* of no task: those that ask to be told have the queue open */
	struct mqueue_dumped *q;
	struct stat st;

	if (fstatat(dir, name, &st, 0))
		return log_errno(-errno, "message queue /%s: fstatat", name);
	for (q = *queues; q; q = q->next)
		if (q->dev == st.st_dev && q->ino == st.st_ino)
			return 0;
	q = arena_new_of(d->arena, struct mqueue_dumped);
	q->ns = ns;
	q->unopened = true;
	q->dev = st.st_dev;
	q->ino = st.st_ino;
	q->entry = new_entry(d, ns, name, &st);
	q->what = ns->name;
	q->fd = open_inside(ns, dir, name);
	if (q->fd < 0)
		return log_errno(q->fd, "%s: open of message queue /%s", q->what, name);
	err = mqueue_read_status(q->what, q->fd, q->entry, &told);
	if (err) {
		close(q->fd);
		return err;
	}
	q->next = *queues;
	q->entry->queue = q->next ? q->next->entry->queue + 1 : 1;
	*queues = q;
	return 0;
}

static int collect_own(struct dump *d, struct ipc_ns *ns, struct mqueue_dumped **queues)
{
	int dir = ipc_ns_queues(ns), fd, err = 0;
	const struct dirent *e;
	DIR *list;

	if (dir < 0)
		return dir == -ENODEV ? 0 : dir;
	fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	list = fd < 0 ? NULL : fdopendir(fd);
	if (!list)
		return log_errno(-errno, "openat or fdopendir of an mqueue file system");
	while (!err && (e = readdir(list)))
		if (strcmp(e->d_name, ".") && strcmp(e->d_name, ".."))
			err = add_unopened(d, ns, e->d_name, queues);
	closedir(list);
	return err;
}

int mqueue_own_collect(struct dump *d, struct mqueue_dumped **queues)
{
	int err = 0;

	for (struct ipc_ns *ns = ipc_ns_dumped(d); !err && ns; ns = ns->next)
		err = ns->own ? collect_own(d, ns, queues) : 0;
	return err;
}

static int write_own(struct dump *d, const struct ipc_ns *ns, const struct mqueue_dumped *queues)
{
	struct image *img = NULL;
	int err = 0;

	for (const struct mqueue_dumped *q = queues; !err && q; q = q->next) {
		if (q->ns != ns || !q->unopened)
			continue;
		inventory_only_ours(d);
		if (!img)
			err = image_create(d->dir, IMG_IPCNS_MQUEUE, ns->id, &img);
		err = err ?: image_write(img, q->entry);
	}
	return image_close(img) ?: err;
}

int mqueue_own_write(struct dump *d, const struct mqueue_dumped *queues)
{
	int err = 0;

	for (const struct ipc_ns *ns = ipc_ns_dumped(d); !err && ns; ns = ns->next)
		err = ns->own ? write_own(d, ns, queues) : 0;
	return err;
}

/* ---- restore ---- */

static int read_own(struct restore *r, const struct ipc_ns *ns)
{
	struct image *img;
	const char *why;
	MqueueEntry *m;
	int err = image_open(r->dir, IMG_IPCNS_MQUEUE, ns->id, &img), more = 1;

	if (err)
		return err == -ENOENT ? 0 : err;
	while (!err && (more = image_read(img, &mqueue_entry__descriptor, r->arena, &m)) > 0) {
		err = m->has_ipc_ns && m->ipc_ns == ns->id ? mqueue_expect(r, m, &why) : -EBADMSG;
		if (err)
			log_errno(err, "%s: message queue %s is impossible", image_name(img), m->name);
	}
	image_close(img);
	return err ?: more;
}

int mqueue_own_read(struct restore *r)
{
	int err = 0;

	for (const struct ipc_ns *ns = ipc_ns_restored(r); !err && ns; ns = ns->next)
		err = ns->own ? read_own(r, ns) : 0;
	return err;
}
