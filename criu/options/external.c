/* SPDX-License-Identifier: GPL-2.0-only */
#include <string.h>

#include "options/external.h"
#include "options/inherited.h"

bool external_named(const struct options *o, const char *resource)
{
	int fd;

	for (size_t i = 0; i < o->n_external; i++)
		if (!strcmp(o->external[i], resource))
			return true;
	for (size_t i = 0; i < o->n_inherit_fd; i++) {
		const char *named = inherited_resource(o->inherit_fd[i], &fd) ?: o->inherit_fd[i];

		if (!strcmp(named, resource))
			return true;
	}
	return false;
}

bool external_unix(const struct options *o, uint32_t ino)
{
	char key[32];

	for (size_t i = 0; i < o->n_ext_unix_sk; i++)
		if (!*o->ext_unix_sk[i] || strtoul(o->ext_unix_sk[i], NULL, 10) == ino)
			return true;
	snprintf(key, sizeof(key), "unix[%u]", ino);
	return external_named(o, key);
}
