/* SPDX-License-Identifier: GPL-2.0-only */
#include "tree/ns_ids.h"

#include <fcntl.h>
#include <linux/nsfs.h>
#include <linux/sched.h>
#include <string.h>
#include <sys/ioctl.h>

#include "lib/log.h"
#include "lib/message.h"
#include "proc/proc.h"
#include "tree/inventory.h"
#include "tree/ns_given.h"
#include "tree/ns_kind.h"
#include "tree/subsys.h"
#include "tree/user_ns.h"

extern const struct subsys ns_ids_subsys;

const struct ns_kind *ns_kind_of(uint64_t flag)
{
	for (const struct ns_kind *const *k = ns_kinds; *k; k++)
		if ((*k)->flag == flag)
			return *k;
	return NULL;
}

struct ns_ids *ns_ids_all(struct dump *d)
{
	return dump_state(d, &ns_ids_subsys);
}

/* ---- dump ---- */

static void add_ns(struct dump *d, const struct ns_type *type, uint64_t ino, pid_t pid)
{
	struct ns_ids *ids = ns_ids_all(d);
	const struct ns ns = { .type = type,
		               .ino = ino,
		               .id = (uint32_t)ids->n + 1,
		               .pid = pid,
		               .fd = -1,
		               .external = ns_given_key(d->opts, type, ino) };

	arena_push(d->arena, &ids->all, &ids->n, ns);
}

static struct ns *find_ns(struct dump *d, const struct ns_type *type, uint64_t ino)
{
	const struct ns_ids *ids = ns_ids_all(d);

	for (size_t i = 0; i < ids->n; i++)
		if (ids->all[i].type == type && ids->all[i].ino == ino)
			return &ids->all[i];
	return NULL;
}

static bool is_crius(const struct ns *ns)
{
	return ns->id <= NAMESPACE_TYPES;
}

bool ns_ids_is_crius(struct dump *d, const struct ns_type *type, uint64_t ino)
{
	const struct ns *ns = find_ns(d, type, ino);

	return ns && is_crius(ns);
}

uint32_t ns_ids_number(struct dump *d, const struct ns_type *type, uint64_t ino)
{
	if (!find_ns(d, type, ino))
		add_ns(d, type, ino, -1);
	return find_ns(d, type, ino)->id;
}

const struct ns *ns_ids_add(struct dump *d, const struct ns_type *type, uint64_t ino, int fd)
{
	int user = fd < 0 ? -1 : ioctl(fd, NS_GET_USERNS);
	struct user_ns *owner = NULL;

	add_ns(d, type, ino, -1);
	find_ns(d, type, ino)->fd = fd;
	if (user >= 0 && !user_ns_meet_fd(d, user, &owner) && owner)
		find_ns(d, type, ino)->owner = owner->id;
	return find_ns(d, type, ino);
}

/* 0: this kernel has no such type. */
static int look_at_inode(int proc_fd, const char *file, uint64_t *ino)
{
	int err = ns_type_inode(proc_fd, file, ino);

	if (err == -ENOENT)
		*ino = 0;
	return err == -ENOENT ? 0 : err;
}

int ns_ids_begin(struct dump *d)
{
	_cleanup_close_ int self = proc_open(getpid());
	_cleanup_close_ int root = proc_open(d->tree.tasks[0]->pid);

	if (self < 0 || root < 0)
		return log_errno(MIN(self, root), "open of /proc/%d or /proc/%d", getpid(), d->tree.tasks[0]->pid);
	for (size_t i = 0; i < NAMESPACE_TYPES; i++) {
		const struct ns_type *type = &ns_types[i];
		uint64_t ino;
		int err = look_at_inode(type->flag == CLONE_NEWTIME ? root : self, type->name, &ino);

		if (err)
			return log_errno(err, "stat of /proc/self/ns/%s", type->name);
		add_ns(d, type, ino, 0);
	}
	return 0;
}

void ns_ids_of_criu(TaskKobjIdsEntry *ids)
{
	for (size_t i = 0; i < NAMESPACE_TYPES; i++)
		message_set_u32(ids, ns_types[i].field, (uint32_t)i + 1);
}

/* A namespace whose first child is not there yet is shown by no file. */
static bool children_are_elsewhere(const struct task *t, const struct ns_type *type, uint64_t ino)
{
	uint64_t its;
	int err = type->for_children ? ns_type_inode(t->dump->proc_fd, type->for_children, &its) : 0;

	return type->for_children && ino && (err == -ENOENT || (!err && its != ino));
}

bool ns_ids_any(struct dump *d, uint64_t flag)
{
	const struct ns_ids *ids = ns_ids_all(d);

	for (size_t i = 0; i < ids->n; i++)
		if (ids->all[i].type->flag == flag && ids->all[i].pid)
			return true;
	return false;
}

