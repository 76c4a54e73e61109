/* SPDX-License-Identifier: GPL-2.0-only */
/* Which processes outside of the tree have a socket: one walk through /proc for all that are looked for. */
#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <string.h>

#include "sock/unix/unix_dump.h"

static const char *describe_pid(struct arena *a, const char *pid)
{
	char path[64], comm[32] = "?";
	_cleanup_fclose_ FILE *f = NULL;

	snprintf(path, sizeof(path), "/proc/%.20s/comm", pid);
	f = fopen(path, "re");
	if (f && fscanf(f, "%31[^\n]", comm) != 1)
		comm[0] = '?';
	return arena_printf(a, "pid %s (%s)", pid, comm);
}

static void add_holder(struct arena *a, struct unix_holder *h, const char *who)
{
	if (!h->who)
		h->who = who;
	else if (strlen(h->who) < 100)
		h->who = arena_printf(a, "%s, %s", h->who, who);
}

static void scan_fds(struct arena *a, struct unix_holder *table, const char *pid)
{
	char path[64], link[64];
	const char *who = NULL;
	struct dirent *e;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%.20s/fd", pid);
	dir = opendir(path);
	while (dir && (e = readdir(dir))) {
		ssize_t n = readlinkat(dirfd(dir), e->d_name, link, sizeof(link) - 1);
		struct unix_holder *h;
		uint32_t ino;

		link[n < 0 ? 0 : n] = 0;
		if (strncmp(link, "socket:[", 8))
			continue;
		ino = (uint32_t)strtoul(link + 8, NULL, 10);
		HASH_FIND(hh, table, &ino, sizeof(ino), h);
		if (!h)
			continue;
		if (!who)
			who = describe_pid(a, pid);
		add_holder(a, h, who);
	}
	if (dir)
		closedir(dir);
}

/* The guardian has what criu has open, as what was in flight in a queue. */
static bool is_criu(const struct dump *d, pid_t pid)
{
	return pid == getpid() || (d->guardian && pid == guardian_pid(d->guardian));
}

void unix_holders_find(struct dump *d, struct unix_holder *table)
{
	DIR *proc = opendir("/proc");
	struct dirent *e;

	while (proc && (e = readdir(proc)))
		if (isdigit((unsigned char)e->d_name[0]) && !is_criu(d, atoi(e->d_name)))
			scan_fds(d->arena, table, e->d_name);
	if (proc)
		closedir(proc);
}
