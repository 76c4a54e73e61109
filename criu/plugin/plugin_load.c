/* SPDX-License-Identifier: GPL-2.0-only */
/* Finding plugins, and whether a file is one. */
#include <dirent.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>

#include "lib/log.h"
#include "plugin/plugin.h"

/* Where `make install` puts those of this project (PREFIX=/usr/local), and packages theirs: the first of a name counts.
 */
static const char *const places[] = { "/usr/local/lib/criu", "/usr/lib/criu" };

/* "0.2.0" of a descriptor's number. */
static const char *version_text(struct arena *a, unsigned version)
{
	return arena_printf(a, "%u.%u.%u", version >> 16, version >> 8 & 0xff, version & 0xff);
}

/* Whether a file or directory is root's alone. fd: of ours. */
static bool is_roots(int fd)
{
	struct stat st;

	return !fstat(fd, &st) && !st.st_uid && !(st.st_mode & (S_IWGRP | S_IWOTH));
}

/*
 * Where criu has more rights than its caller (file capabilities, set-user-ID), a plugin of the caller's would have them
 * too.
 */
static bool may_run(int dir, const char *name, const char *path)
{
	_cleanup_close_ int fd = -1;

	if (!getauxval(AT_SECURE))
		return true;
	fd = openat(dir, name, O_PATH | O_CLOEXEC);
	if (fd >= 0 && is_roots(dir) && is_roots(fd))
		return true;
	log_warn("plugin %s is not loaded: criu has more rights than its caller, and the file or its directory is not "
	         "root's alone",
	         path);
	return false;
}

/* A hook of a later CRIU that this criu would never call. */
static bool has_unknown_hook(const cr_plugin_desc_t *d)
{
	void *const *hooks = d->hooks;

	for (unsigned i = CR_PLUGIN_HOOK__MAX; i < d->max_hooks; i++)
		if (hooks[i])
			return true;
	return false;
}

static const cr_plugin_desc_t *open_plugin(struct arena *a, const char *path)
{
	/* What it lacks is found now, not in the middle of a dump; local: each has a symbol CR_PLUGIN_DESC. */
	void *handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	const cr_plugin_desc_t *d = handle ? dlsym(handle, "CR_PLUGIN_DESC") : NULL;

	if (!handle)
		log_warn("plugin %s is not loaded: dlopen: %s", path, dlerror());
	else if (!d)
		log_warn("%s is not loaded: it is no plugin of criu's, or one for an older CRIU: the symbol "
		         "CR_PLUGIN_DESC is missing",
		         path);
	else if (d->version != CRIU_PLUGIN_VERSION)
		log_warn("plugin %s is not loaded: it is made for version %s of the interface of plugins, and this is "
		         "%s; compile it with this criu's criu-plugin.h",
		         path, version_text(a, d->version), version_text(a, CRIU_PLUGIN_VERSION));
	else if (!d->name || !*d->name)
		log_warn("plugin %s is not loaded: its descriptor has no name", path);
	else if (has_unknown_hook(d))
		log_warn("plugin %s (%s) is not loaded: it has hooks that this criu does not know", path, d->name);
	else
		return d;
	if (handle)
		dlclose(handle);
	return NULL;
}

static bool is_shared_object(const char *name)
{
	size_t len = strlen(name);

	return len > 3 && !strcmp(name + len - 3, ".so");
}

static int compare_names(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static bool is_loaded(const struct plugins *ps, const char *name)
{
	for (size_t i = 0; i < ps->n; i++)
		if (!strcmp(strrchr(ps->v[i].path, '/') + 1, name))
			return true;
	return false;
}

static void load_from(struct plugins *ps, DIR *dir, const char *path)
{
	const struct dirent *e;
	const char **names = NULL;
	size_t n = 0;

	while ((e = readdir(dir)))
		if (is_shared_object(e->d_name))
			arena_push(ps->arena, &names, &n, arena_strdup(ps->arena, e->d_name));
	if (n)
		qsort(names, n, sizeof(*names), compare_names);
	for (size_t i = 0; i < n; i++) {
		struct plugin p = { .path = arena_printf(ps->arena, "%s/%s", path, names[i]) };

		if (is_loaded(ps, names[i]))
			continue;
		if (may_run(dirfd(dir), names[i], p.path))
			p.desc = open_plugin(ps->arena, p.path);
		if (!p.desc)
			continue;
		p.name = p.desc->name;
		arena_push(ps->arena, &ps->v, &ps->n, p);
		log_info("plugin %s loaded from %s", p.name, p.path);
	}
}

/* A directory that somebody has named and that cannot be read is worth a warning; one that is the default need not be
 * there. */
static void load_place(struct plugins *ps, const char *path, const char *named_by)
{
	DIR *dir = opendir(path);

	if (!dir) {
		if (named_by)
			log_warn("%s: no plugins are loaded: opendir of %s: %s", named_by, path, strerror(errno));
		return;
	}
	load_from(ps, dir, path);
	closedir(dir);
}

static void load_all(struct plugins *ps)
{
	const char *env = getauxval(AT_SECURE) ? NULL : getenv("CRIU_LIBS_DIR");

	if (ps->opts->libdir) {
		load_place(ps, ps->opts->libdir, "--libdir");
		return;
	}
	if (env && *env) {
		load_place(ps, env, "CRIU_LIBS_DIR");
		return;
	}
	for (size_t i = 0; i < ARRAY_SIZE(places); i++)
		load_place(ps, places[i], NULL);
}

int plugin_load_all(struct plugins *ps, const struct options *o, struct arena *a, int stage)
{
	ps->opts = o;
	ps->arena = a;
	ps->stage = stage;
	ps->ret = -1;
	ps->undo = -1;
	load_all(ps);
	for (size_t i = 0; i < ps->n; i++) {
		struct plugin *p = &ps->v[i];
		int err = 0;

		if (p->desc->init) {
			plugin_enter(p, "init");
			err = plugin_leave(p, "init", p->desc->init(stage));
		}
		if (err > 0 || err == -ENOTSUP)
			log_errno(0, "plugin %s: init failed: it returned %d", p->name, err);
		if (err)
			return err < 0 ? err : -EINVAL;
		p->begun = true;
	}
	return 0;
}

void plugin_end_all(struct plugins *ps)
{
	for (size_t i = ps->n; i-- > 0;) {
		struct plugin *p = &ps->v[i];

		if (!p->begun)
			continue;
		p->begun = false;
		if (p->desc->exit) {
			plugin_enter(p, "exit");
			p->desc->exit(ps->stage, ps->ret);
			plugin_leave(p, "exit", 0);
		}
	}
}
