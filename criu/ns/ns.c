/* SPDX-License-Identifier: GPL-2.0-only */
/* Namespaces of a tree's own: looked at, made and entered, whatever their type. The rows (ns_kind) fill them. */
#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <sys/syscall.h>

#include "agent/batch.h"
#include "agent/send_fds.h"
#include "helper/helper.h"
#include "helper/ns_enter.h"
#include "lib/log.h"
#include "lib/message.h"
#include "ns/ns.h"
#include "ns/user_enter.h"
#include "proc/own_rights.h"
#include "proc/proc.h"
#include "tree/ns_given.h"
#include "tree/ns_ids.h"
#include "tree/ns_kind.h"
#include "tree/ns_made.h"
#include "tree/subsys.h"
#include "tree/user_ns_image.h"

struct made_ns {
	const struct ns_type *type;
	const struct ns_kind *kind;
	uint32_t id;
	void *message;
	int fd; /* keeps it until the tree lives; -1: not made yet. One that is given is there from the start */
	uint64_t ino;
};

struct made_all {
	struct made_ns *v;
	size_t n;
};

extern const struct subsys ns_subsys;

/* ---- dump ---- */

static int dump_ns(struct dump *d, const struct ns *ns)
{
	const struct ns_kind *kind = ns_kind_of(ns->type->flag);
	_cleanup_close_ int fd = -1;
	char path[64];
	void *message;
	int err;

	if (!kind->look)
		return 0;
	if (ns->pid > 0) {
		snprintf(path, sizeof(path), "/proc/%d/ns/%s", ns->pid, ns->type->name);
		fd = open(path, O_RDONLY | O_CLOEXEC);
	} else {
		fd = fcntl(ns->fd, F_DUPFD_CLOEXEC, 0);
	}
	if (fd < 0)
		return log_errno(-errno, "open of a %s namespace, or fcntl(F_DUPFD_CLOEXEC)", ns->type->name);
	message = arena_alloc(d->arena, kind->message);
	err = ns_enter_run(fd, kind->look, message);
	return err ?: kind->write(d, ns->id, message);
}

static int ns_write_images(struct dump *d)
{
	const struct ns_ids *ids = ns_ids_all(d);
	int err = 0;

	for (size_t i = 0; !err && i < ids->n; i++)
		if (ids->all[i].pid && !ids->all[i].external)
			err = dump_ns(d, &ids->all[i]);
	return err;
}

/* ---- an ordinary user ---- */

/* A task that is not born in its user namespace enters these before, which takes privileges outside. */
#define WITH_PIDS (CLONE_NEWUTS | CLONE_NEWCGROUP | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWNS)

static bool is_ordinary(struct arena *a)
{
	struct own_rights own;

	return geteuid() && !own_rights_read(a, &own) && !own_rights_have(&own, CAP_SYS_ADMIN);
}

static int refuse_type(const struct task *t, const char *name)
{
	return log_errno(-EPERM,
	                 "%s: has its own %s namespace, and none of its own for pids: an ordinary user's criu can "
	                 "restore that only where the first process of a pid namespace is born in it: run criu as root",
	                 task_name(t), name);
}

/* Of two /proc/PID. */
static bool has_another_ns(int proc, int other, const char *name)
{
	uint64_t a, b;

	return !ns_type_inode(proc, name, &a) && !ns_type_inode(other, name, &b) && a != b;
}

/* Before anything goes into them. */
static int ns_look(struct dump *d, struct task *t)
{
	_cleanup_close_ int proc = -1, self = -1;
	uint64_t refused;
	int err = 0;

	if (!geteuid() || !is_ordinary(d->arena))
		return 0;
	proc = proc_open(t->pid);
	self = proc_open(getpid());
	if (proc < 0 || self < 0)
		return log_errno(MIN(proc, self), "%s: open of its /proc/PID, or criu's", task_name(t));
	refused = has_another_ns(proc, self, "pid") ? 0 : WITH_PIDS;
	for (size_t k = 0; k < NAMESPACE_TYPES; k++)
		if ((ns_types[k].flag & refused) && has_another_ns(proc, self, ns_types[k].name))
			err = refuse_type(t, ns_types[k].name);
	return err;
}

/* ---- restore ---- */

static struct made_ns *find_made(struct restore *r, const struct ns_type *type, uint32_t id)
{
	struct made_all *all = restore_state(r, &ns_subsys);

