/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Names of unix sockets and the files that they lead to. Dump: whether the name of a socket still leads to it, seen
 * from the task, or where else its file is. Restore: where that file has to be, and whether a file exists there.
 */
#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <sched.h>
#include <limits.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>

#include "helper/ns_roots.h"
#include "lib/log.h"
#include "tree/ns_ids.h"
#include "sock/unix/chroot_helper.h"
#include "sock/unix/unix_dump.h"
#include "sock/unix/unix_name.h"
#include "uapi/sock_bits.h"

const char *unix_name_text(struct arena *a, const void *name, size_t len)
{
	char *text = arena_alloc(a, len + 1);

	memcpy(text, name, len);
	if (len && text[0])
		len = strnlen(text, len);
	text[len] = 0;
	for (size_t i = 0; i < len; i++)
		if (!isprint((unsigned char)text[i]))
			text[i] = i ? '.' : '@';
	return text;
}

/* Whether this is the file that the socket is bound to. An overlay shows another device than its sockets have. */
static bool is_socket_file(const struct diag_unix *diag, int fd, struct stat *st)
{
	struct statfs fs;

	if (fstat(fd, st) || !S_ISSOCK(st->st_mode) || (uint32_t)st->st_ino != diag->vfs_ino)
		return false;
	if (major(st->st_dev) == diag->vfs_dev >> 20 && minor(st->st_dev) == (diag->vfs_dev & 0xfffff))
		return true;
	return !fstatfs(fd, &fs) && fs.f_type == OVERLAYFS_SUPER_MAGIC;
}

/* The path of a descriptor, as criu sees it. */
static int path_of_fd(int fd, char path[PATH_MAX])
{
	char link[32];
	ssize_t n;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, path, PATH_MAX - 1);
	if (n < 0)
		return -errno;
	path[n] = 0;
	return path[0] == '/' ? 0 : -ENOENT;
}

/* The folder of a path, without its last part. */
static void cut_last(char *path)
{
	char *slash = strrchr(path, '/');

	slash[slash == path] = 0;
}

static void note_perms(struct dump *d, UnixSkEntry *m, const struct stat *st)
{
	m->file_perms = arena_msg(d->arena, FilePermsEntry, file_perms_entry);
	m->file_perms->mode = st->st_mode;
	m->file_perms->uid = st->st_uid;
	m->file_perms->gid = st->st_gid;
}

/* In a mount namespace of the tree's own: all paths of the message are below its root. Returns that. */
static const struct lookup_root *note_mount(struct dump *d, UnixSkEntry *m, int fd)
{
	const struct ns_root *ns = NULL;
	int id = ns_ids_any(d, CLONE_NEWNS) ? mountinfo_mount_id(fd, "") : -1;

	if (id < 0 || ns_roots_of_mount(d, id, &ns) || !ns)
		return NULL;
	m->has_mnt_id = true;
	m->mnt_id = id;
	return &ns->at;
}

/* Looks for the file from a folder (or root), and fills all fields where it is found. */
static bool find_from_folder(struct dump *d, struct unix_seen *u, int dir, const char *name)
{
	struct open_how how = { .flags = O_PATH | O_NOFOLLOW | O_CLOEXEC };
	char path[PATH_MAX], by_name[PATH_MAX + 128];
	_cleanup_close_ int fd = -1;
	UnixSkEntry *m = u->m;
	struct stat st;

	if (*name == '/')
		how.resolve = RESOLVE_IN_ROOT;
	fd = (int)syscall(SYS_openat2, dir, name, &how, sizeof(how));
	if (fd < 0 || !is_socket_file(u->diag, fd, &st))
		return false;
	note_mount(d, m, fd);
	if (*name != '/') {
		if (path_of_fd(dir, path))
			return false;
		m->name_dir = arena_strdup(d->arena, path);
	}
	if (path_of_fd(fd, path))
		return false;
	snprintf(by_name, sizeof(by_name), "%s/%s", *name == '/' ? "" : m->name_dir, *name == '/' ? name + 1 : name);
	if (strcmp(by_name, path)) {
		cut_last(path);
		m->file_dir = arena_strdup(d->arena, path);
	}
	note_perms(d, m, &st);
	return true;
}

static bool same_folder(int a, int b)
{
	struct stat at_a, at_b;

	return fstat(a, &at_a) || fstat(b, &at_b) || (at_a.st_ino == at_b.st_ino && at_a.st_dev == at_b.st_dev);
}

/* From a task's root or cwd; `up`: or from any folder above, since a program may have changed into a lower one after
 * bind(2). */
static bool find_from_task(struct dump *d, struct unix_seen *u, const struct task *t, const char *from,
                           const char *name, bool up)
{
	_cleanup_close_ int dir = t->dump ? openat(t->dump->proc_fd, from, O_PATH | O_DIRECTORY | O_CLOEXEC) : -1;

	while (dir >= 0 && !find_from_folder(d, u, dir, name)) {
		int next = up ? openat(dir, "..", O_PATH | O_DIRECTORY | O_CLOEXEC) : -1;

		if (next >= 0 && same_folder(dir, next))
			close(move_fd(&next));
		close(dir);
		dir = next;
	}
	return dir >= 0;
}

