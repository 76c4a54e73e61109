/* SPDX-License-Identifier: GPL-2.0-only */
/* Open file descriptions at restore: opened once, on demand, and closed as soon as all who want them have them. */
#include <fcntl.h>
#include <sys/syscall.h>

#include "files/fdpass.h"
#include "files/file_store.h"
#include "files/fown.h"
#include "files/inherit.h"
#include "lib/log.h"
#include "lib/message.h"

extern const struct subsys files_restore_subsys;

struct file_store *file_store_of(const struct restore *r)
{
	return restore_state(r, &files_restore_subsys);
}

struct file_desc *file_desc_of(struct restore *r, uint32_t id)
{
	struct file_desc *fd;

	HASH_FIND(hh, file_store_of(r)->by_id, &id, sizeof(id), fd);
	return fd;
}

static void close_desc(struct file_desc *fd)
{
	if (fd->fd >= 0)
		close(fd->fd);
	fd->fd = -1;
}

static const FownEntry *fown_of(const struct file_desc *fd)
{
	return message_get_message(fd->msg, "fown", &fown_entry__descriptor);
}

static void keep_loose(struct file_store *store, struct file_desc *fd)
{
	struct file_desc **place = &store->loose[store->next_loose++ % LOOSE_FILES];

	if (*place)
		close_desc(*place);
	*place = fd;
}

static void opened(struct restore *r, struct file_desc *fd)
{
	bool wanted = fd->tables || fd->held, ours = wanted && (fd->given < 0 || fd->own);

	fd->post_open = ours && fd->kind->post_open && (!fd->kind->has_post_open || fd->kind->has_post_open(fd->msg));
	fd->owned = ours && fown_is_set(fown_of(fd), message_get_u32(fd->msg, "flags"));
	if (!wanted)
		keep_loose(file_store_of(r), fd);
}

static void forget_lender(struct file_store *s)
{
	if (s->lender && s->lender_fd >= 0)
		close(s->lender_fd);
	s->lender = NULL;
}

static int borrow_from_task(struct restore *r, const struct file_desc *fd)
{
	struct file_store *s = file_store_of(r);
	int ours;

	if (s->lender != fd->holder) {
		forget_lender(s);
		s->lender = fd->holder;
		s->lender_fd = (int)syscall(SYS_pidfd_open, fd->holder->pid, 0);
	}
	ours = s->lender_fd < 0 ? -1 : (int)syscall(SYS_pidfd_getfd, s->lender_fd, fd->number, 0);

	return ours < 0 ? log_errno(-errno, "%s: fd %d: getting a duplicate", task_name(fd->holder), fd->number) : ours;
}

int files_open(struct restore *r, uint32_t id)
{
	struct file_desc *fd = file_desc_of(r, id);

	if (!fd || !fd->kind)
		return log_errno(-ENOENT, "files.img has no file %u of a supported kind", id);
	if (fd->fd >= 0)
		return fd->fd;
	if (fd->holder)
		return fd->fd = borrow_from_task(r, fd);
	fd->fd = fd->given >= 0 ? inherit_open(r, fd) : fd->kind->open(r, fd->msg);
	if (fd->fd >= 0)
		opened(r, fd);
	return fd->fd;
}

void files_set(struct restore *r, uint32_t id, int fd)
{
	struct file_desc *desc = file_desc_of(r, id);

	desc->fd = fd;
	opened(r, desc);
}

int files_hold(struct restore *r, uint32_t id)
{
	struct file_desc *fd = file_desc_of(r, id);

	if (!fd || !fd->kind)
		return log_errno(-ENOENT, "files.img has no file %u of a supported kind, but a queue holds it", id);
	fd->held = true;
	return 0;
}

bool files_tabled(struct restore *r, uint32_t id)
{
	const struct file_desc *fd = file_desc_of(r, id);

	return fd && fd->tables;
}

struct task *files_holder(struct restore *r, uint32_t id, int *number)
{
	struct file_desc *fd = file_desc_of(r, id);

	if (!fd || !fd->holder)
		return NULL;
	*number = fd->number;
	return fd->holder;
}

static int borrow(struct restore *r, struct file_desc *fd)
{
	int ours = fd->fd;

	if (ours < 0 && fd->holder)
		return borrow_from_task(r, fd);
	if (ours < 0)
		ours = files_open(r, fd->id);
	if (ours < 0)
		return ours;
	ours = fcntl(ours, F_DUPFD_CLOEXEC, 3);
	return ours < 0 ? log_errno(-errno, "duplicating the descriptor of file %u", fd->id) : ours;
}

