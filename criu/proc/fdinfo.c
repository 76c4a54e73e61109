/* SPDX-License-Identifier: GPL-2.0-only */
#include <ctype.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>

#include "lib/fd_flags.h"
#include "lib/io.h"
#include "proc/fdinfo.h"
#include "proc/proc.h"

/* The value behind "key:\t" at the start of a line, or NULL. */
static const char *value_of(const char *line, const char *key)
{
	size_t len = strlen(key);

	if (strncmp(line, key, len) || line[len] != ':')
		return NULL;
	for (line += len + 1; *line == ' ' || *line == '\t'; line++)
		;
	return isdigit((unsigned char)*line) || *line == '-' ? line : NULL;
}

int fdinfo_parse(const char *text, struct fdinfo *out)
{
	bool pos = false, flags = false;
	const char *v;

	*out = (struct fdinfo) { .mnt_id = -1 };
	for (const char *line = text; line && *line; line = strchr(line, '\n'), line = line ? line + 1 : NULL) {
		if (!pos && (v = value_of(line, "pos"))) {
			out->pos = strtoll(v, NULL, 10);
			pos = true;
		} else if (!flags && (v = value_of(line, "flags"))) {
			unsigned long f = strtoul(v, NULL, 8);

			out->cloexec = f & O_CLOEXEC;
			out->flags = f & ~O_CLOEXEC;
			flags = true;
		} else if (out->mnt_id < 0 && (v = value_of(line, "mnt_id"))) {
			out->mnt_id = strtol(v, NULL, 10);
		}
		if (pos && flags && out->mnt_id >= 0)
			break;
	}
	return pos && flags ? 0 : -EINVAL;
}

/* The last number of the line behind a key. */
static int last_number(const char *text, const char *key, int32_t *n)
{
	const char *at = fdinfo_value(text, key);
	bool any = false;

	while (at && *at && *at != '\n') {
		char *end;
		long v;

		if (!isdigit((unsigned char)*at) && (*at != '-' || !isdigit((unsigned char)at[1])))
			return -EINVAL;
		v = strtol(at, &end, 10);
		if (v < -1 || v > INT32_MAX)
			return -EINVAL;
		*n = (int32_t)v;
		any = true;
		at = end + strspn(end, " \t");
	}
	return any ? 0 : -EINVAL;
}

int fdinfo_parse_pidfd(const char *text, int32_t *pid, int32_t *inner)
{
	return last_number(text, "Pid", pid) ?: last_number(text, "NSpid", inner);
}

static int compare_numbers(const void *a, const void *b)
{
	int x = *(const int *)a, y = *(const int *)b;

	return (x > y) - (x < y);
}

int proc_read_fd_numbers(int proc_fd, struct arena *a, int **numbersp, size_t *np)
{
	int err;

	*numbersp = NULL;
	*np = 0;
	err = proc_list_numbers(proc_fd, "fd", a, numbersp, np);
	if (*np)
		qsort(*numbersp, *np, sizeof(**numbersp), compare_numbers);
	return err;
}

const char *proc_read_text(int dir_fd, const char *path, struct arena *a, struct text_buf *buf)
{
	_cleanup_close_ int fd = openat(dir_fd, path, O_RDONLY | O_CLOEXEC);
	size_t have = 0;

	if (fd < 0)
		return NULL;
	for (;;) {
		ssize_t n;

		if (buf->size - have < 1024) {
			char *more = arena_alloc(a, buf->size ? buf->size * 2 : 4096);

			if (have)
				memcpy(more, buf->data, have);
			buf->size = buf->size ? buf->size * 2 : 4096;
			buf->data = more;
		}
		n = io_read_all(fd, buf->data + have, buf->size - have - 1);
		if (n < 0)
			return NULL;
		if (n == 0)
			break;
		have += n;
	}
	buf->data[have] = 0;
	return buf->data;
}

const char *fdinfo_value(const char *text, const char *key)
{
	size_t len = strlen(key);

	for (const char *line = text; line; line = strchr(line, '\n'), line = line ? line + 1 : NULL)
		if (!strncmp(line, key, len) && line[len] == ':')
			return line + len + 1 + strspn(line + len + 1, " \t");
	return NULL;
}

int fdinfo_number(const char *text, const char *key, int base, uint64_t *v)
{
	const char *at = fdinfo_value(text, key);
	char *end;

	if (!at || *at == '-')
		return -EINVAL;
	errno = 0;
	*v = strtoull(at, &end, base);
	return errno || end == at ? -EINVAL : 0;
}
