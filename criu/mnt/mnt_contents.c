/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What is in a tmpfs of the tree's own: tmpfs-dev-N.tar.gz.img, a compressed archive of tar(1) of the whole file system
 * (N: its device), as CRIU has them. Where only parts of it are mounted, it is several archives, one behind another.
 */
#include <dirent.h>
#include <fcntl.h>
#include <linux/securebits.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <zlib.h>

#include "helper/detour.h"
#include "helper/ns_enter.h"
#include "helper/run_program.h"
#include "lib/fault.h"
#include "lib/log.h"
#include "mnt/mnt_dump.h"
#include "mnt/mnt_ghosts.h"
#include "mnt/mnt_hidden.h"
#include "mnt/mnt_lone_root.h"
#include "proc/own_rights.h"

#define AHEAD         16          /* mounts that are open at once */
#define DEPTH_MAX     200         /* each level has a descriptor open */
#define SMALL_ARCHIVE (128 << 10) /* many a container's /dev */

/* ---- both ---- */

/* A file with these bytes, to be read from its start. */
static int file_of(const char *bytes, size_t size)
{
	int fd = memfd_create("archive", MFD_CLOEXEC);

	if (fd < 0 || (size_t)write(fd, bytes, size) != size || lseek(fd, 0, SEEK_SET)) {
		int err = fd < 0 ? -errno : -EIO;

		if (fd >= 0)
			close(fd);
		return log_errno(err, "memfd_create for an archive");
	}
	return fd;
}

/* ---- dump ---- */

static int copy_to_image(int from, struct image *img)
{
	char buf[1 << 16];
	ssize_t n;
	int err = lseek(from, 0, SEEK_SET) < 0 ? -errno : 0;

	while (!err && (n = read(from, buf, sizeof(buf))) != 0)
		err = n < 0 ? -errno : image_write_raw(img, buf, (size_t)n);
	return err;
}

/* Where a program's messages go. */
static int log_to(void)
{
	int fds[LOG_DESCRIPTORS];

	return log_descriptors(fds) ? fds[0] : STDERR_FILENO;
}

static int run_tar(struct arena *a, const char *who, int dir, const MntEntry *e, const struct mnt_hidden *h,
                   bool compressed, int out)
{
	const struct fs_kind *kind = fs_kind_of(e);
	static const char *const words[] = { "tar",
		                             "--create",
		                             "--format=posix",
		                             "--one-file-system",
		                             "--sparse",
		                             "--xattrs",
		                             "--xattrs-include=*",
		                             "--numeric-owner",
		                             "--no-wildcards",
		                             "--anchored",
		                             "--atime-preserve=system" };
	_cleanup_close_ int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	const char **argv = NULL;
	size_t n = 0;
	int ret;

	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		arena_push(a, &argv, &n, words[i]);
	if (compressed)
		arena_push(a, &argv, &n, (const char *)"--gzip");
	arena_push(a, &argv, &n, (const char *)arena_printf(a, "--directory=/proc/self/fd/%d", dir));
	if (strcmp(e->root, "/"))
		arena_push(a, &argv, &n, (const char *)arena_printf(a, "--transform=flags=rh;s|^\\.|.%s|", e->root));
	for (const char *const *name = kind ? kind->born_with : NULL; name && *name; name++)
		arena_push(a, &argv, &n, (const char *)arena_printf(a, "--exclude=./%s", *name));
	for (size_t i = 0; i < h->n; i++)
		arena_push(a, &argv, &n, (const char *)arena_printf(a, "--exclude=./%s", h->places[i]));
	arena_push(a, &argv, &n, (const char *)".");
	arena_push(a, &argv, &n, (const char *)NULL);
	ret = run_program(argv, null, out, log_to(), dir);
	return ret == 0 ? 0 : log_errno(ret < 0 ? ret : -EIO, "%s: tar (status %d)", who, ret);
}