int files_borrow(struct restore *r, uint32_t id)
{
	struct file_desc *fd = file_desc_of(r, id);

	return fd ? borrow(r, fd) : log_errno(-ENOENT, "files.img has no file %u", id);
}

const void *files_message(struct restore *r, uint32_t id, const struct fd_kind **kind)
{
	const struct file_desc *fd = file_desc_of(r, id);

	if (!fd)
		return NULL;
	if (kind)
		*kind = fd->kind;
	return fd->msg;
}

void files_release(struct restore *r, uint32_t id, struct task *t, int number)
{
	struct file_desc *fd = file_desc_of(r, id);

	if (!fd || !fd->tables)
		return;
	fd->holder = t;
	fd->number = number;
	if ((--fd->tables == 0 || fd->fd >= file_store_of(r)->crowded) && !fd->held)
		close_desc(fd);
}

int files_each(struct restore *r, const struct fd_kind *kind, int (*fn)(struct restore *r, const void *msg, void *arg),
               void *arg)
{
	int err = 0;

	for (struct file_desc *fd = file_store_of(r)->by_id; fd && !err; fd = fd->hh.next)
		if (fd->kind == kind && (fd->tables || fd->held) && fd->given < 0)
			err = fn(r, fd->msg, arg);
	return err;
}

int files_all(struct restore *r, const struct fd_kind *kind, int (*fn)(struct restore *r, const void *msg, void *arg),
              void *arg)
{
	int err = 0;

	for (struct file_desc *fd = file_store_of(r)->by_id; fd && !err; fd = fd->hh.next)
		if (fd->kind == kind)
			err = fn(r, fd->msg, arg);
	return err;
}

static int late_owner(struct restore *r, struct file_desc *fd, int ours)
{
	return fown_restore(r, ours, fown_of(fd), message_get_u32(fd->msg, "flags"));
}

static int late_kind(struct restore *r, struct file_desc *fd, int ours)
{
	return fd->kind->post_open(r, fd->msg, ours);
}

/* Of one kind its late part, of no kind the owners. By a duplicate: most have been closed here when they were handed
 * over, so that any number of them is possible. */
static int each_late(struct restore *r, const struct fd_kind *kind,
                     int (*fn)(struct restore *r, struct file_desc *fd, int ours))
{
	int err = 0;

	for (struct file_desc *fd = file_store_of(r)->by_id; fd && !err; fd = fd->hh.next) {
		_cleanup_close_ int ours = -1;

		if (kind ? fd->kind != kind || !fd->post_open : !fd->owned)
			continue;
		ours = borrow(r, fd);
		err = ours < 0 ? ours : fn(r, fd, ours);
	}
	return err;
}

int files_post_open(struct restore *r)
{
	int err = 0;

	for (const struct fd_kind *const *k = fd_kinds; *k && !err; k++)
		if ((*k)->post_open)
			err = each_late(r, *k, late_kind);
	/* Owners last: nothing that was done here is to send anybody a signal. */
	return err ?: each_late(r, NULL, late_owner);
}

static int prepare_kinds(struct restore *r)
{
	int err = 0;

	for (const struct fd_kind *const *k = fd_kinds; *k && !err; k++)
		if ((*k)->prepare)
			err = (*k)->prepare(r);
	return err;
}

static void close_all(struct restore *r)
{
	for (struct file_desc *fd = file_store_of(r)->by_id; fd; fd = fd->hh.next)
		close_desc(fd);
	forget_lender(file_store_of(r));
}

static bool has_table(const struct restore *r, const struct task *t)
{
	return t->state != TASK_DEAD && tree_first_files(&r->tree, t) == t;
}

static int each_table(struct restore *r, int (*fn)(struct restore *r, struct task *t))
{
	int err = 0;

	for (size_t i = 0; !err && i < r->tree.n_tasks; i++)
		if (has_table(r, r->tree.tasks[i]))
			err = fn(r, r->tree.tasks[i]);
	return err;
}

static int create(struct restore *r)
{
	return each_table(r, files_install);
}

static int settle(struct restore *r)
{
	return files_post_open(r) ?: each_table(r, files_finish);
}

static int all_standing(struct restore *r)
{
	close_all(r);
	return 0;
}

const struct subsys files_restore_subsys = {
	.name = "descriptors",
	.state = { .restore = sizeof(struct file_store) },
	.read_images = files_read,
	.check = files_check,
	.prepare = prepare_kinds,
	.create = create,
	.settle = settle,
	.all_standing = all_standing,
	.undo = close_all,
};
