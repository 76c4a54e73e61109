/* SPDX-License-Identifier: GPL-2.0-only */
#include "helper/ipc_ns.h"

#include <fcntl.h>
#include <linux/mount.h>
#include <linux/sched.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "helper/detour.h"
#include "helper/executor_parts.h"
#include "helper/ns_enter.h"
#include "lib/fiber.h"
#include "lib/log.h"
#include "proc/ns_type.h"
#include "tree/ns_given.h"
#include "tree/ns_ids.h"
#include "tree/ns_made.h"
#include "tree/subsys.h"
#include "tree/user_ns_image.h"

extern const struct subsys ipc_ns_subsys;

struct ipc_ns_list {
	size_t listed;
	struct ipc_ns *first, **end;
};

static void add_ipc_ns(struct arena *a, struct ipc_ns_list *list, struct ipc_ns ns)
{
	struct ipc_ns *added = arena_new_of(a, struct ipc_ns);

	*added = ns;
	added->home = added->queues = -1;
	if (!list->end)
		list->end = &list->first;
	*list->end = added;
	list->end = &added->next;
}

static struct ipc_ns *find_by_id(struct ipc_ns *first, const struct task *t)
{
	while (first && (!t->ids || first->id != t->ids->ipc_ns_id))
		first = first->next;
	return first;
}

/* ---- dump ---- */

static const struct task *find_member(const struct tree *tree, uint32_t id)
{
	for (size_t i = 0; i < tree->n_tasks; i++)
		if (tree->tasks[i]->ids && tree->tasks[i]->ids->ipc_ns_id == id)
			return tree->tasks[i];
	return NULL;
}

static void add_dumped(struct dump *d, struct ipc_ns_list *list, const struct ns *ns)
{
	const struct task *t = find_member(&d->tree, ns->id);
	const char *name = t ? arena_printf(d->arena, "the ipc namespace of %s", task_name(t))
	                     : "an ipc namespace in which no task is";

	if (t || ns->pid)
		add_ipc_ns(d->arena, list,
		           (struct ipc_ns) { .id = ns->id,
		                             .own = ns->pid && !ns->external,
		                             .elsewhere = ns->pid,
		                             .task = t,
		                             .name = name,
		                             .owner = user_ns_find(user_ns_of_dump(d), ns->owner),
		                             .given = -1,
		                             .fd = ns->pid < 0 ? fcntl(ns->fd, F_DUPFD_CLOEXEC, 0) : -1 });
}

/* More may come, until all descriptors are known. */
struct ipc_ns *ipc_ns_dumped(struct dump *d)
{
	struct ipc_ns_list *list = dump_state(d, &ipc_ns_subsys);
	const struct ns_ids *ids = ns_ids_all(d);

	for (; list->listed < ids->n; list->listed++)
		if (ids->all[list->listed].type->flag == CLONE_NEWIPC)
			add_dumped(d, list, &ids->all[list->listed]);
	return list->first;
}

struct ipc_ns *ipc_ns_of_dumped(struct dump *d, const struct task *t)
{
	return find_by_id(ipc_ns_dumped(d), t);
}

static void close_all(struct ipc_ns_list *list)
{
	for (struct ipc_ns *ns = list->first; ns; ns = ns->next) {
		cleanup_close(&ns->fd);
		cleanup_close(&ns->home);
		cleanup_close(&ns->queues);
		ns->fd = ns->home = ns->queues = -1;
	}
}

static void ipc_ns_dump_end(struct dump *d)
{
	close_all(dump_state(d, &ipc_ns_subsys));
}

/* ---- restore ---- */

static void add_restored(struct restore *r, struct ipc_ns_list *list, const struct task *t, uint32_t id)
{
	const struct ns_type *type = ns_type_of_flag(CLONE_NEWIPC);
	int given = ns_given_fd(r, type, id);
	bool own = t ? ns_ids_own(r, t, type) : given < 0;

	add_ipc_ns(r->arena, list,
	           (struct ipc_ns) { .id = id,
	                             .own = own,
	                             .elsewhere = own || given >= 0,
	                             .task = t,
	                             .given = given,
	                             .owner = given < 0 ? user_ns_owner(r, id) : NULL,
	                             .fd = given >= 0 ? fcntl(given, F_DUPFD_CLOEXEC, 0) : -1 });
}

struct ipc_ns *ipc_ns_restored(struct restore *r)
{
	struct ipc_ns_list *list = restore_state(r, &ipc_ns_subsys);
	const InventoryEntry *inv = r->inventory;

	for (size_t i = 0; !list->listed && i < r->tree.n_tasks; i++) {
		const struct task *t = r->tree.tasks[i];

		if (t->ids && !find_by_id(list->first, t))
			add_restored(r, list, t, t->ids->ipc_ns_id);
	}
	for (size_t i = 0; !list->listed && inv && i < inv->n_held_ns; i++)
		if (inv->held_ns[i]->type == CLONE_NEWIPC)
			add_restored(r, list, NULL, inv->held_ns[i]->id);
	list->listed = true;
	return list->first;
}

struct ipc_ns *ipc_ns_of_restored(struct restore *r, const struct task *t)
{
	return find_by_id(ipc_ns_restored(r), t);
}

static int ipc_ns_before_start(struct restore *r)
{
	for (struct ipc_ns *ns = ipc_ns_restored(r); ns; ns = ns->next) {
		if (!ns->own)
			continue;
		ns->fd = fcntl(ns_made_fd(r, CLONE_NEWIPC, ns->id), F_DUPFD_CLOEXEC, 0);
		if (ns->fd < 0)
			return log_errno(-errno, "ipc namespace %u: F_DUPFD_CLOEXEC", ns->id);
	}
	return 0;
}

