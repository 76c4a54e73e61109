/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Mounts with mapped ids. Only statmount(2) tells the maps; a mount gets them from a user namespace, which nothing
 * else needs.
 */
#include <fcntl.h>
#include <sched.h>
#include <string.h>

#include "helper/executor.h"
#include "lib/log.h"
#include "mnt/mnt_idmap.h"
#include "tree/inventory.h"
#include "tree/subsys.h"
#include "uapi/statmount_bits.h"

#define LIST_AT_ONCE 512
#define TEXT_MAX     (1 << 16)
#define EXTENTS_MAX  340 /* of a map: the kernel's own limit */

bool mnt_is_idmapped(const struct mount_at *m)
{
	for (const char *at = m->flags; *at; at += strcspn(at, ","), at += *at == ',')
		if (!strncmp(at, "idmapped", 8) && (!at[8] || at[8] == ','))
			return true;
	return false;
}

/* ---- dump ---- */

union mount_text {
	struct kernel_statmount head;
	char room[sizeof(struct kernel_statmount) + TEXT_MAX];
};

static int ask_mount(uint64_t ns, uint64_t mount, uint64_t what, union mount_text *out)
{
	struct kernel_mnt_id_req req = { .size = sizeof(req), .mnt_id = mount, .param = what, .mnt_ns_id = ns };

	memset(&out->head, 0, sizeof(out->head));
	return syscall(SYS_statmount, &req, out, sizeof(*out), 0) ? -errno : 0;
}

/* The mount by the id that mountinfo has. */
static int find_mount(uint64_t ns, const struct mount_at *m, union mount_text *out)
{
	struct kernel_mnt_id_req req = { .size = sizeof(req), .mnt_id = KERNEL_LSMT_ROOT, .mnt_ns_id = ns };
	uint64_t ids[LIST_AT_ONCE];
	const uint64_t what = KERNEL_STATMOUNT_BASIC | KERNEL_STATMOUNT_UIDMAP | KERNEL_STATMOUNT_GIDMAP;
	long n;

	while ((n = syscall(SYS_listmount, &req, ids, LIST_AT_ONCE, 0)) > 0) {
		for (long i = 0; i < n; i++) {
			int err = ask_mount(ns, ids[i], KERNEL_STATMOUNT_BASIC, out);

			if (!err && (int)out->head.mnt_id_old == m->id)
				return ask_mount(ns, ids[i], what, out);
		}
		req.param = ids[n - 1];
	}
	return n < 0 ? -errno : -ENOENT;
}

static int read_extents(struct arena *a, const union mount_text *t, uint32_t at, uint32_t count, UidGidExtent ***all,
                        size_t *n)
{
	for (uint32_t i = 0; i < count; i++) {
		UidGidExtent *e = arena_msg(a, UidGidExtent, uid_gid_extent);

		if (at >= TEXT_MAX || sscanf(t->head.str + at, "%u %u %u", &e->first, &e->lower_first, &e->count) != 3)
			return -EBADMSG;
		at += (uint32_t)strnlen(t->head.str + at, TEXT_MAX - at) + 1;
		arena_push(a, all, n, e);
	}
	return 0;
}

static int read_maps(struct arena *a, const union mount_text *t, MntEntry *e)
{
	int err;

	if (!(t->head.mask & KERNEL_STATMOUNT_UIDMAP) || !(t->head.mask & KERNEL_STATMOUNT_GIDMAP))
		return -EOPNOTSUPP;
	err = read_extents(a, t, t->head.uidmap, t->head.uidmap_num, &e->idmap_uid, &e->n_idmap_uid);
	err = err ?: read_extents(a, t, t->head.gidmap, t->head.gidmap_num, &e->idmap_gid, &e->n_idmap_gid);
	return err ?: e->n_idmap_uid && e->n_idmap_gid ? 0 : -ENODATA;
}

