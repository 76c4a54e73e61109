/* SPDX-License-Identifier: GPL-2.0-only */
/* files.img and fdinfo-*: read and checked before anything is started. */
#include <limits.h>
#include <string.h>

#include "files/fd_limit.h"
#include "files/open_file.h"
#include "files/inherit.h"
#include "lib/log.h"

static const void *message_in(const FileEntry *fe, const struct fd_kind *kind)
{
	const ProtobufCFieldDescriptor *f =
	    protobuf_c_message_descriptor_get_field(&file_entry__descriptor, kind->field);

	return f && f->descriptor == kind->pb ? *(void *const *)((const char *)fe + f->offset) : NULL;
}

static int add_file(struct restore *r, const FileEntry *fe)
{
	struct open_file *f;

	if (open_file_find(r, fe->id))
		return log_errno(-EINVAL, "files.img: two files have the id %u", fe->id);
	f = open_file_new(r);
	f->id = fe->id;
	f->type = fe->type;
	f->our_fd = f->inherited_fd = -1;
	f->kind = kind_by_fd_type(fe->type);
	f->msg = f->kind ? message_in(fe, f->kind) : NULL;
	if (f->kind && !f->msg)
		return log_errno(-EINVAL, "files.img: file %u is said to be a %s, but has no such entry", fe->id,
		                 f->kind->name);
	open_file_add(r, f);
	return 0;
}

static int read_files_image(struct restore *r)
{
	_cleanup_image_ struct image *img = NULL;
	int err = image_open(r->dir, IMG_FILES, 0, &img);
	FileEntry *fe;

	if (err)
		return err == -ENOENT ? log_errno(err, "files.img is missing: the checkpoint is incomplete") : err;
	while ((err = image_read(img, &file_entry__descriptor, r->arena, &fe)) > 0) {
		err = add_file(r, fe);
		if (err)
			return err;
	}
	return err;
}

static int compare_fds(const void *a, const void *b)
{
	uint32_t x = (*(FdinfoEntry *const *)a)->fd, y = (*(FdinfoEntry *const *)b)->fd;

	return (x > y) - (x < y);
}

static int read_fdinfo_image(struct restore *r, struct task *t)
{
	_cleanup_image_ struct image *img = NULL;
	int err = image_open(r->dir, IMG_FDINFO, t->ids->files_id, &img);
	FdinfoEntry *e;

	t->fds = NULL;
	t->n_fds = 0;
	/* A task without descriptors has none. (If a list of files was written, all of it was found.) */
	if (err == -ENOENT)
		log_info("%s: has no descriptor: there is no fdinfo-%u.img", task_name(t), t->ids->files_id);
	if (err)
		return err == -ENOENT ? 0 : err;
	while ((err = image_read(img, &fdinfo_entry__descriptor, r->arena, &e)) > 0)
		arena_push(r->arena, &t->fds, &t->n_fds, e);
	if (!err && t->n_fds)
		qsort(t->fds, t->n_fds, sizeof(*t->fds), compare_fds);
	return err;
}

/* Every descriptor names a file of its type; counts how many entries name each file. */
static int check_fds(struct restore *r, const struct task *t)
{
	for (size_t i = 0; i < t->n_fds; i++) {
		const FdinfoEntry *e = t->fds[i];
		struct open_file *f = open_file_find(r, e->id);

		if (e->fd > INT_MAX || (i && e->fd == t->fds[i - 1]->fd))
			return log_errno(-EINVAL, "%s: fdinfo-%u.img: fd %u is a duplicate, or not a valid number",
			                 task_name(t), t->ids->files_id, e->fd);
		if (!f || f->type != e->type)
			return log_errno(-EINVAL, "%s: fd %u: files.img has no file %u of type %d", task_name(t), e->fd,
			                 e->id, e->type);
		if (!f->kind) {
			const ProtobufCEnumValue *v =
			    protobuf_c_enum_descriptor_get_value(&fd_types__descriptor, e->type);

			log_refusal(-ENOTSUP, "%s: fd %u: restoring this kind of descriptor (%s) is not supported yet",
			            task_name(t), e->fd, v ? v->name : "unknown");
		}
		f->n_entries++;
	}
	return 0;
}

int files_read(struct restore *r)
{
	int err = read_files_image(r);

	for (size_t i = 0; !err && i < r->tree.n_tasks; i++) {
		struct task *t = r->tree.tasks[i], *first;

		if (t->state == TASK_DEAD)
			continue;
		first = tree_first_files(&r->tree, t);
		if (first != t) {
			t->fds = first->fds;
			t->n_fds = first->n_fds;
			continue;
		}
		log_about("ids-%lu.img", (unsigned long)t->vpid.v);
		err = read_fdinfo_image(r, t);
		log_about("fdinfo-%lu.img", t->ids->files_id);
		if (!err)
			err = check_fds(r, t);
		log_about(NULL, 0);
	}
	if (!err)
		err = fd_limit_for_tasks(r);
	if (!err) {
		open_files_of(r)->fd_pressure = fd_limit_for_files(HASH_COUNT(open_files_of(r)->by_id));
		err = inherit_check(r);
	}
	for (const struct fd_kind *const *k = fd_kinds; *k && !err; k++)
		if ((*k)->read_images)
			err = (*k)->read_images(r);
	if (!err)
		inherit_tell(r);
	return err;
}
