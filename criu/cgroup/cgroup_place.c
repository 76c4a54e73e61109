/* SPDX-License-Identifier: GPL-2.0-only */
#include <fcntl.h>
#include <fts.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "cgroup/cgroup_place.h"
#include "cgroup/cgroup_root.h"
#include "lib/log.h"
#include "proc/mountinfo.h"
#include "proc/proc.h"

#define HINT         "; --manage-cgroups=ignore restores without cgroups"
#define FILE_MODE    0755
#define REMOVE_TRIES 2000 /* of a millisecond each */

/* ---- mounts ---- */

/* "33 32 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu": what mountinfo_parse_line() leaves out. */
static void add_mount(struct arena *a, struct cgroup_mounts *all, const char *line, const char *end)
{
	char *copy = arena_alloc(a, (size_t)(end - line) + 1), *type, *rest, root[4096];
	struct mount_at at;

	memcpy(copy, line, (size_t)(end - line));
	type = strstr(copy, " - cgroup");
	if (!type || mountinfo_parse_line(line, (size_t)(end - line), a, &at) ||
	    sscanf(copy, "%*d %*d %*s %4095s", root) != 1)
		return;
	/* Behind the type: the source, and the options. */
	rest = strchr(type + 3, ' ');
	rest = rest ? strchr(rest + 1, ' ') : NULL;
	/* Another mount may lie over it. */
	if (!rest || (all->yard && !cgroup_root_below(at.path, all->yard)) ||
	    mountinfo_mount_id(AT_FDCWD, at.path) != at.id)
		return;
	arena_push(a, &all->mounts, &all->n,
	           ((struct cgroup_mount) { .v2 = !strncmp(type + 3, "cgroup2 ", 8),
	                                    .root = arena_strdup(a, root),
	                                    .path = at.path,
	                                    .options = rest + 1 }));
}

int cgroup_place_mounts(struct arena *a, const char *yard, struct cgroup_mounts *m)
{
	_cleanup_free_ char *text = NULL, *below = yard ? realpath(yard, NULL) : NULL;
	int err = proc_read(AT_FDCWD, "/proc/self/mountinfo", &text, NULL);

	if (err)
		return log_errno(err, "reading /proc/self/mountinfo");
	if (yard && !below)
		return log_errno(-errno, "--cgroup-yard: realpath of %s", yard);
	m->yard = below ? arena_strdup(a, below) : NULL;
	for (const char *line = text, *end; *line; line = *end ? end + 1 : end) {
		end = strchrnul(line, '\n');
		add_mount(a, m, line, end);
	}
	return 0;
}

/* Whether a list divided by commas has this word (a name with commas: each of its words). */
static bool has_words(const char *list, const char *words)
{
	for (const char *w = words, *end; *w; w = *end ? end + 1 : end) {
		bool found = false;

		end = strchrnul(w, ',');
		for (const char *l = list, *stop; *l && !found; l = *stop ? stop + 1 : stop) {
			stop = strchrnul(l, ',');
			found = stop - l == end - w && !strncmp(l, w, (size_t)(end - w));
		}
		if (!found)
			return false;
	}
	return true;
}

static bool is_of(const struct cgroup_mount *m, const char *hierarchy)
{
	return m->v2 == !*hierarchy && (!*hierarchy || has_words(m->options, hierarchy));
}

bool cgroup_place_is_mounted(const struct cgroup_mounts *all, const char *hierarchy)
{
	for (size_t i = 0; i < all->n; i++)
		if (is_of(&all->mounts[i], hierarchy))
			return true;
	return false;
}

bool cgroup_place_find(struct arena *a, const struct cgroup_mounts *all, struct cgroup_place *p)
{
	for (size_t i = 0; i < all->n; i++) {
		const struct cgroup_mount *m = &all->mounts[i];
		const char *rest = cgroup_root_below(p->path, m->root);

		if (!is_of(m, p->name) || !rest)
			continue;
		p->top = m->path;
		p->directory = arena_printf(a, "%s%s", m->path, rest);
		return true;
	}
	return false;
}

/* ---- before the start ---- */

static const char *parent_directory(struct arena *a, const char *path)
{
	char *copy = arena_strdup(a, path);

	*strrchr(copy, '/') = '\0';
	return copy;
}

/* The first line of a file of a group, "" where there is no such file. */
static void read_group_line(const char *dir, const char *file, char *line, size_t size)
{
	_cleanup_free_ char *path = NULL, *text = NULL;

	*line = '\0';
	if (asprintf(&path, "%s/%s", dir, file) >= 0 && !proc_read(AT_FDCWD, path, &text, NULL))
		snprintf(line, size, "%.*s", (int)strcspn(text, "\n"), text);
}

