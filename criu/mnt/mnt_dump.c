/* SPDX-License-Identifier: GPL-2.0-only */
/* Dump: the mounts of the tree's own namespaces, where each can be had from at restore, and mountpoints-ID.img. */
#include <fcntl.h>
#include <sched.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "helper/ns_roots.h"
#include "lib/log.h"
#include "mnt/mnt.h"
#include "mnt/mnt_dump.h"
#include "mnt/mnt_bound.h"
#include "mnt/mnt_kept.h"
#include "mnt/mnt_ghosts.h"
#include "mnt/mnt_idmap.h"
#include "options/external.h"
#include "tree/inventory.h"
#include "tree/ns_ids.h"
#include "tree/subsys.h"

static const char *mount_name(struct dump *d, const struct ns_root *ns, const struct mount_at *m)
{
	return arena_printf(d->arena, "mount namespace %u: %s (%s)", ns->id, m->path, m->type);
}

/* ---- where it comes from ---- */

static bool is_deleted(const struct mount_at *m)
{
	size_t len = strlen(m->root), end = strlen(MNT_DELETED);

	return len > end && !strcmp(m->root + len - end, MNT_DELETED);
}

/* The mount of criu's own that shows most of the same file system, and what is mounted there. */
const struct mount_at *mnt_own_of(struct dump *d, const struct mount_at *m)
{
	const struct mount_at *best = NULL;
	struct mount_at *own;
	size_t n;

	if (ns_roots_own_mounts(d, &own, &n))
		return NULL;
	for (size_t i = 0; i < n; i++)
		if (own[i].s_dev == m->s_dev && mountinfo_below(m->root, own[i].root) && !is_deleted(&own[i]) &&
		    !mnt_is_idmapped(&own[i]) && (!best || strlen(own[i].root) < strlen(best->root)))
			best = &own[i];
	return best;
}

static bool is_reachable(const struct mount_at *own)
{
	_cleanup_lookup_ const struct lookup_root *before = lookup_in(NULL);

	return mountinfo_mount_id(AT_FDCWD, own->path) == own->id;
}

/* One that is not covered, if there is one. */
static const struct mount_at *own_of_group(struct dump *d, int group, bool may_be_covered)
{
	const struct mount_at *covered = NULL;
	struct mount_at *own;
	size_t n;

	if (!group || ns_roots_own_mounts(d, &own, &n))
		return NULL;
	for (size_t i = 0; i < n; i++)
		if (own[i].shared == group) {
			if (is_reachable(&own[i]))
				return &own[i];
			covered = &own[i];
		}
	return may_be_covered ? covered : NULL;
}

static bool is_word_of(const char *const *words, const char *text, size_t n)
{
	for (; words && *words; words++)
		if (strlen(*words) == n && !strncmp(*words, text, n))
			return true;
	return false;
}

/* Without what the superblock's own flags say. */
static char *options_of(struct dump *d, const struct mount_at *m, const struct fs_kind *kind)
{
	static const char *const flags[] = { "rw", "ro", NULL };
	char *out = arena_strdup(d->arena, "");

	for (const char *at = m->options; *at;) {
		size_t n = strcspn(at, ",");

		while (n && at[n] == ',' && at[n - 1] == '\\') /* of a path */
			n += 1 + strcspn(at + n + 1, ",");
		if (!is_word_of(flags, at, n) && !(kind && is_word_of(kind->not_given, at, n)))
			out = arena_printf(d->arena, "%s%s%.*s", out, *out ? "," : "", (int)n, at);
		at += n + (at[n] == ',');
	}
	if (kind && kind->extra)
		out = arena_printf(d->arena, "%s%s%s", out, *out ? "," : "", kind->extra);
	return out;
}

/* The root, or a part of its file system below what is mounted there: --root of a restore has both. */
static bool comes_with_root(const struct ns_root *ns, const struct mount_at *m)
{
	for (size_t i = 0; i < ns->n_mounts; i++)
		if (!ns->mounts[i].path[1] && ns->mounts[i].s_dev == m->s_dev &&
		    mountinfo_below(m->root, ns->mounts[i].root))
			return true;
	return false;
}

/* For CRIU external is what has to be given by name. */
static void describe_host(const struct ns_root *ns, const struct mount_at *m, const struct mount_at *own, MntEntry *e)
{
	if (!comes_with_root(ns, m)) {
		e->has_ext_mount = e->ext_mount = true;
		e->ext_key = (char *)m->path;
	}
	e->host_path = (char *)own->path;
	e->host_root = (char *)own->root;
}

