/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Files and the directory of /proc/1, whose process is outside of the tree: they are of the first process again, and
 * the position is kept.
 *
 * zdtm: flavour no pidns
 * zdtm: needs-root
 * zdtm: restores 2
 */
#include <dirent.h>

#include "zdtm.h"

int main(void)
{
	int status = open("/proc/1/status", O_RDONLY), dir = open("/proc/1", O_RDONLY | O_DIRECTORY), fd;
	char text[64], now[64];
	ssize_t n;

	zdtm_must(status >= 0 && dir >= 0);
	n = read(status, text, 20);
	zdtm_must(n == 20);
	zdtm_ready();
	zdtm_wait();
	zdtm_check(lseek(status, 0, SEEK_CUR) == 20, "position %lld", (long long)lseek(status, 0, SEEK_CUR));
	zdtm_check(pread(status, now, 20, 0) == 20 && !memcmp(text, now, 20), "/proc/1/status: %.20s", now);
	fd = openat(dir, "stat", O_RDONLY);
	zdtm_check(fd >= 0 && read(fd, now, sizeof(now)) > 2 && !memcmp(now, "1 (", 3), "/proc/1/stat: %.10s", now);
	close(fd);
	zdtm_pass();
}
