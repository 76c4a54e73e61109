/* SPDX-License-Identifier: GPL-2.0-only */
#include <fcntl.h>
#include <limits.h>
#include <string.h>

#include "lib/log.h"
#include "options/inherited.h"

/* "fd[N]:RESOURCE" and "debug[N]:TEXT": N and what stands behind; NULL where the text is of another form. */
static const char *parse_entry(const char *text, const char *key, int *fd)
{
	size_t len = strlen(key);
	unsigned long n;
	char *end;

	if (strncmp(text, key, len) || text[len] != '[' || text[len + 1] < '0' || text[len + 1] > '9')
		return NULL;
	n = strtoul(text + len + 1, &end, 10);
	if (end[0] != ']' || end[1] != ':' || !end[2] || n > INT_MAX)
		return NULL;
	*fd = (int)n;
	return end + 2;
}

const char *inherited_resource(const char *text, int *fd)
{
	return parse_entry(text, "fd", fd);
}

int inherited_fd(const struct options *o, const char *resource)
{
	int fd;

	for (size_t i = 0; i < o->n_inherit_fd; i++) {
		const char *named = parse_entry(o->inherit_fd[i], "fd", &fd);

		if (named && !strcmp(named, resource))
			return fd;
	}
	return -ENOENT;
}

static int check_entry(const char *text)
{
	const char *named;
	int fd;

	named = parse_entry(text, "debug", &fd);
	if (named) {
		if (dprintf(fd, "%s", named) < 0)
			return log_errno(-errno, "--inherit-fd %s: write to descriptor %d", text, fd);
		return 0;
	}
	named = parse_entry(text, "fd", &fd);
	if (!named)
		return log_errno(
		    -EINVAL,
		    "--inherit-fd %s: fd[N]:RESOURCE is expected, like 'fd[3]:pipe:[823441]', or debug[N]:TEXT", text);
	if (fcntl(fd, F_GETFD) < 0)
		return log_errno(-errno, "--inherit-fd %s: descriptor %d is not open in criu: fcntl(F_GETFD)", text,
		                 fd);
	return 0;
}

int inherited_check(const struct options *o)
{
	int err = 0;

	for (size_t i = 0; i < o->n_inherit_fd; i++)
		err = check_entry(o->inherit_fd[i]) ?: err;
	return err;
}
