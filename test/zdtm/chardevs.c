/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The kernel's log, read to its end, written only and with O_PATH; another device with O_PATH.
 *
 * zdtm: needs-root
 * zdtm: iters 2
 */
#include "zdtm.h"

/* Reads all that is left. The number of the last record, or -1. */
static long last_record(int fd)
{
	static char buf[9000];
	long last = -1;
	ssize_t n;

	while ((n = read(fd, buf, sizeof(buf) - 1)) > 0 || errno == EPIPE) {
		char *comma;

		if (n <= 0)
			continue;
		buf[n] = 0;
		comma = strchr(buf, ',');
		last = comma ? atol(comma + 1) : last;
	}
	zdtm_must(errno == EAGAIN);
	return last;
}

int main(void)
{
	int log = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC), writer, path_only, other, fresh;
	struct stat a, b;
	long last, left;

	if (log < 0)
		zdtm_skip("/dev/kmsg: %s", strerror(errno));
	zdtm_must((writer = open("/dev/kmsg", O_WRONLY)) >= 0);
	zdtm_must((path_only = open("/dev/kmsg", O_PATH)) >= 0);
	zdtm_must((other = open("/dev/mem", O_PATH)) >= 0 || (other = open("/dev/null", O_PATH)) >= 0);
	zdtm_must(!fstat(other, &a));
	last = last_record(log);
	zdtm_ready();
	zdtm_wait();
	zdtm_check(!fstat(other, &b) && a.st_rdev == b.st_rdev && a.st_ino == b.st_ino, "the device with O_PATH");
	zdtm_check(!fstat(path_only, &b) && S_ISCHR(b.st_mode) && fcntl(path_only, F_GETFL) & O_PATH, "kmsg, O_PATH");
	zdtm_check(fcntl(log, F_GETFL) & O_NONBLOCK && fcntl(log, F_GETFD) == FD_CLOEXEC, "flags");
	zdtm_check(write(writer, "", 0) == 0 && read(writer, &b, 1) == -1 && errno == EBADF, "the writer");
	left = last_record(log);
	/* What others wrote meanwhile may have come before the dump, and then all is read again. */
	zdtm_must((fresh = open("/dev/kmsg", O_RDONLY | O_NONBLOCK)) >= 0);
	if (last_record(fresh) == last)
		zdtm_check(left == -1, "the log was at its end (%ld), and is not now (%ld)", last, left);
	zdtm_pass();
}
