/* SPDX-License-Identifier: GPL-2.0-only */
#include <linux/kcmp.h>
#include <string.h>
#include <sys/stat.h>
#include <fcntl.h>

#include "proc/kcmp.h"
#include "proc/timens.h"
#include "tree/kobj_ids.h"
#include "lib/log.h"

/* What is compared by kcmp, in the order of the message's first fields. */
static const int types[] = { KCMP_VM, KCMP_FILES, KCMP_FS, KCMP_SIGHAND };

/* Namespaces, in the order in which they are numbered, by one counter for all. */
enum ns { NS_PID, NS_NET, NS_IPC, NS_UTS, NS_TIME, NS_MNT, NS_USER, NS_CGROUP, NS_COUNT };

static const struct {
	const char *file, *name;
	enum ns is;
} ns_files[] = {
	{ "pid", "pid", NS_PID },
	{ "net", "net", NS_NET },
	{ "ipc", "ipc", NS_IPC },
	{ "uts", "uts", NS_UTS },
	{ "time", "time", NS_TIME },
	{ "mnt", "mnt", NS_MNT },
	{ "user", "user", NS_USER },
	{ "cgroup", "cgroup", NS_CGROUP },
	{ "pid_for_children", "pid (of its children)", NS_PID },
	{ "time_for_children", "time (of its children)", NS_TIME },
};

enum { TYPE_VM = 0, TYPE_SIGHAND = ARRAY_SIZE(types) - 1 };

struct kobj_state {
	struct kcmp_tree trees[ARRAY_SIZE(types)];
	struct kcmp_tree *handlers; /* those of the tasks with one memory, by its id - 1 */
	size_t n_handlers;
	uint32_t last[ARRAY_SIZE(types)];
	ino_t ns[NS_COUNT]; /* criu's, but for time: the root task's. 0: this kernel has no such namespace */
};

/*
 * Handlers of signals are shared only by tasks that share their memory (clone(2) demands it, and execve() parts both):
 * the handlers of others need not be compared.
 */
static struct kcmp_tree *tree_of_handlers(struct dump *d, struct kobj_state *s, uint32_t vm_id)
{
	while (s->n_handlers < vm_id)
		arena_push(d->arena, &s->handlers, &s->n_handlers, (struct kcmp_tree) {});
	return &s->handlers[vm_id - 1];
}

static int number_of_object(struct dump *d, struct kobj_state *s, size_t type, struct kcmp_tree *tree, pid_t pid,
                            uint32_t *id)
{
	struct kcmp_node *node;
	int err = kcmp_find(tree, d->arena, types[type], pid, 0, &node);

	if (err)
		return err;
	if (!node->id)
		node->id = ++s->last[type];
	*id = node->id;
	return 0;
}

/* ids: as many as there are types, in their order. */
static int number_of_all(struct dump *d, struct kobj_state *s, pid_t pid, uint32_t *const ids[])
{
	int err = 0;

	for (size_t i = 0; !err && i < ARRAY_SIZE(types); i++) {
		struct kcmp_tree *tree = i == TYPE_SIGHAND ? tree_of_handlers(d, s, *ids[TYPE_VM]) : &s->trees[i];

		err = number_of_object(d, s, i, tree, pid, ids[i]);
	}
	return err;
}

/* Of time namespaces only the offsets matter, and time_ns.c keeps those: any will do, if all tasks share it. */
static int read_root_time_ns(struct dump *d, struct kobj_state *s)
{
	uint64_t ino;
	int err = timens_inode(d->tree.tasks[0]->pid, &ino);

	s->ns[NS_TIME] = ino;
	return err ? log_errno(err, "pid %d: stat of its ns/time", d->tree.tasks[0]->pid) : 0;
}