/* Appends to out what is in `from`, compressed. */
static int compress_file(const char *who, int from, int out)
{
	int own = fcntl(out, F_DUPFD_CLOEXEC, 3), err = 0;
	gzFile gz = own < 0 ? NULL : gzdopen(own, "w");
	char buf[1 << 16];
	ssize_t n = 0;

	if (!gz && own >= 0)
		close(own);
	if (!gz)
		return log_errno(own < 0 ? -errno : -ENOMEM, "%s: gzdopen", who);
	while ((n = read(from, buf, sizeof(buf))) > 0)
		if (gzwrite(gz, buf, (unsigned)n) != n)
			err = -EIO;
	err = n < 0 ? -errno : err;
	if (gzclose_w(gz) != Z_OK)
		err = err ?: -EIO;
	return err ? log_errno(err, "%s: gzwrite of its archive", who) : 0;
}

#define FEW_FILES 64

/* What the whole file system holds is little; one without a limit does not say. */
static bool is_small(int dir)
{
	struct statfs fs;

	return !fstatfs(dir, &fs) && fs.f_blocks && fs.f_files && fs.f_files - fs.f_ffree <= FEW_FILES &&
	       (fs.f_blocks - fs.f_bfree) * (uint64_t)fs.f_bsize <= SMALL_ARCHIVE;
}

/* tar(1) starts a shell and a gzip(1) for what it compresses: each of the three takes longer than to archive little. */
static int archive_one(struct arena *a, const char *who, int dir, const MntEntry *e, const struct mnt_hidden *h,
                       int out)
{
	char lone[LONE_ROOT_BYTES];
	_cleanup_close_ int plain = -1;
	int err;

	if (!strcmp(e->root, "/") && mnt_lone_root_write(dir, lone)) {
		plain = file_of(lone, sizeof(lone));
		return plain < 0 ? plain : compress_file(who, plain, out);
	}
	if (!is_small(dir))
		return run_tar(a, who, dir, e, h, true, out);
	plain = memfd_create("archive", MFD_CLOEXEC);
	if (plain < 0)
		return log_errno(-errno, "%s: memfd_create for its archive", who);
	err = run_tar(a, who, dir, e, h, false, plain);
	if (!err && lseek(plain, 0, SEEK_SET))
		err = log_errno(-errno, "%s: lseek in its archive", who);
	return err ?: compress_file(who, plain, out);
}

static bool is_dumped(const struct mnt_dump *all, size_t upto_ns, size_t upto, const struct mount_at *m)
{
	for (size_t i = 0; i <= upto_ns; i++)
		for (size_t k = 0; k < (i < upto_ns ? all->ns[i].n : upto); k++) {
			const struct mount_at *o = &all->ns[i].ns->mounts[k];

			if (o->s_dev == m->s_dev && !strcmp(o->root, m->root))
				return true;
		}
	return false;
}

bool mnt_is_within_another(const struct mnt_dump *all, const struct mount_at *m)
{
	for (size_t i = 0; i < all->n; i++)
		for (size_t k = 0; k < all->ns[i].n; k++) {
			const struct mount_at *o = &all->ns[i].ns->mounts[k];

			if (o->s_dev == m->s_dev && strcmp(o->root, m->root) && mountinfo_below(m->root, o->root))
				return true;
		}
	return false;
}

/* Something that is not a single file (mnt_ghosts_dump.c). */
static bool has_archive(const struct mnt_dump *all, uint32_t dev)
{
	for (size_t i = 0; i < all->n; i++)
		for (size_t k = 0; k < all->ns[i].n; k++) {
			const MntEntry *e = all->ns[i].all[k];

			if (e && e->root_dev == dev && !e->has_ghost && !e->deleted)
				return true;
		}
	return false;
}

static bool is_born_with(const struct fs_kind *kind, const char *name, int depth)
{
	for (const char *const *n = kind->born_with; !depth && n && *n; n++)
		if (!strcmp(*n, name))
			return true;
	return false;
}

DIR *mnt_walk_open(int fd, int depth)
{
	DIR *dir = fd < 0 || depth > DEPTH_MAX ? NULL : fdopendir(fd);

	if (!dir && fd >= 0) {
		int err = depth > DEPTH_MAX ? ELOOP : errno;

		close(fd);
		errno = err;
	}
	return dir;
}

