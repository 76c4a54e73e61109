/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Events of inotify that were not read before a dump: the program is told that events were lost, once, and then gets
 * new ones under the old numbers. An instance whose events were all read is told nothing.
 *
 * zdtm: iters 2
 */
#include <sys/inotify.h>
#include <sys/ioctl.h>

#include "zdtm.h"

static void touch_in(const char *dir)
{
	char path[100];

	snprintf(path, sizeof(path), "%s/file", dir);
	close(open(path, O_CREAT | O_WRONLY, 0600));
	unlink(path);
}

static const struct inotify_event *next(int fd, const char *what)
{
	static char buf[600] __attribute__((aligned(8)));
	ssize_t n = read(fd, buf, 32);

	zdtm_check(n >= 16, "%s: no event: %s", what, strerror(errno));
	return (const void *)buf;
}

static void has_create(int fd, int wd, const char *what)
{
	const struct inotify_event *e = next(fd, what);

	zdtm_check(e->wd == wd && e->mask == IN_CREATE && !strcmp(e->name, "file"), "%s: %d %x", what, e->wd, e->mask);
}

int main(void)
{
	int unread = inotify_init1(IN_NONBLOCK), clean = inotify_init1(IN_NONBLOCK), wd, other, bytes;
	const struct inotify_event *e;

	zdtm_must(!mkdir("unread", 0700) && !mkdir("clean", 0700));
	other = inotify_add_watch(unread, "clean", IN_DELETE_SELF);
	wd = inotify_add_watch(unread, "unread", IN_CREATE);
	zdtm_must(other == 1 && wd == 2 && inotify_add_watch(clean, "clean", IN_CREATE) == 1);
	touch_in("unread");
	touch_in("clean");
	has_create(clean, 1, "clean, before");
	zdtm_ready();
	zdtm_wait();

	e = next(unread, "unread");
	zdtm_check(e->wd == -1 && e->mask == IN_Q_OVERFLOW, "no overflow: %d %x", e->wd, e->mask);
	zdtm_check(!ioctl(unread, FIONREAD, &bytes) && !bytes, "%d bytes more", bytes);
	zdtm_check(!ioctl(clean, FIONREAD, &bytes) && !bytes, "clean: %d bytes", bytes);
	touch_in("unread");
	touch_in("clean");
	has_create(unread, wd, "unread");
	has_create(clean, 1, "clean");
	zdtm_pass();
}
