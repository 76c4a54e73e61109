/* SPDX-License-Identifier: GPL-2.0-only */
#include <fcntl.h>
#include <string.h>

#include "core/fd_flags.h"
#include "core/log.h"

#define SETTABLE ((uint32_t)(O_APPEND | O_NONBLOCK | O_DIRECT | O_NOATIME))

int fd_flags_restore(int fd, uint32_t flags)
{
	int now = fcntl(fd, F_GETFL);

	if (now < 0)
		return log_errno(-errno, "reading the flags of a descriptor");
	if (!(((uint32_t)now ^ flags) & SETTABLE))
		return 0;
	if (fcntl(fd, F_SETFL, ((uint32_t)now & ~SETTABLE) | (flags & SETTABLE)))
		return log_errno(-errno, "setting the flags 0%o of a descriptor", flags);
	return 0;
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
