/* SPDX-License-Identifier: GPL-2.0-only */
/* Unix sockets at dump: names, and whether they still lead to the socket. */
#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
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

#include "lib/log.h"
#include "sock/unix/unix_dump.h"
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
static bool same_file(const struct diag_unix *diag, int fd, struct stat *st)
{
	struct statfs fs;

	if (fstat(fd, st) || !S_ISSOCK(st->st_mode) || (uint32_t)st->st_ino != diag->vfs_ino)
		return false;
	if (major(st->st_dev) == diag->vfs_dev >> 20 && minor(st->st_dev) == (diag->vfs_dev & 0xfffff))
		return true;
	return !fstatfs(fd, &fs) && fs.f_type == OVERLAYFS_SUPER_MAGIC;
}

/* The text of a descriptor's path, from the tool's root. */
static int path_of(int fd, char path[PATH_MAX])
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

static void set_perms(struct dump *d, UnixSkEntry *m, const struct stat *st)
{
	m->file_perms = arena_msg(d->arena, FilePermsEntry, file_perms_entry);
	m->file_perms->mode = st->st_mode;
	m->file_perms->uid = st->st_uid;
	m->file_perms->gid = st->st_gid;
}

/* Looks for the file from a folder (or root); true when it is there, with all fields filled. */
static bool look_in(struct dump *d, struct unix_seen *u, int dir, const char *name)
{
	struct open_how how = { .flags = O_PATH | O_NOFOLLOW | O_CLOEXEC };
	char path[PATH_MAX], said[PATH_MAX + 128];
	_cleanup_close_ int fd = -1;
	UnixSkEntry *m = u->m;
	struct stat st;

	if (*name == '/')
		how.resolve = RESOLVE_IN_ROOT;
	fd = (int)syscall(SYS_openat2, dir, name, &how, sizeof(how));
	if (fd < 0 || !same_file(u->diag, fd, &st))
		return false;
	if (*name != '/') {
		if (path_of(dir, path))
			return false;
		m->name_dir = arena_strdup(d->arena, path);
	}
	if (path_of(fd, path))
		return false;
	snprintf(said, sizeof(said), "%s/%s", *name == '/' ? "" : m->name_dir, *name == '/' ? name + 1 : name);
	if (strcmp(said, path)) {
		cut_last(path);
		m->file_dir = arena_strdup(d->arena, path);
	}
	set_perms(d, m, &st);
	return true;
}

static bool same_folder(int a, int b)
{
	struct stat at_a, at_b;

	return fstat(a, &at_a) || fstat(b, &at_b) || (at_a.st_ino == at_b.st_ino && at_a.st_dev == at_b.st_dev);
}

/* From a task's root or cwd; `up`: or from any folder above, since a program may have gone down after bind(2). */
static bool look_from(struct dump *d, struct unix_seen *u, const struct task *t, const char *from, const char *name,
                      bool up)
{
	_cleanup_close_ int dir = t->dump ? openat(t->dump->proc_fd, from, O_PATH | O_DIRECTORY | O_CLOEXEC) : -1;

	while (dir >= 0 && !look_in(d, u, dir, name)) {
		int next = up ? openat(dir, "..", O_PATH | O_DIRECTORY | O_CLOEXEC) : -1;

		if (next >= 0 && same_folder(dir, next))
			close(move_fd(&next));
		close(dir);
		dir = next;
	}
	return dir >= 0;
}

static bool look_relative(struct dump *d, struct unix_seen *u, const char *name)
{
	return look_from(d, u, u->task, "cwd", name, true) || look_from(d, u, d->tree.tasks[0], "cwd", name, true);
}

/* ---- by another name ---- */

static bool is_at(const char *path, const struct stat *want)
{
	struct stat st;

	return !lstat(path, &st) && st.st_ino == want->st_ino && st.st_dev == want->st_dev;
}

/* Another name of the file in the folder of its old one, appended to `path`. */
static bool find_in_folder(char path[PATH_MAX], const struct stat *want)
{
	size_t len = strlen(path);
	struct dirent *e;
	bool found = false;
	DIR *dir = opendir(len ? path : "/");

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
 * Servers bind to a name of the moment, and rename(2) or link(2) it to the one that clients know. The kernel has the
 * file; a renamed one says where it is, of one with another link it is looked for beside it.
 */
static bool find_renamed(struct dump *d, struct unix_seen *u, int sock)
{
	_cleanup_close_ int fd = ioctl(sock, SIOCUNIXFILE);
	char path[PATH_MAX], *base;
	struct stat st;

	if (fd < 0 || fstat(fd, &st) || !S_ISSOCK(st.st_mode) || !st.st_nlink || path_of(fd, path))
		return false;
	if (!is_at(path, &st)) {
		*strrchr(path, '/') = 0;
		if (!find_in_folder(path, &st))
			return false;
	}
	base = strrchr(path, '/') + 1;
	u->m->file_base = arena_strdup(d->arena, base);
	cut_last(path);
	u->m->file_dir = arena_strdup(d->arena, path);
	set_perms(d, u->m, &st);
	return true;
}

/* Nobody can be connected to a connected one by its name, which it has from its listener. */
static bool can_be_reached(const struct diag_unix *diag)
{
	return diag->state != TCP_ESTABLISHED || diag->type == SOCK_DGRAM;
}

int unix_name_dump(struct dump *d, struct unix_seen *u, int sock)
{
	const struct diag_unix *diag = u->diag;
	UnixSkEntry *m = u->m;
	char *name;

	m->name.len = diag->name_len;
	m->name.data = arena_memdup(d->arena, diag->name_len ? diag->name : "", MAX(diag->name_len, 1));
	if (!diag->name_len || !diag->name[0])
		return 0;
	name = arena_alloc(d->arena, diag->name_len + 1);
	memcpy(name, diag->name, diag->name_len);
	if (diag->has_vfs && (*name == '/' ? look_from(d, u, u->task, "root", name, false) : look_relative(d, u, name)))
		return 0;
	if (diag->has_vfs && can_be_reached(diag) && find_renamed(d, u, sock))
		return 0;
	if (*name != '/' && can_be_reached(diag))
		log_warn(
		    "%s: a unix socket with the relative name %s: its file is not there, seen from where the task is "
		    "now; nobody will be able to connect to it by that name",
		    u->who, name);
	m->has_deleted = m->deleted = true;
	return 0;
}
