/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * fanotify: marks on a file, a directory, a mount and a file system, with what is ignored in each way; a group that is
 * told of names, one that is asked for permission, one without marks. Events and questions come afterwards.
 *
 * zdtm: needs-root
 * zdtm: iters 2
 */
#include <sys/fanotify.h>

#include "zdtm.h"

static char shm[64];

static int group(unsigned flags)
{
	int fd = fanotify_init(flags | FAN_NONBLOCK, O_RDWR | O_LARGEFILE | O_CLOEXEC);

	if (fd < 0 && (errno == EPERM || errno == ENOSYS))
		zdtm_skip("fanotify is not allowed: %s", strerror(errno));
	zdtm_must(fd >= 0);
	return fd;
}

static void mark(int fd, unsigned flags, uint64_t mask, const char *path)
{
	zdtm_must(!fanotify_mark(fd, FAN_MARK_ADD | flags, mask, AT_FDCWD, path));
}

static const char *in_shm(const char *name)
{
	static char path[200];

	snprintf(path, sizeof(path), "%s/%s", shm, name);
	return path;
}

static void touch(const char *path)
{
	int fd = open(path, O_WRONLY | O_CREAT, 0600);

	zdtm_must(fd >= 0);
	close(fd);
}

/* All that is there to be read, as one mask of events of ours; descriptors are closed, questions answered. */
static uint64_t events(int fd)
{
	char buf[8192] __attribute__((aligned(8)));
	uint64_t all = 0;
	ssize_t n;

	while ((n = read(fd, buf, sizeof(buf))) > 0)
		for (struct fanotify_event_metadata *e = (void *)buf; FAN_EVENT_OK(e, n); e = FAN_EVENT_NEXT(e, n)) {
			struct fanotify_response answer = { .fd = e->fd, .response = FAN_ALLOW };

			if (e->pid == getpid() || e->mask & FAN_OPEN_PERM) /* of others nothing counts */
				all |= e->mask;
			if (e->mask & FAN_OPEN_PERM)
				zdtm_check(write(fd, &answer, sizeof(answer)) == sizeof(answer), "an answer: %s",
				           strerror(errno));
			if (e->fd >= 0)
				close(e->fd);
		}
	return all;
}

static void expect(int fd, uint64_t wanted, const char *what)
{
	uint64_t got = events(fd);

	zdtm_check(got == wanted, "%s: events %lx, not %lx", what, got, wanted);
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

/* A child opens the file; it goes on when the question was answered. */
static void ask(int guard)
{
	int status;
	pid_t kid = fork();

	zdtm_must(kid >= 0);
	if (!kid)
		_exit(open("guarded", O_RDONLY) < 0);
	for (uint64_t got = 0; !(got & FAN_OPEN_PERM); got = events(guard))
		zdtm_nap();
	zdtm_check(waitpid(kid, &status, 0) == kid && !status, "who asked: %x", status);
}

int main(void)
{
	int plain, ram, names, guard, none;
	char *before[4];

	snprintf(shm, sizeof(shm), "/dev/shm/zdtm-fanotify-%d", getpid());
	zdtm_must(!mkdir(shm, 0700) && !mkdir("dir", 0700));
	touch("file");
	touch("ignored");
	touch("guarded");
	touch("dir/child");
	plain = group(FAN_CLASS_NOTIF);
	mark(plain, 0, FAN_OPEN | FAN_CLOSE_WRITE, "file");
	mark(plain, 0, FAN_OPEN | FAN_ONDIR | FAN_EVENT_ON_CHILD, "dir");
	mark(plain, FAN_MARK_IGNORED_MASK | FAN_MARK_IGNORED_SURV_MODIFY, FAN_OPEN, "dir/child");
	mark(plain, 0, FAN_OPEN | FAN_CLOSE_WRITE, "ignored");
	mark(plain, FAN_MARK_IGNORE_SURV, FAN_OPEN, "ignored");
	ram = group(FAN_CLASS_NOTIF | FAN_UNLIMITED_QUEUE);
	mark(ram, FAN_MARK_MOUNT, FAN_CLOSE_WRITE, "/dev/shm");
	names = group(FAN_CLASS_NOTIF | FAN_REPORT_DFID_NAME);
	mark(names, FAN_MARK_FILESYSTEM, FAN_CREATE | FAN_DELETE | FAN_ONDIR, "/dev/shm");
	guard = group(FAN_CLASS_CONTENT);
	mark(guard, 0, FAN_OPEN_PERM, "guarded");
	none = group(FAN_CLASS_NOTIF | FAN_REPORT_FID);
	const int all[] = { plain, ram, names, guard };

	for (int i = 0; i < 4; i++)
		before[i] = info_of(all[i]);
	zdtm_ready();
	zdtm_wait();

	expect(plain, 0, "at first");
	events(ram); /* of others: only ours count */
	events(names);
	for (int i = 0; i < 4; i++)
		zdtm_check(strlen(before[i]) == strlen(info_of(all[i])), "before:\n%snow:\n%s", before[i],
		           info_of(all[i]));
	touch("file");
	expect(plain, FAN_OPEN | FAN_CLOSE_WRITE, "the file");
	touch("ignored");
	expect(plain, FAN_CLOSE_WRITE, "the file whose opening is ignored");
	touch("dir/child");
	expect(plain, 0, "the child that is ignored");
	touch("dir/other");
	expect(plain, FAN_OPEN, "the other child");
	zdtm_check(!unlink("dir/other"), "unlink");
	close(open("dir", O_RDONLY));
	expect(plain, FAN_OPEN, "the directory");
	touch(in_shm("new"));
	zdtm_check(events(ram) & FAN_CLOSE_WRITE, "nothing from the mount");
	expect(names, FAN_CREATE, "created on the file system");
	unlink(in_shm("new"));
	rmdir(shm);
	zdtm_check((events(names) & ~FAN_ONDIR) == FAN_DELETE, "nothing was deleted on the file system");
	expect(guard, 0, "nobody asks");
	ask(guard);
	mark(none, 0, FAN_OPEN, "dir");
	expect(none, 0, "the one without marks");
	zdtm_pass();
}