	for (size_t i = 0; i < all->n; i++)
		if (all->v[i].type == type && all->v[i].id == id)
			return &all->v[i];
	return NULL;
}

/* Of a namespace that is made, or given; 0: criu's. */
static uint32_t number_of(const struct restore *r, const struct task *t, const struct ns_type *type)
{
	uint32_t id = t->ids ? message_get_u32(t->ids, type->field) : 0;

	return ns_given_fd(r, type, id) >= 0 ? id : ns_ids_own(r, t, type);
}

/* One that is given is there already, and has no images. */
static int add_given(struct restore *r, struct made_ns *ns, int given)
{
	struct made_all *all = restore_state(r, &ns_subsys);

	ns->fd = fcntl(given, F_DUPFD_CLOEXEC, 0);
	arena_push(r->arena, &all->v, &all->n, *ns);
	if (ns->fd < 0)
		return log_errno(-errno, "fcntl(F_DUPFD_CLOEXEC) of a namespace");
	return ns->kind->given ? ns->kind->given(r, ns->id) : 0;
}

static int read_kind(struct restore *r, const struct ns_kind *kind, uint32_t id)
{
	struct made_all *all = restore_state(r, &ns_subsys);
	struct made_ns ns = { .type = ns_type_of_flag(kind->flag), .kind = kind, .id = id, .fd = -1 };
	int given = ns_given_fd(r, ns.type, id);

	if (kind->by_birth || kind->apart || find_made(r, ns.type, id))
		return 0;
	if (given >= 0)
		return add_given(r, &ns, given);
	ns.message = arena_alloc(r->arena, kind->message);
	arena_push(r->arena, &all->v, &all->n, ns);
	return kind->read(r, id, ns.message);
}

static int read_ns(struct restore *r, const struct task *t, const struct ns_type *type, uint32_t id)
{
	const struct ns_kind *kind = ns_kind_of(type->flag);
	int err = kind ? read_kind(r, kind, id) : 0;

	if (err == -ENOENT && !t)
		return log_errno(err, "inventory.img: %s namespace %u has no image", type->name, id);
	if (err == -ENOENT)
		return log_errno(err,
		                 "ids-%d.img (or inventory.img): %s was in %s namespace %u, of which there is no image",
		                 t->vpid.v, task_name(t), type->name, id);
	return err;
}

static int read_held(struct restore *r)
{
	int err = 0;

	for (size_t i = 0; !err && i < r->inventory->n_held_ns; i++) {
		const InventoryNs *m = r->inventory->held_ns[i];
		const struct ns_type *type = ns_type_of_flag(m->type);

		if (!type || !m->id || (!(type->flag & NAMESPACES_WITHOUT_TASKS) && ns_given_fd(r, type, m->id) < 0))
			return log_errno(-EBADMSG, "inventory.img: a namespace (%x, number %u) in which no task is",
			                 m->type, m->id);
		err = read_ns(r, NULL, type, m->id);
	}
	return err;
}

static int ns_read_images(struct restore *r)
{
	int err = 0;

	for (size_t i = 0; i < r->tree.n_tasks; i++) {
		for (size_t k = 0; !err && k < NAMESPACE_TYPES; k++) {
			const struct task *t = r->tree.tasks[i];
			uint32_t id = number_of(r, t, &ns_types[k]);

			err = id ? read_ns(r, t, &ns_types[k], id) : 0;
		}
	}
	return err ?: r->inventory ? read_held(r) : 0;
}

static int read_other(struct restore *r, const struct ns_kind *kind, uint32_t id)
{
	int err = read_kind(r, kind, id);

	if (err != -ENOENT)
		return err;
	return log_errno(err, "files.img: a file is of %s namespace %u, of which there is no image",
	                 ns_type_of_flag(kind->flag)->name, id);
}

static int ns_read_others(struct restore *r)
{
	int err = 0;

	for (const struct ns_kind *const *k = ns_kinds; !err && *k; k++)
		if ((*k)->others)
			err = (*k)->others(r, read_other);
	return err;
}