int mnt_idmap_dump(struct dump *d, const struct ns_root *ns, const struct mount_at *m, MntEntry *e)
{
	union mount_text *t = arena_new_of(d->arena, union mount_text);
	uint64_t id;
	int err = ioctl(ns->fd, KERNEL_NS_GET_MNTNS_ID, &id) ? -errno : find_mount(id, m, t);

	err = err ?: read_maps(d->arena, t, e);
	inventory_only_ours(d);
	return err ? log_refusal(
	                 err,
	                 "mount namespace %u: %s (%s): its owners are mapped, and this kernel does not tell how "
	                 "(statmount); unmount it for the dump, or give --external 'mnt[%s]:KEY'",
	                 ns->id, m->path, m->type, m->path)
	           : 0;
}

/* ---- restore ---- */

struct mnt_idmap {
	const char *text[2];
	int fd;
	struct mnt_idmap *next;
};

struct mnt_idmaps {
	struct mnt_idmap *all;
};

extern const struct subsys mnt_idmap_subsys;

const struct subsys mnt_idmap_subsys = {
	.name = "mounts with mapped ids",
	.state = { .restore = sizeof(struct mnt_idmaps) },
	.before_threads = mnt_idmap_make,
	.done = mnt_idmap_close,
};

#define LINE_MAX_LEN 36 /* three numbers of 32 bits */

static const char *map_text(struct arena *a, UidGidExtent *const *all, size_t n)
{
	size_t room = n * LINE_MAX_LEN + 1, at = 0;
	char *text = arena_alloc(a, room);

	for (size_t i = 0; i < n; i++)
		at += (size_t)snprintf(text + at, room - at, "%u %u %u\n", all[i]->first, all[i]->lower_first,
		                       all[i]->count);
	return text;
}

static struct mnt_idmap *find_map(struct restore *r, const MntEntry *e, struct mnt_idmap *wanted)
{
	struct mnt_idmaps *maps = restore_state(r, &mnt_idmap_subsys);
	struct mnt_idmap *map = maps->all;

	wanted->text[0] = map_text(r->arena, e->idmap_uid, e->n_idmap_uid);
	wanted->text[1] = map_text(r->arena, e->idmap_gid, e->n_idmap_gid);
	while (map && (strcmp(map->text[0], wanted->text[0]) || strcmp(map->text[1], wanted->text[1])))
		map = map->next;
	return map;
}

static int make_map(struct restore *r, const MntEntry *e)
{
	struct mnt_idmaps *maps = restore_state(r, &mnt_idmap_subsys);
	struct mnt_idmap *map = arena_new_of(r->arena, struct mnt_idmap);
	struct executor_spec spec = { .make = CLONE_NEWUSER };
	struct executor *x;
	char path[64];
	int err;

	if (e->n_idmap_uid > EXTENTS_MAX || e->n_idmap_gid > EXTENTS_MAX)
		return log_errno(-EINVAL, "mountpoints image: mount %s: a map of more than %d parts", e->mountpoint,
		                 EXTENTS_MAX);
	if (find_map(r, e, map))
		return 0;
	spec.uid_map = map->text[0];
	spec.gid_map = map->text[1];
	err = executor_start(&spec, &x);
	if (err)
		return log_errno(err, "mount %s: a user namespace with the maps of its owners", e->mountpoint);
	snprintf(path, sizeof(path), "/proc/%d/ns/user", executor_pid(x));
	map->fd = open(path, O_RDONLY | O_CLOEXEC);
	err = map->fd < 0 ? log_errno(-errno, "open of %s", path) : 0;
	executor_end(x);
	map->next = maps->all;
	maps->all = map;
	return err;
}

int mnt_idmap_make(struct restore *r)
{
	const struct mnt_restore *all = mnt_of(r);
	int err = 0;

	for (size_t i = 0; i < all->n; i++)
		for (size_t k = 0; !err && k < all->ns[i]->n; k++)
			if (all->ns[i]->all[k].e->n_idmap_uid && !all->ns[i]->all[k].given)
				err = make_map(r, all->ns[i]->all[k].e);
	return err;
}

int mnt_idmap_of(struct restore *r, const MntEntry *e)
{
	struct mnt_idmap wanted, *map = e->n_idmap_uid ? find_map(r, e, &wanted) : NULL;

	return map ? map->fd : -1;
}

void mnt_idmap_close(struct restore *r)
{
	struct mnt_idmaps *maps = restore_state(r, &mnt_idmap_subsys);

	for (struct mnt_idmap *map = maps->all; map; map = map->next)
		mnt_close(&map->fd);
}