static int look_at_owner(struct dump *d, const struct task *t, const char *file, uint32_t *owner)
{
	_cleanup_close_ int fd = -1;
	struct user_ns *ns;
	char path[32];
	int user, err;

	snprintf(path, sizeof(path), "ns/%s", file);
	fd = openat(t->dump->proc_fd, path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return log_errno(-errno, "%s: open of its %s", task_name(t), path);
	user = ioctl(fd, NS_GET_USERNS);
	if (user < 0)
		return log_errno(-errno, "%s: its %s: NS_GET_USERNS", task_name(t), path);
	err = user_ns_meet_fd(d, user, &ns);
	*owner = !err && ns ? ns->id : 0;
	return err;
}

/* file: where /proc shows the namespace. */
static int first_in_ns(struct dump *d, const struct task *t, struct ns *ns, const char *file)
{
	const struct ns_type *type = ns->type;
	uint64_t ino = ns->ino;
	uint32_t owner = 0;
	int err;

	ns->pid = t->pid;
	if (ns->external && ns->type->flag != CLONE_NEWUSER)
		return 0;
	if (ns->type->flag == CLONE_NEWUSER) /* images have the ids of inside */
		return user_ns_meet(d, ns->ino, t->pid);
	err = look_at_owner(d, t, file, &owner);
	find_ns(d, type, ino)->owner = owner; /* the table may have grown */
	return err;
}

static int number_of_ns(struct dump *d, const struct task *t, const struct ns_type *type, uint32_t *id)
{
	struct ns *ns;
	uint64_t ino;
	int err = look_at_inode(t->dump->proc_fd, type->name, &ino);

	if (err)
		return log_errno(err, "%s: stat of its ns/%s", task_name(t), type->name);
	*id = ns_ids_number(d, type, ino);
	ns = find_ns(d, type, ino);
	return !is_crius(ns) && ns->pid <= 0 ? first_in_ns(d, t, ns, type->name) : 0;
}

/* One that no task may be in is met. */
static int owner_of_childrens(struct dump *d, const struct task *t, const struct ns_type *type, uint64_t ino)
{
	uint32_t owner;
	int err = find_ns(d, type, ino)->external ? 0 : look_at_owner(d, t, type->for_children, &owner);

	if (!err && !find_ns(d, type, ino)->external)
		find_ns(d, type, ino)->owner = owner;
	return err;
}

/* CRIU would have the children in the task's own. */
static int number_of_children(struct dump *d, const struct task *t, uint64_t flag, bool *elsewhere, uint32_t *id)
{
	const struct ns_type *type = ns_type_of_flag(flag);
	uint64_t own, ino;
	int err = look_at_inode(t->dump->proc_fd, type->name, &own);

	*elsewhere = !err && children_are_elsewhere(t, type, own);
	if (err)
		return log_errno(err, "%s: stat of its ns/%s", task_name(t), type->name);
	if (!*elsewhere)
		return 0;
	if (!ns_type_inode(t->dump->proc_fd, type->for_children, &ino)) {
		*id = ns_ids_number(d, type, ino);
		if (!is_crius(find_ns(d, type, ino)) && find_ns(d, type, ino)->pid <= 0)
			err = owner_of_childrens(d, t, type, ino);
	}
	inventory_only_ours(d);
	return err;
}

int ns_ids_of_task(struct dump *d, const struct task *t, TaskKobjIdsEntry *ids)
{
	bool pid = false, time = false;
	int err = 0;

	for (size_t i = 0; !err && i < NAMESPACE_TYPES; i++) {
		uint32_t id = 0;

		err = number_of_ns(d, t, &ns_types[i], &id);
		message_set_u32(ids, ns_types[i].field, id);
	}
	err = err ?: number_of_children(d, t, CLONE_NEWPID, &pid, &ids->pid_ns_for_children_id);
	err = err ?: number_of_children(d, t, CLONE_NEWTIME, &time, &ids->time_ns_for_children_id);
	ids->has_pid_ns_for_children_id = pid;
	ids->has_time_ns_for_children_id = time;
	return err;
}

/* ---- restore ---- */

/* Time namespaces are apart (ns/time.c). Older images number all namespaces alike. */
uint32_t ns_ids_own(const struct restore *r, const struct task *t, const struct ns_type *type)
{
	const TaskKobjIdsEntry *criu = r->inventory ? r->inventory->root_ids : NULL;
	uint32_t id;

	if (!t->ids || !criu || type->flag == CLONE_NEWTIME)
		return 0;
	id = message_get_u32(t->ids, type->field);
	return id == message_get_u32(criu, type->field) || ns_given_fd(r, type, id) >= 0 ? 0 : id;
}

bool ns_ids_is_held(const struct restore *r, const struct ns_type *type, uint32_t id)
{
	const InventoryEntry *inv = r->inventory;

	for (size_t i = 0; inv && i < inv->n_held_ns; i++)
		if (inv->held_ns[i]->type == type->flag && inv->held_ns[i]->id == id)
			return true;
	return false;
}

int ns_ids_given_pids(const struct restore *r)
{
	const TaskKobjIdsEntry *ids = r->tree.n_tasks ? r->tree.tasks[0]->ids : NULL;

	return ids ? ns_given_fd(r, ns_type_of_flag(CLONE_NEWPID), ids->pid_ns_id) : -1;
}

bool ns_ids_own_pids(const struct restore *r)
{
	return ns_ids_given_pids(r) >= 0 ||
	       (r->tree.n_tasks && ns_ids_own(r, r->tree.tasks[0], ns_type_of_flag(CLONE_NEWPID)));
}

bool ns_ids_was_of_tree(const struct restore *r, pid_t pid)
{
	return !ns_ids_own_pids(r) && tree_find(&r->tree, VPID(pid));
}

const struct subsys ns_ids_subsys = { .name = "numbers of namespaces", .state = { .dump = sizeof(struct ns_ids) } };
