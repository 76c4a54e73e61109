/* SPDX-License-Identifier: GPL-2.0-only */
/* Dump: which user namespaces a tree has, what they are in, and their maps. */
#include <fcntl.h>
#include <linux/nsfs.h>
#include <linux/sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include "lib/log.h"
#include "proc/proc.h"
#include "tree/ns_ids.h"
#include "tree/user_ns.h"

#define DEPTH_MAX 33 /* the kernel nests them no deeper */

int user_ns_parse_map(struct arena *a, const char *text, const struct user_ns *outer, enum user_id kind,
                      struct user_map *map)
{
	unsigned first, lower, count;
	int len;

	map->n = 0;
	for (; sscanf(text, "%u %u %u%n", &first, &lower, &count, &len) == 3; text += len) {
		struct user_range range = { .first = first, .count = count };

		if (!user_ns_outside(outer, kind, lower, &range.outside))
			return -EINVAL;
		arena_push(a, &map->v, &map->n, range);
	}
	return text[strspn(text, " \n")] ? -EINVAL : 0;
}

static int read_map(struct dump *d, struct user_ns *ns, int proc_fd, enum user_id kind)
{
	const char *name = kind == USER_ID ? "uid_map" : "gid_map";
	_cleanup_free_ char *text = NULL;
	int err = proc_read(proc_fd, name, &text, NULL);

	err = err ?: user_ns_parse_map(d->arena, text, NULL, kind, &ns->map[kind]);
	return err ? log_errno(err, "read of /proc/%d/%s", ns->pid, name) : 0;
}

/* In criu's ids, by a process that is in it. */
static int read_maps(struct dump *d, struct user_ns *ns)
{
	_cleanup_free_ char *setgroups = NULL;
	_cleanup_close_ int proc_fd = proc_open(ns->pid);
	int err = proc_fd < 0 ? log_errno(proc_fd, "open of /proc/%d", ns->pid) : 0;

	err = err ?: read_map(d, ns, proc_fd, USER_ID);
	err = err ?: read_map(d, ns, proc_fd, GROUP_ID);
	if (err)
		return err;
	err = proc_read(proc_fd, "setgroups", &setgroups, NULL);
	if (err)
		return log_errno(err, "read of /proc/%d/setgroups", ns->pid);
	ns->deny_setgroups = !strncmp(setgroups, "deny", 4);
	return 0;
}

static struct user_ns *find_inode(const struct user_ns_table *all, uint64_t ino)
{
	for (size_t i = 0; i < all->n; i++)
		if (all->v[i]->ino == ino)
			return all->v[i];
	return NULL;
}

static int add_ns(struct dump *d, int fd, uint64_t ino, struct user_ns *parent, struct user_ns **out)
{
	struct user_ns_table *all = user_ns_of_dump(d);
	struct user_ns *ns = arena_new_of(d->arena, struct user_ns);
	uid_t owner;

	ns->ino = ino;
	ns->parent = parent;
	ns->fd = fd;
	ns->id = ns_ids_number(d, ns_type_of_flag(CLONE_NEWUSER), ino);
	if (ioctl(fd, NS_GET_OWNER_UID, &owner))
		return log_errno(-errno, "user namespace %llu: NS_GET_OWNER_UID", (unsigned long long)ino);
	ns->owner = owner;
	arena_push(d->arena, &all->v, &all->n, ns);
	*out = ns;
	return 0;
}

static int meet_fd(struct dump *d, int fd, unsigned depth, struct user_ns **out)
{
	struct user_ns *parent = NULL;
	struct stat st;
	int up, err = fstat(fd, &st) ? log_errno(-errno, "fstat of a user namespace") : 0;

	*out = NULL;
	if (!err && !ns_ids_is_crius(d, ns_type_of_flag(CLONE_NEWUSER), st.st_ino) &&
	    !(*out = find_inode(user_ns_of_dump(d), st.st_ino))) {
		up = depth < DEPTH_MAX ? ioctl(fd, NS_GET_PARENT) : -1;
		if (up < 0)
			err = log_refusal(-EPERM,
			                  "user namespace %llu does not lie in criu's: run criu in that one, or "
			                  "outside of both (nsenter)",
			                  (unsigned long long)st.st_ino);
		else
			err = meet_fd(d, up, depth + 1, &parent);
		if (!err)
			return add_ns(d, fd, st.st_ino, parent, out);
	}
	close(fd);
	return err;
}

int user_ns_meet_fd(struct dump *d, int fd, struct user_ns **ns)
{
	return meet_fd(d, fd, 0, ns);
}

int user_ns_meet(struct dump *d, uint64_t ino, pid_t pid)
{
	struct user_ns *ns = find_inode(user_ns_of_dump(d), ino);
	char path[64];
	int fd, err = 0;

	if (!ns) {
		snprintf(path, sizeof(path), "/proc/%d/ns/user", pid);
		fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd < 0)
			return log_errno(-errno, "open of %s", path);
		err = user_ns_meet_fd(d, fd, &ns);
	}
	if (err || !ns || ns->pid)
		return err;
	ns->pid = pid;
	return read_maps(d, ns);
}
