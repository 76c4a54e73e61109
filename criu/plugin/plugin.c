/* SPDX-License-Identifier: GPL-2.0-only */
/* Plugins as one row: when they are loaded, asked and told. */
#include <string.h>

#include "inventory.pb-c.h"
#include "lib/log.h"
#include "plugin/plugin.h"

static struct plugins *of_dump(struct dump *d)
{
	struct plugins *ps = dump_state(d, &plugin_subsys);

	ps->dir = d->dir;
	return ps;
}

static struct plugins *of_restore(struct restore *r)
{
	return restore_state(r, &plugin_subsys);
}

/* ---- dump ---- */

static int plugin_begin(struct dump *d)
{
	struct plugins *ps = dump_state(d, &plugin_subsys);

	plugin_set_now(ps);
	return plugin_load_all(ps, d->opts, d->arena, CR_PLUGIN_STAGE__DUMP) ?: plugin_devices_begin(ps);
}

static int plugin_before_freeze(struct dump *d)
{
	of_dump(d);
	return plugin_devices_before_freeze(d);
}

/* CRIU's list has the plugins that ask for it; others that have saved something stand in one of ours. */
static int plugin_write(struct dump *d)
{
	struct plugins *ps = of_dump(d);
	PluginsEntry *list = arena_msg(d->arena, PluginsEntry, plugins_entry);

	for (size_t i = 0; i < ps->n_wanted; i++)
		arena_push(d->arena, &list->plugins, &list->n_plugins, (char *)ps->wanted[i]);
	for (size_t i = 0; i < ps->n; i++)
		if (ps->v[i].saved)
			arena_push(d->arena, &list->needed, &list->n_needed, arena_strdup(d->arena, ps->v[i].name));
	d->inventory->plugins_entry = list;
	return 0;
}

static void plugin_committed(struct dump *d)
{
	of_dump(d)->ret = 0;
}

static void plugin_end(struct dump *d)
{
	plugin_end_all(of_dump(d));
	plugin_set_now(NULL);
}

/* ---- restore ---- */

static bool is_loaded(const struct plugins *ps, const char *name)
{
	for (size_t i = 0; i < ps->n; i++)
		if (!strcmp(ps->v[i].name, name))
			return true;
	return false;
}

static int check_loaded(const struct plugins *ps, char *const *names, size_t n)
{
	int err = 0;

	for (size_t i = 0; i < n; i++)
		if (!is_loaded(ps, names[i]))
			err = log_refusal(-ENOENT,
			                  "inventory.img: the checkpoint needs the plugin %s, which is not loaded; "
			                  "give the directory that has it with --libdir (-L)",
			                  names[i]);
	return err;
}

static int plugin_read(struct restore *r)
{
	struct plugins *ps = of_restore(r);
	const PluginsEntry *list = r->inventory ? r->inventory->plugins_entry : NULL;

	plugin_set_now(ps);
	ps->dir = r->dir;
	for (size_t i = 0; list && i < list->n_plugins; i++)
		arena_push(r->arena, &ps->wanted, &ps->n_wanted, list->plugins[i]);
	return plugin_load_all(ps, r->opts, r->arena, CR_PLUGIN_STAGE__RESTORE);
}

static int plugin_check(struct restore *r)
{
	const struct plugins *ps = of_restore(r);
	const PluginsEntry *list = r->inventory->plugins_entry;
	int err, part;

	if (!list)
		return 0;
	err = check_loaded(ps, list->plugins, list->n_plugins);
	part = check_loaded(ps, list->needed, list->n_needed);
	return err ?: part;
}

static int plugin_before_start(struct restore *r)
{
	return plugin_optional(plugin_call(of_restore(r), RESTORE_INIT));
}

static int plugin_forked(struct restore *r)
{
	return plugin_optional(plugin_call(of_restore(r), POST_FORKING));
}

static void plugin_restored(struct restore *r)
{
	of_restore(r)->ret = 0;
}

static void plugin_leave_restore(struct restore *r)
{
	plugin_end_all(of_restore(r));
	plugin_set_now(NULL);
}

const struct subsys plugin_subsys = {
	.name = "plugins",
	.state = { .dump = sizeof(struct plugins), .restore = sizeof(struct plugins) },
	.begin = plugin_begin,
	.before_freeze = plugin_before_freeze,
	.before_seize = plugin_devices_before_seize,
	.frozen = plugin_devices_frozen,
	.write_images = plugin_write,
	.before_commit = plugin_devices_before_commit,
	.after_commit = plugin_committed,
	.rollback = plugin_devices_rollback,
	.end = plugin_end,
	.read_images = plugin_read,
	.check = plugin_check,
	.before_start = plugin_before_start,
	.prepare = plugin_forked,
	.all_standing = plugin_devices_restored,
	.committed = plugin_restored,
	.leave = plugin_leave_restore,
	.externals = &plugin_externals,
};
