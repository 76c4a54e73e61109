/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Files of cgroups, of both versions where there are: directories, control files that are read (from a position) and
 * written.
 *
 * zdtm: needs-root
 * zdtm: restores 2
 */
#include "zdtm.h"

static struct group {
	const char *root, *text, *number; /* where; a file with some text; one that takes a number */
	char path[200];
	int dir, path_only, procs, reader, writer;
} groups[] = {
	{ .root = "/sys/fs/cgroup/unified", .text = "cgroup.events", .number = "cgroup.max.depth" },
	{ .root = "/sys/fs/cgroup", .text = "cgroup.events", .number = "cgroup.max.depth" },
	{ .root = "/sys/fs/cgroup/pids", .text = "pids.events", .number = "pids.max" },
	{ .root = "/sys/fs/cgroup/memory", .text = "memory.oom_control", .number = "memory.swappiness" },
	{ .root = "/sys/fs/cgroup/freezer", .text = "freezer.state", .number = "notify_on_release" },
};

#define N (sizeof(groups) / sizeof(*groups))

static int at(const struct group *g, const char *name, int flags)
{
	char path[300];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", g->path, name);
	fd = open(path, flags);
	if (fd < 0) {
		rmdir(g->path);
		zdtm_must(fd >= 0);
	}
	return fd;
}

static int begin(struct group *g)
{
	struct timespec now;
	char procs[200];

	clock_gettime(CLOCK_MONOTONIC, &now);
	snprintf(g->path, sizeof(g->path), "%s/zdtm-%ld-%ld", g->root, (long)now.tv_sec, now.tv_nsec);
	snprintf(procs, sizeof(procs), "%s/cgroup.procs", g->root);
	if (access(procs, F_OK) || mkdir(g->path, 0755)) {
		g->path[0] = 0;
		return 0;
	}
	g->dir = at(g, "", O_RDONLY | O_DIRECTORY);
	g->path_only = at(g, "", O_PATH);
	g->procs = at(g, "cgroup.procs", O_RDWR | O_CLOEXEC);
	g->reader = at(g, g->text, O_RDONLY);
	g->writer = at(g, g->number, O_RDWR);
	return read(g->reader, procs, 3) == 3 && pwrite(g->writer, "1", 1, 0) == 1;
}

static void check(struct group *g)
{
	char buf[100] = "", name[300];
	struct stat a, b;
	ssize_t n;

	zdtm_check(!stat(g->path, &a) && !fstat(g->dir, &b) && a.st_ino == b.st_ino && a.st_dev == b.st_dev,
	           "%s is another one", g->path);
	zdtm_check(!fstat(g->path_only, &b) && a.st_ino == b.st_ino, "with O_PATH");
	zdtm_check(!fstatat(g->dir, g->text, &a, 0) && !fstat(g->reader, &b) && a.st_ino == b.st_ino, "%s in %s",
	           g->text, g->path);
	n = pread(g->reader, name, sizeof(name), 0);
	zdtm_check(lseek(g->reader, 0, SEEK_CUR) == 3, "position %ld", (long)lseek(g->reader, 0, SEEK_CUR));
	zdtm_check(n > 3 && read(g->reader, buf, sizeof(buf)) == n - 3 && !memcmp(buf, name + 3, n - 3),
	           "what comes behind the position: %s", buf);
	zdtm_check(pread(g->writer, buf, 1, 0) == 1 && *buf == '1', "the number that was written");
	zdtm_check(pwrite(g->writer, "0", 1, 0) == 1 && pread(g->writer, buf, 1, 0) == 1 && *buf == '0', "another");
	zdtm_check(read(g->procs, buf, 1) == 0, "the empty group has a process");
	close(g->dir);
	close(g->path_only);
	zdtm_check(!rmdir(g->path), "removing %s: %s", g->path, strerror(errno));
}

int main(void)
{
	int some = 0;

	for (size_t i = 0; i < N; i++)
		some += begin(&groups[i]);
	if (!some)
		zdtm_skip("no cgroup can be made here");
	zdtm_ready();
	zdtm_wait();
	for (size_t i = 0; i < N; i++)
		if (groups[i].path[0])
			check(&groups[i]);
	zdtm_pass();
}
