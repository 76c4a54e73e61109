/* SPDX-License-Identifier: GPL-2.0-only */
/* Which mounts are of foreign file systems: by /proc alone. */
#include <limits.h>
#include <linux/magic.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/vfs.h>

#include "helper/foreign.h"
#include "lib/log.h"
#include "lib/lookup.h"
#include "proc/fdinfo.h"
#include "proc/mountinfo.h"

/* Types that wait for a program or a machine; "fuse" stands for "fuse.sshfs" and the like too. */
bool foreign_type(const char *type)
{
	static const char *const types[] = { "fuse",      "fuseblk",  "nfs",    "nfs4",     "cifs",  "smb3",
		                             "smbfs",     "9p",       "ceph",   "afs",      "coda",  "ncpfs",
		                             "lustre",    "gfs2",     "ocfs2",  "orangefs", "pvfs2", "beegfs",
		                             "glusterfs", "virtiofs", "vboxsf", "vmhgfs",   "prl_fs" };

	if (!strncmp(type, "fuse.", 5))
		return true;
	for (size_t i = 0; i < ARRAY_SIZE(types); i++)
		if (!strcmp(type, types[i]))
			return true;
	return false;
}

static bool is_fuse_type(const char *type)
{
	return !strncmp(type, "fuse", 4);
}

/* One of the directories of an overlay, up to a ':' or the next option. What the kernel does not show as a path is
 * passed over. */
static bool layer_is_foreign(const struct foreign *f, const char *layer)
{
	char path[PATH_MAX];
	size_t len = strcspn(layer, ":,");

	if (*layer != '/' || len >= sizeof(path))
		return false;
	memcpy(path, layer, len);
	path[len] = 0;
	return foreign_mount_by_path(f, path);
}

/* An overlay waits for what its layers wait for (images that are fetched when they are needed). */
static bool overlay_is_foreign(const struct foreign *f, const char *options)
{
	static const char *const names[] = { "lowerdir=", "lowerdir+=", "datadir+=", "upperdir=" };
	bool found = false;

	for (size_t i = 0; !found && i < ARRAY_SIZE(names); i++) {
		for (const char *at = options; !found && (at = strstr(at, names[i]));) {
			for (at += strlen(names[i]) - 1; !found && (*at == '=' || *at == ':');) {
				found = layer_is_foreign(f, ++at);
				at += strcspn(at, ":,");
			}
		}
	}
	return found;
}

/* Overlays of overlays: until nothing is added. */
static void find_overlays(struct foreign *f, const struct mount_at *mounts)
{
	bool more = f->any;

	while (more) {
		more = false;
		for (size_t i = 0; i < f->n_mounts; i++) {
			struct foreign_mount *m = &f->mounts[i];

			if (m->foreign || strcmp(m->type, "overlay") != 0 || !overlay_is_foreign(f, mounts[i].options))
				continue;
			m->foreign = more = true;
			m->type = "overlay, of which a layer is on such a file system";
		}
	}
}

static int by_mount_id(const void *a, const void *b)
{
	return ((const struct foreign_mount *)a)->id - ((const struct foreign_mount *)b)->id;
}

int foreign_begin(struct foreign *f, struct arena *a, unsigned timeout)
{
	struct mount_at *mounts = NULL;
	size_t n = 0;
	int err = mountinfo_read(a, &mounts, &n);

	if (err)
		return log_errno(err, "reading /proc/self/mountinfo");
	f->arena = a;
	f->timeout = MAX(timeout, 1U);
	f->mounts = arena_alloc(a, (n + 1) * sizeof(*f->mounts));
	f->n_mounts = n;
	for (size_t i = 0; i < n; i++) {
		f->mounts[i] = (struct foreign_mount) { .id = mounts[i].id,
			                                .s_dev = mounts[i].s_dev,
			                                .path = mounts[i].path,
			                                .type = mounts[i].type,
			                                .foreign = foreign_type(mounts[i].type),
			                                .fuse = is_fuse_type(mounts[i].type) };
		f->any = f->any || f->mounts[i].foreign;
	}
	find_overlays(f, mounts);
	qsort(f->mounts, n, sizeof(*f->mounts), by_mount_id);
	return 0;
}

struct foreign_mount *foreign_mount_by_id(const struct foreign *f, int id)
{
	struct foreign_mount key = { .id = id };

	for (size_t i = 0; i < f->n_added; i++)
		if (f->added[i]->id == id)
			return f->added[i];
	return f->n_mounts ? bsearch(&key, f->mounts, f->n_mounts, sizeof(key), by_mount_id) : NULL;
}

struct foreign_mount *foreign_mount_by_dev(const struct foreign *f, uint32_t s_dev)
{
	for (size_t i = 0; f->any && i < f->n_mounts; i++)
		if (f->mounts[i].foreign && f->mounts[i].s_dev == s_dev)
			return &f->mounts[i];
	return NULL;
}