static int read_own_namespaces(struct dump *d, struct kobj_state *s)
{
	char path[64];
	struct stat st;
	uint32_t id[ARRAY_SIZE(types)];
	int err = number_of_all(d, s, getpid(), (uint32_t *const[]) { &id[0], &id[1], &id[2], &id[3] });

	if (err)
		return log_errno(err, "kcmp: is CONFIG_KCMP missing in this kernel?");
	for (size_t i = 0; i < ARRAY_SIZE(ns_files); i++) {
		snprintf(path, sizeof(path), "/proc/self/ns/%s", ns_files[i].file);
		if (!stat(path, &st))
			s->ns[ns_files[i].is] = st.st_ino;
		else if (errno != ENOENT)
			return log_errno(-errno, "stat of %s", path);
	}
	return read_root_time_ns(d, s);
}

/* All tasks are in criu's namespaces (or one time namespace), or the dump is refused: so the numbers are the same for
 * all. */
static void set_ns_ids(TaskKobjIdsEntry *ids)
{
	ids->has_pid_ns_id = ids->has_net_ns_id = ids->has_ipc_ns_id = ids->has_uts_ns_id = true;
	ids->has_time_ns_id = ids->has_mnt_ns_id = ids->has_user_ns_id = ids->has_cgroup_ns_id = true;
	ids->pid_ns_id = NS_PID + 1;
	ids->net_ns_id = NS_NET + 1;
	ids->ipc_ns_id = NS_IPC + 1;
	ids->uts_ns_id = NS_UTS + 1;
	ids->time_ns_id = NS_TIME + 1;
	ids->mnt_ns_id = NS_MNT + 1;
	ids->user_ns_id = NS_USER + 1;
	ids->cgroup_ns_id = NS_CGROUP + 1;
}

static int check_namespaces(const struct kobj_state *s, const struct task *t)
{
	char path[64], names[200] = "";
	size_t len = 0;
	struct stat st;

	for (size_t i = 0; i < ARRAY_SIZE(ns_files); i++) {
		ino_t own = s->ns[ns_files[i].is];

		if (!own)
			continue;
		snprintf(path, sizeof(path), "ns/%s", ns_files[i].file);
		if (fstatat(t->dump->proc_fd, path, &st, 0)) {
			if (errno ==
			    ENOENT) /* pid_for_children of a new pid namespace does not exist before its first child */
				st.st_ino = strchr(ns_files[i].file, '_') ? 0 : own;
			else
				return log_errno(-errno, "%s: stat of its %s", task_name(t), path);
		}
		if (st.st_ino != own && len < sizeof(names))
			len += snprintf(names + len, sizeof(names) - len, "%s%s", len ? ", " : "", ns_files[i].name);
	}
	if (len)
		log_refusal(-ENOTSUP,
		            "%s: lives in namespaces that are not criu's (time: not the root task's): %s; namespaces "
		            "come with a later release; until "
		            "then run criu inside of them (nsenter)",
		            task_name(t), names);
	return 0;
}

static int dump_task_ids(struct dump *d, struct kobj_state *s, struct task *t)
{
	TaskKobjIdsEntry *ids = t->ids = arena_msg(d->arena, TaskKobjIdsEntry, task_kobj_ids_entry);
	uint32_t *const fields[] = { &ids->vm_id, &ids->files_id, &ids->fs_id, &ids->sighand_id };
	int err = number_of_all(d, s, t->pid, fields);

	if (err)
		return log_errno(err, "%s: comparing what it shares with others (kcmp)", task_name(t));
	set_ns_ids(ids);
	err = check_namespaces(s, t);
	return err ?: image_write_one(d->dir, IMG_IDS, t->vpid.v, ids);
}

int kobj_ids_dump(struct dump *d)
{
	struct kobj_state *s = arena_new_of(d->arena, struct kobj_state);
	int err = read_own_namespaces(d, s);

	for (size_t i = 0; !err && i < d->tree.n_tasks; i++)
		if (d->tree.tasks[i]->state != TASK_DEAD)
			err = dump_task_ids(d, s, d->tree.tasks[i]);
	return err;
}