static bool find_relative(struct dump *d, struct unix_seen *u, const char *name)
{
	return find_from_task(d, u, u->task, "cwd", name, true) ||
	       find_from_task(d, u, d->tree.tasks[0], "cwd", name, true);
}

/* ---- by another name ---- */

static bool is_at(const char *path, const struct stat *want)
{
	struct stat st;

	return !lookup_lstat(path, &st) && st.st_ino == want->st_ino && st.st_dev == want->st_dev;
}

/* Another name of the file in the folder of its old one, appended to `path`. */
static bool find_link(char path[PATH_MAX], const struct stat *want)
{
	size_t len = strlen(path);
	struct dirent *e;
	bool found = false;
	int fd = lookup_open(len ? path : "/", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);

	while (dir && !found && (e = readdir(dir))) {
		if (e->d_ino != want->st_ino || len + 1 + strlen(e->d_name) >= PATH_MAX)
			continue;
		snprintf(path + len, PATH_MAX - len, "/%s", e->d_name);
		found = is_at(path, want);
	}
	if (dir)
		closedir(dir);
	return found;
}

/*
 * Servers bind to a temporary name, and rename(2) or link(2) the file to the name that clients know. SIOCUNIXFILE opens
 * the file: after a rename its path is the new one; another link is looked for in the folder of the old one.
 */
static bool find_renamed(struct dump *d, struct unix_seen *u, int sock)
{
	_cleanup_lookup_ const struct lookup_root *before = lookup_now();
	_cleanup_close_ int fd = ioctl(sock, SIOCUNIXFILE);
	char path[PATH_MAX], *base;
	struct stat st;

	if (fd < 0 || fstat(fd, &st) || !S_ISSOCK(st.st_mode) || !st.st_nlink || path_of_fd(fd, path))
		return false;
	lookup_in(note_mount(d, u->m, fd));
	if (!is_at(path, &st)) {
		*strrchr(path, '/') = 0;
		if (!find_link(path, &st))
			return false;
	}
	base = strrchr(path, '/') + 1;
	u->m->file_base = arena_strdup(d->arena, base);
	cut_last(path);
	u->m->file_dir = arena_strdup(d->arena, path);
	note_perms(d, u->m, &st);
	return true;
}

/* No socket can connect to a connected one by its name, which it has from its listener. */
static bool can_be_reached(const struct diag_unix *diag)
{
	return diag->state != TCP_ESTABLISHED || diag->type == SOCK_DGRAM;
}

void unix_name_dump(struct dump *d, struct unix_seen *u, int sock)
{
	const struct diag_unix *diag = u->diag;
	UnixSkEntry *m = u->m;
	char *name;

	m->name.len = diag->name_len;
	m->name.data = arena_memdup(d->arena, diag->name_len ? diag->name : "", MAX(diag->name_len, 1));
	if (!diag->name_len || !diag->name[0])
		return;
	name = arena_alloc(d->arena, diag->name_len + 1);
	memcpy(name, diag->name, diag->name_len);
	if (diag->has_vfs &&
	    (*name == '/' ? find_from_task(d, u, u->task, "root", name, false) : find_relative(d, u, name)))
		return;
	if (diag->has_vfs && can_be_reached(diag) && find_renamed(d, u, sock))
		return;
	if (*name != '/' && can_be_reached(diag))
		log_warn(
		    "%s: a unix socket with the relative name %s: its file cannot be found from the task's current "
		    "folder; no client will be able to connect to it by that name",
		    u->who, name);
	m->has_deleted = m->deleted = true;
}

/* ---- at restore ---- */

bool unix_name_place(struct arena *a, const UnixSkEntry *m, const char *name, const char **dir, const char **base)
{
	const char *slash = strrchr(name, '/');
	int head = slash ? (int)(slash - name) : 0;

	*base = m->file_base ?: slash ? slash + 1 : name;
	if (strchr(*base, '/'))
		return false;
	if (m->file_dir)
		*dir = m->file_dir;
	else if (name[0] == '/')
		*dir = head ? arena_printf(a, "%.*s", head, name) : "/";
	else if (m->name_dir)
		*dir = slash ? arena_printf(a, "%s/%.*s", m->name_dir, head, name) : m->name_dir;
	else
		return false;
	return **dir == '/' && **base;
}

int unix_name_taken(int dir, const char *base)
{
	_cleanup_close_ int fd = -1;
	struct stat st;
	int err;

	if (fstatat(dir, base, &st, AT_SYMLINK_NOFOLLOW))
		return -errno;
	if (!S_ISSOCK(st.st_mode))
		return -EEXIST;
	/* A living socket of another type answers a datagram socket with EPROTOTYPE; without one it is ECONNREFUSED. */
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	err = chroot_helper_connect(fd, dir, base, strlen(base));
	return err == -ECONNREFUSED ? 0 : !err || err == -EPROTOTYPE || err == -EPERM ? -EADDRINUSE : err;
}
