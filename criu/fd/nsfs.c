/* SPDX-License-Identifier: GPL-2.0-only */
/* Descriptors of namespaces (/proc/PID/ns/...): reopened through a task that lives in the namespace. */
#include <fcntl.h>
#include <linux/magic.h>
#include <sched.h>
#include <string.h>
#include <sys/vfs.h>

#include "files/files.h"
#include "lib/log.h"
#include "lib/message.h"
#include "lib/arena_hash.h"
#include "ns.pb-c.h"

extern const struct fd_kind nsfs_kind;

static const struct ns_type {
	const char *name;  /* of the file in /proc/PID/ns, and in the link's text */
	const char *field; /* of task_kobj_ids_entry */
	uint32_t flag;
} types[] = {
	{ "net", "net_ns_id", CLONE_NEWNET },          { "mnt", "mnt_ns_id", CLONE_NEWNS },
	{ "pid", "pid_ns_id", CLONE_NEWPID },          { "user", "user_ns_id", CLONE_NEWUSER },
	{ "ipc", "ipc_ns_id", CLONE_NEWIPC },          { "uts", "uts_ns_id", CLONE_NEWUTS },
	{ "cgroup", "cgroup_ns_id", CLONE_NEWCGROUP }, { "time", "time_ns_id", CLONE_NEWTIME },
};

/* "net:[4026531840]". One that is bound to a path has that as its link, and comes back by it. */
static const struct ns_type *type_of_link(const char *link)
{
	for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
		size_t len = strlen(types[i].name);

		if (!strncmp(link, types[i].name, len) && link[len] == ':' && link[len + 1] == '[')
			return &types[i];
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
	char path[16];
	struct stat st;

	if (t->state == TASK_DEAD)
		return false;
	snprintf(path, sizeof(path), "ns/%s", type->name);
	return !fstatat(t->dump->proc_fd, path, &st, 0) && st.st_ino == ino;
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

static int nsfs_dump(struct dump *d, const struct fd_info *info, void *msg)
{
	const struct ns_type *type = type_of_link(info->link);
	const struct task *inside = find_inside(d, info, type);
	NsFileEntry *m = msg;

	if (!inside) {
		log_refusal(
		    -ENOTSUP,
		    "%s: %s: a namespace that no task of the tree lives in; close it before the dump, or bind it "
		    "to a path and have it opened by that",
		    fd_name(info), info->link);
		return DUMP_REFUSED;
	}
	m->ns_cflag = type->flag;
	m->ns_id = message_get_u32(inside->ids, type->field);
	return 0;
}

/* ---- restore ---- */

static const struct ns_type *type_of_flag(uint32_t flag)
{
	for (size_t i = 0; i < ARRAY_SIZE(types); i++)
		if (types[i].flag == flag)
			return &types[i];
	return NULL;
}

static const struct task *find_task_with(const struct restore *r, const struct ns_type *type, uint32_t id)
{
	for (size_t i = 0; i < r->tree.n_tasks; i++) {
		const struct task *t = r->tree.tasks[i];

		if (t->state != TASK_DEAD && t->ids && message_get_u32(t->ids, type->field) == id)
			return t;
	}
	return NULL;
}

static int nsfs_check(struct restore *r, const void *msg, const char **why)
{
	const NsFileEntry *m = msg;
	const struct ns_type *type = type_of_flag(m->ns_cflag);

	if (!type)
		*why = arena_printf(r->arena, "a namespace of an unknown type (%x)", m->ns_cflag);
	else if (!m->ns_id || !find_task_with(r, type, m->ns_id))
		*why = arena_printf(r->arena, "a %s namespace (number %u) that no task of the checkpoint lives in",
		                    type->name, m->ns_id);
	return *why ? -ENOTSUP : 0;
}

static int nsfs_open(struct restore *r, const void *msg)
{
	const NsFileEntry *m = msg;
	const struct ns_type *type = type_of_flag(m->ns_cflag);
	const struct task *t = type ? find_task_with(r, type, m->ns_id) : NULL;
	char path[48];
	int fd;

	if (!t)
		return log_errno(-ENOENT, "a namespace (%x, number %u) that no task lives in", m->ns_cflag, m->ns_id);
	snprintf(path, sizeof(path), "/proc/%d/ns/%s", t->pid, type->name);
	fd = open(path, (int)(m->flags & (O_PATH | O_NONBLOCK | O_NOATIME)) | O_CLOEXEC);
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
