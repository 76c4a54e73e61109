/* SPDX-License-Identifier: GPL-2.0-only */
#include <fcntl.h>
#include <string.h>

#include "cgroup/cgroup_set.h"
#include "proc/proc.h"

int cgroup_set_read(pid_t pid, pid_t tid, char **text)
{
	char path[64];

	if (tid)
		snprintf(path, sizeof(path), "/proc/%d/task/%d/cgroup", pid, tid);
	else
		snprintf(path, sizeof(path), "/proc/%d/cgroup", pid);
	return proc_read_at_once(AT_FDCWD, path, text, NULL);
}

/* A group that was removed, as one can be in which only zombies are left, has a mark behind its name. */
static char *path_without_mark(struct arena *a, const char *path, size_t len)
{
	static const char mark[] = " (deleted)";
	size_t mark_len = strlen(mark);
	char *copy;

	if (len > mark_len && !memcmp(path + len - mark_len, mark, mark_len))
		len -= mark_len;
	copy = arena_alloc(a, len + 1);
	memcpy(copy, path, len);
	return copy;
}

/* "4:memory:/a/b" */
static CgMemberEntry *parse_member(struct arena *a, const char *line, const char *end)
{
	CgMemberEntry *m = arena_msg(a, CgMemberEntry, cg_member_entry);
	const char *name = memchr(line, ':', (size_t)(end - line));
	const char *path = name ? memchr(name + 1, ':', (size_t)(end - name - 1)) : NULL;
	char *copy;

	if (!path || path[1] != '/')
		return NULL;
	copy = arena_alloc(a, (size_t)(path - name));
	memcpy(copy, name + 1, (size_t)(path - name - 1));
	m->name = copy;
	m->path = path_without_mark(a, path + 1, (size_t)(end - path - 1));
	return m;
}

static int by_member_name(const void *a, const void *b)
{
	return strcmp((*(CgMemberEntry *const *)a)->name, (*(CgMemberEntry *const *)b)->name);
}

int cgroup_set_parse(struct arena *a, const char *text, CgSetEntry *set)
{
	for (const char *line = text, *end; *line; line = *end ? end + 1 : end) {
		CgMemberEntry *m;

		end = strchrnul(line, '\n');
		m = parse_member(a, line, end);
		if (!m)
			return -EBADMSG;
		arena_push(a, &set->ctls, &set->n_ctls, m);
	}
	if (set->n_ctls)
		qsort(set->ctls, set->n_ctls, sizeof(*set->ctls), by_member_name);
	return 0;
}

const char *cgroup_set_path(const CgSetEntry *set, const char *name)
{
	for (size_t i = 0; i < set->n_ctls; i++)
		if (!strcmp(set->ctls[i]->name, name))
			return set->ctls[i]->path;
	return NULL;
}

const char *cgroup_set_root(struct arena *a, const CgMemberEntry *m)
{
	if (!m->has_cgns_prefix || m->cgns_prefix > strlen(m->path))
		return NULL;
	return m->cgns_prefix ? arena_printf(a, "%.*s", (int)m->cgns_prefix, m->path) : "/";
}
