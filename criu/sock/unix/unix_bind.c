/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Names of unix sockets at restore.
 *
 * A path goes into the socket as the bytes that bind(2) is given, so it is bound in a root made for it
 * (sock/unix/chroot_helper.h). Names that lead to nothing any more are bound in a file system that is mounted nowhere.
 * A name that has to lead to its socket again is bound in a folder beside the place, and renamed into it when
 * everything is ready: what was there (the file of the dumped socket) is there until then.
 */
#include <fcntl.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>

#include "lib/log.h"
#include "sock/unix/unix_restore.h"

/* ---- the scratch root ---- */

static int open_scratch(struct unix_restore *all)
{
	int mnt;

	if (all->scratch >= 0)
		return 0;
	mnt = chroot_helper_tmpfs();
	if (mnt < 0)
		return log_errno(mnt, "a file system (tmpfs) for the names of unix sockets that were deleted");
	all->scratch = mnt;
	return 0;
}

/* A folder of its own for the next one. */
static int scratch_folder(struct unix_restore *all, unsigned *number, char name[16])
{
	int err = open_scratch(all);

	if (err)
		return err;
	*number = all->n_scratch++;
	snprintf(name, 16, "%u", *number);
	return mkdirat(all->scratch, name, 0755) ? log_errno(-errno, "a folder for the name of a unix socket") : 0;
}

/* Whoever is to connect to it may have few rights. */
static int open_to_all(struct unix_restore *all, unsigned number)
{
	char path[32];

	snprintf(path, sizeof(path), "%u/" SOCK_FILE, number);
	return fchmodat(all->scratch, path, 0777, 0) ? log_errno(-errno, "the mode of a unix socket's file") : 0;
}

int unix_bind_scratch(struct unix_restore *all, int fd, const char *name, size_t len, unsigned *number)
{
	char folder[16];
	struct chroot_helper_bind b = { .folder = folder, .fd = fd, .name = name, .len = len };
	int err = scratch_folder(all, number, folder);

	if (err)
		return err;
	b.at = all->scratch;
	err = chroot_helper_bind(&b, 1) ?: b.err;
	if (err)
		return log_errno(err, "binding a unix socket to %.*s, which leads nowhere any more", (int)len, name);
	return open_to_all(all, *number);
}

int unix_name_temp(struct restore *r, int fd, const char *name, size_t len, const char *text)
{
	struct sockaddr_un a;
	unsigned number;

	if (name[0])
		return unix_bind_scratch(unix_restore_of(r), fd, name, len, &number);
	if (!bind(fd, (struct sockaddr *)&a, unix_address(&a, name, len)))
		return 0;
	if (errno != EADDRINUSE)
		return log_errno(-errno, "%s: the name of its peer, which is gone", text);
	log_warn("%s: the name of its peer, which is gone, is in use by now; it shows no name", text);
	return 0;
}

/* ---- in its place ---- */

bool unix_place(struct arena *a, const UnixSkEntry *m, const char *name, const char **dir, const char **base)
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

int unix_taken(int dir, const char *base)
{
	_cleanup_close_ int fd = -1;
	struct stat st;
	int err;

	if (fstatat(dir, base, &st, AT_SYMLINK_NOFOLLOW))
		return -errno;
	if (!S_ISSOCK(st.st_mode))
		return -EEXIST;
	/* A datagram socket is refused by one of another type (EPROTOTYPE), and by no one where nobody is
	 * (ECONNREFUSED). */
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	err = chroot_helper_connect(fd, dir, base, strlen(base));
	return err == -ECONNREFUSED ? 0 : !err || err == -EPROTOTYPE || err == -EPERM ? -EADDRINUSE : err;
}

static int remove_folder(int at, const char *name, int depth);

/* struct linux_dirent64: inode, offset, length of the record (u16), type, name. */
static void remove_entries(int dir, const char *buf, long n, int depth)
{
	uint16_t len;

	for (long i = 0; i < n; i += len) {
		const char *entry = buf + i + 19;

		memcpy(&len, buf + i + 16, sizeof(len));
		if (strcmp(entry, ".") && strcmp(entry, "..") && unlinkat(dir, entry, 0) && errno == EISDIR)
			remove_folder(dir, entry, depth + 1);
	}
}

