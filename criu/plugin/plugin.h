/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Plugins: shared objects with functions (hooks) that this folder calls at the stages of a dump and of a restore, and
 * for objects that criu cannot save. include/criu/criu-plugin.h is what a plugin sees.
 */
#ifndef CRIU_PLUGIN_PLUGIN_H
#define CRIU_PLUGIN_PLUGIN_H

#include "criu/criu-plugin.h"
#include "tree/subsys.h"

struct plugin {
	const char *path, *name;
	const cr_plugin_desc_t *desc;
	bool begun; /* its init() was called, and exit() was not */
	bool saved; /* it has taken an object at the dump: inventory_entry.plugins_needed */
};

/* All plugins of one command: the state of plugin_subsys in both directions. */
struct plugins {
	struct plugin *v; /* in the order of their files' names: that of asking */
	size_t n;
	struct arena *arena;
	const struct options *opts;
	struct image_dir *dir; /* NULL until it is open */
	int stage;             /* CR_PLUGIN_STAGE__* */
	int ret;               /* what exit() is told: 0 when the command has been committed */
	struct paused *paused; /* plugin_devices.c; NULL: no plugin has hooks for devices */
	int undo;              /* the number of the undo entry for them; -1: there is none */
	const char **wanted;   /* of the inventory: at a dump, what was added; at a restore, what is to be there */
	size_t n_wanted;
};

extern const struct subsys plugin_subsys;

/* Those of this process, for calls that have no context; NULL: none are loaded. */
struct plugins *plugin_now(void);
void plugin_set_now(struct plugins *ps);

extern const struct externals plugin_externals;

/* ---- plugin_load.c ---- */

/* Finds and loads them and calls each init(). 0 or a negative errno (logged): an init() has failed. */
int plugin_load_all(struct plugins *ps, const struct options *o, struct arena *a, int stage);

/* Calls each exit() with ps->ret. */
void plugin_end_all(struct plugins *ps);

/* ---- plugin_call.c ---- */

/* The function of a plugin, or NULL. */
void *plugin_hook(const struct plugin *p, unsigned hook);

/* Whether any plugin has it. */
bool plugin_any_has(const struct plugins *ps, unsigned hook);

/* "PAUSE_DEVICES". */
const char *plugin_hook_name(unsigned hook);

/*
 * Around each call into a plugin: should it call exit(), criu ends there with an error, as if it had been killed. The
 * second logs an error that is not -ENOTSUP; returns ret.
 */
void plugin_enter(const struct plugin *p, const char *function);
int plugin_leave(const struct plugin *p, const char *function, int ret);

/*
 * Asks the plugins that have a hook, one after the other, until one answers anything but -ENOTSUP: that answer, or
 * -ENOTSUP. Errors are logged. *who (may be NULL) is set to the plugin that answered.
 */
#define plugin_call_who(ps, hook, who, ...)                                                                            \
	({                                                                                                             \
		int ret_ = -ENOTSUP;                                                                                   \
		for (size_t i_ = 0; ret_ == -ENOTSUP && i_ < (ps)->n; i_++) {                                          \
			CR_PLUGIN_HOOK__##hook##_t *fn_ = plugin_hook(&(ps)->v[i_], CR_PLUGIN_HOOK__##hook);           \
			if (!fn_)                                                                                      \
				continue;                                                                              \
			plugin_enter(&(ps)->v[i_], #hook);                                                             \
			ret_ = plugin_leave(&(ps)->v[i_], #hook, fn_(__VA_ARGS__));                                    \
			if (ret_ != -ENOTSUP)                                                                          \
				*(who) = &(ps)->v[i_];                                                                 \
		}                                                                                                      \
		ret_;                                                                                                  \
	})
#define plugin_call(ps, hook, ...)                                                                                     \
	({                                                                                                             \
		struct plugin *who_;                                                                                   \
		plugin_call_who(ps, hook, &who_, ##__VA_ARGS__);                                                       \
	})

/* A call at a stage: -ENOTSUP is as good as 0. */
static inline int plugin_optional(int ret)
{
	return ret == -ENOTSUP || ret > 0 ? 0 : ret;
}

/* ---- plugin_devices.c ---- */

/* Before the guardian is forked: memory for what is paused. */
int plugin_devices_begin(struct plugins *ps);
int plugin_devices_before_freeze(struct dump *d);
int plugin_devices_before_seize(struct dump *d, pid_t pid);
int plugin_devices_frozen(struct dump *d);
/* The tree runs on: before the commit, and after a failure. */
int plugin_devices_before_commit(struct dump *d);
void plugin_devices_rollback(struct dump *d);
int plugin_devices_restored(struct restore *r);

#endif
