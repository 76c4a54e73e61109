/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * POSIX locks: ranges from one byte to the end of all files, read beside write, through three descriptors of one file
 * (one of them a duplicate), by a parent and a child that share an open file and no lock, by two tasks that share
 * the table and so the locks, one waiting for another's lock, and five thousand in one file.
 *
 * zdtm: flavour ns
 * zdtm: iters 2
 * zdtm: restores 2
 * zdtm: dump --file-locks
 * zdtm: flavour pidns
 */
#include <sched.h>

#include "zdtm.h"

#define MANY 5000
#define FAR  (1LL << 62)

static int set(int fd, int type, off_t start, off_t len)
{
	struct flock l = { .l_type = type, .l_start = start, .l_len = len };

	return fcntl(fd, F_SETLK, &l);
}

/* "WRITE 10 14;", ... as fdinfo says it, and how many there are. */
static int shown(int fd, char *text, size_t size)
{
	char path[64], line[300], type[16], start[32], end[32];
	size_t at = 0;
	int n = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/thread-self/fdinfo/%d", fd);
	zdtm_must((f = fopen(path, "re")));
	for (text[0] = 0; fgets(line, sizeof(line), f);) {
		if (sscanf(line, "lock: %*d: POSIX ADVISORY %15s %*d %*s %31s %31s", type, start, end) != 3)
			continue;
		if (at < size)
			at += snprintf(text + at, size - at, "%s %s %s;", type, start, end);
		n++;
	}
	fclose(f);
	return n;
}

static void shows(const char *who, int fd, const char *want)
{
	char text[1000];

	shown(fd, text, sizeof(text));
	zdtm_check(!strcmp(text, want), "%s: fd %d has \"%s\", not \"%s\"", who, fd, text, want);
}

/* What somebody else (a new child) is told of the range: the holder, or 0. */
static pid_t holder(int fd, int type, off_t start, off_t len)
{
	pid_t kid = fork();
	int status;

	zdtm_must(kid >= 0);
	if (!kid) {
		struct flock l = { .l_type = type, .l_start = start, .l_len = len };

		if (fcntl(fd, F_GETLK, &l))
			_exit(99);
		_exit(l.l_type == F_UNLCK ? 0 : l.l_pid == getppid() ? 1 : 2);
	}
	zdtm_must(waitpid(kid, &status, 0) == kid && WIFEXITED(status));
	return WEXITSTATUS(status);
}

static int a, b, dupe, ro, many, wait_fd;

static int in_child(void)
{
	shows("child", a, "READ 0 4;WRITE 200 209;");
	shows("child", b, "");
	zdtm_check(set(a, F_RDLCK, 10, 1) == -1 && (errno == EAGAIN || errno == EACCES), "the parent's byte was free");
	return 0;
}

/* Shares the table. */
static int sharer(void *arg)
{
	zdtm_must(!set(a, F_WRLCK, 300, 5));
	zdtm_touch("shared");
	zdtm_wait();
	shows("sharer", b, "WRITE 4611686018427387904 EOF;");
	zdtm_touch("looked");
	while (access(zdtm_path("done"), F_OK))
		zdtm_nap();
	_exit(0);
}

static void waiter(void)
{
	struct flock l = { .l_type = F_WRLCK, .l_start = 1, .l_len = 1 };

	zdtm_check(!fcntl(wait_fd, F_SETLKW, &l), "waiting for a lock: %s", strerror(errno));
	_exit(0);
}

int main(void)
{
	static char stack[65536] __attribute__((aligned(16)));
	pid_t kid, shares, waits;
	char text[200];
	int status;

	zdtm_must((a = open("file", O_RDWR | O_CREAT, 0600)) >= 0 && (b = open("file", O_RDWR)) >= 0);
	zdtm_must((ro = open("file", O_RDONLY)) >= 0 && (dupe = dup(b)) >= 0);
	zdtm_must((many = open("many", O_RDWR | O_CREAT, 0600)) >= 0);
	zdtm_must((wait_fd = open("wait", O_RDWR | O_CREAT, 0600)) >= 0);
	zdtm_must(!set(a, F_WRLCK, 10, 1) && !set(a, F_WRLCK, 20, 80) && !set(a, F_RDLCK, 40, 20));
	zdtm_must(!set(a, F_RDLCK, 0, 5));
	zdtm_must(!set(b, F_WRLCK, FAR, 0) && !set(ro, F_RDLCK, FAR - 10, 5));
	for (int i = 0; i < MANY; i++)
		zdtm_must(!set(many, i % 2 ? F_WRLCK : F_RDLCK, 3 * i, 2));
	zdtm_must(!set(wait_fd, F_WRLCK, 0, 10));
	zdtm_must((kid = fork()) >= 0);
	if (!kid) {
		zdtm_must(!set(a, F_RDLCK, 0, 5) && !set(a, F_WRLCK, 200, 10));
		zdtm_touch("set");
		zdtm_wait();
		_exit(in_child());
	}
	zdtm_must((waits = fork()) >= 0);
	if (!waits)
		waiter();
	shares = clone(sharer, stack + sizeof(stack), CLONE_FILES | SIGCHLD, NULL);
	zdtm_must(shares > 0);
	while (access("set", F_OK) || access("shared", F_OK))
		zdtm_nap();
	usleep(50000); /* the waiter waits by now; if not, it does so later */
	zdtm_ready();
	zdtm_wait();
	zdtm_check(waitpid(kid, &status, 0) == kid && !status, "child: %x", status);
	shows("parent", a, "READ 0 4;WRITE 10 10;WRITE 20 39;READ 40 59;WRITE 60 99;WRITE 300 304;");
	shows("parent", b, "WRITE 4611686018427387904 EOF;");
	shows("parent", dupe, "WRITE 4611686018427387904 EOF;");
	shows("parent", ro, "READ 4611686018427387894 4611686018427387898;");
	zdtm_check(shown(many, text, sizeof(text)) == MANY, "%d of the many locks", shown(many, text, sizeof(text)));
	zdtm_check(holder(a, F_RDLCK, 10, 1) == 1, "byte 10 is held by %d", holder(a, F_RDLCK, 10, 1));
	zdtm_check(holder(a, F_RDLCK, 40, 20) == 0 && holder(a, F_WRLCK, 40, 1) == 1, "the read lock");
	zdtm_check(holder(a, F_WRLCK, 11, 9) == 0 && holder(a, F_WRLCK, 100, 200) == 0, "a gap is locked");
	zdtm_check(holder(a, F_RDLCK, 300, 1) == 2, "the lock of the one who shares the table");
	zdtm_check(holder(b, F_RDLCK, INT64_MAX, 1) == 1 && holder(b, F_WRLCK, FAR - 1, 1) == 0, "the far end");
	zdtm_check(holder(many, F_RDLCK, 3, 1) == 1 && holder(many, F_RDLCK, 6, 2) == 0, "one of many");
	zdtm_check(waitpid(waits, &status, WNOHANG) == 0, "the one who waits no longer does: %x", status);
	zdtm_must(!set(wait_fd, F_UNLCK, 0, 0));
	zdtm_check(waitpid(waits, &status, 0) == waits && !status, "the one who waits: %x", status);
	while (access("looked", F_OK))
		zdtm_nap();
	close(dupe); /* which drops all locks of this table in the file */
	shows("parent", a, "");
	zdtm_touch("done");
	zdtm_check(waitpid(shares, &status, 0) == shares && !status, "sharer: %x", status);
	zdtm_pass();
}
