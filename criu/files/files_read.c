/* SPDX-License-Identifier: GPL-2.0-only */
/* files.img and fdinfo-*: read and checked before anything is started. */
#include <limits.h>
#include <string.h>
#include <sys/resource.h>

#include "files/file_store.h"
#include "files/inherit.h"
#include "lib/log.h"

/* What is open beside the files of the tree. */
#define SPARE_FILES 1000

static const void *message_of(const FileEntry *fe, const struct fd_kind *kind)
{
	const ProtobufCFieldDescriptor *f =
	    protobuf_c_message_descriptor_get_field(&file_entry__descriptor, kind->field);

	return f && f->descriptor == kind->pb ? *(void *const *)((const char *)fe + f->offset) : NULL;
}

static int add_file(struct restore *r, const FileEntry *fe)
{
	struct file_desc *fd;

	if (file_desc_of(r, fe->id))
		return log_errno(-EINVAL, "files.img: file %u is there twice", fe->id);
	fd = arena_new_of(r->arena, struct file_desc);
	fd->id = fe->id;
	fd->type = fe->type;
	fd->fd = fd->given = -1;
	fd->kind = kind_by_fd_type(fe->type);
	fd->msg = fd->kind ? message_of(fe, fd->kind) : NULL;
	if (fd->kind && !fd->msg)
		return log_errno(-EINVAL, "files.img: file %u is said to be a %s, but has no such entry", fe->id,
		                 fd->kind->name);
	HASH_ADD_IN(r->arena, hh, file_store_of(r)->by_id, id, sizeof(fd->id), fd);
	return 0;
}

static int read_files(struct restore *r)
{
	_cleanup_image_ struct image *img = NULL;
	int err = image_open(r->dir, IMG_FILES, 0, &img);
	FileEntry *fe;

	if (err)
		return err == -ENOENT ? log_errno(err, "files.img is missing: the checkpoint is not whole") : err;
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

static int read_fdinfo(struct restore *r, struct task *t)
{
	_cleanup_image_ struct image *img = NULL;
	int err = image_open(r->dir, IMG_FDINFO, t->ids->files_id, &img);
	FdinfoEntry *e;

	if (err)
		return err == -ENOENT ? log_errno(err, "%s: fdinfo-%u.img is missing: the checkpoint is not whole",
		                                  task_name(t), t->ids->files_id)
		                      : err;
	t->fds = NULL;
	t->n_fds = 0;
	while ((err = image_read(img, &fdinfo_entry__descriptor, r->arena, &e)) > 0)
		arena_push(r->arena, &t->fds, &t->n_fds, e);
	if (!err && t->n_fds)
		qsort(t->fds, t->n_fds, sizeof(*t->fds), compare_fds);
	return err;
}

/* Every descriptor names a file of its type; counts who wants what. */
static int check_fds(struct restore *r, const struct task *t)
{
	for (size_t i = 0; i < t->n_fds; i++) {
		const FdinfoEntry *e = t->fds[i];
		struct file_desc *fd = file_desc_of(r, e->id);

		if (e->fd > INT_MAX || (i && e->fd == t->fds[i - 1]->fd))
			return log_errno(-EINVAL, "%s: fdinfo-%u.img: fd %u is there twice, or is no descriptor",
			                 task_name(t), t->ids->files_id, e->fd);
		if (!fd || fd->type != e->type)
			return log_errno(-EINVAL, "%s: fd %u: files.img has no file %u of type %d", task_name(t), e->fd,
			                 e->id, e->type);
		if (!fd->kind) {
			const ProtobufCEnumValue *v =
			    protobuf_c_enum_descriptor_get_value(&fd_types__descriptor, e->type);

			log_refusal(-ENOTSUP, "%s: fd %u: restoring this kind of descriptor (%s) is not supported yet",
			            task_name(t), e->fd, v ? v->name : "unknown");
		}
		fd->tables++;
	}
	return 0;
}

/* A number that is in no use, for the socket (files/fdpass.h) while all others are in place. */
static uint32_t highest_needed(const struct task *t)
{
	uint32_t gap = 0, top = t->n_fds ? t->fds[t->n_fds - 1]->fd : 0;

	while (gap < t->n_fds && t->fds[gap]->fd == gap)
		gap++;
	return MAX(gap, top);
}

/* More than one task's worth may be open at once (ends of pairs, sockets with names): wanted, not needed. */
static void raise_for_all(struct restore *r)
{
	rlim_t want = (rlim_t)HASH_COUNT(file_store_of(r)->by_id) + SPARE_FILES;
	struct rlimit lim, more = { .rlim_cur = want, .rlim_max = want };

	if (getrlimit(RLIMIT_NOFILE, &lim))
		return;
	if (lim.rlim_max < want && setrlimit(RLIMIT_NOFILE, &more))
		log_debug("the limit of open files cannot be raised to %llu: %s", (unsigned long long)want,
		          strerror(errno));
	else
		lim.rlim_cur = MAX(lim.rlim_cur, want);
	file_store_of(r)->crowded = (int)MIN(lim.rlim_cur / 2, (rlim_t)INT32_MAX);
}

/* Our own limit is the highest that a task can have, unless we may raise it. */
static int check_limit(struct restore *r)
{
	struct rlimit lim;
	const struct task *worst = NULL;
	uint32_t need = 0;

	for (size_t i = 0; i < r->tree.n_tasks; i++) {
		uint32_t n = highest_needed(r->tree.tasks[i]);

		if (n >= need) {
			need = n;
			worst = r->tree.tasks[i];
		}
	}
	if (getrlimit(RLIMIT_NOFILE, &lim))
		return log_errno(-errno, "getrlimit(RLIMIT_NOFILE)");
	lim.rlim_cur = lim.rlim_max;
	if (need >= lim.rlim_max) {
		rlim_t had = lim.rlim_max;

		lim.rlim_cur = lim.rlim_max = (rlim_t)need + 1;
		if (setrlimit(RLIMIT_NOFILE, &lim))
			return log_refusal(
			    -errno,
			    "%s: has descriptor %u (or needs it on the way), but the hard limit of open files "
			    "is %llu here; restore with a higher one (ulimit -Hn)",
			    task_name(worst), need, (unsigned long long)had);
		return 0;
	}
	if (setrlimit(RLIMIT_NOFILE, &lim))
		return log_errno(-errno, "raising the limit of open files to %llu", (unsigned long long)lim.rlim_max);
	return 0;
}

int files_read(struct restore *r)
{
	int err = read_files(r);

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
		err = read_fdinfo(r, t);
		if (!err)
			err = check_fds(r, t);
	}
	if (!err)
		err = check_limit(r);
	if (!err) {
		raise_for_all(r);
		err = inherit_check(r);
	}
	for (const struct fd_kind *const *k = fd_kinds; *k && !err; k++)
		if ((*k)->read_images)
			err = (*k)->read_images(r);
	if (!err)
		inherit_tell(r);
	return err;
}