/* Takes a folder of ours and what is in it away. No opendir(): the guardian calls it too. */
static int remove_folder(int at, const char *name, int depth)
{
	_cleanup_close_ int dir = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	char buf[1024];
	long n;

	if (dir < 0)
		return -errno;
	while (depth < 120 && (n = syscall(SYS_getdents64, dir, buf, sizeof(buf))) > 0)
		remove_entries(dir, buf, n, depth);
	return unlinkat(at, name, AT_REMOVEDIR) ? -errno : 0;
}

/* A clone that the dead tool had made may still be about to die in it. */
static int undo_folder(const struct undo *u)
{
	int err = remove_folder(AT_FDCWD, u->path, 0);

	for (int i = 0; i < 100 && err == -ENOTEMPTY; i++) {
		nanosleep(&(struct timespec) { .tv_nsec = 1000000 }, NULL);
		err = remove_folder(AT_FDCWD, u->path, 0);
	}
	return err;
}

static int set_perms(const struct usk *u)
{
	_cleanup_close_ int dir = open(u->hidden, O_PATH | O_DIRECTORY | O_CLOEXEC);
	const FilePermsEntry *p = u->m->file_perms;

	if (dir < 0)
		return log_errno(-errno, "%s: %s", u->text, u->hidden);
	if (!p)
		return 0;
	/* In a user namespace there may be no such owner. */
	if (fchownat(dir, SOCK_FILE, p->uid, p->gid, AT_SYMLINK_NOFOLLOW))
		log_warn("%s: its file cannot be given to user %u, group %u: %s", u->text, p->uid, p->gid,
		         strerror(errno));
	if (fchmodat(dir, SOCK_FILE, p->mode & 07777, 0))
		return log_errno(-errno, "%s: the mode of its file", u->text);
	return 0;
}

static int hidden_folder(struct restore *r, struct usk *u)
{
	struct unix_restore *all = unix_restore_of(r);
	struct undo undo = { .type = UNDO_CALL, .call = undo_folder };

	u->hidden = undo.path = arena_printf(r->arena, "%s/.criu-%d-%u", u->dir, getpid(), all->n_scratch++);
	u->undo = guardian_note(r->guardian, &undo);
	if (u->undo < 0)
		return u->undo;
	return mkdir(u->hidden, 0755) ? log_errno(-errno, "%s: a folder beside its name, %s", u->text, u->hidden) : 0;
}

