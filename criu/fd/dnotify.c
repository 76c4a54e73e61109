/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * No interface shows what F_NOTIFY has registered. But it makes its caller the owner of the directory's description,
 * and without an owner nothing is sent: so only directories with an owner are looked at, in the kernel's memory. A
 * registration belongs to a description, a descriptor table and a number in it; only a process with that table can make
 * it again.
 */
#include <fcntl.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/syscall.h>

#include "agent/batch.h"
#include "fd/dnotify.h"
#include "files/files.h"
#include "format.h"
#include "lib/kernel_view.h"
#include "lib/log.h"
#include "tree/subsys.h"
#include "tree/task.h"
#include "tree/task_part.h"

#define MARKS_MAX 100000 /* more is not believed */

struct places {
	int inode, marks, list, obj_list, dn, next, mask, fd, filp, owner;
};

struct seen_notify {
	kaddr_t table;
	uint32_t fd, mask; /* as the kernel keeps it: FS_* */
};

/* ---- dump ---- */

static int find_places(const struct btf_types *b, struct places *k)
{
	const struct {
		const char *type, *path;
		int *to;
	} list[] = {
		{ "file", "f_inode", &k->inode },
		{ "inode", "i_fsnotify_marks", &k->marks },
		{ "fsnotify_mark_connector", "list", &k->list },
		{ "fsnotify_mark", "obj_list", &k->obj_list },
		{ "dnotify_mark", "dn", &k->dn },
		{ "dnotify_struct", "dn_next", &k->next },
		{ "dnotify_struct", "dn_mask", &k->mask },
		{ "dnotify_struct", "dn_fd", &k->fd },
		{ "dnotify_struct", "dn_filp", &k->filp },
		{ "dnotify_struct", "dn_owner", &k->owner },
	};

	for (size_t i = 0; i < ARRAY_SIZE(list); i++) {
		*list[i].to = btf_offset(b, list[i].type, list[i].path);
		if (*list[i].to < 0)
			return -ENOENT;
	}
	return 0;
}

/*
 * The registrations of one mark: of a mark of inotify or fanotify something else lies at that place, which leads
 * nowhere, or not to this file.
 */
static void read_mark(struct arena *a, struct kernel_view *v, const struct places *k, kaddr_t mark, kaddr_t file,
                      struct seen_notify **out, size_t *n)
{
	kaddr_t dn, filp = 0;
	int err = kernel_read_pointer(v, kaddr_plus(mark, k->dn), &dn);

	for (int i = 0; !err && dn && i < MARKS_MAX; i++) {
		struct seen_notify s = { 0 };

		err = kernel_read_pointer(v, kaddr_plus(dn, k->filp), &filp);
		err = err ?: kernel_read(v, kaddr_plus(dn, k->fd), &s.fd, sizeof(s.fd));
		err = err ?: kernel_read(v, kaddr_plus(dn, k->mask), &s.mask, sizeof(s.mask));
		err = err ?: kernel_read_pointer(v, kaddr_plus(dn, k->owner), &s.table);
		err = err ?: kernel_read_pointer(v, kaddr_plus(dn, k->next), &dn);
		if (!err && filp == file)
			arena_push(a, out, n, s);
	}
}

static int read_marks(struct arena *a, struct kernel_view *v, int fd, struct seen_notify **out, size_t *n)
{
	struct places k;
	kaddr_t file, at, mark = 0;
	int err = find_places(kernel_types(v), &k);

	err = err ?: kernel_file_of(v, fd, &file);
	err = err ?: kernel_read_pointer(v, kaddr_plus(file, k.inode), &at);
	err = err ?: kernel_read_pointer(v, kaddr_plus(at, k.marks), &at);
	if (!err && at)
		err = kernel_read_pointer(v, kaddr_plus(at, k.list), &mark);
	for (int i = 0; !err && mark && i < MARKS_MAX; i++) {
		read_mark(a, v, &k, mark - (unsigned)k.obj_list, file, out, n);
		err = kernel_read_pointer(v, mark, &mark); /* hlist_node.next */
	}
	return err;
}

#define KEPT_RENAME   0x10000000U /* FS_RENAME */
#define KEPT_ON_CHILD 0x08000000U /* FS_EVENT_ON_CHILD, in all */

