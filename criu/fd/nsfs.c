/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Descriptors of namespaces (/proc/PID/ns/...): reopened through a task that lives in the namespace. One in which no
 * task of the tree lives is criu's, or is made as those of tasks are.
 */
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/sched.h>
#include <string.h>
#include <sys/vfs.h>

#include "files/files.h"
#include "files/net_ns.h"
#include "lib/log.h"
#include "lib/message.h"
#include "lib/arena_hash.h"
#include "lib/fd_flags.h"
#include "proc/ns_type.h"
#include "tree/ns_ids.h"
#include "tree/ns_made.h"
#include "ns.pb-c.h"

extern const struct fd_kind nsfs_kind;

/* "net:[4026531840]". One that is bound to a path has that as its link, and comes back by it. */
static const struct ns_type *type_of_link(const char *link)
{
	for (size_t i = 0; i < NAMESPACE_TYPES; i++) {
		size_t len = strlen(ns_types[i].name);

		if (!strncmp(link, ns_types[i].name, len) && link[len] == ':' && link[len + 1] == '[')
			return &ns_types[i];
	}
	return NULL;
}

static bool nsfs_match(const struct fd_info *info)
{
	struct statfs fs;

	return type_of_link(info->link) && !fstatfs(info->fd, &fs) && fs.f_type == NSFS_MAGIC;
}

/* ---- dump ---- */

static bool is_in_ns(const struct task *t, const struct ns_type *type, uint64_t ino)
{
	uint64_t its;

	return t->state != TASK_DEAD && !ns_type_inode(t->dump->proc_fd, type->name, &its) && its == ino;
}

/* A namespace that was met: looking for a task that is in it may lead through the whole tree. */
struct ns_seen {
	uint64_t ino;
	const struct task *inside;
	UT_hash_handle hh;
};

static const struct task *find_inside(struct dump *d, const struct fd_info *info, const struct ns_type *type)
{
	struct ns_seen **table = dump_state(d, &nsfs_kind), *m;
	uint64_t ino = info->st.st_ino;

	HASH_FIND(hh, *table, &ino, sizeof(ino), m);
	if (m)
		return m->inside;
	m = arena_new_of(d->arena, struct ns_seen);
	m->ino = ino;
	m->inside = is_in_ns(info->task, type, ino) ? info->task : NULL;
	for (size_t i = 0; !m->inside && i < d->tree.n_tasks; i++)
		if (is_in_ns(d->tree.tasks[i], type, ino))
			m->inside = d->tree.tasks[i];
	HASH_ADD_IN(d->arena, hh, *table, ino, sizeof(m->ino), m);
	return m->inside;
}

/* One that is not known yet: its content is looked at when all descriptors are known. What is in flight comes too late.
 */
static const struct ns *note_held(struct dump *d, const struct fd_info *info, const struct ns_type *type)
{
	int fd = info->number >= 0 && type->flag & NAMESPACES_WITHOUT_TASKS
	             ? fd_flags_reopen(info->fd, O_RDONLY | O_CLOEXEC)
	             : -1;

	return fd < 0 ? NULL : ns_ids_add(d, type, info->st.st_ino, fd);
}

static const struct ns *find_held(struct dump *d, const struct fd_info *info, const struct ns_type *type)
{
	const struct ns_ids *ids = ns_ids_all(d);

	for (size_t i = 0; i < ids->n; i++)
		if (ids->all[i].type == type && ids->all[i].ino == info->st.st_ino)
			return &ids->all[i];
	return note_held(d, info, type);
}

static int nsfs_dump(struct dump *d, const struct fd_info *info, void *msg)
{
	const struct ns_type *type = type_of_link(info->link);
	const struct task *inside = find_inside(d, info, type);
	const struct ns *held = inside || type->flag == CLONE_NEWNET ? NULL : find_held(d, info, type);
	uint32_t net = inside || type->flag != CLONE_NEWNET ? 0 : net_ns_number_dumped(d, info->fd);
	NsFileEntry *m = msg;

	if (!inside && !net && type->flag == CLONE_NEWNET)
		return log_errno(-ENOENT, "%s: %s: its number", fd_name(info), info->link);
	if (!inside && !held && !net) {
		log_refusal(
		    -ENOTSUP,
		    "%s: %s: a namespace that no task of the tree lives in, nor criu, which is supported for uts, ipc, "
		    "net, mnt and time alone, and not in the queue of a socket; close it before the dump, or bind it "
		    "to a path and have it opened by that",
		    fd_name(info), info->link);
		return DUMP_REFUSED;
	}
	m->ns_cflag = type->flag;
	m->ns_id = inside ? message_get_u32(inside->ids, type->field) : held ? held->id : net;
	return 0;
}

/* ---- restore ---- */

static const struct task *find_task_with(const struct restore *r, const struct ns_type *type, uint32_t id)
{
	for (size_t i = 0; i < r->tree.n_tasks; i++) {
		const struct task *t = r->tree.tasks[i];

		if (t->state != TASK_DEAD && t->ids && message_get_u32(t->ids, type->field) == id)
			return t;
	}
	return NULL;
}

static bool is_crius(const struct restore *r, const struct ns_type *type, uint32_t id)
{
	const TaskKobjIdsEntry *criu = r->inventory ? r->inventory->root_ids : NULL;

	return criu && message_get_u32(criu, type->field) == id;
}

static int nsfs_check(struct restore *r, const void *msg, const char **why)
{
	const NsFileEntry *m = msg;
	const struct ns_type *type = ns_type_of_flag(m->ns_cflag);

	if (!type)
		*why = arena_printf(r->arena, "a namespace of an unknown type (%x)", m->ns_cflag);
	else if (!m->ns_id || (!find_task_with(r, type, m->ns_id) && !is_crius(r, type, m->ns_id) &&
	                       !ns_ids_is_held(r, type, m->ns_id) &&
	                       !(type->flag == CLONE_NEWNET && net_ns_is_expected(r, m->ns_id))))
		*why = arena_printf(r->arena, "a %s namespace (number %u) that no task of the checkpoint lives in",
		                    type->name, m->ns_id);
	return *why ? -ENOTSUP : 0;
}

static int nsfs_open(struct restore *r, const void *msg)
{
	const NsFileEntry *m = msg;
	const struct ns_type *type = ns_type_of_flag(m->ns_cflag);
	const struct task *t = type ? find_task_with(r, type, m->ns_id) : NULL;
	int made = ns_made_fd(r, m->ns_cflag, m->ns_id), fd;
	char path[48];

	if (!type)
		return log_errno(-EINVAL, "a namespace of an unknown type (%x)", m->ns_cflag);
	if (t)
		snprintf(path, sizeof(path), "/proc/%d/ns/%s", t->pid, type->name);
	else if (made >= 0)
		snprintf(path, sizeof(path), "/proc/self/fd/%d", made);
	else
		snprintf(path, sizeof(path), "/proc/self/ns/%s", type->name);
	fd =
	    open(path, (int)(m->flags & (O_PATH | O_ACCMODE | O_NONBLOCK | O_NOATIME | O_APPEND | O_SYNC)) | O_CLOEXEC);
	return fd < 0 ? log_errno(-errno, "open of %s", path) : fd;
}

const struct fd_kind nsfs_kind = {
	.name = "namespace",
	.state = { .dump = sizeof(struct ns_seen *) },
	.type = FD_TYPES__NS,
	.field = 5,
	.pb = &ns_file_entry__descriptor,
	.match = nsfs_match,
	.dump = nsfs_dump,
	.check = nsfs_check,
	.open = nsfs_open,
};
