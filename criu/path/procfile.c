/* SPDX-License-Identifier: GPL-2.0-only */
#include <fcntl.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/vfs.h>

#include "lib/log.h"
#include "lib/lookup.h"
#include "path/pathfile.h"
#include "proc/proc.h"
#include "path/procfile.h"
#include "path/remap.h"
#include "path/stand_in.h"
#include "lib/arena_hash.h"
#include "proc/fdinfo.h"
#include "tree/inventory.h"
#include "tree/ns_ids.h"
#include "tree/pid_numbers.h"
#include "tree/subsys.h"

#define PROC_ROOT_INO 1

/* ---- paths ---- */

/* "/812" and what follows: the number, or 0. *end: behind it. */
static pid_t parse_component(const char *at, const char **end)
{
	unsigned long n;
	char *stop;

	if (*at != '/' || at[1] < '1' || at[1] > '9')
		return 0;
	n = strtoul(at + 1, &stop, 10);
	if ((*stop && *stop != '/' && strcmp(stop, PROC_DELETED)) || n > INT32_MAX)
		return 0;
	*end = stop;
	return (pid_t)n;
}

static bool is_proc_root(const char *path, size_t len)
{
	_cleanup_free_ char *copy = strndup(path, len);
	struct statfs fs;
	struct stat st;

	return copy && len && !statfs(lookup_path(copy), &fs) && fs.f_type == PROC_SUPER_MAGIC &&
	       !lookup_stat(copy, &st) && st.st_ino == PROC_ROOT_INO;
}

bool procfile_parse_path(const char *path, struct proc_path *p)
{
	static const char task[] = "/task";
	const char *end = NULL, *after;

	p->pid = p->tid = 0;
	for (const char *at = strchr(path, '/'); at && !p->pid; at = strchr(at + 1, '/')) {
		p->pid = parse_component(at, &end);
		p->mount_len = (size_t)(at - path);
		if (p->pid && !is_proc_root(path, p->mount_len))
			p->pid = 0;
	}
	if (!p->pid)
		return false;
	p->rest = end;
	if (!strncmp(end, task, strlen(task))) {
		p->tid = parse_component(end + strlen(task), &after);
		p->rest = p->tid ? after : end;
	}
	return true;
}

/* Whether /proc at a path has criu's own numbers, and not those of a pid namespace that the tree has for itself. */
static bool has_our_numbers(const char *path, size_t mount_len)
{
	_cleanup_free_ char *copy = strndup(path, mount_len);
	struct stat its, ours;

	return copy && !lookup_stat(copy, &its) && !stat("/proc", &ours) && its.st_dev == ours.st_dev;
}

static char *renumbered(struct arena *a, const char *name, const struct proc_path *p, pid_t pid, pid_t tid)
{
	if (!p->tid)
		return arena_printf(a, "%.*s/%d%s", (int)p->mount_len, name, pid, p->rest);
	return arena_printf(a, "%.*s/%d/task/%d%s", (int)p->mount_len, name, pid, tid, p->rest);
}

/* ---- dump ---- */

/* The link's text without its mark, which the kernel puts behind directories that are gone, but not behind files. */
static char *unmarked_name(struct arena *a, const char *link)
{
	size_t len = strlen(link), end = strlen(PROC_DELETED);
	char *name = arena_memdup(a, link, len + 1);

	if (len > end && !strcmp(name + len - end, PROC_DELETED))
		name[len - end] = 0;
	return name;
}

static bool leads_there(const char *path, const struct stat *st)
{
	struct stat now;

	return !(S_ISLNK(st->st_mode) ? lookup_lstat(path, &now) : lookup_stat(path, &now)) &&
	       now.st_ino == st->st_ino && now.st_dev == st->st_dev;
}

/* A /proc that is not criu's is taken for one of the pid namespace of the task that has the file open. */
static const struct task *task_of_path(const struct dump *d, const struct fd_info *info, const struct proc_path *p,
                                       bool ours)
{
	for (size_t i = 0; i < d->tree.n_tasks; i++) {
		const struct task *t = d->tree.tasks[i];

		if ((ours ? task_id(t) : pid_number_for(&d->tree, info->task, t->vpid)) == p->pid)
			return t;
	}
	return NULL;
}

/* Such files are of objects that a restore makes later, or never in a stand-in process. */
static const char *why_not_reopened(const struct proc_path *p)
{
	static const char *const dirs[] = { "/fd/", "/fdinfo/", "/map_files/" };

	for (size_t i = 0; i < ARRAY_SIZE(dirs); i++)
		if (!strncmp(p->rest, dirs[i], strlen(dirs[i])))
			return "a file of a single descriptor or mapping, which cannot be reopened; close it before "
			       "the dump";
	return NULL;
}

static int refuse_procfile(const struct fd_info *info, const char *why)
{
	log_refusal(-ENOTSUP, "%s: %s: %s", fd_name(info), info->link, why);
	return DUMP_REFUSED;
}

