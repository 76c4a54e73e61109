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

const char *external_value(const struct options *o, const char *resource)
{
	size_t len = strlen(resource);

	for (size_t i = 0; i < o->n_external; i++)
		if (!strncmp(o->external[i], resource, len) && o->external[i][len] == ':')
			return o->external[i] + len + 1;
	return NULL;
}

static const char *value_of(const char *text, const char *key, const char *between)
{
	size_t n = strlen(key);

	return !strncmp(text, key, n) && !strncmp(text + n, between, strlen(between)) ? text + n + strlen(between)
	                                                                              : NULL;
}

/* "mnt[]:flags" and "auto" ask for what is done anyway. */
const char *external_mount(const struct options *o, const char *key)
{
	const char *value = NULL;

	for (size_t i = 0; !value && i < o->n_ext_mount_map; i++)
		value = value_of(o->ext_mount_map[i], key, ":");
	for (size_t i = 0; !value && *key && i < o->n_external; i++)
		if (!strncmp(o->external[i], "mnt[", 4))
			value = value_of(o->external[i] + 4, key, "]:");
	return value;
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