int unix_publish(struct restore *r, struct usk *u)
{
	_cleanup_close_ int dir = open(u->dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	char *from = arena_printf(r->arena, "%s/" SOCK_FILE, u->hidden),
	     *to = arena_printf(r->arena, "%s/%s", u->dir, u->base);
	struct undo undo = { .type = UNDO_UNLINK, .path = to };
	int err = dir < 0 ? -errno : unix_taken(dir, u->base), noted;

	if (err && err != -ENOENT)
		return log_errno(err, "%s: %s: %s", u->text, to,
		                 err == -EADDRINUSE ? "another socket that lives has this name now"
		                 : err == -EEXIST   ? "another file is in the way"
		                                    : "cannot be looked at");
	/* The file of the dumped socket, if it is still there, is replaced; one that nobody has is what is left then
	 * too. */
	if (err == -ENOENT) {
		noted = guardian_note(r->guardian, &undo);
		if (noted < 0)
			return noted;
	}
	if (rename(from, to))
		return log_errno(-errno, "%s: putting its file in its place, %s", u->text, to);
	u->at = AT_FILE;
	err = remove_folder(AT_FDCWD, u->hidden, 0);
	if (err)
		return log_errno(err, "%s: removing %s", u->text, u->hidden);
	guardian_drop(r->guardian, u->undo);
	return 0;
}

/* ---- both ---- */

static int bind_abstract(struct usk *u)
{
	struct sockaddr_un a;
	socklen_t len = unix_address(&a, u->name, u->name_len);

	if (bind(u->fd, (struct sockaddr *)&a, len))
		return log_errno(-errno, "%s: binding it%s", u->text,
		                 errno == EADDRINUSE ? " (another socket has this name now)" : "");
	u->at = AT_NAME;
	return 0;
}

/* Nobody can be connected to a connected one by its name: whether the file leads to it cannot be seen. */
static bool has_place(struct restore *r, struct usk *u)
{
	return !u->m->deleted && (u->m->type == SOCK_DGRAM || u->m->state != TCP_ESTABLISHED) &&
	       unix_place(r->arena, u->m, u->name, &u->dir, &u->base);
}

static int prepare_path(struct restore *r, struct usk *u, struct chroot_helper_bind *b)
{
	struct unix_restore *all = unix_restore_of(r);
	char folder[16];
	int err;

	*b = (struct chroot_helper_bind) { .at = AT_FDCWD, .fd = u->fd, .name = u->name, .len = u->name_len };
	if (has_place(r, u)) {
		err = hidden_folder(r, u);
		b->folder = u->hidden;
		return err;
	}
	err = scratch_folder(all, &u->scratch, folder);
	b->at = all->scratch;
	b->folder = arena_strdup(r->arena, folder);
	return err;
}

static int after_bind(struct restore *r, struct usk *u, int err)
{
	if (err)
		return log_errno(err, "%s: binding it in %s", u->text, u->hidden ?: "a root of its own");
	u->at = u->hidden ? AT_HIDDEN : AT_SCRATCH;
	return u->hidden ? set_perms(u) : open_to_all(unix_restore_of(r), u->scratch);
}

int unix_bind_all(struct restore *r, struct usk **sockets, size_t n)
{
	struct chroot_helper_bind *binds = arena_array(r->arena, struct chroot_helper_bind, n);
	size_t k = 0;
	int err = 0;

	for (size_t i = 0; i < n && !err; i++)
		err = usk_is_path(sockets[i]) ? prepare_path(r, sockets[i], &binds[k++]) : bind_abstract(sockets[i]);
	if (!err) {
		err = chroot_helper_bind(binds, k);
		if (err)
			log_errno(err, "changing the root for the names of unix sockets");
	}
	k = 0;
	for (size_t i = 0; i < n && !err; i++)
		if (usk_is_path(sockets[i]))
			err = after_bind(r, sockets[i], binds[k++].err);
	return err;
}

int unix_reach(struct unix_restore *all, const struct usk *to, struct sockaddr_un *a, socklen_t *len, int *dir,
               bool *own)
{
	char path[32];

	*dir = -1;
	*own = false;
	if (to->at == AT_NAME) {
		*len = unix_address(a, to->name, to->name_len);
	} else if (to->at == AT_SCRATCH) {
		snprintf(path, sizeof(path), "%u/" SOCK_FILE, to->scratch);
		*len = unix_address(a, path, strlen(path));
		*dir = all->scratch;
	} else if (to->at == AT_HIDDEN || to->at == AT_FILE) {
		const char *last = to->at == AT_FILE ? to->base : SOCK_FILE;

		*len = unix_address(a, last, strlen(last));
		*dir = open(to->at == AT_FILE ? to->dir : to->hidden, O_PATH | O_DIRECTORY | O_CLOEXEC);
		if (*dir < 0)
			return log_errno(-errno, "%s: the folder of its file", to->text);
		*own = true;
	} else {
		return log_errno(-EINVAL, "%s: it has no name to be connected to", to->text);
	}
	return 0;
}

int unix_connect_to(struct unix_restore *all, int fd, const struct usk *to)
{
	struct sockaddr_un a;
	socklen_t len;
	bool own;
	int dir, err = unix_reach(all, to, &a, &len, &dir, &own);

	if (err)
		return err;
	if (dir < 0)
		return connect(fd, (struct sockaddr *)&a, len) ? -errno : 0;
	err = chroot_helper_connect(fd, dir, a.sun_path, strnlen(a.sun_path, sizeof(a.sun_path)));
	if (own)
		close(dir);
	return err;
}
