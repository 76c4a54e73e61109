/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * inotify watches a file that was deleted while it is open, and the directory in which that had been: making it again
 * for the restore is no event there.
 *
 * zdtm: flavour ns
 * zdtm: iters 2
 * zdtm: allow fd 100/watched  any  a deleted file that is made again has another inode
 */
#include <sys/inotify.h>

#include "zdtm.h"

static void expect(int wanted, uint32_t mask, const char *what)
{
	char buf[4096] __attribute__((aligned(8)));
	const struct inotify_event *e = (const void *)buf;
	ssize_t n = read(100, buf, sizeof(buf));

	if (!wanted)
		zdtm_check(n < 0 && errno == EAGAIN, "%s: watch %d, event %x, \"%s\" out of nothing", what, e->wd,
		           e->mask, e->len ? e->name : "");
	else
		zdtm_check(n >= (ssize_t)sizeof(*e) && e->wd == wanted && e->mask == mask,
		           "%s: %zd bytes, watch %d, event %x", what, n, e->wd, e->mask);
}

int main(void)
{
	int fd, dir, watched;
	char c = 0;

	zdtm_must((fd = inotify_init1(IN_NONBLOCK)) >= 0 && dup2(fd, 100) == 100 && !close(fd));
	zdtm_must(!mkdir("dir", 0700) && (fd = open("dir/file", O_RDWR | O_CREAT, 0600)) >= 0);
	zdtm_must(write(fd, "a", 1) == 1 && !unlink("dir/file"));
	zdtm_must((dir = inotify_add_watch(100, "dir", IN_CREATE | IN_DELETE | IN_MOVE | IN_EXCL_UNLINK)) > 0);
	/* Its name is gone: by the descriptor. */
	char path[40];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	zdtm_must((watched = inotify_add_watch(100, path, IN_MODIFY)) > 0);
	zdtm_ready();
	zdtm_wait();
	expect(0, 0, "at first");
	zdtm_check(pwrite(fd, "b", 1, 1) == 1 && pread(fd, &c, 1, 0) == 1 && c == 'a', "the file");
	expect(watched, IN_MODIFY, "the deleted file");
	zdtm_check(!mkdir("dir/new", 0700), "mkdir: %s", strerror(errno));
	expect(dir, IN_CREATE | IN_ISDIR, "the directory");
	zdtm_check(!rmdir("dir/new"), "rmdir: %s", strerror(errno));
	zdtm_pass();
}