static void ipc_ns_restore_done(struct restore *r)
{
	close_all(restore_state(r, &ipc_ns_subsys));
}

/* ---- both ---- */

const struct task *ipc_ns_find_task(const struct ipc_ns *ns, const struct tree *tree, int64_t pid)
{
	const struct task *t = pid > 0 && pid <= INT32_MAX ? tree_find(tree, (vpid_t) { (int32_t)pid }) : NULL;

	return t && t->ids && t->ids->ipc_ns_id == ns->id ? t : NULL;
}

static int open_ipc_ns(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	return fd < 0 ? log_errno(-errno, "open of %s", path) : fd;
}

static bool is_on_detour(const struct ipc_ns *ns)
{
	return ns->owner && detour_is_ordinary();
}

static int enter_by_detour(struct ipc_ns *ns)
{
	int err;

	ns->from = detour_at();
	err = detour_go(ns->fd);
	return err ? log_errno(err, "setns into ipc namespace %u of the tree, from inside of its user namespace",
	                       ns->id)
	           : 0;
}

static int go_into(struct ipc_ns *ns)
{
	char path[40];

	if (ns->fd < 0) {
		snprintf(path, sizeof(path), "/proc/%d/ns/ipc", ns->task->pid);
		ns->fd = open_ipc_ns(path);
	}
	if (ns->fd >= 0 && is_on_detour(ns))
		return enter_by_detour(ns);
	if (ns->fd >= 0 && ns->home < 0)
		ns->home = open_ipc_ns("/proc/thread-self/ns/ipc");
	if (ns->fd < 0 || ns->home < 0)
		return MIN(ns->fd, ns->home);
	return ns_enter_thread(ns->fd, CLONE_NEWIPC);
}

int ipc_ns_enter(struct ipc_ns *ns)
{
	int err = ns && ns->elsewhere ? go_into(ns) : 0;

	if (!err && ns && ns->elsewhere)
		fiber_hold();
	return err;
}

int ipc_ns_leave(struct ipc_ns *ns, int err)
{
	if (!ns || !ns->elsewhere)
		return err;
	if (is_on_detour(ns) ? detour_go(ns->from) : ns_enter_thread(ns->home, CLONE_NEWIPC))
		abort(); /* criu would work in the wrong namespace: its guardian takes all back */
	fiber_release();
	return err;
}

bool ipc_ns_id_inside(const struct ipc_ns *ns, enum user_id kind, uint32_t ours, uint32_t *id)
{
	*id = ours;
	return !ns || !is_on_detour(ns) ||
	       (user_ns_known(ns->owner, kind, ours, id) && !user_ns_is_unmapped(ns->owner, kind, *id));
}

bool ipc_ns_id_outside(const struct ipc_ns *ns, enum user_id kind, uint32_t id, uint32_t *ours)
{
	*ours = id;
	return !ns || !is_on_detour(ns) ||
	       (!user_ns_is_unmapped(ns->owner, kind, id) && user_ns_outside(ns->owner, kind, id, ours));
}

int ipc_ns_undo_fd(const struct ipc_ns *ns)
{
	return ns->given;
}

int ipc_ns_undo_enter(int fd, int *home)
{
	int err;

	*home = -1;
	if (fd < 0)
		return 0;
	*home = open_ipc_ns("/proc/thread-self/ns/ipc");
	err = *home < 0 ? *home : ns_enter_thread(fd, CLONE_NEWIPC);
	if (err)
		cleanup_close(home);
	return err;
}

void ipc_ns_undo_leave(int fd, int home)
{
	if (fd < 0)
		return;
	ns_enter_thread(home, CLONE_NEWIPC);
	close(home);
}

static int open_queues(void)
{
	_cleanup_close_ int context = (int)syscall(SYS_fsopen, "mqueue", FSOPEN_CLOEXEC), mount = -1;
	int fd;

	if (context < 0 && errno == ENODEV)
		return -ENODEV;
	if (context < 0 || syscall(SYS_fsconfig, context, FSCONFIG_CMD_CREATE, NULL, NULL, 0))
		return log_errno(-errno, "fsopen of an mqueue file system, or fsconfig(FSCONFIG_CMD_CREATE)");
	mount = (int)syscall(SYS_fsmount, context, FSMOUNT_CLOEXEC, 0);
	fd = mount < 0 ? -1 : openat(mount, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? log_errno(-errno, "fsmount or openat of an mqueue file system") : fd;
}

int ipc_ns_queues(struct ipc_ns *ns)
{
	int err;

	if (ns->queues >= 0)
		return ns->queues;
	err = ipc_ns_enter(ns);
	if (err)
		return err;
	/* Only in a mount namespace of the caller's own may an ordinary user mount. */
	err = is_on_detour(ns) ? executor_unshare(CLONE_NEWNS) : 0;
	ns->queues = err ?: open_queues();
	err = ipc_ns_leave(ns, MIN(ns->queues, 0));
	return err ?: ns->queues;
}

const struct subsys ipc_ns_subsys = {
	.name = "ipc namespaces",
	.state = { .dump = sizeof(struct ipc_ns_list), .restore = sizeof(struct ipc_ns_list) },
	.end = ipc_ns_dump_end,
	.before_start = ipc_ns_before_start,
	.done = ipc_ns_restore_done,
};
