/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Mounts that a plugin brings back: it makes them where it is told, in a copy of criu's mount namespace that ends with
 * the call, so that a restore which is killed leaves nothing; a detached copy is what is kept.
 */
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "helper/ns_enter.h"
#include "lib/log.h"
#include "mnt/mnt.h"
#include "tree/subsys.h"
#include "uapi/mount_bits.h"

/* Covered in the copy: a directory that every system has and no mount comes from. */
#define SCRATCH "/proc/tty"

struct plugin_mount {
	struct restore *r;
	const MntEntry *e;
	int fd; /* the result */
};

static uint64_t mount_id_of(const char *path)
{
	struct statx st;

	return statx(AT_FDCWD, path, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT, STATX_MNT_ID, &st) ? 0 : st.stx_mnt_id;
}

static int make_place(const struct plugin_mount *m, const char *path, bool is_file)
{
	int err = is_file ? mknod(path, S_IFREG | 0600, 0) : mkdir(path, 0700);

	return err ? log_errno(-errno, "mount %s: %s of a place for the mount", m->e->mountpoint,
	                       is_file ? "mknod" : "mkdir")
	           : 0;
}

static int take_made(struct plugin_mount *m, const char *path)
{
	struct mount_attr attr = { .attr_clr = MNT_ATTRS, .propagation = MS_PRIVATE };
	_cleanup_close_ int fd = open_tree(AT_FDCWD, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);

	if (fd < 0)
		return log_errno(-errno, "mount %s: open_tree of what a plugin has mounted", m->e->mountpoint);
	if (mount_setattr(fd, "", AT_EMPTY_PATH, &attr, sizeof(attr)))
		return log_errno(-errno, "mount %s: mount_setattr of what a plugin has mounted", m->e->mountpoint);
	m->fd = move_fd(&fd);
	return 0;
}

static int make_in_copy(void *arg)
{
	struct plugin_mount *m = arg;
	bool is_file = m->e->has_plugin_file && m->e->plugin_file;
	const char *path = arena_printf(m->r->arena, SCRATCH "/%u", m->e->mnt_id);
	uint64_t before;
	int err;

	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) || mount("criu", SCRATCH, "tmpfs", 0, "mode=0700"))
		return log_errno(-errno, "mount %s: mount of a tmpfs to work in", m->e->mountpoint);
	err = make_place(m, path, is_file);
	if (err)
		return err;
	before = mount_id_of(path);
	err = subsys_externals()->make_mount(m->r, (int)m->e->mnt_id, path, &is_file);
	if (err)
		return log_errno(err, "mount %s: no plugin brings it back", m->e->mountpoint);
	if (mount_id_of(path) == before)
		return log_errno(-ENOENT, "mount %s: its plugin has mounted nothing there", m->e->mountpoint);
	return take_made(m, path);
}

int mnt_plugin_make(struct restore *r, const MntEntry *e)
{
	struct plugin_mount m = { .r = r, .e = e, .fd = -1 };
	int err = ns_enter_copy(-1, make_in_copy, &m);

	return err ?: m.fd;
}

int mnt_plugin_check(struct restore *r, uint32_t ns, const MntEntry *e)
{
	if (subsys_externals()->makes_mounts(r))
		return 0;
	return log_refusal(-ENOENT,
	                   "mountpoints-%u.img: mount %s was saved by a plugin, and none is loaded that makes mounts; "
	                   "give the directory that has it with --libdir (-L), or --external 'mnt[%s]:PATH'",
	                   ns, e->mountpoint, e->mountpoint);
}