static int refuse_foreign(const struct fd_info *info, const struct proc_path *p)
{
	char comm[16];

	log_refusal(-ENOTSUP,
	            "%s: %s: a file of pid %d (%s), which is outside of the tree: at restore that number may be "
	            "another process's; close it before the dump, or dump a tree that has both",
	            fd_name(info), info->link, p->pid, proc_comm(p->pid, comm, sizeof(comm)) < 0 ? "?" : comm);
	return DUMP_REFUSED;
}

/* A file that needs the memory of its process cannot be opened in a zombie any more. */
static bool opens_in_zombie(const struct fd_info *info)
{
	_cleanup_close_ int fd = -1;

	if (info->flags & O_PATH)
		return true;
	fd = lookup_open(info->link, (int)(info->flags & (O_ACCMODE | O_DIRECTORY)) | O_CLOEXEC | O_NONBLOCK, 0);
	return fd >= 0;
}

static int dump_gone(struct dump *d, const struct fd_info *info, const struct proc_path *p, RegFileEntry *m)
{
	m->has_mode = info->st.st_mode != 0;
	m->mode = info->st.st_mode;
	remap_note(d, info->id, (uint32_t)p->pid, REMAP_TYPE__PROCFS);
	return 0;
}

/* Seen through a /proc of criu's namespace: images have the numbers of the tree's, which CRIU would not translate. */
static void use_inner_numbers(struct dump *d, const struct task *t, const struct proc_path *p, RegFileEntry *m)
{
	pid_t tid = 0;

	if (!tree_has_own_pids(&d->tree))
		return;
	for (size_t i = 0; i < t->n_threads; i++)
		if (t->threads[i].tid == p->tid)
			tid = t->threads[i].vtid.v;
	if (p->tid == task_id(t))
		tid = t->vpid.v;
	m->name = renumbered(d->arena, m->name, p, t->vpid.v, tid);
	inventory_only_ours(d);
}

int procfile_dump(struct dump *d, const struct fd_info *info, const struct proc_path *linked, RegFileEntry *m)
{
	struct proc_path p = *linked;
	const struct task *t;
	const char *why;
	bool ours;
	int err;

	m->name = unmarked_name(d->arena, info->link);
	procfile_parse_path(m->name, &p);
	why = why_not_reopened(&p);
	if (why)
		return refuse_procfile(info, why);
	ours = has_our_numbers(m->name, p.mount_len);
	t = task_of_path(d, info, &p, ours);
	if (!leads_there(m->name, &info->st)) {
		if (t && p.tid && t->state != TASK_DEAD)
			return refuse_procfile(
			    info, "the thread is gone, but its process is not; such files are not supported: "
			          "close it before the dump");
		if (!ours)
			return refuse_procfile(
			    info, "its process has ended, and /proc is one of a pid namespace of the tree's own; such "
			          "files are not supported: close it before the dump");
		return dump_gone(d, info, &p, m);
	}
	/* There is always a first process; a tree that has one of its own would be given that. */
	if (!t && ours && p.pid == 1 && !tree_has_own_pids(&d->tree))
		return pathfile_dump(d, info, m);
	if (!t)
		return refuse_foreign(info, &p);
	if (t->state == TASK_DEAD && !opens_in_zombie(info))
		return refuse_procfile(
		    info, "its process is a zombie, of which this file cannot be opened any more; close it "
		          "before the dump");
	err = pathfile_dump(d, info, m);
	if (!err && ours)
		use_inner_numbers(d, t, &p, m);
	return err;
}

/* ---- restore ---- */

/* A process that is gone, and its files that something wants. */
struct gone_process {
	pid_t pid;
	const RegFileEntry **files;
	size_t n;
	UT_hash_handle hh;
};

struct remapped {
	uint32_t id; /* of the file */
	struct gone_process *gone;
	UT_hash_handle hh;
};

struct procfiles {
	struct remapped *by_id;
	struct gone_process *by_pid;
	bool listed; /* files of each */
};

const struct subsys procfile_subsys = { .name = "files of /proc", .state = { .restore = sizeof(struct procfiles) } };

static struct procfiles *procfiles_of(struct restore *r)
{
	return restore_state(r, &procfile_subsys);
}

static struct gone_process *gone_process_of(struct restore *r, uint32_t id)
{
	struct remapped *m;

	HASH_FIND(hh, procfiles_of(r)->by_id, &id, sizeof(id), m);
	return m ? m->gone : NULL;
}

static int add_remap(struct restore *r, const RemapFilePathEntry *e)
{
	struct procfiles *all = procfiles_of(r);
	pid_t pid = (pid_t)e->remap_id;
	struct remapped *m;
	struct gone_process *g;

	if (!e->has_remap_type || e->remap_type != REMAP_TYPE__PROCFS)
		return 0;
	if (pid <= 0 || gone_process_of(r, e->orig_id))
		return log_errno(-EBADMSG, "remap-fpath.img: file %u is a duplicate, or is of process %d", e->orig_id,
		                 pid);
	HASH_FIND(hh, all->by_pid, &pid, sizeof(pid), g);
	if (!g) {
		g = arena_new_of(r->arena, struct gone_process);
		g->pid = pid;
		HASH_ADD_IN(r->arena, hh, all->by_pid, pid, sizeof(g->pid), g);
	}
	m = arena_new_of(r->arena, struct remapped);
	m->id = e->orig_id;
	m->gone = g;
	HASH_ADD_IN(r->arena, hh, all->by_id, id, sizeof(m->id), m);
	return 0;
}

