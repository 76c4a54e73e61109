/* SPDX-License-Identifier: GPL-2.0-only */
/* The way into a plugin's functions, and back. */
#include <stdlib.h>

#include "lib/log.h"
#include "plugin/plugin.h"

/* lint: global: a plugin that calls exit() leaves no other trace */
static const struct plugin *inside;
static const char *inside_what; /* lint: global: the same */

static const char *const names[CR_PLUGIN_HOOK__MAX] = {
	"DUMP_UNIX_SK",      "RESTORE_UNIX_SK",    "DUMP_EXT_FILE",     "RESTORE_EXT_FILE", "DUMP_EXT_MOUNT",
	"RESTORE_EXT_MOUNT", "DUMP_EXT_LINK",      "HANDLE_DEVICE_VMA", "UPDATE_VMA_MAP",   "RESUME_DEVICES_LATE",
	"PAUSE_DEVICES",     "CHECKPOINT_DEVICES", "POST_FORKING",      "RESTORE_INIT",     "DUMP_DEVICES_LATE",
};

const char *plugin_hook_name(unsigned hook)
{
	return hook < CR_PLUGIN_HOOK__MAX ? names[hook] : "unknown";
}

void *plugin_hook(const struct plugin *p, unsigned hook)
{
	return hook < p->desc->max_hooks ? p->desc->hooks[hook] : NULL;
}

bool plugin_any_has(const struct plugins *ps, unsigned hook)
{
	for (size_t i = 0; ps && i < ps->n; i++)
		if (plugin_hook(&ps->v[i], hook))
			return true;
	return false;
}

/* exit() with 0 would say that the command has done its work. */
static void end_inside(void)
{
	if (!inside)
		return;
	log_errno(0, "plugin %s: %s has called exit(), which ends criu; what criu was doing is taken back",
	          inside->name, inside_what);
	/* lint: allow: the process is on its way out already; its status must not be the plugin's */
	_exit(1);
}

void plugin_enter(const struct plugin *p, const char *function)
{
	static bool watched; /* lint: global: there is one atexit() for a process */

	if (!watched)
		watched = !atexit(end_inside);
	log_debug("plugin %s: %s", p->name, function);
	inside_what = function;
	inside = p;
}

int plugin_leave(const struct plugin *p, const char *function, int ret)
{
	inside = NULL;
	if (ret < 0 && ret != -ENOTSUP)
		log_errno(ret, "plugin %s: %s failed", p->name, function);
	return ret;
}