static int make_ns(struct restore *r, struct made_ns *ns)
{
	const struct user_ns *owner = user_ns_owner(r, ns->id);
	bool given = ns->fd >= 0;
	int err = 0;

	/* Made inside of its owner, filled from outside: ids are criu's there. */
	if (!given && owner && ns->kind->make)
		err = ns->kind->make(ns->message, owner, &ns->fd);
	if (!err && ns->fd < 0)
		ns->fd = ns_enter_make(ns->type, owner ? owner->fd : -1, ns->kind->before,
		                       owner ? NULL : ns->kind->fill, ns->message);
	if (err || ns->fd < 0)
		return err ?: ns->fd;
	ns_made_note(r, ns->type, ns->id, ns->fd);
	if (!given && owner && ns->kind->fill)
		err = ns_enter_run(ns->fd, ns->kind->fill, ns->message);
	if (!err)
		err = ns_enter_inode(ns->fd, &ns->ino);
	if (!err && ns->kind->made)
		err = ns->kind->made(r, ns->id, ns->fd);
	return err;
}

static int ns_before_start(struct restore *r)
{
	struct made_all *all = restore_state(r, &ns_subsys);
	int err = 0;

	for (size_t i = 0; !err && i < all->n; i++)
		err = make_ns(r, &all->v[i]);
	return err;
}

int ns_enter_by_agent(struct restore *r, struct task *t, const struct ns_type *type, int fd)
{
	int number, err = agent_send_fds(t, &fd, 1, &number);
	struct batch *batch;

	if (err)
		return err;
	batch = agent_batch(t->restore->agent, arena_printf(r->arena, "entering its %s namespace", type->name));
	batch_call(batch, SYS_setns, (uint64_t)number, type->flag);
	batch_call(batch, SYS_close, (uint64_t)number);
	return batch_run(batch);
}

/* A task is born in its creator's namespaces, which may be those of another task than its parent. */
static int enter_one(struct restore *r, struct task *t, const struct ns_type *type, int proc)
{
	uint32_t id = number_of(r, t, type);
	const struct made_ns *ns = id ? find_made(r, type, id) : NULL;
	_cleanup_close_ int own = -1;
	char path[64];
	uint64_t ino;
	int err = ns_type_inode(proc, type->name, &ino);

	if (err)
		return log_errno(err, "%s: stat of its ns/%s", task_name(t), type->name);
	if (ns)
		return ino == ns->ino ? 0 : ns_enter_by_agent(r, t, type, ns->fd);
	snprintf(path, sizeof(path), "/proc/self/ns/%s", type->name);
	own = open(path, O_RDONLY | O_CLOEXEC);
	if (own < 0)
		return log_errno(-errno, "open of %s", path);
	return ns_enter_by_agent(r, t, type, own);
}

static bool has_type(const struct made_all *all, const struct ns_type *type)
{
	for (size_t i = 0; i < all->n; i++)
		if (all->v[i].type == type)
			return true;
	return false;
}

static int ns_born(struct restore *r, struct task *t)
{
	const struct made_all *all = restore_state(r, &ns_subsys);
	_cleanup_close_ int proc = -1;
	int err = 0;

	if (!all->n)
		return 0;
	proc = proc_open(t->pid);
	if (proc < 0)
		return log_errno(proc, "%s: open of /proc/%d", task_name(t), t->pid);
	for (size_t k = 0; !err && k < NAMESPACE_TYPES; k++)
		if (has_type(all, &ns_types[k]))
			err = enter_one(r, t, &ns_types[k], proc);
	return err;
}

/* ---- a root task that is born in a user namespace ---- */

static uint32_t own_of_root(struct restore *r, uint64_t flag)
{
	return ns_ids_own(r, r->tree.tasks[0], ns_type_of_flag(flag));
}

bool ns_root_is_born_inside(struct restore *r)
{
	uint32_t pids = own_of_root(r, CLONE_NEWPID);

	return pids && user_ns_owner(r, pids);
}

/* What makes a pid namespace in a user namespace can give its processes no numbers outside. */
static int refuse_owned_pids(const struct task *t, uint32_t owner)
{
	return log_refusal(-ENOTSUP,
	                   "%s: its pid namespace belongs to a user namespace (number %u) in which the root task was "
	                   "not born: dump from the first process of the pid namespace on",
	                   task_name(t), owner);
}

