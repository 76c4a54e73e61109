/* SPDX-License-Identifier: GPL-2.0-only */
/* The result file of a test, and its words; inside of zdtm.h. */
#ifndef ZDTM_SAY_H
#define ZDTM_SAY_H

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static char zdtm_dir[PATH_MAX / 2];

__attribute__((constructor)) static void zdtm_init(void)
{
	if (!getcwd(zdtm_dir, sizeof(zdtm_dir)))
		_exit(99);
}

/* The path of a file in the test's directory, wherever the program's cwd is now. Overwritten by the next call. */
__attribute__((unused)) static const char *zdtm_path(const char *name)
{
	static __thread char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/%s", zdtm_dir, name);
	return path;
}

__attribute__((format(printf, 3, 0), unused)) static void zdtm_vsay(const char *kind, int line, const char *fmt,
                                                                    va_list ap)
{
	char text[600];
	int n = line ? snprintf(text, sizeof(text), "%s line %d (pid %d): ", kind, line, (int)syscall(SYS_getpid))
	             : snprintf(text, sizeof(text), "%s ", kind);
	int fd = open(zdtm_path("result"), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0666);

	n += vsnprintf(text + n, sizeof(text) - n - 1, fmt, ap);
	n = n < (int)sizeof(text) - 1 ? n : (int)sizeof(text) - 2;
	text[n++] = '\n';
	if (fd < 0 || write(fd, text, n) != n)
		_exit(98);
	close(fd);
}

__attribute__((format(printf, 3, 4), unused)) static void zdtm_say(const char *kind, int line, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	zdtm_vsay(kind, line, fmt, ap);
	va_end(ap);
}

__attribute__((format(printf, 2, 3), unused)) static int zdtm_fail(int line, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	zdtm_vsay("FAIL", line, fmt, ap);
	va_end(ap);
	return 0;
}

#endif
