/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Kinds of marks of fanotify: evictable ones, masks that are ignored (of either kind, with and without
 * FAN_MARK_IGNORED_SURV_MODIFY, alone), on files, mounts and file systems, and groups that report names, targets and
 * pidfds. The kernel shows them as before, and a move is told of with both names.
 *
 * zdtm: needs-root
 */
#include <fcntl.h>
#include <sys/fanotify.h>
#include <sys/stat.h>

#include "zdtm.h"

#define EVICTABLE     0x200      /* FAN_MARK_EVICTABLE */
#define IGNORE        0x400      /* FAN_MARK_IGNORE */
#define SURV          0x40       /* FAN_MARK_IGNORED_SURV_MODIFY */
#define RENAME        0x10000000 /* FAN_RENAME */
#define FS_ERROR      0x8000     /* FAN_FS_ERROR */
#define REPORT_PIDFD  0x80       /* FAN_REPORT_PIDFD */
#define REPORT_TARGET 0x1000     /* FAN_REPORT_TARGET_FID */

#define GROUPS_MAX    16

static struct {
	int fd;
	char text[4096];
} groups[GROUPS_MAX];
static int n_groups;

/* A group, or -1 where this kernel does not know the flags. */
static int group(unsigned flags)
{
	int fd = fanotify_init(flags | FAN_NONBLOCK, O_RDONLY | O_LARGEFILE);

	zdtm_must(fd >= 0 || errno == EINVAL);
	if (fd >= 0)
		groups[n_groups++].fd = fd;
	return fd;
}

/* Marks that a kernel does not know are left out. */
static void mark(int fd, unsigned flags, uint64_t mask, const char *path)
{
	zdtm_must(fd < 0 || !fanotify_mark(fd, FAN_MARK_ADD | flags, mask, AT_FDCWD, path) || errno == EINVAL);
}

static int compare_lines(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* What the kernel says of its marks, in some order. */
static void read_marks(int fd, char out[4096])
{
	char path[64], text[4096], *lines[100], *save;
	int n = 0, at, from;
	ssize_t len;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	at = open(path, O_RDONLY);
	zdtm_must(at >= 0 && (len = read(at, text, sizeof(text) - 1)) > 0 && !close(at));
	text[len] = 0;
	for (char *l = strtok_r(text, "\n", &save); l && n < 100; l = strtok_r(NULL, "\n", &save))
		if (!strncmp(l, "fanotify ", 9))
			lines[n++] = l;
	qsort(lines, n, sizeof(*lines), compare_lines);
	from = 0;
	for (int i = 0; i < n; i++)
		from += snprintf(out + from, 4096 - from, "%s\n", lines[i]);
}

static void make_all(void)
{
	int fd = group(FAN_CLASS_NOTIF);

	mark(fd, EVICTABLE, FAN_OPEN, "evictable");
	mark(fd, EVICTABLE, FAN_OPEN | FAN_MODIFY, "both");
	mark(fd, EVICTABLE | FAN_MARK_IGNORED_MASK, FAN_OPEN, "both");
	mark(fd, FAN_MARK_IGNORED_MASK, FAN_OPEN, "ignored");
	mark(fd, FAN_MARK_IGNORED_MASK | SURV, FAN_OPEN | FAN_CLOSE, "surviving");
	mark(fd, IGNORE | SURV, FAN_OPEN | FAN_ONDIR | FAN_EVENT_ON_CHILD, "dir");
	mark(fd, 0, FAN_OPEN_EXEC | FAN_CLOSE_NOWRITE, "dir");
	mark(fd, FAN_MARK_MOUNT, FAN_OPEN_EXEC, "/dev/shm");
	mark(fd, FAN_MARK_MOUNT | IGNORE | SURV, FAN_OPEN, "/dev/shm");
	fd = group(FAN_CLASS_NOTIF | FAN_REPORT_DFID_NAME | FAN_REPORT_FID | REPORT_TARGET);
	mark(fd, 0, RENAME | FAN_ONDIR | FAN_CREATE, "dir");
	mark(fd, FAN_MARK_FILESYSTEM, FAN_ATTRIB | FAN_DELETE_SELF, "/dev/shm");
	mark(fd, FAN_MARK_FILESYSTEM | IGNORE | SURV, FAN_MODIFY | FAN_ONDIR, "/dev/shm");
	mark(group(FAN_CLASS_NOTIF | REPORT_PIDFD), 0, FAN_OPEN, "evictable");
	mark(group(FAN_CLASS_NOTIF | FAN_REPORT_FID | FAN_UNLIMITED_MARKS), 0, FAN_OPEN | FAN_DELETE_SELF, "both");
	mark(group(FAN_CLASS_NOTIF | FAN_REPORT_FID), FAN_MARK_FILESYSTEM, FS_ERROR, ".");
	mark(group(FAN_CLASS_PRE_CONTENT | FAN_REPORT_TID), 0, FAN_ACCESS_PERM | FAN_OPEN_EXEC_PERM, "ignored");
}

/* Of the group that reports names: one event with the old and the new one, in two records. */
static void check_move(void)
{
	char buf[4096];
	struct fanotify_event_metadata *e = (void *)buf;
	ssize_t n;

	zdtm_must(!rename("dir/old name", "dir/new name"));
	n = read(groups[1].fd, buf, sizeof(buf));
	zdtm_check(n > 0 && e->mask & RENAME, "a move: %zd bytes, %s", n, n < 0 ? strerror(errno) : "other events");
	zdtm_check(memmem(buf, n, "old name", 9) && memmem(buf, n, "new name", 9), "not both names");
}

int main(void)
{
	static const char *const files[] = { "evictable", "both", "ignored", "surviving", "dir/old name" };
	char now[4096];

	zdtm_must(!mkdir("dir", 0755));
	for (size_t i = 0; i < sizeof(files) / sizeof(*files); i++)
		zdtm_must(!close(open(files[i], O_CREAT | O_WRONLY, 0600)));
	make_all();
	for (int i = 0; i < n_groups; i++)
		read_marks(groups[i].fd, groups[i].text);
	zdtm_ready();
	zdtm_wait();
	for (int i = 0; i < n_groups; i++) {
		read_marks(groups[i].fd, now);
		zdtm_check(!strcmp(now, groups[i].text), "group %d: %s was: %s", i, now, groups[i].text);
	}
	if (strstr(groups[1].text, "mask:5000"))
		check_move();
	zdtm_pass();
}
