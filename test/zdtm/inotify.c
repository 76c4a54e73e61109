/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * inotify: watches on files and directories of the root file system and of a tmpfs, by numbers with gaps, with each
 * flag that stays; a file that was renamed since, a directory that others work in, a symbolic link itself; an instance
 * without watches; one that a child shares. Events come afterwards under the same numbers.
 *
 * zdtm: flavour ns
 * zdtm: iters 2
 */
#include <sys/inotify.h>

#include "zdtm.h"

static char shm[64];

/* The next event: its watch and mask; 0, 0 when there is none. */
static uint32_t next(int fd, int *wd, char *name)
{
	static char buf[4096] __attribute__((aligned(8)));
	static size_t have, at;
	const struct inotify_event *e;

	if (at >= have) {
		ssize_t n = read(fd, buf, sizeof(buf));

		at = 0;
		have = n > 0 ? (size_t)n : 0;
		if (!have)
			return *wd = 0;
	}
	e = (const void *)(buf + at);
	at += sizeof(*e) + e->len;
	*wd = e->wd;
	strcpy(name, e->len ? e->name : "");
	return e->mask;
}

static void expect(int fd, int wanted, uint32_t mask, const char *name, const char *what)
{
	char got[300] = "";
	int wd;
	uint32_t m = next(fd, &wd, got);

	zdtm_check(wd == wanted && m == mask && !strcmp(got, name), "%s: watch %d, event %x, \"%s\"", what, wd, m, got);
}

static void quiet(int fd, const char *what)
{
	char got[300] = "";
	int wd;
	uint32_t m;

	while ((m = next(fd, &wd, got)))
		zdtm_say("FAIL", __LINE__, "%s: watch %d, event %x, \"%s\" out of nothing", what, wd, m, got);
}

static const char *in_shm(const char *name)
{
	static char path[200];

	snprintf(path, sizeof(path), "%s/%s", shm, name);
	return path;
}

static void create(const char *path)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	zdtm_must(fd >= 0 && write(fd, "x", 1) == 1);
	close(fd);
}

static int watch(int fd, const char *path, uint32_t mask)
{
	int wd = inotify_add_watch(fd, path, mask);

	zdtm_must(wd > 0);
	return wd;
}

static char *info_of(int fd)
{
	char path[40], *text = calloc(1, 8192);
	int f;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	zdtm_must((f = open(path, O_RDONLY)) >= 0 && read(f, text, 8191) > 0);
	close(f);
	return text;
}

int main(void)
{
	int fd, lonely, file, dir, ram_file, ram_dir, link, once, renamed, far, numbers[8], status;
	char gone[300] = "";
	pid_t kid;

	snprintf(shm, sizeof(shm), "/dev/shm/zdtm-inotify-%d", getpid());
	zdtm_must(!mkdir(shm, 0700) && !mkdir("dir", 0700) && !mkdir("other", 0700));
	create("file");
	create("once");
	create("first name");
	create(in_shm("file"));
	zdtm_must(!symlink("nowhere", "link"));

	zdtm_must((fd = inotify_init1(IN_NONBLOCK)) >= 0 && (lonely = inotify_init1(IN_CLOEXEC)) >= 0);
	file = watch(fd, "file", IN_MODIFY | IN_CLOSE_WRITE);
	dir = watch(fd, "dir", IN_CREATE | IN_DELETE | IN_ONLYDIR | IN_EXCL_UNLINK);
	for (int i = 0; i < 8; i++) /* these leave a gap */
		numbers[i] = watch(fd, i ? in_shm("file") : "other", IN_ATTRIB);
	ram_file = watch(fd, in_shm("file"), IN_MODIFY);
	zdtm_must(ram_file == numbers[7] && !inotify_rm_watch(fd, numbers[0]));
	ram_dir = watch(fd, shm, IN_CREATE | IN_MOVED_FROM);
	link = watch(fd, "link", IN_DELETE_SELF | IN_DONT_FOLLOW);
	once = watch(fd, "once", IN_MODIFY | IN_ONESHOT);
	renamed = watch(fd, "first name", IN_MODIFY);
	far = watch(fd, "/bin/sh", IN_DELETE_SELF | IN_MOVE_SELF);
	zdtm_must(!rename("first name", "second name"));
	zdtm_must(next(fd, &status, gone) == IN_IGNORED && status == numbers[0]);
	zdtm_must((kid = fork()) >= 0);
	if (!kid) {
		zdtm_wait();
		while (access(zdtm_path("kid"), F_OK))
			zdtm_nap();
		expect(fd, file, IN_MODIFY, "", "the child's own");
		_exit(0);
	}
	char *before = info_of(fd);

	zdtm_ready();
	zdtm_wait();

	quiet(fd, "at first");
	zdtm_check(strlen(before) == strlen(info_of(fd)), "before:\n%snow:\n%s", before, info_of(fd));
	zdtm_check(fcntl(fd, F_GETFL) & O_NONBLOCK && !(fcntl(lonely, F_GETFL) & O_NONBLOCK), "O_NONBLOCK");
	create("dir/new");
	expect(fd, dir, IN_CREATE, "new", "created in a directory");
	zdtm_check(!unlink("dir/new"), "unlink");
	expect(fd, dir, IN_DELETE, "new", "deleted in a directory");
	create(in_shm("new"));
	expect(fd, ram_dir, IN_CREATE, "new", "created in a directory in memory");
	zdtm_check(!rename(in_shm("new"), "dir/there") || errno == EXDEV, "rename");
	zdtm_check(!unlink(in_shm("new")), "unlink");
	zdtm_check(truncate(in_shm("file"), 5) == 0, "truncate");
	expect(fd, ram_file, IN_MODIFY, "", "modified in memory");
	zdtm_check(truncate("second name", 5) == 0, "truncate");
	expect(fd, renamed, IN_MODIFY, "", "the renamed file");
	zdtm_check(truncate("once", 5) == 0 && truncate("once", 6) == 0, "truncate");
	expect(fd, once, IN_MODIFY, "", "once");
	expect(fd, once, IN_IGNORED, "", "once, and no more");
	zdtm_check(!unlink("link"), "unlink");
	expect(fd, link, IN_DELETE_SELF, "", "the link itself");
	expect(fd, link, IN_IGNORED, "", "the link is gone");
	zdtm_check(!inotify_rm_watch(fd, far), "the number of /bin/sh: %s", strerror(errno));
	expect(fd, far, IN_IGNORED, "", "/bin/sh");
	zdtm_check(inotify_add_watch(fd, "/bin/sh", IN_ATTRIB) > far, "a number is given again");
	quiet(fd, "at last");
	zdtm_check(truncate("file", 7) == 0, "truncate");
	zdtm_touch("kid");
	zdtm_check(waitpid(kid, &status, 0) == kid && !status, "child: %x", status);
	zdtm_check(inotify_add_watch(lonely, "other", IN_ATTRIB) == 1, "the empty one");
	unlink(in_shm("file"));
	rmdir(shm);
	zdtm_pass();
}