/* The bit for DN_MULTISHOT is another from kernel to kernel: it is seen on a directory in which nothing is renamed. */
static int find_multishot(struct arena *a, struct kernel_view *v, uint32_t *bit)
{
	_cleanup_close_ int fd = open("/proc/self", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct seen_notify *seen = NULL;
	size_t n = 0;
	int err;

	if (fd < 0 || fcntl(fd, F_NOTIFY, DN_RENAME | DN_MULTISHOT))
		return -errno;
	err = read_marks(a, v, fd, &seen, &n);
	if (!err && n != 1)
		err = -ENOTSUP;
	*bit = err ? 0 : seen[0].mask & ~(KEPT_RENAME | KEPT_ON_CHILD);
	return err ?: __builtin_popcount(*bit) == 1 ? 0 : -ENOTSUP;
}

/* fcntl(F_NOTIFY) makes the bits of inotify(7) of most DN_*. */
static uint32_t to_dn(uint32_t mask, uint32_t multishot)
{
	static const struct {
		uint32_t fs, dn;
	} bits[] = {
		{ IN_ACCESS, DN_ACCESS }, { IN_MODIFY, DN_MODIFY }, { IN_ATTRIB, DN_ATTRIB },
		{ IN_CREATE, DN_CREATE }, { IN_DELETE, DN_DELETE }, { KEPT_RENAME, DN_RENAME },
	};
	uint32_t dn = mask & multishot ? DN_MULTISHOT : 0;

	for (size_t i = 0; i < ARRAY_SIZE(bits); i++)
		dn |= mask & bits[i].fs ? bits[i].dn : 0;
	return dn;
}

/* The first task with that table; those of other processes are not the tree's. */
static const struct task *task_with(struct dump *d, struct kernel_view *v, kaddr_t table)
{
	for (size_t i = 0; i < d->tree.n_tasks; i++) {
		const struct task *t = d->tree.tasks[i];
		kaddr_t its;

		if (t->state != TASK_DEAD && tree_first_files(&d->tree, t) == t && t->dump &&
		    !kernel_table_of(v, t->dump->pidfd, &its, NULL, NULL) && its == table)
			return t;
	}
	return NULL;
}

static int add_entries(struct dump *d, struct kernel_view *v, const struct seen_notify *s, size_t n, RegFileEntry *m)
{
	uint32_t multishot = 0;
	int err = n ? find_multishot(d->arena, v, &multishot) : 0;

	if (err)
		return err;
	for (size_t i = 0; i < n; i++) {
		const struct task *t = task_with(d, v, s[i].table);
		DnotifyEntry *e = arena_msg(d->arena, DnotifyEntry, dnotify_entry);

		if (!t)
			continue;
		e->pid = (uint32_t)t->vpid.v;
		e->fd = s[i].fd;
		e->mask = to_dn(s[i].mask, multishot);
		arena_push(d->arena, &m->dnotify, &m->n_dnotify, e);
		d->inventory->img_version = FORMAT_VERSION_OURS;
	}
	return 0;
}

int dnotify_dump(struct dump *d, const struct fd_info *info, RegFileEntry *m)
{
	struct kernel_view *v = NULL;
	struct seen_notify *seen = NULL;
	const char *call = "the kernel's memory";
	size_t n = 0;
	int err;

	if (!S_ISDIR(info->st.st_mode) || info->fd < 0 || !info->fown || !info->fown->pid)
		return 0;
	err = kernel_view_open(&v, &call);
	err = err ?: read_marks(d->arena, v, info->fd, &seen, &n);
	err = err ?: add_entries(d, v, seen, n, m);
	kernel_view_close(v);
	if (!err)
		return 0;
	log_refusal(-ENOTSUP,
	            "%s: a directory whose owner gets signals: F_NOTIFY (dnotify) may be registered, which the kernel "
	            "does not show (%s: %s): run criu with CAP_BPF and CAP_PERFMON, or have the program use inotify",
	            fd_name(info), call, strerror(-err));
	return DUMP_REFUSED;
}

/* ---- restore ---- */

extern const struct fd_kind reg_kind;

struct notify_calls {
	bool known;
	DnotifyEntry **list;
	size_t n;
};

extern const struct task_part dnotify_part;

static int note_entries(struct restore *r, const void *msg, void *arg)
{
	const RegFileEntry *m = msg;
	struct notify_calls *all = arg;

	for (size_t i = 0; i < m->n_dnotify; i++)
		arena_push(r->arena, &all->list, &all->n, m->dnotify[i]);
	return 0;
}

/* The owner is there already, and stays. */
static int dnotify_restore(struct restore *r, struct thread *th, struct batch *b)
{
	struct notify_calls *all = restore_state(r, &dnotify_part);
	int err = 0;

	if (!all->known)
		err = files_all(r, &reg_kind, note_entries, all);
	all->known = true;
	for (size_t i = 0; i < all->n && !err; i++)
		if (all->list[i]->pid == (uint32_t)th->task->vpid.v)
			batch_call(b, SYS_fcntl, all->list[i]->fd, F_NOTIFY, all->list[i]->mask);
	return err;
}

const struct task_part dnotify_part = {
	.name = "signals for changes in directories",
	.state = { .restore = sizeof(struct notify_calls) },
	.restore = dnotify_restore,
};