/* Whether no process is in a group or below it. */
static bool is_group_empty(struct arena *a, const char *path)
{
	char *const roots[] = { arena_strdup(a, path), NULL };
	FTS *fts = fts_open(roots, FTS_PHYSICAL | FTS_NOCHDIR | FTS_NOSTAT, NULL);
	bool empty = fts != NULL;
	char line[16];
	FTSENT *e;

	while (fts && empty && (e = fts_read(fts))) {
		if (e->fts_info != FTS_D)
			continue;
		read_group_line(e->fts_path, "cgroup.procs", line, sizeof(line));
		empty = !*line;
	}
	if (fts)
		fts_close(fts);
	return empty;
}

/*
 * A task that is moved into a frozen group would never come to the end of its restore. A group that was frozen when its
 * tasks were dumped still is; where nothing else is in it, it is thawed.
 */
static int check_frozen(struct arena *a, struct cgroup_place *p, const char *dir)
{
	char v1[4], v2[4];

	for (; strlen(dir) > strlen(p->top); dir = parent_directory(a, dir)) {
		read_group_line(dir, "freezer.self_freezing", v1, sizeof(v1));
		read_group_line(dir, "cgroup.freeze", v2, sizeof(v2));
		if (*v1 != '1' && *v2 != '1')
			continue;
		if (!is_group_empty(a, dir))
			return log_refusal(-EBUSY, "%s: %s is frozen, and has processes: thaw it first" HINT, p->what,
			                   dir);
		arena_push(a, &p->frozen, &p->n_frozen, dir);
	}
	return 0;
}

/*
 * Version 2: tasks are in leaves only, once controllers are handed on (cgroups(7), "no internal processes"). Threaded
 * groups have rules of their own: the move tells.
 */
static int check_leaf(const struct cgroup_place *p)
{
	char line[256], type[32];

	if (*p->name || !strcmp(p->directory, p->top))
		return 0;
	read_group_line(p->directory, "cgroup.type", type, sizeof(type));
	read_group_line(p->directory, "cgroup.subtree_control", line, sizeof(line));
	if (!strcmp(type, "domain") && *line)
		return log_refusal(-EBUSY,
		                   "%s: it hands controllers (%s) on to the groups below it, and can have no "
		                   "processes of its own then" HINT,
		                   p->what, line);
	if (!strcmp(type, "domain invalid"))
		return log_refusal(-EOPNOTSUPP, "%s: it is below a threaded group, and not threaded itself" HINT,
		                   p->what);
	return 0;
}

const char *cgroup_place_name(struct arena *a, const struct cgroup_place *p)
{
	return *p->name ? arena_printf(a, "cgroup %s of %s", p->path, p->name)
	                : arena_printf(a, "cgroup %s of version 2", p->path);
}

int cgroup_place_check(struct arena *a, const struct cgroup_mounts *m, struct cgroup_place *p, bool make)
{
	const char *dir;
	int err;

	p->what = cgroup_place_name(a, p);
	if (!cgroup_place_find(a, m, p))
		return log_refusal(-ENODEV, "%s: no cgroup file system that has it is mounted here" HINT, p->what);
	dir = p->directory;
	p->missing = faccessat(AT_FDCWD, dir, F_OK, AT_EACCESS) != 0;
	if (p->missing && !make)
		return log_refusal(-ENOENT, "%s: %s is missing, and --manage-cgroups=none makes no groups" HINT,
		                   p->what, dir);
	while (strlen(dir) > strlen(p->top) && faccessat(AT_FDCWD, dir, F_OK, AT_EACCESS))
		dir = parent_directory(a, dir);
	if (p->missing && faccessat(AT_FDCWD, dir, W_OK | X_OK, AT_EACCESS))
		return log_refusal(-errno, "%s: it is missing, and cannot be made in %s (%s)" HINT, p->what, dir,
		                   strerror(errno));
	if (!p->missing && faccessat(AT_FDCWD, arena_printf(a, "%s/cgroup.procs", dir), W_OK, AT_EACCESS))
		return log_refusal(-errno, "%s: %s/cgroup.procs cannot be written (%s)" HINT, p->what, dir,
		                   strerror(errno));
	err = check_frozen(a, p, dir);
	return err ?: p->missing ? 0 : check_leaf(p);
}

/* ---- making it ---- */

