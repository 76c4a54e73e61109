/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Cgroup namespaces (cgroup_namespaces(7)). A namespace has no more than its roots, one in each hierarchy: the groups
 * of the process that makes it. Nothing tells them from outside; but a task's groups are shown to a process in the
 * namespace from its roots on, and the rest is the root.
 */
#include <fcntl.h>
#include <sched.h>
#include <string.h>

#include "cgroup/cgroup_ns.h"
#include "cgroup/cgroup_set.h"
#include "helper/ns_enter.h"
#include "lib/log.h"
#include "tree/ns_kind.h"

#define TEXT_SIZE (256UL << 10)

/* ---- dump ---- */

struct inside_text {
	pid_t tid;
	char *text; /* TEXT_SIZE bytes */
};

/* The helper is in criu's memory: nothing is allocated. */
static int read_inside(void *arg)
{
	const struct inside_text *in = arg;
	_cleanup_close_ int fd = -1;
	char path[32];
	ssize_t len;

	snprintf(path, sizeof(path), "/proc/%d/cgroup", in->tid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	len = fd < 0 ? -1 : read(fd, in->text, TEXT_SIZE - 1);
	if (len < 0)
		return log_errno(-errno, "open or read of %s in its cgroup namespace", path);
	in->text[len] = '\0';
	return len < (ssize_t)TEXT_SIZE - 1 ? 0 : log_errno(-E2BIG, "reading %s", path);
}

/* "/a/b/c" is seen as "/c": the root is "/a/b". */
static int set_root(CgMemberEntry *m, const char *seen, pid_t tid)
{
	size_t len = strlen(m->path), below = seen && strcmp(seen, "/") ? strlen(seen) : 0;

	m->has_cgns_prefix = true;
	if (!strcmp(m->path, "/") && !below)
		return 0;
	if (!seen || !strncmp(seen, "/..", 3) || below > len || strcmp(m->path + len - below, below ? seen : ""))
		return log_refusal(
		    -EOPNOTSUPP,
		    "pid %d: its cgroup %s of %s is not below the root of its cgroup namespace (from which "
		    "it is %s), which the images cannot say",
		    tid, m->path, *m->name ? m->name : "version 2", seen ?: "not to be seen");
	m->cgns_prefix = (uint32_t)(len - below);
	return 0;
}

int cgroup_ns_set_roots(struct arena *a, pid_t tid, CgSetEntry *set)
{
	struct inside_text in = { .tid = tid, .text = arena_alloc(a, TEXT_SIZE) };
	_cleanup_close_ int fd = open(arena_printf(a, "/proc/%d/ns/cgroup", tid), O_RDONLY | O_CLOEXEC);
	CgSetEntry seen = CG_SET_ENTRY__INIT;
	int err = fd < 0 ? log_errno(-errno, "open of /proc/%d/ns/cgroup", tid) : ns_enter_run(fd, read_inside, &in);

	if (err)
		return err;
	err = cgroup_set_parse(a, in.text, &seen);
	if (err)
		return log_errno(err, "/proc/%d/cgroup in its cgroup namespace", tid);
	for (size_t i = 0; i < set->n_ctls; i++) {
		int part = set_root(set->ctls[i], cgroup_set_path(&seen, set->ctls[i]->name), tid);

		err = err ?: part;
	}
	return err;
}

/* ---- restore ---- */

struct made_cgroup_ns {
	struct restore *r;
	uint32_t id;
};

static int note_namespace(struct restore *r, uint32_t id, void *message)
{
	*(struct made_cgroup_ns *)message = (struct made_cgroup_ns) { .r = r, .id = id };
	return 0;
}

static int move_to_roots(void *message)
{
	const struct made_cgroup_ns *ns = message;

	return cgroup_ns_move_to_roots(ns->r, ns->id);
}

extern const struct ns_kind cgroup_ns_kind;

const struct ns_kind cgroup_ns_kind = {
	.flag = CLONE_NEWCGROUP,
	.message = sizeof(struct made_cgroup_ns),
	.read = note_namespace,
	.before = move_to_roots,
};