static void describe_groups(struct dump *d, const struct mount_at *m, MntEntry *e)
{
	const struct mount_at *peer = own_of_group(d, m->shared, false), *master = own_of_group(d, m->master, true);

	e->has_shared_id = e->has_master_id = true;
	e->shared_id = (uint32_t)m->shared;
	e->master_id = (uint32_t)m->master;
	e->host_peer = peer ? (char *)peer->path : NULL;
	e->host_master = master ? (char *)master->path : NULL;
	e->has_unbindable = e->unbindable = m->unbindable;
	e->flags |= m->shared ? MS_SHARED : 0;
	e->flags |= m->master ? MS_SLAVE : 0;
	e->flags |= m->unbindable ? MS_UNBINDABLE : 0;
}

static bool is_read_only(const char *options)
{
	return !strncmp(options, "ro", 2) && (!options[2] || options[2] == ',');
}

/* Which processes a proc shows is told by its first one. */
static int find_pid_ns(struct dump *d, const struct ns_root *ns, const struct mount_at *m, MntEntry *e)
{
	const struct ns_ids *ids = ns_ids_all(d);
	_cleanup_close_ int dir = bare_mount_open(d->arena, ns->fd, ns->mounts, ns->n_mounts, m), fd = -1;
	struct stat st = { 0 };

	fd = dir < 0 || m->root[1] ? -1 : openat(dir, "1/ns/pid", O_RDONLY | O_CLOEXEC);
	if (m->root[1]) /* a part of it: another mount shows all */
		return 0;
	if (fd >= 0 && !fstat(fd, &st))
		for (size_t i = 0; i < ids->n; i++)
			if (ids->all[i].type->flag == CLONE_NEWPID && ids->all[i].ino == st.st_ino) {
				e->has_pid_ns_id = true;
				e->pid_ns_id = ids->all[i].id;
				return 0;
			}
	return log_refusal(-ENOTSUP,
	                   "%s: shows the processes of a pid namespace that is gone, or neither criu's nor the tree's; "
	                   "unmount it for the dump",
	                   mount_name(d, ns, m));
}

static bool is_a_file(struct dump *d, const struct ns_root *ns, const struct mount_at *m)
{
	_cleanup_close_ int fd = bare_mount_open(d->arena, ns->fd, ns->mounts, ns->n_mounts, m);
	struct stat st;

	return fd >= 0 && !fstat(fd, &st) && !S_ISDIR(st.st_mode);
}

/* 1: a plugin brings it back. 0, or a negative errno (logged). */
static int offer_mount(struct dump *d, const struct ns_root *ns, const struct mount_at *m, MntEntry *e)
{
	int err = subsys_externals()->dump_mount(d, m->path, m->id);

	if (err)
		return err == -ENOTSUP ? 0 : log_refusal(err, "%s: its plugin could not save it", mount_name(d, ns, m));
	e->has_with_plugin = e->with_plugin = true;
	e->has_ext_mount = e->ext_mount = true;
	e->ext_key = (char *)m->path;
	e->has_plugin_file = e->plugin_file = is_a_file(d, ns, m);
	return 1;
}

/* --external dev[MAJOR/MINOR]:NAME, as CRIU has it. */
static bool is_on_named_device(struct dump *d, const struct mount_at *m, MntEntry *e)
{
	const char *key = arena_printf(d->arena, "dev[%u/%u]", m->s_dev >> 20, m->s_dev & 0xfffff);
	const char *name = m->s_dev >> 20 ? external_value(d->opts, key) : NULL;

	if (!name)
		return false;
	e->fstype = FSTYPE__AUTO;
	e->fsname = (char *)m->type;
	e->source = arena_printf(d->arena, "dev[%s]", name);
	inventory_only_ours(d);
	return true;
}

static int refuse_foreign(struct dump *d, const struct ns_root *ns, const struct mount_at *m)
{
	const char *device = "";

	if (m->s_dev >> 20)
		device = arena_printf(d->arena, ", or give --external 'dev[%u/%u]:NAME', and its device at restore",
		                      m->s_dev >> 20, m->s_dev & 0xfffff);
	return log_refusal(-ENOTSUP,
	                   "%s: a file system on %s that criu does not see in its own mount namespace and cannot make "
	                   "anew; mount it there too, unmount it for the dump, or give --external 'mnt[%s]:KEY'%s",
	                   mount_name(d, ns, m), m->source, m->path, device);
}

