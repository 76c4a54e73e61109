/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Pipes: queued bytes, size, packet mode, O_NONBLOCK, both ends in one process, one without a reader, one without a
 * writer, an empty one, and one that ten processes hold. Descriptors with O_PATH, of a pipe with both ends and of one
 * with none.
 *
 * zdtm: flavour ns
 * zdtm: restores 3
 */
#include "zdtm.h"

#define KIDS 10

static char buf[300000];

static int filled(int fd, const char *with, int n)
{
	memset(buf, 0, sizeof(buf));
	for (int i = 0, r; i < n; i += r) {
		r = read(fd, buf + i, n - i);
		if (r <= 0)
			return 0;
	}
	for (int i = 0; i < n; i++)
		if (buf[i] != with[i % strlen(with)])
			return 0;
	return 1;
}

static void fill(int fd, const char *with, int n)
{
	for (int i = 0; i < n; i++)
		buf[i] = with[i % strlen(with)];
	zdtm_must(write(fd, buf, n) == n);
}

/* With O_PATH. */
static int path_to(int fd)
{
	char name[32];

	snprintf(name, sizeof(name), "/proc/self/fd/%d", fd);
	return open(name, O_PATH);
}

static int reopen(int fd)
{
	char name[32];

	snprintf(name, sizeof(name), "/proc/self/fd/%d", fd);
	return open(name, O_RDWR | O_NONBLOCK);
}

int main(void)
{
	int none[2], path, gone, again;
	struct stat st, st2;
	int full[2], packet[2], lonely[2], closed[2], many[2], empty[2], status, n = 0;
	pid_t kids[KIDS];
	char c;

	signal(SIGPIPE, SIG_IGN);
	zdtm_must(!pipe2(full, O_NONBLOCK) && !pipe2(packet, O_DIRECT) && !pipe(lonely) && !pipe2(closed, O_CLOEXEC));
	zdtm_must(!pipe(many) && !pipe(empty) && !pipe(none));
	zdtm_must((path = path_to(full[0])) >= 0 && (gone = path_to(none[0])) >= 0 && !close(none[0]) &&
	          !close(none[1]));
	zdtm_must(fcntl(full[1], F_SETPIPE_SZ, 1 << 18) == 1 << 18);
	fill(full[1], "abcdefg", 1 << 18);
	zdtm_must(write(packet[1], "one", 3) == 3 && write(packet[1], "second", 6) == 6);
	close(lonely[0]);
	fill(closed[1], "xyz", 70);
	close(closed[1]);
	for (int i = 0; i < KIDS; i++) {
		zdtm_must((kids[i] = fork()) >= 0);
		if (!kids[i]) {
			zdtm_wait();
			c = 'A' + i;
			zdtm_check(write(many[1], &c, 1) == 1, "child %d cannot write", i);
			_exit(0);
		}
	}
	zdtm_ready();
	zdtm_wait();
	for (int i = 0; i < KIDS; i++)
		zdtm_check(waitpid(kids[i], &status, 0) == kids[i] && !status, "child %d: %x", i, status);
	close(many[1]);
	while (read(many[0], &c, 1) == 1)
		n |= 1 << (c - 'A');
	zdtm_check(n == 1023, "of the ten children's bytes only %x came", n);
	zdtm_check(!fstat(path, &st) && !fstat(full[0], &st2) && st.st_ino == st2.st_ino &&
	               fcntl(path, F_GETFL) & O_PATH,
	           "the O_PATH descriptor is of another pipe, or not with O_PATH");
	zdtm_check(!fstat(gone, &st) && S_ISFIFO(st.st_mode) && (again = reopen(gone)) >= 0 && read(again, &c, 1) == -1,
	           "what was a pipe once: %s", strerror(errno));
	zdtm_check(fcntl(full[0], F_GETPIPE_SZ) == 1 << 18, "size %d", fcntl(full[0], F_GETPIPE_SZ));
	zdtm_check(write(full[1], "x", 1) == -1 && errno == EAGAIN, "the full pipe takes more, or blocks");
	zdtm_check(filled(full[0], "abcdefg", 1 << 18), "queued bytes differ");
	zdtm_check(read(full[0], &c, 1) == -1 && errno == EAGAIN, "more than was queued, or it blocks");
	zdtm_check(read(packet[0], buf, 100) == 3 && !memcmp(buf, "one", 3), "first packet");
	zdtm_check(read(packet[0], buf, 100) == 6 && !memcmp(buf, "second", 6), "second packet");
	zdtm_check(fcntl(packet[1], F_GETFL) & O_DIRECT, "packet mode is lost");
	zdtm_check(write(lonely[1], "x", 1) == -1 && errno == EPIPE, "the pipe without a reader has one");
	zdtm_check(filled(closed[0], "xyz", 70), "bytes of the pipe whose writer is gone");
	zdtm_check(read(closed[0], &c, 1) == 0, "the pipe whose writer is gone does not end");
	zdtm_check(fcntl(closed[0], F_GETFD) == FD_CLOEXEC && fcntl(full[0], F_GETFD) == 0, "close-on-exec");
	zdtm_check(write(empty[1], "y", 1) == 1 && read(empty[0], &c, 1) == 1 && c == 'y', "the empty pipe");
	zdtm_pass();
}