/* dir is used up. 1: there is one. */
static int any_file(const struct fs_kind *kind, int fd, int depth)
{
	DIR *dir = mnt_walk_open(fd, depth);
	struct dirent *e;
	int found = dir ? 0 : -errno;

	while (!found && (e = readdir(dir))) {
		struct stat st;

		if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, "..") || is_born_with(kind, e->d_name, depth))
			continue;
		found = fstatat(fd, e->d_name, &st, AT_SYMLINK_NOFOLLOW) ? -errno : S_ISREG(st.st_mode);
		if (S_ISDIR(st.st_mode))
			found = any_file(kind, openat(fd, e->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC),
			                 depth + 1);
	}
	if (dir)
		closedir(dir);
	return found;
}

static int refuse_files(const struct fs_kind *kind, const char *who, int dir)
{
	int found = 0;

	if (kind && kind->not_carried)
		found = any_file(kind, openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), 0);

	if (found < 0)
		return log_errno(found, "%s: readdir", who);
	return found ? log_refusal(-ENOTSUP, "%s: has %s, which cannot be made again; remove it for the dump", who,
	                           kind->not_carried)
	             : 0;
}

/* Mounts that come next, opened by one process. */
struct opened_ahead {
	const struct mount_at *mounts[AHEAD];
	int fds[AHEAD];
	size_t n;
};

static void close_ahead(struct opened_ahead *ahead)
{
	for (size_t i = 0; i < ahead->n; i++)
		if (ahead->fds[i] >= 0)
			close(ahead->fds[i]);
	ahead->n = 0;
}

static int open_part(struct dump *d, const struct mnt_dumped *ns, const struct mount_at *m, struct opened_ahead *ahead)
{
	for (size_t i = 0; i < ahead->n; i++)
		if (ahead->mounts[i] == m && ahead->fds[i] >= 0)
			return move_fd(&ahead->fds[i]);
	return bare_mount_open(d->arena, ns->ns->fd, ns->ns->mounts, ns->ns->n_mounts, m);
}

static int dump_part(struct dump *d, const struct mnt_dumped *ns, size_t k, int out, struct opened_ahead *ahead)
{
	const struct mount_at *m = &ns->ns->mounts[k];
	const char *who = arena_printf(d->arena, "mount namespace %u: %s (%s)", ns->ns->id, m->path, m->type);
	_cleanup_close_ int dir = open_part(d, ns, m, ahead);
	struct mnt_hidden hidden = { 0 };
	int err;

	if (dir < 0)
		return log_errno(dir, "%s: its contents cannot be reached", who);
	err = refuse_files(fs_kind_of(ns->all[k]), who, dir) ?: mnt_owners_check(who, dir);
	err = err ?: mnt_hidden_find(d, ns, k, dir, &hidden);
	err = err ?: mnt_hidden_check(d, who, dir, &hidden);
	err = err ?: archive_one(d->arena, who, dir, ns->all[k], &hidden, out);
	err = err ?: mnt_sockets_dump(d, who, dir, ns->all[k]);
	return err ?: mnt_inode_flags_dump(d, who, dir, ns->all[k]);
}

/* All parts of one file system. */
static int dump_super(struct dump *d, const struct mnt_dump *all, size_t ns, size_t at, struct opened_ahead *ahead)
{
	const struct mount_at *m = &all->ns[ns].ns->mounts[at];
	_cleanup_close_ int temp = image_dir_temp(d->dir);
	_cleanup_image_ struct image *img = NULL;
	int err = MIN(temp, 0);

	for (size_t i = ns; !err && i < all->n; i++)
		for (size_t k = i == ns ? at : 0; !err && k < all->ns[i].n; k++) {
			const struct mount_at *o = &all->ns[i].ns->mounts[k];

			if (all->ns[i].all[k] && !all->ns[i].all[k]->has_ghost && !all->ns[i].all[k]->deleted &&
			    o->s_dev == m->s_dev && !is_dumped(all, i, k, o) && !mnt_is_within_another(all, o))
				err = dump_part(d, &all->ns[i], k, temp, ahead);
		}
	err = err ?: image_create(d->dir, IMG_TMPFS_DEV, (m->s_dev & 0xfffff), &img);
	err = err ?: copy_to_image(temp, img);
	return err ?: image_close(move_ptr(img));
}

