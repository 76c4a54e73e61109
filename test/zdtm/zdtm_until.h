/* SPDX-License-Identifier: GPL-2.0-only */
/* Waiting until other processes of the test are where they said they would be: however busy the machine is. */
#ifndef ZDTM_UNTIL_H
#define ZDTM_UNTIL_H

#include <dirent.h>

#include "zdtm.h"

/* Until /proc/PID/stat has these words: ") Z ", "(sleep) S". */
__attribute__((unused)) static void zdtm_until(pid_t pid, const char *words)
{
	char path[40], buf[300];
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	do {
		zdtm_nap();
		zdtm_must((fd = open(path, O_RDONLY | O_CLOEXEC)) >= 0 && (n = read(fd, buf, sizeof(buf) - 1)) > 0);
		close(fd);
		buf[n] = 0;
	} while (!strstr(buf, words));
}

/* A process, of whatever user, says that it is set up; another waits until n have. */
__attribute__((unused)) static void zdtm_up(void)
{
	char name[20];

	snprintf(name, sizeof(name), "up.%d", getpid());
	zdtm_touch(name);
}

__attribute__((unused)) static void zdtm_until_up(int n)
{
	for (int there = 0; there < n; zdtm_nap()) {
		DIR *d = opendir(zdtm_dir);

		zdtm_must(d != NULL);
		there = 0;
		for (struct dirent *e; (e = readdir(d));)
			there += !strncmp(e->d_name, "up.", 3);
		closedir(d);
	}
}

#endif
