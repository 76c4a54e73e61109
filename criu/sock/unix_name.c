/* SPDX-License-Identifier: GPL-2.0-only */
/* Unix sockets at dump: names, and whether they still lead to the socket. */
#include <ctype.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>

#include "core/log.h"
#include "sock/unix_dump.h"

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

/* Looks for the file from one folder of a task's ("root", "cwd"); true when it is there, with all fields filled. */
static bool look_from(struct dump *d, struct unix_seen *u, const struct task *t, const char *from, const char *name)
{
	struct open_how how = { .flags = O_PATH | O_NOFOLLOW | O_CLOEXEC };
	_cleanup_close_ int dir = openat(t->dump->proc_fd, from, O_PATH | O_DIRECTORY | O_CLOEXEC), fd = -1;
	char path[PATH_MAX], said[PATH_MAX + 128];
	UnixSkEntry *m = u->m;
	struct stat st;

	if (*name == '/')
		how.resolve = RESOLVE_IN_ROOT;
	fd = dir < 0 ? -1 : (int)syscall(SYS_openat2, dir, name, &how, sizeof(how));
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
	m->file_perms = arena_msg(d->arena, FilePermsEntry, file_perms_entry);
	m->file_perms->mode = st.st_mode;
	m->file_perms->uid = st.st_uid;
	m->file_perms->gid = st.st_gid;
	return true;
}

int unix_name_dump(struct dump *d, struct unix_seen *u)
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
	if (diag->has_vfs && *name == '/' && look_from(d, u, u->task, "root", name))
		return 0;
	if (diag->has_vfs && *name != '/' &&
	    (look_from(d, u, u->task, "cwd", name) || look_from(d, u, d->tree.tasks[0], "cwd", name) ||
	     look_from(d, u, u->task, "root", name)))
		return 0;
	m->has_deleted = m->deleted = true;
	return 0;
}