/* Of the namespaces below the root task's. */
static int ns_foresee(struct dump *d)
{
	const struct ns_ids *ids = ns_ids_all(d);
	const struct task *root = d->tree.tasks[0];
	uint32_t own = 0;
	int err = 0, part;

	for (size_t i = 0; root->ids && i < ids->n; i++)
		if (ids->all[i].id == root->ids->pid_ns_id)
			own = ids->all[i].owner;
	for (size_t i = 0; root->ids && i < ids->n; i++) {
		const struct ns *ns = &ids->all[i];

		if (ns->type->flag != CLONE_NEWPID || !ns->pid || ns->id == root->ids->pid_ns_id || ns->owner == own)
			continue;
		for (size_t k = 0; k < d->tree.n_tasks; k++) {
			const struct task *t = d->tree.tasks[k];

			part = t->ids && (t->ids->pid_ns_id == ns->id || t->ids->pid_ns_for_children_id == ns->id)
			           ? refuse_owned_pids(t, ns->owner)
			           : 0;
			err = err ?: part;
		}
	}
	return err;
}

static int ns_check(struct restore *r)
{
	const struct ns_type *type = ns_type_of_flag(CLONE_NEWPID);
	uint32_t root = own_of_root(r, CLONE_NEWPID);
	const struct user_ns *own = root ? user_ns_owner(r, root) : NULL;
	int err = 0, part;

	for (size_t i = 0; i < r->tree.n_tasks; i++) {
		const struct task *t = r->tree.tasks[i];
		uint32_t id = ns_ids_own(r, t, type);
		const struct user_ns *owner;

		if (t->ids && t->ids->has_pid_ns_for_children_id)
			id = t->ids->pid_ns_for_children_id ?: id;
		owner = id ? user_ns_owner(r, id) : NULL;
		part = id && id != root && owner != own ? refuse_owned_pids(t, owner ? owner->id : 0) : 0;
		err = err ?: part;
	}
	return err;
}

size_t ns_root_fds(struct restore *r, int **places)
{
	struct user_ns *owner = user_ns_owner(r, own_of_root(r, CLONE_NEWPID));
	size_t n = 0;

	for (size_t k = 0; k < NAMESPACE_TYPES; k++) {
		uint32_t id = own_of_root(r, ns_types[k].flag);
		struct made_ns *ns = id ? find_made(r, &ns_types[k], id) : NULL;

		if (ns)
			places[n++] = &ns->fd;
	}
	places[n++] = &owner->fd;
	return n;
}

/* Those that belong to a user namespace of the tree's, or those that do not. */
static int join_others(struct restore *r, bool owned)
{
	int err = 0;

	for (size_t k = 0; !err && k < NAMESPACE_TYPES; k++) {
		const struct ns_type *type = &ns_types[k];
		uint32_t id = own_of_root(r, type->flag);
		const struct made_ns *ns = id ? find_made(r, type, id) : NULL;

		if (ns && owned == (user_ns_owner(r, id) != NULL))
			err = ns_enter_join(type, ns->fd);
	}
	return err;
}

/*
 * The user namespace last: the others may belong to that around it. The root task may enter one in that later. An
 * ordinary user may enter what belongs to a user namespace only from inside of that.
 */
int ns_become_root(struct restore *r)
{
	const struct user_ns *owner = user_ns_owner(r, own_of_root(r, CLONE_NEWPID));
	bool ordinary = geteuid() != 0;
	int err = join_others(r, false);

	if (!err && !ordinary)
		err = join_others(r, true);
	err = err ?: user_become_root(r, owner);
	return err ?: ordinary ? join_others(r, true) : 0;
}

static void ns_done(struct restore *r)
{
	struct made_all *all = restore_state(r, &ns_subsys);

	for (size_t i = 0; i < all->n; i++)
		if (all->v[i].fd >= 0)
			close(all->v[i].fd);
	all->n = 0;
}

static int check_ordinary(struct restore *r)
{
	const struct made_all *all = restore_state(r, &ns_subsys);
	uint64_t refused = ns_root_is_born_inside(r) ? 0 : WITH_PIDS;
	int err = 0;

	if (!geteuid() || !is_ordinary(r->arena))
		return 0;
	for (size_t i = 0; i < all->n; i++)
		if ((all->v[i].type->flag & refused) && all->v[i].fd < 0)
			err = refuse_type(r->tree.tasks[0], all->v[i].type->name);
	return err;
}

static int ns_check_all(struct restore *r)
{
	return ns_read_others(r) ?: check_ordinary(r) ?: ns_check(r);
}

const struct subsys ns_subsys = {
	.name = "namespaces",
	.state = { .restore = sizeof(struct made_all) },
	.look = ns_look,
	.foresee = ns_foresee,
	.write_images = ns_write_images,
	.read_images = ns_read_images,
	.check = ns_check_all,
	.before_start = ns_before_start,
	.born = ns_born,
	.done = ns_done,
};
