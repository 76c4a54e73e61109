/* SPDX-License-Identifier: GPL-2.0-only */
/* Restore: user namespaces of others, in which tasks come back (tree/ns_given.h). Their maps count, not the images'. */
#include <fcntl.h>
#include <linux/sched.h>
#include <string.h>
#include <unistd.h>

#include "helper/ns_enter.h"
#include "lib/io.h"
#include "lib/log.h"
#include "lib/message.h"
#include "proc/proc.h"
#include "tree/ns_given.h"
#include "tree/subsys.h"
#include "tree/user_ns_image.h"

extern const struct subsys user_ns_given_subsys;

/* ---- its maps ---- */

struct standing {
	int ns, said[2];
};

/* A fork: it stands in the namespace until it is killed. */
static int stand_inside(void *arg)
{
	const struct standing *s = arg;
	int err = ns_enter_join(ns_type_of_flag(CLONE_NEWUSER), s->ns);

	if (io_write_all(s->said[1], &err, sizeof(err)))
		return 1;
	while (!err)
		pause();
	return 0;
}

static int parse_given(struct restore *r, struct user_ns *ns, int proc_fd, const char *file, enum user_id kind)
{
	_cleanup_free_ char *text = NULL;
	int err = proc_read(proc_fd, file, &text, NULL);

	return err ?: user_ns_parse_map(r->arena, text, NULL, kind, &ns->map[kind]);
}

/* In criu's ids, which the kernel gives to who opens the files: so not the process that is inside. */
static int read_given(struct restore *r, struct user_ns *ns, pid_t pid)
{
	_cleanup_close_ int proc_fd = proc_open(pid);
	_cleanup_free_ char *setgroups = NULL;
	int err = proc_fd < 0 ? proc_fd : parse_given(r, ns, proc_fd, "uid_map", USER_ID);

	err = err ?: parse_given(r, ns, proc_fd, "gid_map", GROUP_ID);
	err = err ?: proc_read(proc_fd, "setgroups", &setgroups, NULL);
	if (err)
		return log_errno(err, "reading the maps of a user namespace that is given, in /proc/%d", pid);
	ns->deny_setgroups = !strncmp(setgroups, "deny", 4);
	if (!ns->map[USER_ID].n || !ns->map[GROUP_ID].n)
		return log_refusal(-EINVAL, "user namespace %u, which is given, has no map yet (uid_map, gid_map)",
		                   ns->id);
	return 0;
}

static int look_at_given(struct restore *r, struct user_ns *ns)
{
	struct standing s = { .ns = ns->fd };
	int entered = -ECANCELED, err;
	pid_t pid;

	if (pipe2(s.said, O_CLOEXEC))
		return log_errno(-errno, "pipe2");
	pid = helper_start(&(struct helper_spec) { 0 }, stand_inside, &s);
	close(s.said[1]);
	if (pid > 0 && read(s.said[0], &entered, sizeof(entered)) != sizeof(entered))
		entered = -ECANCELED;
	close(s.said[0]);
	if (pid < 0)
		return log_errno(pid, "clone3 of a helper that enters a user namespace");
	err = entered ? log_refusal(entered, "user namespace %u, which is given: it cannot be entered from criu's own",
	                            ns->id)
	              : read_given(r, ns, pid);
	helper_kill(pid);
	return err;
}

/* ---- the table ---- */

static int add_given(struct restore *r, uint32_t id)
{
	const struct ns_type *type = ns_type_of_flag(CLONE_NEWUSER);
	struct user_ns_table *all = user_ns_of_restore(r);
	int fd = ns_given_fd(r, type, id), err;
	struct user_ns *ns;

	if (fd < 0 || user_ns_find(all, id))
		return 0;
	ns = arena_new_of(r->arena, struct user_ns);
	*ns = (struct user_ns) { .id = id, .given = true, .fd = fcntl(fd, F_DUPFD_CLOEXEC, 3) };
	if (ns->fd < 0)
		return log_errno(-errno, "fcntl(F_DUPFD_CLOEXEC) of a user namespace");
	arena_push(r->arena, &all->v, &all->n, ns);
	err = ns_enter_inode(ns->fd, &ns->ino) ?: look_at_given(r, ns);
	return err ?: user_ns_read_unmapped(r, ns);
}

static int list_given(struct restore *r)
{
	const InventoryEntry *inv = r->inventory;
	int err = 0;

	for (size_t i = 0; !err && i < r->tree.n_tasks; i++)
		if (r->tree.tasks[i]->ids)
			err = add_given(r, r->tree.tasks[i]->ids->user_ns_id);
	for (size_t i = 0; !err && inv && i < inv->n_ns_owners; i++)
		if (inv->ns_owners[i]->has_user_ns_id)
			err = add_given(r, inv->ns_owners[i]->user_ns_id);
	return err;
}

/* ---- --join-ns user:FILE,UID,GID ---- */

static int choose_id(struct user_ns *ns, enum user_id kind, const char **text)
{
	char *end;
	unsigned long id = strtoul(*text, &end, 10);

	if (**text < '0' || **text > '9' || id >= UINT32_MAX || *end != (kind == USER_ID ? ',' : '\0'))
		return log_refusal(-EINVAL, "--join-ns user:...,%s: UID,GID is expected behind the comma", *text);
	if (!user_ns_outside(ns, kind, (uint32_t)id, &ns->enter_as[kind]))
		return log_refusal(-EINVAL,
		                   "--join-ns user:...,%s: %s id %lu has no place in the map of that namespace", *text,
		                   kind == USER_ID ? "user" : "group", id);
	*text = end + 1;
	return 0;
}

/* With these a process enters it; what the task had is set in there. */
static int choose_ids(struct restore *r)
{
	const struct user_ns_table *all = user_ns_of_restore(r);
	const struct ns_type *type = ns_type_of_flag(CLONE_NEWUSER);
	int err = 0;

	for (size_t i = 0; !err && i < all->n; i++) {
		const char *text = all->v[i]->given ? ns_given_extra(r, type, all->v[i]->id) : NULL;

		if (text)
			err = choose_id(all->v[i], USER_ID, &text) ?: choose_id(all->v[i], GROUP_ID, &text);
	}
	return err;
}

const struct subsys user_ns_given_subsys = {
	.name = "user namespaces that are given",
	.read_images = list_given,
	.check = choose_ids,
};