static bool is_first_of_super(const struct mnt_dump *all, size_t ns, size_t at)
{
	uint32_t dev = all->ns[ns].all[at]->root_dev;

	for (size_t i = 0; i <= ns; i++)
		for (size_t k = 0; k < (i < ns ? all->ns[i].n : at); k++)
			if (all->ns[i].all[k] && all->ns[i].all[k]->root_dev == dev)
				return false;
	return true;
}

static bool begins_archive(const struct mnt_dump *all, size_t ns, size_t at)
{
	const MntEntry *e = all->ns[ns].all[at];
	const struct fs_kind *kind = !e || e->ext_mount || e->host_path ? NULL : fs_kind_of(e);

	return kind && kind->has_contents && is_first_of_super(all, ns, at) && has_archive(all, e->root_dev);
}

/* To enter a namespace takes a process: those from `at` on that begin an archive are opened together. */
static void open_ahead(const struct mnt_dump *all, size_t ns, size_t at, struct opened_ahead *ahead)
{
	const struct mnt_dumped *in = &all->ns[ns];

	for (size_t i = 0; i < ahead->n; i++)
		if (ahead->mounts[i] == &in->ns->mounts[at])
			return;
	close_ahead(ahead);
	for (size_t k = at; k < in->n && ahead->n < AHEAD; k++)
		if (begins_archive(all, ns, k))
			ahead->mounts[ahead->n++] = &in->ns->mounts[k];
	bare_mount_open_visible(in->ns->fd, ahead->mounts, ahead->n, ahead->fds);
}

int mnt_contents_dump(struct dump *d, const struct mnt_dump *all)
{
	struct opened_ahead ahead = { .n = 0 };
	int err = 0;

	for (size_t i = 0; i < all->n; i++)
		for (size_t k = 0; !err && k < all->ns[i].n; k++)
			if (begins_archive(all, i, k)) {
				open_ahead(all, i, k, &ahead);
				err = dump_super(d, all, i, k, &ahead);
			}
	close_ahead(&ahead);
	return err;
}

/* ---- restore ---- */

/* Whether there is more than single files in it. */
static bool is_archived(struct restore *r, const struct super *s)
{
	const struct mnt_restore *all = mnt_of(r);

	for (size_t i = 0; i < all->n; i++)
		for (size_t k = 0; k < all->ns[i]->n; k++)
			if (all->ns[i]->all[k].super == s && !all->ns[i]->all[k].e->has_ghost)
				return true;
	return false;
}

/* Decompresses an archive into a buffer. Its size; -E2BIG: it is not small, or not to be read here. */
static ssize_t read_small(int in, char *buf)
{
	int own = fcntl(in, F_DUPFD_CLOEXEC, 3), got = -1;
	gzFile gz = own < 0 ? NULL : gzdopen(own, "r");

	if (gz)
		got = gzread(gz, buf, SMALL_ARCHIVE + 1);
	if (gz)
		got = gzclose_r(gz) == Z_OK ? got : -1;
	else if (own >= 0)
		close(own);
	return got < 0 || got > SMALL_ARCHIVE ? -E2BIG : got;
}

static int unpack_file(const struct super *s, int in, bool compressed, const char *name)
{
	char at[40];
	const char *const argv[] = { "tar",
		                     "--extract",
		                     "--ignore-zeros",
		                     "--incremental", /* with the times of access */
		                     "--preserve-permissions",
		                     "--same-owner",
		                     "--numeric-owner",
		                     "--xattrs",
		                     "--xattrs-include=*",
		                     "--no-wildcards",
		                     at,
		                     compressed ? "--gzip" : NULL,
		                     NULL };
	int ret;

	snprintf(at, sizeof(at), "--directory=/proc/self/fd/%d", s->fd);
	ret = run_program(argv, in, log_to(), log_to(), s->fd);
	return ret ? log_errno(ret < 0 ? ret : -EIO, "%s: tar (status %d)", name, ret) : 0;
}