/* Where no task is, nothing tells to which of the tree's network (or ipc) namespaces it belongs. */
static bool is_unclear(struct dump *d, const struct ns_root *ns, const struct fs_kind *kind)
{
	const struct ns_ids *ids = ns_ids_all(d);

	for (size_t i = 0; i < ids->n; i++)
		if (ids->all[i].id == ns->id && ids->all[i].type->flag == CLONE_NEWNS)
			return ids->all[i].pid < 0 && kind->belongs && ns_ids_any(d, kind->belongs);
	return false;
}

/* What criu does not see in its own namespace is made anew. */
static int describe_new(struct dump *d, const struct ns_root *ns, const struct mount_at *m, const struct fs_kind *kind,
                        MntEntry *e)
{
	if (!kind)
		return is_on_named_device(d, m, e) ? 0 : refuse_foreign(d, ns, m);
	if (e->deleted && !kind->has_contents && !kind->late)
		return log_refusal(
		    -ENOTSUP,
		    "%s: what is mounted there, %s, was deleted, and is of the kernel; unmount it for the "
		    "dump, or give --external 'mnt[%s]:KEY'",
		    mount_name(d, ns, m), e->root, m->path);
	if (is_unclear(d, ns, kind))
		return log_refusal(
		    -ENOTSUP,
		    "%s: of a namespace of the tree's own, in a mount namespace that no task is in; unmount "
		    "it for the dump",
		    mount_name(d, ns, m));
	if (kind->ours)
		inventory_only_ours(d);
	if (kind == &mnt_nsfs)
		return mnt_bound_describe(d, m, e);
	return kind->shows_pids ? find_pid_ns(d, ns, m, e) : 0;
}

static void describe_itself(struct dump *d, const struct mount_at *m, const struct fs_kind *kind, MntEntry *e)
{
	size_t len = strlen(m->root), end = strlen(MNT_DELETED);
	bool deleted = is_deleted(m);

	e->mnt_id = (uint32_t)m->id;
	e->parent_mnt_id = (uint32_t)m->parent;
	e->root_dev = m->s_dev;
	e->fstype = (uint32_t)fs_kind_code(m->type);
	e->flags = mnt_flags_of_text(m->flags);
	e->root = arena_printf(d->arena, "%.*s", (int)(deleted ? len - end : len), m->root);
	e->has_deleted = e->deleted = deleted;
	e->mountpoint = (char *)m->path;
	e->source = (char *)m->source;
	e->options = options_of(d, m, kind);
	e->has_sb_flags = true;
	e->sb_flags = is_read_only(m->options) ? MS_RDONLY : 0;
	describe_groups(d, m, e);
}

static int describe_mount(struct dump *d, const struct ns_root *ns, const struct mount_at *m, MntEntry *e)
{
	const struct mount_at *own = mnt_own_of(d, m);
	const struct fs_kind *kind = fs_kind_by_name(m->type);
	const char *key = external_mount(d->opts, m->path);

	describe_itself(d, m, kind, e);
	if (own || e->fstype == FSTYPE__UNSUPPORTED || e->fstype == FSTYPE__AUTO)
		e->fsname = (char *)m->type;
	if (key) {
		e->has_ext_mount = e->ext_mount = true;
		e->ext_key = (char *)(*key ? key : m->path);
		return 0;
	}
	if (mnt_is_idmapped(m))
		mnt_idmap_dump(d, ns, m, e);
	if (e->deleted || (own ? m->path[1] && !comes_with_root(ns, m) : !kind)) {
		int offered = offer_mount(d, ns, m, e);

		if (offered)
			return MIN(offered, 0);
	}
	if (!own)
		return describe_new(d, ns, m, kind, e);
	describe_host(ns, m, own, e);
	return 0;
}

/* ---- all ---- */

/* --skip-mnt: it, or one on which it lies. */
bool mnt_is_skipped(struct dump *d, const struct ns_root *ns, const struct mount_at *m)
{
	const struct mount_at *up = NULL;

	for (size_t i = 0; i < d->opts->n_skip_mnt; i++)
		if (!strcmp(d->opts->skip_mnt[i], m->path) && m->path[1])
			return true;
	for (size_t i = 0; d->opts->n_skip_mnt && i < ns->n_mounts; i++)
		if (ns->mounts[i].id == m->parent && &ns->mounts[i] != m)
			up = &ns->mounts[i];
	return up && mnt_is_skipped(d, ns, up);
}

