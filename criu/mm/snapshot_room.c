/* SPDX-License-Identifier: GPL-2.0-only */
/* How much memory, and how many processes, the machine and the cgroups of a task can still have. */
#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "lib/log.h"
#include "mm/snapshot.h"
#include "proc/proc.h"

/* Page tables of the copies, and what the dump itself takes. */
#define SPARE_BYTES (32UL << 20)

/* A limit of a controller, and what counts against it. */
struct limit {
	bool v2, tasks;
	const char *controller, *max, *now;
	const char *cache; /* what of that goes by itself where memory is short, in memory.stat */
};

static const struct limit limits[] = {
	{ true, false, "memory", "memory.max", "memory.current", "\ninactive_file " },
	{ true, false, "memory", "memory.high", "memory.current", "\ninactive_file " },
	{ true, true, "pids", "pids.max", "pids.current", NULL },
	{ false, false, "memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "\ntotal_inactive_file " },
	{ false, false, "memory", "memory.memsw.limit_in_bytes", "memory.memsw.usage_in_bytes",
	  "\ntotal_inactive_file " },
	{ false, true, "pids", "pids.max", "pids.current", NULL },
};

/* A number in a file of a cgroup; "max", or no such file: UINT64_MAX. */
static uint64_t read_number(const char *dir, const char *name)
{
	_cleanup_free_ char *text = NULL;
	char path[PATH_MAX];

	if (snprintf(path, sizeof(path), "%s/%s", dir, name) >= PATH_MAX ||
	    proc_read_at_once(AT_FDCWD, path, &text, NULL) || !isdigit((unsigned char)*text))
		return UINT64_MAX;
	return strtoull(text, NULL, 10);
}

static uint64_t read_cache(const char *dir, const char *key)
{
	_cleanup_free_ char *text = NULL;
	char path[PATH_MAX];
	const char *at;

	if (!key || snprintf(path, sizeof(path), "%s/memory.stat", dir) >= PATH_MAX ||
	    proc_read(AT_FDCWD, path, &text, NULL))
		return 0;
	at = strstr(text, key);
	return at ? strtoull(at + strlen(key), NULL, 10) : 0;
}

static bool fits_in(const struct limit *l, const char *dir, uint64_t wanted)
{
	uint64_t max = read_number(dir, l->max), now, cache;

	if (max == UINT64_MAX)
		return true;
	now = read_number(dir, l->now);
	if (now == UINT64_MAX)
		return false;
	cache = read_cache(dir, l->cache);
	now -= MIN(now, cache);
	return now <= max && wanted <= max - now;
}

/* A line of mountinfo: "36 31 0:33 ROOT WHERE options - TYPE source super-options". */
static bool parse_mount(char *line, const struct limit *l, char root[PATH_MAX], char where[PATH_MAX])
{
	char *after = strstr(line, " - "), type[32], super[256], *word, *save = NULL;

	if (!after || sscanf(after, " - %31s %*s %255s", type, super) != 2 ||
	    sscanf(line, "%*d %*d %*s %4095s %4095s", root, where) != 2)
		return false;
	if (l->v2)
		return !strcmp(type, "cgroup2");
	if (strcmp(type, "cgroup") != 0)
		return false;
	for (word = strtok_r(super, ",", &save); word; word = strtok_r(NULL, ",", &save))
		if (!strcmp(word, l->controller))
			return true;
	return false;
}

static bool find_mount(const struct limit *l, char root[PATH_MAX], char where[PATH_MAX])
{
	_cleanup_fclose_ FILE *file = fopen("/proc/self/mountinfo", "re");
	_cleanup_free_ char *line = NULL;
	size_t size = 0;

	while (file && getline(&line, &size, file) > 0)
		if (parse_mount(line, l, root, where))
			return true;
	return false;
}

static bool names_controller(const char *list, const char *end, const char *name)
{
	size_t len = strlen(name);

	for (; list < end; list = memchr(list, ',', (size_t)(end - list)) ?: end, list += list < end)
		if (!strncmp(list, name, len) && (list[len] == ',' || list + len == end))
			return true;
	return false;
}

/*
 * The task's cgroup in the hierarchy of a limit: a line "7:memory:/PATH", or "0::/PATH" where version 1 has not got the
 * controller; false: there is none.
 */
static bool find_group(const char *text, const struct limit *l, char path[PATH_MAX])
{
	const struct limit older = { .controller = l->controller };

	if (l->v2 && find_group(text, &older, path))
		return false;
	for (const char *line = text; line && *line; line = strchr(line, '\n'), line += line != NULL) {
		const char *list = strchr(line, ':'), *end = list ? strchr(list + 1, ':') : NULL;

		if (!end)
			return false;
		if (l->v2 ? end != list + 1 : !names_controller(list + 1, end, l->controller))
			continue;
		return snprintf(path, PATH_MAX, "%.*s", (int)strcspn(end + 1, "\n"), end + 1) < PATH_MAX;
	}
	return false;
}

/* From the task's group up to what is mounted. */
static const char *check_chain(struct arena *a, const struct limit *l, char *group, uint64_t wanted)
{
	char root[PATH_MAX], where[PATH_MAX], dir[PATH_MAX];
	size_t top;

	if (!find_mount(l, root, where))
		return arena_printf(a, "the limits of its cgroup (%s) cannot be seen here", l->controller);
	if (!strcmp(root, "/"))
		*root = '\0';
	top = strlen(root);
	if (strncmp(group, root, top) != 0 || strstr(group, "/.."))
		return arena_printf(a, "its cgroup (%s) is not in what is mounted here: limits cannot be seen",
		                    l->controller);
	if (snprintf(dir, sizeof(dir), "%s%s", where, strcmp(group + top, "/") ? group + top : "") >= PATH_MAX)
		return "the name of its cgroup is too long";
	for (top = strlen(where); strlen(dir) >= top && *dir; *strrchr(dir, '/') = '\0')
		if (!fits_in(l, dir, wanted))
			return arena_printf(a, "%s of %s leaves no room for %" PRIu64 " more%s", l->max, dir,
			                    l->tasks ? wanted : wanted >> 20, l->tasks ? "" : " MiB");
	return NULL;
}

static const char *check_machine(struct arena *a, uint64_t bytes)
{
	_cleanup_free_ char *text = NULL;
	const char *at;
	uint64_t there;

	if (proc_read(AT_FDCWD, "/proc/meminfo", &text, NULL))
		return "/proc/meminfo cannot be read";
	at = strstr(text, "MemAvailable:");
	there = at ? strtoull(at + strlen("MemAvailable:"), NULL, 10) << 10 : 0;
	if (there >= bytes)
		return NULL;
	return arena_printf(a, "%" PRIu64 " MiB of memory are available, and %" PRIu64 " may be needed", there >> 20,
	                    bytes >> 20);
}

/* A number in the text of /proc/PID/status. */
static uint64_t status_number(const char *text, const char *key)
{
	const char *at = strstr(text, key);

	return at ? strtoull(at + strlen(key), NULL, 10) : 0;
}

/* What counts against RLIMIT_NPROC of a user: all threads, wherever they are. */
static uint64_t count_threads(uint64_t uid)
{
	DIR *proc = opendir("/proc");
	const struct dirent *e;
	uint64_t n = 0;

	while (proc && (e = readdir(proc))) {
		_cleanup_free_ char *text = NULL;
		char path[300];

		snprintf(path, sizeof(path), "/proc/%s/status", e->d_name);
		if (isdigit((unsigned char)*e->d_name) && !proc_read_at_once(AT_FDCWD, path, &text, NULL) &&
		    status_number(text, "\nUid:") == uid)
			n += status_number(text, "\nThreads:");
	}
	if (proc)
		closedir(proc);
	return n;
}

/* Of all users, so that nobody has more than that; UINT64_MAX: unknown. */
static uint64_t all_threads(void)
{
	_cleanup_free_ char *text = NULL;
	const char *at = proc_read_at_once(AT_FDCWD, "/proc/loadavg", &text, NULL) ? NULL : strchr(text, '/');

	return at ? strtoull(at + 1, NULL, 10) : UINT64_MAX;
}

/* The kernel asks only those that are not root. To count threads takes long: not where the limit is far away. */
const char *snapshot_lacks_processes(struct arena *a, const struct task *t, uint64_t tasks, struct user_threads *u)
{
	_cleanup_free_ char *text = NULL;
	struct rlimit limit;
	uint64_t uid, all = all_threads();

	if (prlimit(t->pid, RLIMIT_NPROC, NULL, &limit) || limit.rlim_cur == RLIM_INFINITY ||
	    (all < UINT64_MAX - tasks && limit.rlim_cur >= all + tasks))
		return NULL;
	if (proc_read_at_once(t->dump->proc_fd, "status", &text, NULL))
		return "/proc/PID/status cannot be read";
	uid = status_number(text, "\nUid:");
	if (uid && uid != u->uid)
		*u = (struct user_threads) { .uid = uid, .n = count_threads(uid) };
	if (!uid || limit.rlim_cur >= u->n + tasks)
		return NULL;
	return arena_printf(a, "RLIMIT_NPROC (%" PRIu64 ") of user %" PRIu64 " leaves no room for %" PRIu64 " more",
	                    (uint64_t)limit.rlim_cur, uid, tasks);
}

const char *snapshot_lacks_room(struct arena *a, const struct task *t, uint64_t bytes, uint64_t tasks)
{
	_cleanup_free_ char *text = NULL;
	const char *why;
	char group[PATH_MAX];

	bytes += bytes / 256 + SPARE_BYTES;
	why = check_machine(a, bytes);
	if (why)
		return why;
	if (proc_read_at_once(t->dump->proc_fd, "cgroup", &text, NULL))
		return "/proc/PID/cgroup cannot be read";
	for (size_t i = 0; !why && i < ARRAY_SIZE(limits); i++)
		if (find_group(text, &limits[i], group))
			why = check_chain(a, &limits[i], group, limits[i].tasks ? tasks : bytes);
	return why;
}
