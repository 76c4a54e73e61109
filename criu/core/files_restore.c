/* SPDX-License-Identifier: GPL-2.0-only */
/* Open file descriptions at restore: opened once, on demand, and closed as soon as all who want them have them. */
#include <fcntl.h>

#include "core/file_store.h"
#include "core/fown.h"
#include "core/log.h"
#include "core/message.h"

struct file_desc *file_desc_of(struct restore *r, uint32_t id)
{
	struct file_desc *fd;

	if (!r->files)
		return NULL;
	HASH_FIND(hh, r->files->by_id, &id, sizeof(id), fd);
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

int files_open(struct restore *r, uint32_t id)
{
	struct file_desc *fd = file_desc_of(r, id);

	if (!fd || !fd->kind)
		return log_errno(-ENOENT, "files.img has no file %u of a supported kind", id);
	if (fd->fd >= 0)
		return fd->fd;
	fd->fd = fd->kind->open(r, fd->msg);
	if (fd->fd < 0)
		return fd->fd;
	fd->late = fd->tables && (fd->kind->late || fown_is_set(fown_of(fd), message_get_u32(fd->msg, "flags")));
	if (!fd->tables)
		keep_loose(r->files, fd);
	return fd->fd;
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

void files_release(struct restore *r, uint32_t id)
{
	struct file_desc *fd = file_desc_of(r, id);

	if (fd && fd->tables && --fd->tables == 0 && !fd->late)
		close_desc(fd);
}

int files_each(struct restore *r, const struct fd_kind *kind, int (*fn)(struct restore *r, const void *msg, void *arg),
               void *arg)
{
	int err = 0;

	for (struct file_desc *fd = r->files->by_id; fd && !err; fd = fd->hh.next)
		if (fd->kind == kind && fd->tables)
			err = fn(r, fd->msg, arg);
	return err;
}

int files_late(struct restore *r)
{
	int err = 0;

	for (struct file_desc *fd = r->files->by_id; fd && !err; fd = fd->hh.next) {
		if (!fd->late || fd->fd < 0)
			continue;
		err = fown_restore(r, fd->fd, fown_of(fd), message_get_u32(fd->msg, "flags"));
		if (!err && fd->kind->late)
			err = fd->kind->late(r, fd->msg, fd->fd);
		fd->late = false;
		if (!fd->tables)
			close_desc(fd);
	}
	return err;
}

void files_close(struct restore *r)
{
	if (!r->files)
		return;
	for (struct file_desc *fd = r->files->by_id; fd; fd = fd->hh.next)
		close_desc(fd);
}
