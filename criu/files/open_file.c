/* SPDX-License-Identifier: GPL-2.0-only */
#include "files/open_file.h"
#include "lib/log.h"

const struct subsys open_file_subsys = { .name = "open files", .state = { .restore = sizeof(struct open_files) } };

struct open_files *open_files_of(const struct restore *r)
{
	return restore_state(r, &open_file_subsys);
}

#define DIRECT_MIN 1024
#define FRESH_FEW  16
#define FRESH_MANY 128

static void grow_direct(struct arena *a, struct open_files *all, uint32_t id)
{
	size_t n = MAX(all->n_direct, (size_t)DIRECT_MIN);

	while (n <= id)
		n *= 2;
	all->direct = arena_array(a, struct open_file *, n);
	all->n_direct = n;
	for (struct open_file *f = all->by_id; f; f = f->hh.next)
		if (f->id < n)
			all->direct[f->id] = f;
}

bool open_files_have(const struct restore *r, const struct fd_kind *kind)
{
	const struct open_files *all = open_files_of(r);

	for (size_t i = 0; kind && i < all->n_kinds; i++)
		if (all->kinds[i] == kind)
			return true;
	return !kind;
}

struct open_file *open_file_new(struct restore *r)
{
	struct open_files *all = open_files_of(r);

	if (!all->n_fresh) {
		all->n_fresh = all->by_id ? FRESH_MANY : FRESH_FEW;
		all->fresh = arena_array(r->arena, struct open_file, all->n_fresh);
	}
	all->n_fresh--;
	return all->fresh++;
}

void open_file_add(struct restore *r, struct open_file *f)
{
	struct open_files *all = open_files_of(r);

	if (!open_files_have(r, f->kind))
		arena_push(r->arena, &all->kinds, &all->n_kinds, f->kind);
	HASH_ADD_IN(r->arena, hh, all->by_id, id, sizeof(f->id), f);
	if (f->id < all->n_direct)
		all->direct[f->id] = f;
	else if (f->id < DIRECT_MIN + 2UL * HASH_COUNT(all->by_id))
		grow_direct(r->arena, all, f->id);
}

struct open_file *open_file_find(const struct restore *r, uint32_t id)
{
	const struct open_files *all = open_files_of(r);
	struct open_file *f;

	if (id < all->n_direct)
		return all->direct[id];
	HASH_FIND(hh, all->by_id, &id, sizeof(id), f);
	return f;
}

bool open_file_is_wanted(const struct open_file *f)
{
	return f->n_installed < f->n_entries || f->pinned;
}

/* ---- states ---- */

/*
 * What can happen to a file: files_open() or files_set() opens it; files_installed() tells that a table got it (of two
 * descriptors of one table the second may come after criu's was closed); files_open.c closes it when nothing else
 * wants it, when descriptors are scarce, or at the end of the restore.
 */
enum event { OPENED, INSTALLED, CLOSED };

static void change_state(struct open_file *f, enum event event)
{
	static const enum open_file_state next[][3] = {
		[OPEN_FILE_CLOSED] = { OPEN_FILE_OURS, OPEN_FILE_INSTALLED, OPEN_FILE_CLOSED },
		[OPEN_FILE_OURS] = { OPEN_FILE_OURS, OPEN_FILE_SHARED, OPEN_FILE_CLOSED },
		[OPEN_FILE_SHARED] = { OPEN_FILE_SHARED, OPEN_FILE_SHARED, OPEN_FILE_INSTALLED },
		[OPEN_FILE_INSTALLED] = { OPEN_FILE_SHARED, OPEN_FILE_INSTALLED, OPEN_FILE_INSTALLED },
	};

	f->state = next[f->state][event];
}

void open_file_opened(struct open_file *f, int fd)
{
	if (fd < 0)
		return;
	if (f->our_fd >= 0)
		close(fd);
	else
		f->our_fd = fd;
	change_state(f, OPENED);
}

void open_file_installed(struct open_file *f, struct task *t, int number)
{
	f->task = t;
	f->number = number;
	f->n_installed++;
	change_state(f, INSTALLED);
}

void open_file_close(struct open_file *f)
{
	if (f->our_fd >= 0)
		close(f->our_fd);
	f->our_fd = -1;
	change_state(f, CLOSED);
}

/* ---- what other folders ask ---- */

const void *files_message(struct restore *r, uint32_t id, const struct fd_kind **kind)
{
	const struct open_file *f = open_file_find(r, id);

	if (!f)
		return NULL;
	if (kind)
		*kind = f->kind;
	return f->msg;
}

int files_pin(struct restore *r, uint32_t id)
{
	struct open_file *f = open_file_find(r, id);

	if (!f || !f->kind)
		return log_errno(-ENOENT, "files.img has no file %u of a supported kind, but a queue names it", id);
	f->pinned = true;
	return 0;
}

bool files_tabled(struct restore *r, uint32_t id)
{
	const struct open_file *f = open_file_find(r, id);

	return f && f->n_installed < f->n_entries;
}

int files_each(struct restore *r, const struct fd_kind *kind, int (*fn)(struct restore *r, const void *msg, void *arg),
               void *arg)
{
	int err = 0;

	if (!open_files_have(r, kind))
		return 0;
	for (struct open_file *f = open_files_of(r)->by_id; f && !err; f = f->hh.next)
		if (f->kind == kind && open_file_is_wanted(f) && f->inherited_fd < 0)
			err = fn(r, f->msg, arg);
	return err;
}

int files_all(struct restore *r, const struct fd_kind *kind, int (*fn)(struct restore *r, const void *msg, void *arg),
              void *arg)
{
	int err = 0;

	if (!open_files_have(r, kind))
		return 0;
	for (struct open_file *f = open_files_of(r)->by_id; f && !err; f = f->hh.next)
		if (f->kind == kind)
			err = fn(r, f->msg, arg);
	return err;
}
