/* SPDX-License-Identifier: GPL-2.0-only */
/* Descriptors that criu cannot save, and a plugin can: the kernel may show anything of them. */
#include <fcntl.h>

#include "ext-file.pb-c.h"
#include "files/files.h"
#include "lib/log.h"
#include "plugin/plugin.h"

/* Of a dump: what plugins have taken; of a restore: what they have brought back. */
struct plugin_files {
	uint32_t *ids;
	size_t n;
};

extern const struct fd_kind plugin_file_kind;

/* Last in the list: whatever no kind knows. */
static bool plugin_file_match(const struct fd_info *info)
{
	return info->fd >= 0 && !info->by_path && plugin_any_has(plugin_now(), CR_PLUGIN_HOOK__DUMP_EXT_FILE);
}

static int plugin_file_dump(struct dump *d, const struct fd_info *info, void *msg)
{
	struct plugins *ps = dump_state(d, &plugin_subsys);
	struct plugin_files *files = dump_state(d, &plugin_file_kind);
	struct plugin *who = NULL;
	int ret = plugin_call_who(ps, DUMP_EXT_FILE, &who, info->fd, (int)info->id);

	if (ret == -ENOTSUP) {
		log_refusal(ret, "%s: %s (%s): this kind of descriptor is not supported, and no plugin takes it; %s",
		            fd_name(info), info->link, fd_what(info), fd_way_out(info));
		return DUMP_REFUSED;
	}
	if (ret < 0)
		return log_errno(ret, "%s: %s: plugin %s could not save it", fd_name(info), info->link, who->name);
	who->saved = true;
	arena_push(d->arena, &files->ids, &files->n, info->id);
	return 0;
}

/* All descriptors of all tasks have been read. */
static int plugin_file_collected(struct dump *d)
{
	struct plugins *ps = dump_state(d, &plugin_subsys);
	const struct plugin_files *files = dump_state(d, &plugin_file_kind);
	int err = 0;

	for (size_t i = 0; !err && i < files->n; i++)
		err = plugin_optional(plugin_call(ps, DUMP_DEVICES_LATE, (int)files->ids[i]));
	return err;
}

/* ---- restore ---- */

static int plugin_file_check(struct restore *r, const void *msg, const char **why)
{
	const ExtFileEntry *m = msg;

	if (plugin_any_has(restore_state(r, &plugin_subsys), CR_PLUGIN_HOOK__RESTORE_EXT_FILE))
		return 0;
	*why = arena_printf(r->arena,
	                    "file %u was saved by a plugin, and none is loaded that restores files; give the "
	                    "directory that has it with --libdir (-L)",
	                    m->id);
	return -ENOENT;
}

/* In rounds: a plugin may need others of its files first. */
struct round {
	size_t made, left;
	uint32_t waits; /* one of those left */
};

static bool is_made(struct restore *r, uint32_t id)
{
	const struct plugin_files *files = restore_state(r, &plugin_file_kind);

	for (size_t i = 0; i < files->n; i++)
		if (files->ids[i] == id)
			return true;
	return false;
}

static int open_one(struct restore *r, const void *msg, void *arg)
{
	struct plugins *ps = restore_state(r, &plugin_subsys);
	const ExtFileEntry *m = msg;
	struct plugin_files *files = restore_state(r, &plugin_file_kind);
	struct round *round = arg;
	bool again = false;
	int fd;

	if (is_made(r, m->id))
		return 0;
	fd = plugin_call(ps, RESTORE_EXT_FILE, (int)m->id, &again);
	if (again) {
		if (fd >= 0)
			close(fd);
		round->left++;
		round->waits = m->id;
		return 0;
	}
	if (fd < 0)
		return log_errno(fd, "file %u: no plugin has restored it", m->id);
	if (fcntl(fd, F_SETFD, FD_CLOEXEC))
		return log_errno(-errno, "file %u: fcntl of what a plugin has restored", m->id);
	round->made++;
	arena_push(r->arena, &files->ids, &files->n, m->id);
	files_set(r, m->id, fd);
	return 0;
}

static int plugin_file_prepare(struct restore *r)
{
	struct round round;
	int err;

	do {
		round = (struct round) { 0 };
		err = files_each(r, &plugin_file_kind, open_one, &round);
	} while (!err && round.left && round.made);
	if (!err && round.left)
		return log_errno(-EDEADLK,
		                 "file %u and %zu more: their plugin waits for files, and none is left that could come",
		                 round.waits, round.left - 1);
	return err;
}

/* What nothing wanted when the others were made. */
static int plugin_file_open(struct restore *r, const void *msg)
{
	struct plugins *ps = restore_state(r, &plugin_subsys);
	const ExtFileEntry *m = msg;
	bool again = false;
	int fd = plugin_call(ps, RESTORE_EXT_FILE, (int)m->id, &again);

	if (fd >= 0 && !again)
		return fd;
	if (fd >= 0)
		close(fd);
	return log_errno(again ? -EAGAIN : fd, "file %u: no plugin has restored it", m->id);
}

const struct fd_kind plugin_file_kind = {
	.name = "file of a plugin",
	.state = { .dump = sizeof(struct plugin_files), .restore = sizeof(struct plugin_files) },
	.type = FD_TYPES__EXT,
	.field = 15,
	.pb = &ext_file_entry__descriptor,
	.match = plugin_file_match,
	.dump = plugin_file_dump,
	.all_collected = plugin_file_collected,
	.check = plugin_file_check,
	.prepare = plugin_file_prepare,
	.open = plugin_file_open,
};