static int unpack_image(const struct super *s, int in, const char *name)
{
	_cleanup_free_ char *buf = malloc(SMALL_ARCHIVE + 1);
	_cleanup_close_ int small = -1;
	off_t start = lseek(in, 0, SEEK_CUR);
	struct lone_root root;
	ssize_t size;

	if (!buf || start < 0)
		return log_errno(buf ? -errno : -ENOMEM, "%s", name);
	size = read_small(in, buf);
	if (size > 0 && mnt_lone_root_read(buf, (size_t)size, &root))
		return mnt_lone_root_make(&root, s->fd, name);
	if (size > 0) {
		small = file_of(buf, (size_t)size);
		return small < 0 ? small : unpack_file(s, small, false, name);
	}
	if (lseek(in, start, SEEK_SET) < 0)
		return log_errno(-errno, "%s: lseek", name);
	return unpack_file(s, in, true, name);
}

static int unpack_super(struct restore *r, const struct super *s)
{
	_cleanup_image_ struct image *img = NULL;
	_cleanup_close_ int in = -1;
	int err = image_open(r->dir, IMG_TMPFS_DEV, (s->dev & 0xfffff), &img);

	if (err == -ENOENT)
		err = image_open(r->dir, IMG_TMPFS_IMG, s->first->mnt_id, &img);
	if (err)
		return log_errno(err, "tmpfs-dev-%u.tar.gz.img, of the %s at %s", (s->dev & 0xfffff), s->kind->name,
		                 s->first->mountpoint);
	in = image_reopen(img);
	err = in < 0 ? in : unpack_image(s, in, image_name(img));
	fault_point("tmpfs filled");
	return err;
}

static int fill_super(struct restore *r, struct super *s)
{
	int err = is_archived(r, s) ? unpack_super(r, s) : 0;

	err = err ?: mnt_sockets_restore(r, s) ?: mnt_ghosts_make(r, s);
	return err ?: s->first->sb_flags & MS_RDONLY ? mnt_inode_flags_restore(r, s) : 0;
}

/* criu's id of one that files there can have; root's wherever that is possible. */
static uint32_t id_inside(const struct user_ns *ns, enum user_id kind)
{
	uint32_t inside;
	bool has_root = user_ns_known(ns, kind, 0, &inside) && !user_ns_is_unmapped(ns, kind, inside);

	return has_root || !ns->map[kind].n ? 0 : ns->map[kind].v[0].outside;
}

struct fill_job {
	struct restore *r;
	struct super *s;
	int (*fn)(struct restore *r, struct super *s);
	bool ran;
};

/* With all capabilities, and tar(1) has them too. */
static int fill_as_inside(void *arg)
{
	struct fill_job *job = arg;
	uint32_t uid = id_inside(job->s->owner, USER_ID), gid = id_inside(job->s->owner, GROUP_ID);

	job->ran = true;
	if (syscall(SYS_prctl, PR_SET_SECUREBITS, syscall(SYS_prctl, PR_GET_SECUREBITS) | SECBIT_NO_SETUID_FIXUP) ||
	    syscall(SYS_setresgid, gid, gid, gid) || syscall(SYS_setresuid, uid, uid, uid) ||
	    syscall(SYS_prctl, PR_SET_PDEATHSIG, SIGKILL))
		return log_errno(-errno, "setresgid to %u or setresuid to %u, for the contents of %s", gid, uid,
		                 job->s->first->mountpoint);
	own_rights_keep();
	return job->fn(job->r, job->s);
}

/* Who has no number in the user namespace of a file system can make no file there. */
int mnt_as_inside(struct restore *r, struct super *s, int (*fn)(struct restore *r, struct super *s))
{
	struct fill_job job = { .r = r, .s = s, .fn = fn };
	int dumpable, ret;

	if (!s->owner || (!id_inside(s->owner, USER_ID) && !id_inside(s->owner, GROUP_ID)))
		return fn(r, s);
	if (detour_is_ordinary()) /* whose own id is the one that has a number there, for sure */
		return fn(r, s);
	dumpable = prctl(PR_GET_DUMPABLE);
	ret = helper_run(&(struct helper_spec) { .flags = CLONE_VM | CLONE_FILES }, fill_as_inside, &job);
	if (dumpable == 1) /* our common memory has lost it with the helper's ids */
		prctl(PR_SET_DUMPABLE, 1);
	return job.ran ? ret : log_errno(ret, "clone3 of a helper that fills a file system");
}

int mnt_contents_restore(struct restore *r, struct super *s)
{
	return mnt_as_inside(r, s, fill_super);
}
