/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * All other settings below /proc/sys/net that belong to a network namespace: those that differ from a new one, and of a
 * device those that differ from "default". Ours: CRIU's format has no place for them.
 */
#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "helper/net_visit.h"
#include "lib/arena_hash.h"
#include "lib/log.h"
#include "lib/workers.h"
#include "netdev/netdev.h"

#define SYSCTL_ROOT "/proc/sys/net"
#define VALUE_MAX   4096

struct net_setting {
	const char *name; /* below /proc/sys/net */
	const char *value;
	UT_hash_handle hh;
};

/* Those of CRIU's arrays are read with these: half of all. */
static bool is_elsewhere(const char *name)
{
	static const char *const not_kept[] = { "ipv4/route/flush", "ipv6/route/flush", "netfilter/nf_log/" };

	for (size_t i = 0; i < ARRAY_SIZE(not_kept); i++)
		if (!strncmp(name, not_kept[i], strlen(not_kept[i])))
			return true;
	return net_conf_has(name);
}

static void read_setting(struct arena *a, struct net_setting **all, int dir, const char *file, const char *name)
{
	_cleanup_close_ int fd = openat(dir, file, O_RDWR | O_CLOEXEC);
	char value[VALUE_MAX];
	ssize_t n = fd < 0 ? -1 : read(fd, value, sizeof(value) - 1);
	struct net_setting *s;

	if (n <= 0 || n == sizeof(value) - 1)
		return;
	value[n - (value[n - 1] == '\n')] = 0;
	s = arena_new_of(a, struct net_setting);
	s->name = arena_strdup(a, name);
	s->value = arena_strdup(a, value);
	HASH_ADD_KEYPTR_IN(a, hh, *all, s->name, strlen(s->name), s);
}

static void read_folder(struct arena *a, struct net_setting **all, const char *below, int depth)
{
	char path[512];
	struct dirent *e;
	DIR *dir;

	snprintf(path, sizeof(path), SYSCTL_ROOT "/%s", below);
	dir = opendir(path);
	while (dir && (e = readdir(dir))) {
		char name[384];

		if (e->d_name[0] == '.' && (!e->d_name[1] || e->d_name[1] == '.'))
			continue;
		if ((size_t)snprintf(name, sizeof(name), "%s%s%s", below, *below ? "/" : "", e->d_name) >= sizeof(name))
			continue;
		if (e->d_type == DT_DIR && depth < 6)
			read_folder(a, all, name, depth + 1);
		else if (e->d_type != DT_DIR && !is_elsewhere(name))
			read_setting(a, all, dirfd(dir), e->d_name, name);
	}
	if (dir)
		closedir(dir);
}

static const struct net_setting *find_setting(struct net_setting *all, const char *name)
{
	struct net_setting *s = NULL;

	HASH_FIND(hh, all, name, strlen(name), s);
	return s;
}

/* "ipv4/conf/eth0/x", "ipv6/neigh/eth0/x": the setting of "default" beside it; NULL: it is not one of a device. */
static const struct net_setting *default_of(struct net_setting *all, const char *name)
{
	const char *folder = strstr(name, "/conf/") ?: strstr(name, "/neigh/"), *file;
	char path[400];

	if (!folder)
		return NULL;
	folder = strchr(folder + 1, '/') + 1;
	file = strrchr(name, '/');
	if (file < folder || !strncmp(folder, "default/", 8) || !strncmp(folder, "all/", 4))
		return NULL;
	snprintf(path, sizeof(path), "%.*sdefault%s", (int)(folder - name), name, file);
	return find_setting(all, path);
}

static bool is_as_new(struct net_setting *all, struct net_setting *new, const struct net_setting *s)
{
	const struct net_setting *as = default_of(all, s->name) ?: find_setting(new, s->name);

	return as && !strcmp(as->value, s->value);
}

struct sysctl_reading {
	struct net *net;
	struct net_fresh *fresh;
	struct net_setting *all;
};

static int read_new(struct net_fresh *fresh)
{
	_cleanup_net_visit_ struct net_visit v = NET_VISIT_NONE;
	int err = net_visit_begin(fresh->fd, &v);

	if (err)
		return log_errno(err, "setns into a new network namespace");
	read_folder(fresh->arena, &fresh->settings, "", 0);
	return 0;
}

/* Both are in the namespace that is looked at to begin with, as threads of one that is. */
static int read_part(struct workers *w, void *arg, size_t i, void *buffer)
{
	struct sysctl_reading *g = arg;

	if (i)
		return read_new(g->fresh);
	read_folder(g->net->arena, &g->all, "", 0);
	return 0;
}

#define NO_BUFFER 4096 /* the smallest */

int net_sysctl_look(struct net *net, struct net_fresh *fresh)
{
	struct sysctl_reading g = { .net = net, .fresh = fresh };
	int err = workers_run(fresh->settings ? 1 : 2, 2, NO_BUFFER, read_part, &g);

	for (struct net_setting *s = g.all; !err && s; s = s->hh.next) {
		NetSysctl *e;

		if (is_as_new(g.all, fresh->settings, s))
			continue;
		e = arena_msg(net->arena, NetSysctl, net_sysctl);
		e->name = arena_strdup(net->arena, s->name);
		e->value = arena_strdup(net->arena, s->value);
		arena_push(net->arena, &net->m->sysctls, &net->m->n_sysctls, e);
	}
	return err;
}

/* ---- restore ---- */

static int write_setting(struct restore *r, const NetSysctl *e)
{
	char path[512], now[VALUE_MAX];
	_cleanup_close_ int fd = -1;
	size_t len = strlen(e->value);
	ssize_t n;

	if (strstr(e->name, "..") || (size_t)snprintf(path, sizeof(path), SYSCTL_ROOT "/%s", e->name) >= sizeof(path))
		return log_errno(-EINVAL, "the name of a setting of the network is impossible: %s", e->name);
	fd = open(path, O_RDWR | O_CLOEXEC);
	n = fd < 0 ? -1 : read(fd, now, sizeof(now));
	if (n > 0 && (size_t)n >= len && !memcmp(now, e->value, len) && ((size_t)n == len || now[len] == '\n'))
		return 0;
	if (fd >= 0 && pwrite(fd, e->value, len, 0) == (ssize_t)len)
		return 0;
	if (!r->opts->weak_sysctls && fd < 0)
		return log_errno(-errno, "open of %s, to write \"%s\" (--weak-sysctls passes over it)", path, e->value);
	if (!r->opts->weak_sysctls)
		return log_errno(-errno, "write of \"%s\" to %s (--weak-sysctls passes over it)", e->value, path);
	log_warn("%s: \"%s\" could not be written: %s", path, e->value, strerror(errno));
	return 0;
}

int net_sysctl_apply(struct restore *r, const struct net *net)
{
	int err = 0;

	for (size_t i = 0; !err && i < net->m->n_sysctls; i++)
		err = write_setting(r, net->m->sysctls[i]);
	return err;
}
