/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Which cgroups hold a thread frozen: its own or those above, of version 1 and 2. A frozen thread can be seized and
 * given registers, but enters the freezer instead of the agent; so all of these cgroups are thawed while criu works.
 */
#include <fcntl.h>
#include <string.h>

#include "freeze/freezer.h"
#include "lib/log.h"
#include "proc/proc.h"

/* How long a thaw in the middle of a dump may take. */
#define THAW_MS     2000

/* Somebody may freeze the cgroup between the looks at it and at its state. */
#define CHAIN_TRIES 4

/* A hierarchy with a freezer, and the part of it that is mounted here. */
struct hierarchy {
	bool v2;
	char *root, *mounted; /* the cgroup that is mounted (as /proc/PID/cgroup names it), and where */
};

/* A line of mountinfo: "36 31 0:33 ROOT WHERE options - TYPE source super-options". */
static bool parse_mount(char *line, bool v2, struct hierarchy *h)
{
	char *after = strstr(line, " - "), root[PATH_MAX], where[PATH_MAX], type[32], super[256];

	if (!after || sscanf(after, " - %31s %*s %255s", type, super) != 2 ||
	    sscanf(line, "%*d %*d %*s %4095s %4095s", root, where) != 2)
		return false;
	if (v2 ? strcmp(type, "cgroup2") != 0 : strcmp(type, "cgroup") != 0 || !strstr(super, "freezer"))
		return false;
	h->root = strdup(root);
	h->mounted = strdup(where);
	return h->root && h->mounted;
}

static bool find_mount(bool v2, struct hierarchy *h)
{
	_cleanup_fclose_ FILE *file = fopen("/proc/self/mountinfo", "re");
	_cleanup_free_ char *line = NULL;
	size_t size = 0;

	*h = (struct hierarchy) { .v2 = v2 };
	while (file && getline(&line, &size, file) > 0)
		if (parse_mount(line, v2, h))
			return true;
	return false;
}

static bool reads_as(const char *dir, const char *name, const char *start, bool *equal)
{
	_cleanup_free_ char *text = NULL;
	char path[PATH_MAX];

	*equal =
	    snprintf(path, sizeof(path), "%s/%s", dir, name) < PATH_MAX && proc_read(AT_FDCWD, path, &text, NULL) == 0;
	if (*equal)
		*equal = strstr(text, start) != NULL;
	return text != NULL;
}

static bool is_self_frozen(const struct hierarchy *h, const char *dir)
{
	bool yes;

	reads_as(dir, h->v2 ? "cgroup.freeze" : "freezer.self_freezing", "1", &yes);
	return yes;
}

/* By this cgroup or any above, also those that are not mounted here. */
static bool is_frozen(const struct hierarchy *h, const char *dir)
{
	bool yes;

	if (h->v2)
		reads_as(dir, "cgroup.events", "frozen 1", &yes);
	else if (reads_as(dir, "freezer.state", "THAWED", &yes))
		yes = !yes;
	return yes;
}

static struct frozen *find_thawed(struct tree *tree, const char *dir)
{
	struct frozen *z = tree->frozen;

	while (z && strncmp(z->path, dir, strlen(dir)) != 0)
		z = z->next;
	return z && strrchr(z->path, '/') == z->path + strlen(dir) ? z : NULL;
}

/* Thaws what is frozen on the way from leaf up to where the hierarchy is mounted. 1: something was. */
static int thaw_upwards(const struct unfreezer *u, const struct hierarchy *h, const char *leaf, pid_t tid)
{
	char *dir = arena_strdup(u->arena, leaf);
	int err, found = 0;

	for (size_t top = strlen(h->mounted); strlen(dir) > top; *strrchr(dir, '/') = '\0') {
		if (!is_self_frozen(h, dir))
			continue;
		found = 1;
		log_info("pid %d: the cgroup %s is frozen; it is thawed for the dump, and frozen again before any task "
		         "in it may run",
		         tid, dir);
		err = freeze_cgroup_take(dir, u, find_thawed(u->tree, dir));
		if (err)
			return err;
	}
	return found;
}