static int collect_ns(struct dump *d, struct mnt_dump *all, const struct ns_root *ns)
{
	struct mnt_dumped one = { .ns = ns };

	for (size_t i = 0; i < ns->n_mounts; i++) {
		MntEntry *e = arena_msg(d->arena, MntEntry, mnt_entry);

		if (!mnt_is_skipped(d, ns, &ns->mounts[i]))
			describe_mount(d, ns, &ns->mounts[i], e);
		else
			e = NULL;
		arena_push(d->arena, &one.all, &one.n, e);
	}
	arena_push(d->arena, &all->ns, &all->n, one);
	return mnt_locked_find(d, ns, one.all) ?: mnt_kept_foresee(d, &one);
}

/* One that is no part of the checkpoint: files are named by its mounts. */
static int list_external(struct dump *d, struct mnt_dump *all, const struct ns_root *ns)
{
	struct mnt_dumped one = { .ns = ns };

	for (size_t i = 0; i < ns->n_mounts; i++) {
		MntEntry *e = arena_msg(d->arena, MntEntry, mnt_entry);

		describe_itself(d, &ns->mounts[i], NULL, e);
		if (e->fstype == FSTYPE__UNSUPPORTED || e->fstype == FSTYPE__AUTO)
			e->fsname = (char *)ns->mounts[i].type;
		arena_push(d->arena, &one.all, &one.n, e);
	}
	arena_push(d->arena, &all->external, &all->n_external, one);
	return 0;
}

static bool has_group(const struct mnt_dump *all, int group)
{
	for (size_t i = 0; i < all->n; i++)
		for (size_t k = 0; k < all->ns[i].n; k++)
			if (all->ns[i].all[k] && all->ns[i].ns->mounts[k].shared == group)
				return true;
	return false;
}

/* A master that neither the tree nor criu has: nothing leads to it. */
static void check_master(struct dump *d, const struct ns_root *ns, const struct mount_at *m)
{
	if (d->opts->external_masters)
		log_warn(
		    "%s: its master (peer group %d) is in no namespace of the tree nor in criu's: the mount will be "
		    "private",
		    mount_name(d, ns, m), m->master);
	else
		log_refusal(
		    -ENOTSUP,
		    "%s: its master (peer group %d) is in no namespace of the tree nor in criu's, and a restore "
		    "cannot find it: run criu in the mount namespace that has it, or give "
		    "--enable-external-masters (the mount will be private)",
		    mount_name(d, ns, m), m->master);
}

static void check_masters(struct dump *d, const struct mnt_dump *all)
{
	for (size_t i = 0; i < all->n; i++)
		for (size_t k = 0; k < all->ns[i].n; k++) {
			const struct mount_at *m = &all->ns[i].ns->mounts[k];
			const MntEntry *e = all->ns[i].all[k];

			if (e && m->master && !e->host_master && !(e->ext_mount && !e->host_path) &&
			    !has_group(all, m->master))
				check_master(d, all->ns[i].ns, m);
		}
}

int mnt_dump_collect(struct dump *d, struct mnt_dump *all)
{
	const struct ns_ids *ids = ns_ids_all(d);
	int err = 0;

	for (size_t i = 0; !err && i < ids->n; i++) {
		const struct ns_root *ns;

		if (ids->all[i].type->flag != CLONE_NEWNS || !ids->all[i].pid)
			continue;
		ns = ns_roots_find(d, ids->all[i].id);
		err = !ns ? -EIO : ids->all[i].external ? list_external(d, all, ns) : collect_ns(d, all, ns);
	}
	if (!err)
		check_masters(d, all);
	return err ?: mnt_ghosts_collect(d, all);
}

static int write_ns(struct dump *d, const struct mnt_dumped *ns)
{
	_cleanup_image_ struct image *img = NULL;
	int err = image_create(d->dir, IMG_MNTS, ns->ns->id, &img);

	for (size_t i = 0; !err && i < ns->n; i++)
		err = ns->all[i] ? image_write(img, ns->all[i]) : 0;
	return err ?: image_close(move_ptr(img));
}

int mnt_dump_write(struct dump *d, const struct mnt_dump *all)
{
	int err = mnt_contents_dump(d, all);

	for (size_t i = 0; !err && i < all->n; i++)
		err = write_ns(d, &all->ns[i]);
	for (size_t i = 0; !err && i < all->n_external; i++)
		err = write_ns(d, &all->external[i]);
	return err;
}