/* Its tasks were killed before, and may still be on their way out. */
static int remove_group(const struct undo *u)
{
	const struct timespec pause = { .tv_nsec = 1000000 };

	for (int i = 0; rmdir(u->path); i++) {
		if (errno != EBUSY || i == REMOVE_TRIES)
			return -errno;
		nanosleep(&pause, NULL);
	}
	return 0;
}

/* A new group of cpuset has no processors and no memory, and takes no task then. */
static int copy_from_parent(struct arena *a, const char *dir, const char *file)
{
	_cleanup_close_ int fd = -1;
	char own[4096], above[4096];

	read_group_line(dir, file, own, sizeof(own));
	read_group_line(parent_directory(a, dir), file, above, sizeof(above));
	if (*own || !*above)
		return 0;
	fd = open(arena_printf(a, "%s/%s", dir, file), O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, above, strlen(above)) < 0)
		return log_errno(-errno, "write of %s into %s/%s", above, dir, file);
	return 0;
}

static int make_directory(struct arena *a, struct guardian *g, const struct cgroup_place *p, const char *dir)
{
	struct undo u = { .type = UNDO_CALL, .call = remove_group, .fd = -1, .path = dir };
	int number, err = 0;

	if (!access(dir, F_OK))
		return 0;
	err = make_directory(a, g, p, parent_directory(a, dir));
	number = err ? err : guardian_note(g, &u);
	if (number < 0)
		return number;
	if (mkdir(dir, FILE_MODE)) {
		err = errno == EEXIST ? 0 : log_errno(-errno, "%s: mkdir of %s" HINT, p->what, dir);
		guardian_drop(g, number);
		return err;
	}
	log_info("%s: %s made", p->what, dir);
	if (has_words(p->name, "cpuset"))
		err = copy_from_parent(a, dir, "cpuset.cpus") ?: copy_from_parent(a, dir, "cpuset.mems");
	return err;
}

static int write_freezer(const char *path, const char *word)
{
	_cleanup_close_ int fd = open(path, O_WRONLY | O_CLOEXEC);

	return fd < 0 || write(fd, word, strlen(word)) < 0 ? -errno : 0;
}

static int freeze_again(const struct undo *u)
{
	return write_freezer(u->path, u->text);
}

static int thaw_group(struct arena *a, struct guardian *g, const struct cgroup_place *p, const char *dir)
{
	bool v2 = !*p->name;
	struct undo u = {
		.type = UNDO_CALL,
		.call = freeze_again,
		.fd = -1,
		.path = arena_printf(a, "%s/%s", dir, v2 ? "cgroup.freeze" : "freezer.state"),
		.text = v2 ? "1" : "FROZEN",
	};
	int err = guardian_note(g, &u);

	if (err < 0)
		return err;
	err = write_freezer(u.path, v2 ? "0" : "THAWED");
	if (err)
		return log_errno(err, "%s: write into %s, to thaw it", p->what, u.path);
	log_info("%s: %s was frozen and had no processes: thawed", p->what, dir);
	return 0;
}

int cgroup_place_make_directory(struct arena *a, struct guardian *g, const struct cgroup_place *p, bool *made)
{
	*made = access(p->directory, F_OK) != 0;
	return *made ? make_directory(a, g, p, p->directory) : 0;
}

int cgroup_place_make(struct arena *a, struct guardian *g, struct cgroup_place *p)
{
	int err = 0;

	for (size_t i = 0; !err && i < p->n_frozen; i++)
		err = thaw_group(a, g, p, p->frozen[i]);
	return err ?: p->missing ? make_directory(a, g, p, p->directory) : 0;
}

/* ---- moving ---- */

static const char *why_not_moved(int err)
{
	switch (err) {
	case EBUSY:
		return " (the group hands controllers on to groups below it)";
	case ENOSPC:
		return " (its cpuset has no processors or no memory)";
	case EOPNOTSUPP:
		return " (it is threaded, or below a threaded group)";
	case EAGAIN:
		return " (its limit of processes is reached)";
	default:
		return "";
	}
}

int cgroup_place_move(const struct cgroup_place *p, pid_t tid, bool thread, const char *who)
{
	const char *file = !thread ? "cgroup.procs" : *p->name ? "tasks" : "cgroup.threads";
	_cleanup_free_ char *path = NULL;
	_cleanup_close_ int fd = -1;
	int err;

	if (asprintf(&path, "%s/%s", p->directory, file) < 0)
		return log_errno(-ENOMEM, "%s: the name of %s", who, p->what);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd >= 0 && dprintf(fd, "%d", tid) > 0)
		return 0;
	err = errno;
	return log_errno(-err, "%s: write of its pid into %s%s" HINT, who, path, why_not_moved(err));
}
