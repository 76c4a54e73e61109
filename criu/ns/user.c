/* SPDX-License-Identifier: GPL-2.0-only */
/* User namespaces (user_namespaces(7)): made with their maps, parents first. tree/user_ns.h has the ids. */
#include <fcntl.h>
#include <sched.h>
#include <string.h>

#include "helper/executor.h"
#include "helper/ns_enter.h"
#include "lib/fault.h"
#include "lib/io.h"
#include "lib/log.h"
#include "proc/proc.h"
#include "tree/ns_kind.h"
#include "tree/subsys.h"
#include "tree/user_ns_image.h"

/* ---- both ---- */

/* The kernel lets no process enter one that has its directories (fs_struct) in common with another. */
static int check_fs(const struct tree *tree, const struct user_ns_table *all)
{
	int err = 0;

	for (size_t i = 0; all->n && i < tree->n_tasks; i++) {
		const struct task *t = tree->tasks[i], *first = t->ids ? tree_first_fs(tree, t) : t;

		if (t->state != TASK_DEAD && first != t && user_ns_of_task(all, t))
			err =
			    log_refusal(-ENOTSUP,
			                "%s: is in a user namespace, and has its root and working directory in common "
			                "with %s (CLONE_FS): a process cannot enter a user namespace so; end one of "
			                "them before the dump",
			                task_name(t), task_name(first));
	}
	return err;
}

static int foresee_fs(struct dump *d)
{
	return check_fs(&d->tree, user_ns_of_dump(d));
}

static int check_restore(struct restore *r)
{
	return check_fs(&r->tree, user_ns_of_restore(r));
}

/* ---- dump ---- */

/* Of a namespace without a task: read in it. */
struct inner_view {
	char *text[2], *setgroups;
};

static int look_inside(void *arg)
{
	struct inner_view *v = arg;
	_cleanup_close_ int proc_fd = proc_open(getpid());
	int err = proc_fd < 0 ? proc_fd : proc_read(proc_fd, "uid_map", &v->text[USER_ID], NULL);

	err = err ?: proc_read(proc_fd, "gid_map", &v->text[GROUP_ID], NULL);
	err = err ?: proc_read(proc_fd, "setgroups", &v->setgroups, NULL);
	return err ? log_errno(err, "reading the maps of a user namespace in /proc/self") : 0;
}

static int parse_view(struct dump *d, struct user_ns *ns, const struct inner_view *v)
{
	int err = 0;

	for (int kind = USER_ID; !err && kind <= GROUP_ID; kind++)
		err = user_ns_parse_map(d->arena, v->text[kind], ns->parent, kind, &ns->map[kind]);
	ns->deny_setgroups = !strncmp(v->setgroups, "deny", 4);
	return err ? log_errno(err, "user namespace %llu: its maps have ids that its parent has not",
	                       (unsigned long long)ns->ino)
	           : 0;
}

static int look_at_empty(struct dump *d, struct user_ns *ns)
{
	struct inner_view v = { 0 };
	int err = ns_enter_run(ns->fd, look_inside, &v);

	err = err ?: parse_view(d, ns, &v);
	free(v.text[USER_ID]);
	free(v.text[GROUP_ID]);
	free(v.setgroups);
	return err;
}

static int write_user_namespaces(struct dump *d)
{
	const struct user_ns_table *all = user_ns_of_dump(d);
	int err = 0;

	for (size_t i = 0; !err && i < all->n; i++)
		err = all->v[i]->pid ? 0 : look_at_empty(d, all->v[i]);
	return err ?: user_ns_write(d);
}

static void close_all(struct user_ns_table *all)
{
	for (size_t i = 0; i < all->n; i++)
		if (all->v[i]->fd >= 0)
			close(all->v[i]->fd);
	all->n = 0;
}

static void end_dump(struct dump *d)
{
	close_all(user_ns_of_dump(d));
}

/* ---- restore ---- */

/* An executor stands in each while others are made in it. */
struct maker {
	struct executor **v;
	const struct user_ns_table *all;
};

static struct executor *executor_of(const struct maker *m, const struct user_ns *ns)
{
	for (size_t i = 0; ns && i < m->all->n; i++)
		if (m->all->v[i] == ns)
			return m->v[i];
	return NULL;
}

/* In the executor, which is not dumpable: for an ordinary user it alone may open what its /proc has. */
static int open_own_ns(struct executor_job *job)
{
	job->out[0] = open("/proc/self/ns/user", O_RDONLY | O_CLOEXEC);
	job->n_out = 1;
	return job->out[0] < 0 ? log_errno(-errno, "open of /proc/self/ns/user in the new user namespace") : 0;
}

static int make_one(struct restore *r, const struct maker *m, struct user_ns *ns, struct executor **e)
{
	uint32_t owner;
	const struct executor_spec given = { .ns = &ns->fd, .n_ns = 1 };
	struct executor_spec spec = {
		.from = executor_of(m, ns->parent),
		.make = CLONE_NEWUSER,
		.uid_map = user_ns_map_text(r->arena, ns, USER_ID),
		.gid_map = user_ns_map_text(r->arena, ns, GROUP_ID),
		.deny_setgroups = ns->deny_setgroups,
		.owner = &owner,
	};
	int err;

	if (ns->given)
		return ns_enter_inode(ns->fd, &ns->ino) ?: executor_start(&given, e);
	if (!user_ns_known(ns->parent, USER_ID, ns->owner, &owner))
		return log_errno(-EINVAL, "userns-%u.img: its owner %u is not in the namespace around it", ns->id,
		                 ns->owner);
	err = executor_start(&spec, e);
	if (err)
		return err;
	err = executor_run(*e, &(struct executor_call) { .fn = open_own_ns, .out = &ns->fd, .n_out = 1 });
	if (err)
		return err;
	err = ns_enter_inode(ns->fd, &ns->ino);
	fault_point("user namespace made");
	return err;
}

static int make_user_namespaces(struct restore *r)
{
	const struct user_ns_table *all = user_ns_of_restore(r);
	struct maker m = { .v = arena_array(r->arena, struct executor *, all->n), .all = all };
	int err = 0;

	for (size_t i = 0; !err && i < all->n; i++)
		err = make_one(r, &m, all->v[i], &m.v[i]);
	for (size_t i = all->n; i-- > 0;)
		executor_end(m.v[i]);
	return err;
}

static void end_restore(struct restore *r)
{
	close_all(user_ns_of_restore(r));
}

extern const struct subsys user_ns_make_subsys, user_ns_write_subsys;

const struct subsys user_ns_make_subsys = {
	.name = "user namespaces, made",
	.foresee = foresee_fs,
	.check = check_restore,
	.before_threads = make_user_namespaces,
	.done = end_restore,
};

/* Apart, since other images give ids their numbers. */
const struct subsys user_ns_write_subsys = {
	.name = "images of user namespaces",
	.write_images = write_user_namespaces,
	.end = end_dump,
};

extern const struct ns_kind user_ns_kind;

const struct ns_kind user_ns_kind = {
	.flag = CLONE_NEWUSER,
	.apart = true,
};
