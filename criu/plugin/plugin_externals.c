/* SPDX-License-Identifier: GPL-2.0-only */
/* What other kinds ask of plugins: tree/externals.h. */
#include <fcntl.h>

#include "lib/log.h"
#include "plugin/plugin.h"

static int dump_unix_socket(struct dump *d, int fd, uint32_t id)
{
	struct plugin *who = NULL;
	int ret = plugin_call_who((struct plugins *)dump_state(d, &plugin_subsys), DUMP_UNIX_SK, &who, fd, (int)id);

	if (ret >= 0)
		who->saved = true;
	return MIN(ret, 0);
}

static int open_unix_socket(struct restore *r, uint32_t id)
{
	int fd = plugin_call((struct plugins *)restore_state(r, &plugin_subsys), RESTORE_UNIX_SK, (int)id);

	if (fd >= 0 && fcntl(fd, F_SETFD, FD_CLOEXEC))
		return log_errno(-errno, "unix socket %u: fcntl of what a plugin has restored", id);
	return fd;
}

static bool opens_unix_sockets(struct restore *r)
{
	return plugin_any_has(restore_state(r, &plugin_subsys), CR_PLUGIN_HOOK__RESTORE_UNIX_SK);
}

static int dump_mount(struct dump *d, const char *mountpoint, int id)
{
	struct plugin *who = NULL;
	int ret = plugin_call_who((struct plugins *)dump_state(d, &plugin_subsys), DUMP_EXT_MOUNT, &who,
	                          arena_strdup(d->arena, mountpoint), id);

	if (ret >= 0)
		who->saved = true;
	return MIN(ret, 0);
}

static int make_mount(struct restore *r, int id, const char *at, bool *is_file)
{
	char root[] = "/";
	int file = *is_file;
	int ret = plugin_call((struct plugins *)restore_state(r, &plugin_subsys), RESTORE_EXT_MOUNT, id,
	                      arena_strdup(r->arena, at), root, &file);

	*is_file = file;
	return MIN(ret, 0);
}

static bool makes_mounts(struct restore *r)
{
	return plugin_any_has(restore_state(r, &plugin_subsys), CR_PLUGIN_HOOK__RESTORE_EXT_MOUNT);
}

static int dump_link(struct dump *d, int index, int type, const char *kind)
{
	int ret = plugin_call((struct plugins *)dump_state(d, &plugin_subsys), DUMP_EXT_LINK, index, type,
	                      arena_strdup(d->arena, kind));

	return MIN(ret, 0);
}

const struct externals plugin_externals = {
	.dump_unix_socket = dump_unix_socket,
	.open_unix_socket = open_unix_socket,
	.opens_unix_sockets = opens_unix_sockets,
	.dump_mount = dump_mount,
	.make_mount = make_mount,
	.makes_mounts = makes_mounts,
	.dump_link = dump_link,
};