static int note_wanted(struct restore *r, const void *msg, void *arg)
{
	const RegFileEntry *m = msg;
	struct gone_process *g = gone_process_of(r, m->id);

	if (g)
		arena_push(r->arena, &g->files, &g->n, m);
	return 0;
}

int procfile_read_images(struct restore *r)
{
	_cleanup_image_ struct image *img = NULL;
	int err = image_open(r->dir, IMG_REMAP_FPATH, 0, &img);
	RemapFilePathEntry *e;

	while (!err && (err = image_read(img, &remap_file_path_entry__descriptor, r->arena, &e)) > 0)
		err = add_remap(r, e);
	return err == -ENOENT ? 0 : err;
}

int procfile_check(struct restore *r, const RegFileEntry *m, const char **why)
{
	struct proc_path p;

	if (!procfile_parse_path(m->name, &p)) {
		if (!gone_process_of(r, m->id))
			return 1;
		*why = arena_printf(r->arena, "%s is said to be a file of a process that is gone", m->name);
		return -EBADMSG;
	}
	if (gone_process_of(r, m->id) || tree_find(&r->tree, VPID(p.tid ?: p.pid)))
		return 0;
	return 1; /* by its path, if there is one */
}

/* The same file under the number that the process has now. */
static int open_renumbered(struct restore *r, const RegFileEntry *m, pid_t pid,
                           int (*open_one)(struct restore *, const RegFileEntry *))
{
	RegFileEntry copy = *m;
	struct proc_path p;

	if (!procfile_parse_path(m->name, &p))
		return log_errno(-EBADMSG, "%s is not below /proc/PID", m->name);
	if (p.pid != pid) {
		copy.name = renumbered(r->arena, m->name, &p, pid, pid);
		log_warn("%s of a process that is gone is %s now: that number is taken", m->name, copy.name);
	}
	return open_one(r, &copy);
}

static void list_threads(struct restore *r, const struct gone_process *g, struct stand_in *s)
{
	for (size_t i = 0; i < g->n; i++) {
		struct proc_path p;
		size_t k = 0;

		if (!procfile_parse_path(g->files[i]->name, &p) || !p.tid || p.tid == g->pid)
			continue;
		while (k < s->n_tids && s->tids[k] != p.tid)
			k++;
		if (k == s->n_tids)
			arena_push(r->arena, &s->tids, &s->n_tids, p.tid);
	}
}

/* All files of the process at once. Returns that of m. */
static int open_in_stand_in(struct restore *r, const struct gone_process *g, const RegFileEntry *m,
                            int (*open_one)(struct restore *, const RegFileEntry *))
{
	struct stand_in s = { .want = g->pid };
	int err, ours;

	list_threads(r, g, &s);
	err = stand_in_start(&s);
	if (err)
		return err;
	ours = open_renumbered(r, m, s.pid, open_one);
	for (size_t i = 0; ours >= 0 && !err && i < g->n; i++) {
		int fd = g->files[i] == m ? -1 : open_renumbered(r, g->files[i], s.pid, open_one);

		if (fd >= 0)
			files_set(r, g->files[i]->id, fd);
		else if (g->files[i] != m)
			err = fd;
	}
	stand_in_end(&s);
	if (err && ours >= 0)
		close(ours);
	return err ?: ours;
}

static int open_in_task(struct restore *r, const RegFileEntry *m,
                        int (*open_one)(struct restore *, const RegFileEntry *))
{
	RegFileEntry copy = *m;
	const struct task *t;
	struct proc_path p;
	pid_t tid = 0;

	if (!ns_ids_own_pids(r) || !procfile_parse_path(m->name, &p) || !has_our_numbers(m->name, p.mount_len))
		return open_one(r, m);
	t = tree_find(&r->tree, VPID(p.pid));
	for (size_t i = 0; t && i < t->n_threads; i++)
		if (t->threads[i].vtid.v == p.tid)
			tid = t->threads[i].tid;
	if (t)
		copy.name = renumbered(r->arena, m->name, &p, t->pid, tid);
	return open_one(r, &copy);
}

int procfile_open(struct restore *r, const RegFileEntry *m, int (*open_one)(struct restore *, const RegFileEntry *))
{
	const struct gone_process *g = gone_process_of(r, m->id);

	/* Not earlier: by now all kinds have pinned the files that are in flight. */
	if (g && !procfiles_of(r)->listed) {
		procfiles_of(r)->listed = true;
		files_each(r, kind_by_fd_type(FD_TYPES__REG), note_wanted, NULL);
	}
	return g ? open_in_stand_in(r, g, m, open_one) : open_in_task(r, m, open_one);
}