struct foreign_mount *foreign_mount_by_path(const struct foreign *f, const char *path)
{
	struct foreign_mount *found = NULL;
	size_t len = 0;

	if (lookup_now()) /* a path in another mount namespace */
		return NULL;
	for (size_t i = 0; f->any && i < f->n_mounts; i++) {
		struct foreign_mount *m = &f->mounts[i];
		size_t n = strlen(m->path);

		if (!m->foreign || n < len || strncmp(path, m->path, n))
			continue;
		if (path[n] && path[n] != '/' && n > 1)
			continue;
		found = m;
		len = n;
	}
	return found;
}

void foreign_add_plain(struct foreign *f, const struct mount_at *mounts, size_t n)
{
	struct foreign_mount *all = arena_alloc(f->arena, (f->n_mounts + n) * sizeof(*all));

	memcpy(all, f->mounts, f->n_mounts * sizeof(*all));
	f->mounts = all;
	for (size_t i = 0; i < n; i++) {
		struct foreign_mount m = {
			.id = mounts[i].id, .s_dev = mounts[i].s_dev, .path = mounts[i].path, .type = mounts[i].type
		};

		if (!foreign_type(m.type) && strcmp(m.type, "overlay") != 0)
			f->mounts[f->n_mounts++] = m;
	}
	qsort(f->mounts, f->n_mounts, sizeof(*f->mounts), by_mount_id);
}

/* ---- mounts that we do not see ---- */

static bool is_internal(struct foreign *f, int id)
{
	for (size_t i = 0; i < ARRAY_SIZE(f->internal); i++)
		if (__atomic_load_n(&f->internal[i], __ATOMIC_RELAXED) == id)
			return true;
	return false;
}

static void note_internal(struct foreign *f, int id)
{
	for (size_t i = 0; i < ARRAY_SIZE(f->internal); i++) {
		int none = 0;

		if (__atomic_compare_exchange_n(&f->internal[i], &none, id, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
			return;
	}
}

enum foreign_answer foreign_is_fd(struct foreign *f, int proc_fd, int number, const char *fdinfo)
{
	const struct foreign_mount *m;
	char path[32], link[16] = "";
	struct fdinfo fi;

	if (fdinfo_parse(fdinfo, &fi) || fi.mnt_id < 0 || is_internal(f, fi.mnt_id))
		return FOREIGN_NO;
	m = foreign_mount_by_id(f, fi.mnt_id);
	if (m)
		return m->foreign ? FOREIGN_YES : FOREIGN_NO;
	snprintf(path, sizeof(path), "fd/%d", number);
	if (readlinkat(proc_fd, path, link, sizeof(link) - 1) > 0 && link[0] == '/' && strncmp(link, "/memfd:", 7))
		return FOREIGN_UNSURE;
	note_internal(f, fi.mnt_id);
	return FOREIGN_NO;
}

/* ---- asking one ---- */

static int ask_magic(struct foreign_job *job)
{
	struct statfs fs;

	if (fstatfs(job->fds[0], &fs))
		return -errno;
	*(long *)job->result = (long)fs.f_type;
	return 0;
}

static const char *type_of_magic(long magic)
{
	static const struct {
		long magic;
		const char *type;
	} types[] = { { FUSE_SUPER_MAGIC, "fuse" }, { NFS_SUPER_MAGIC, "nfs" }, { CIFS_SUPER_MAGIC, "cifs" },
		      { SMB2_SUPER_MAGIC, "smb3" }, { V9FS_MAGIC, "9p" },       { CEPH_SUPER_MAGIC, "ceph" },
		      { AFS_SUPER_MAGIC, "afs" },   { AFS_FS_MAGIC, "afs" },    { CODA_SUPER_MAGIC, "coda" } };

	for (size_t i = 0; i < ARRAY_SIZE(types); i++)
		if (types[i].magic == magic)
			return types[i].type;
	return NULL;
}

struct foreign_mount *foreign_unseen(struct foreign *f, int handle, int id)
{
	struct foreign_mount *m = foreign_mount_by_id(f, id);
	long magic = 0;
	struct foreign_call call = {
		.fn = ask_magic, .result = &magic, .result_len = sizeof(magic), .fds = { handle }, .n_fds = 1
	};
	int err;

	if (m || is_internal(f, id))
		return m && m->foreign ? m : NULL;
	m = arena_new_of(f->arena, struct foreign_mount);
	*m = (struct foreign_mount) { .id = id, .path = "a mount that criu does not see", .type = "?" };
	call.what = "a file";
	err = foreign_ask(f, m, NULL, &call);
	m->type = err ? "fuse" : type_of_magic(magic); /* what denies root or fails is FUSE */
	m->foreign = m->type;
	m->fuse = m->foreign && is_fuse_type(m->type);
	m->type = m->type ?: "local";
	arena_push(f->arena, &f->added, &f->n_added, m);
	return m->foreign ? m : NULL;
}
