/* SPDX-License-Identifier: GPL-2.0-only */
/* The stages of a restore for descriptors: read, checked, made, installed in tables, finished. */
#include "files/fdpass.h"
#include "helper/ns_roots.h"
#include "files/files_open.h"
#include "files/fown.h"
#include "files/net_ns.h"
#include "lib/message.h"
#include "tree/beside.h"

static const FownEntry *fown_of(const struct open_file *f)
{
	return message_get_message(f->msg, "fown", &fown_entry__descriptor);
}

/* Opened for the tree, and not a description that criu's caller goes on using: its owner and state are ours to set. */
static bool is_to_be_finished(const struct open_file *f)
{
	bool own = f->source == OPEN_FILE_MADE || f->source == OPEN_FILE_REOPENED;

	return own && f->state != OPEN_FILE_CLOSED && (f->n_entries || f->pinned);
}

static bool has_post_open(const struct open_file *f)
{
	return f->kind->post_open && (!f->kind->has_post_open || f->kind->has_post_open(f->msg));
}

static bool has_owner(const struct open_file *f)
{
	return fown_is_set(fown_of(f), message_get_u32(f->msg, "flags"));
}

static int set_owner_of(struct restore *r, struct open_file *f, int ours)
{
	return fown_restore(r, ours, fown_of(f), message_get_u32(f->msg, "flags"));
}

static int post_open_one(struct restore *r, struct open_file *f, int ours)
{
	_cleanup_net_visit_ struct net_visit v = NET_VISIT_NONE;
	int err = f->kind->in_net_ns ? net_ns_visit(r, net_ns_of_msg(r, f->msg), &v) : 0;

	return err ?: f->kind->post_open(r, f->msg, ours);
}

/*
 * Calls fn for all files of a kind (NULL: of any) that pass the filter. By a duplicate: most were closed here when they
 * were installed, so that a tree may have more of them than criu can open.
 */
static int finish_each(struct restore *r, const struct fd_kind *kind, bool (*filter)(const struct open_file *f),
                       int (*fn)(struct restore *r, struct open_file *f, int ours))
{
	int err = 0;

	if (!open_files_have(r, kind))
		return 0;
	for (struct open_file *f = open_files_of(r)->by_id; f && !err; f = f->hh.next) {
		_cleanup_close_ int ours = -1;

		if ((kind && f->kind != kind) || !is_to_be_finished(f) || !filter(f))
			continue;
		ours = files_open_duplicate(r, f);
		err = ours < 0 ? ours : fn(r, f, ours);
	}
	return err;
}

int files_post_open(struct restore *r)
{
	int err = 0;

	for (const struct fd_kind *const *k = fd_kinds; *k && !err; k++) {
		if ((*k)->settle)
			err = (*k)->settle(r);
		if (!err && (*k)->post_open)
			err = finish_each(r, *k, has_post_open, post_open_one);
	}
	/* Owners last: nothing that is done to a file here may signal its owner. */
	return err ?: finish_each(r, NULL, has_owner, set_owner_of);
}

static int prepare_kinds(struct restore *r)
{
	int err = 0;

	for (const struct fd_kind *const *k = fd_kinds; *k && !err; k++)
		if ((*k)->prepare)
			err = (*k)->prepare(r);
	return err;
}

struct table_work {
	struct restore *r;
	int (*fn)(struct restore *r, struct task *t);
};

static int work_on_table(void *arg, struct task *t)
{
	const struct table_work *w = arg;

	return w->fn(w->r, t);
}

static bool has_table(const struct restore *r, const struct task *t)
{
	return t->state != TASK_DEAD && tree_first_files(&r->tree, t) == t;
}

/* Calls fn for the first task of each descriptor table, for some of them side by side: only that task is spoken to. */
static int each_table(struct restore *r, int (*fn)(struct restore *r, struct task *t))
{
	struct table_work w = { r, fn };
	struct beside s = { .fn = work_on_table, .arg = &w };
	int err = 0;

	for (size_t i = 0; !err && i < r->tree.n_tasks; i++)
		if (has_table(r, r->tree.tasks[i]))
			err = beside_add(&s, r->tree.tasks[i]);
	return err ?: beside_run(&s);
}

/* The files whose mounts exist only now. */
static int check_in_namespaces(struct restore *r)
{
	return ns_roots_any(r) ? files_check(r) : 0;
}

/* One after the other: some files (uffd_kind, /dev/tty) are made by the agent of a task that may not be this one. */
static int install_tables(struct restore *r)
{
	int err = each_table(r, files_clear);

	for (size_t i = 0; !err && i < r->tree.n_tasks; i++)
		if (has_table(r, r->tree.tasks[i]))
			err = files_install(r, r->tree.tasks[i]);
	return err;
}

static int settle_files(struct restore *r)
{
	return files_post_open(r) ?: each_table(r, files_finish);
}

static int close_at_end(struct restore *r)
{
	files_open_close_all(r);
	return 0;
}

const struct subsys files_restore_subsys = {
	.name = "descriptors",
	.read_images = files_read,
	.check = files_check,
	.before_start = check_in_namespaces,
	.prepare = prepare_kinds,
	.create = install_tables,
	.settle = settle_files,
	.all_standing = close_at_end,
	.undo = files_open_close_all,
};