static int thaw_chain(const struct unfreezer *u, const struct hierarchy *h, const char *leaf, pid_t tid)
{
	for (int tries = 0; tries < CHAIN_TRIES; tries++) {
		int found = thaw_upwards(u, h, leaf, tid);

		if (found < 0)
			return found;
		if (found)
			return freeze_cgroup_wait_thawed(u->tree->frozen, leaf, clock_now_ms() + THAW_MS) ?: 1;
		if (!is_frozen(h, leaf))
			return 0;
	}
	return log_errno(-EBUSY,
	                 "pid %d: its cgroup %s is frozen by a cgroup above that is not mounted here; thaw that first, "
	                 "or run criu where it is mounted",
	                 tid, leaf);
}

/* A line of /proc/PID/cgroup: "0::PATH", or "6:cpu,freezer:PATH" of version 1. NULL: it is another one. */
static const char *path_of_line(const struct hierarchy *h, char *line)
{
	char *controllers = strchr(line, ':'), *path = controllers ? strchr(controllers + 1, ':') : NULL;

	if (!path)
		return NULL;
	*path = '\0';
	return (h->v2 ? strcmp(line, "0:") == 0 : strstr(controllers, "freezer") != NULL) ? path + 1 : NULL;
}

static const char *path_in(const struct hierarchy *h, char *text)
{
	char *save = NULL;
	const char *path = NULL;

	for (char *line = strtok_r(text, "\n", &save); line && !path; line = strtok_r(NULL, "\n", &save))
		path = path_of_line(h, line);
	return path;
}

static int thaw_in(const struct unfreezer *u, bool v2, const char *text, pid_t tid, bool *threaded)
{
	_cleanup_free_ char *copy = strdup(text);
	struct hierarchy h;
	int err = 0;
	const char *path = NULL;

	if (find_mount(v2, &h) && copy)
		path = path_in(&h, copy);
	/* What is mounted may be a part, as in a container without a cgroup namespace. */
	if (path && strcmp(h.root, "/") != 0)
		path = strncmp(path, h.root, strlen(h.root)) == 0 ? path + strlen(h.root) : NULL;
	if (path && strncmp(path, "/..", 3) != 0 && *path) {
		char *dir = arena_printf(u->arena, "%s%s", h.mounted, strcmp(path, "/") ? path : "");

		if (v2)
			reads_as(dir, "cgroup.type", "threaded", threaded);
		err = thaw_chain(u, &h, dir, tid);
	}
	free(h.root);
	free(h.mounted);
	return err;
}

/* *threaded: threads of one process may be in several cgroups of version 2. */
static int thaw_thread(const struct unfreezer *u, int proc_fd, pid_t tid, const char **seen, bool *threaded)
{
	_cleanup_free_ char *text = NULL;
	char path[48];
	int one, two;

	*threaded = false;
	snprintf(path, sizeof(path), "task/%d/cgroup", tid);
	if (proc_read_at_once(proc_fd, path, &text, NULL) || (seen && *seen && strcmp(*seen, text) == 0))
		return 0;
	one = thaw_in(u, false, text, tid, threaded);
	two = one < 0 ? 0 : thaw_in(u, true, text, tid, threaded);
	if (seen && !*threaded)
		*seen = arena_strdup(u->arena, text);
	return one < 0 || two < 0 ? MIN(one, two) : one || two;
}

int freeze_thaw_cgroups(const struct unfreezer *u, pid_t pid, pid_t tid, const char **seen)
{
	_cleanup_close_ int fd = proc_open(pid);
	bool threaded;

	if (fd < 0)
		return 0;
	return tid == pid ? freeze_thaw_process(u, pid, fd, seen) : thaw_thread(u, fd, tid, seen, &threaded);
}

int freeze_thaw_process(const struct unfreezer *u, pid_t pid, int fd, const char **seen)
{
	pid_t *tids = NULL;
	size_t n = 0;
	bool threaded;
	int found = thaw_thread(u, fd, pid, seen, &threaded), one;

	if (found < 0 || !threaded || proc_read_threads(fd, u->arena, &tids, &n))
		return found;
	for (size_t i = 0; i < n; i++) {
		one = tids[i] == pid ? 0 : thaw_thread(u, fd, tids[i], seen, &threaded);
		if (one < 0)
			return one;
		found |= one;
	}
	return found;
}
