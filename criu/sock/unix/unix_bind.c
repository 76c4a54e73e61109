/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Names of unix sockets at restore.
 *
 * getsockname(2) shows the very bytes that bind(2) was given, so a path is bound as it was, in a root made for it
 * (sock/unix/chroot_helper.h). Names whose files are deleted are bound in a file system that is mounted nowhere. A name
 * that has to lead to its socket again is bound in a hidden folder beside its place, and its file is renamed into the
 * place when everything is ready: until then the file of the dumped socket stays where it is.
 */
#include <fcntl.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>

#include "files/net_ns.h"
#include "helper/ns_roots.h"
#include "lib/log.h"
#include "sock/unix/unix_bind.h"
#include "sock/unix/unix_name.h"
#include "sock/unix/unix_restore.h"

/*
 * A socket that lay in a queue which only sockets in queues lead to outlives its processes until the kernel's garbage
 * collection (net/unix/garbage.c), which runs whenever a unix socket is closed. So a name that is taken may be free in
 * a moment.
 */
bool unix_bind_again(struct restore *r, int err)
{
	struct timespec t = { .tv_nsec = 10000000 };

	if (err != -EADDRINUSE || usk_all(r)->waited >= 100)
		return false;
	usk_all(r)->waited++;
	nanosleep(&t, NULL);
	return true;
}

/* ---- the scratch root ---- */

static int open_scratch(struct unix_restore *all)
{
	int mnt;

	if (all->scratch >= 0)
		return 0;
	mnt = chroot_helper_tmpfs();
	if (mnt < 0)
		return log_errno(mnt, "names of unix sockets whose files are deleted: fsopen or fsmount of a tmpfs");
	all->scratch = mnt;
	return 0;
}

/* A folder of its own for the next one. */
static int scratch_folder(struct unix_restore *all, unsigned *number, char name[16])
{
	int err = open_scratch(all);

	if (err)
		return err;
	*number = all->n_folders++;
	snprintf(name, 16, "%u", *number);
	return mkdirat(all->scratch, name, 0755) ? log_errno(-errno, "a folder for the name of a unix socket: mkdirat")
	                                         : 0;
}

/* A task that is to connect to it may have few rights. */
static int open_to_all(struct unix_restore *all, unsigned number)
{
	char path[32];

	snprintf(path, sizeof(path), "%u/" SOCK_FILE, number);
	return fchmodat(all->scratch, path, 0777, 0) ? log_errno(-errno, "the file of a unix socket: fchmodat") : 0;
}

int unix_bind_scratch_all(struct unix_restore *all, const struct scratch_bind *binds, size_t n)
{
	struct chroot_helper_bind *b = arena_array(all->arena, struct chroot_helper_bind, n + 1);
	int err = 0;

	for (size_t i = 0; i < n && !err; i++) {
		char folder[16];

		err = scratch_folder(all, binds[i].number, folder);
		b[i] = (struct chroot_helper_bind) { .at = all->scratch,
			                             .folder = arena_strdup(all->arena, folder),
			                             .file = SOCK_FILE,
			                             .fd = binds[i].fd,
			                             .name = binds[i].name,
			                             .len = binds[i].len };
	}
	if (err)
		return err;
	err = chroot_helper_bind(b, n);
	for (size_t i = 0; i < n; i++) {
		int failed = err ?: b[i].err;

		if (failed)
			return log_errno(failed, "bind of a unix socket to %.*s, whose file is deleted", (int)b[i].len,
			                 b[i].name);
		failed = open_to_all(all, *binds[i].number);
		if (failed)
			return failed;
	}
	return 0;
}

int unix_bind_scratch(struct unix_restore *all, int fd, const char *name, size_t len, unsigned *number)
{
	return unix_bind_scratch_all(all, &(struct scratch_bind) { fd, name, len, number }, 1);
}

int unix_bind_temp(struct restore *r, int fd, const char *name, size_t len, const char *text)
{
	struct sockaddr_un a;
	unsigned number;

	if (name[0])
		return unix_bind_scratch(usk_all(r), fd, name, len, &number);
	if (!bind(fd, (struct sockaddr *)&a, unix_address(&a, name, len)))
		return 0;
	if (errno != EADDRINUSE)
		return log_errno(-errno, "%s: bind of a temporary peer to the name of the one that is gone", text);
	log_warn("%s: its peer is gone, and the name of that is in use now: getpeername(2) shows no name", text);
	return 0;
}

/* ---- in its place ---- */

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

/* Removes a folder of ours and what is in it. No opendir(): the guardian calls this too, which must not allocate. */
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

/* A helper process of a criu that was killed may be alive in the folder for another moment. */
static int undo_folder(const struct undo *u)
{
	int err = remove_folder(AT_FDCWD, u->path, 0);

	for (int i = 0; i < 100 && err == -ENOTEMPTY; i++) {
		nanosleep(&(struct timespec) { .tv_nsec = 1000000 }, NULL);
		err = remove_folder(AT_FDCWD, u->path, 0);
	}
	return err;
}

/*
 * A folder beside the places of sockets, in which they are bound until they can be published: of those that follow each
 * other in a portion, have one folder as their place, and names that differ in their last part alone.
 */
struct unix_hidden {
	const char *dir, *head, *path; /* head: of the names, up to the last slash */
	int fd, dir_fd;
	unsigned n, left; /* names that were bound there, and are to be published */
	int undo;
};

static const char *head_of(struct arena *a, const struct usk *u)
{
	const char *slash = strrchr(u->name, '/');

	return slash ? arena_printf(a, "%.*s", (int)(slash + 1 - u->name), u->name) : "";
}

static int open_hidden(struct restore *r, struct unix_hidden *h, const char *who)
{
	struct undo undo = { .type = UNDO_CALL, .call = undo_folder };

	h->fd = h->dir_fd = -1;
	h->path = undo.path = arena_printf(r->arena, "%s/.criu-%d-%u", h->dir, getpid(), usk_all(r)->n_folders++);
	h->undo = guardian_note(r->guardian, &undo);
	if (h->undo < 0)
		return h->undo;
	if (mkdir(h->path, 0755))
		return log_errno(-errno, "%s: mkdir of a folder beside its place, %s", who, h->path);
	h->fd = open(h->path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (h->fd < 0)
		return log_errno(-errno, "%s: open of %s", who, h->path);
	h->dir_fd = open(h->dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	return h->dir_fd < 0 ? log_errno(-errno, "%s: open of %s", who, h->dir) : 0;
}

static int choose_hidden(struct restore *r, struct usk *u)
{
	struct unix_restore *all = usk_all(r);
	const char *head = head_of(r->arena, u);
	struct unix_hidden *h = all->hidden;
	int err = 0;

	if (!h || strcmp(h->dir, u->dir) || strcmp(h->head, head)) {
		h = all->hidden = arena_new_of(r->arena, struct unix_hidden);
		h->dir = u->dir;
		h->head = head;
		err = open_hidden(r, h, u->text);
	}
	u->hidden = h;
	u->hidden_file = arena_printf(r->arena, ".criu.sock.%u", h->n++);
	h->left++;
	return err;
}

static int set_file_perms(struct restore *r, const struct usk *u)
{
	const FilePermsEntry *p = u->m->file_perms;
	int dir = u->hidden->fd;
	uint32_t uid, gid;

	if (!p)
		return 0;
	uid = p->uid;
	gid = p->gid;
	/* A user namespace may not have such an owner. */
	if (!net_ns_ids_here(r, &uid, &gid) || fchownat(dir, u->hidden_file, uid, gid, AT_SYMLINK_NOFOLLOW))
		log_warn("%s: fchownat of its file to user %u, group %u: %s", u->text, p->uid, p->gid, strerror(errno));
	if (fchmodat(dir, u->hidden_file, p->mode & 07777, 0))
		return log_errno(-errno, "%s: fchmodat of its file", u->text);
	return 0;
}

static int remove_hidden(struct restore *r, struct unix_hidden *h, const char *who)
{
	int err = remove_folder(AT_FDCWD, h->path, 0);

	if (err)
		return log_errno(err, "%s: rmdir of %s", who, h->path);
	guardian_drop(r->guardian, h->undo);
	close(move_fd(&h->fd));
	close(move_fd(&h->dir_fd));
	return 0;
}

int unix_bind_publish(struct restore *r, struct usk *u)
{
	struct unix_hidden *h = u->hidden;
	char *to = arena_printf(r->arena, "%s/%s", u->dir, u->base);
	struct undo undo = { .type = UNDO_UNLINK, .path = to };
	int err = unix_name_taken(h->dir_fd, u->base), noted;

	if (err && err != -ENOENT)
		return log_errno(err, "%s: %s: %s", u->text, to,
		                 err == -EADDRINUSE ? "another socket has this name now"
		                 : err == -EEXIST   ? "a file that is not a socket has this name now"
		                                    : "checking whether the name is free");
	/*
	 * The file of the dumped socket, if it exists, is replaced: after a failure one without a socket is left, as
	 * before. A new file is removed.
	 */
	if (err == -ENOENT) {
		noted = guardian_note(r->guardian, &undo);
		if (noted < 0)
			return noted;
	}
	if (renameat(h->fd, u->hidden_file, h->dir_fd, u->base))
		return log_errno(-errno, "%s: rename of its file to %s", u->text, to);
	err = usk_set_at(u, AT_FILE);
	return err ?: --h->left ? 0 : remove_hidden(r, h, u->text);
}

/* ---- all names ---- */

static int bind_abstract(struct usk *u)
{
	struct sockaddr_un a;
	socklen_t len = unix_address(&a, u->name, u->name_len);

	if (bind(u->fd, (struct sockaddr *)&a, len))
		return log_errno(-errno, "%s: bind%s", u->text,
		                 errno == EADDRINUSE ? " (another socket has this name now)" : "");
	return usk_set_at(u, AT_ABSTRACT);
}

/* No socket can connect to a connected one by its name: whether the file leads to it cannot be seen. */
static bool has_place(struct restore *r, struct usk *u)
{
	if (u->m->deleted || (u->m->type != SOCK_DGRAM && u->m->state == TCP_ESTABLISHED) ||
	    !unix_name_place(r->arena, u->m, u->name, &u->dir, &u->base))
		return false;
	u->dir = ns_roots_keep_dir(r, u->m, u->dir) ?: u->dir;
	return true;
}

static int plan_path(struct restore *r, struct usk *u, struct chroot_helper_bind *b)
{
	struct unix_restore *all = usk_all(r);
	char folder[16];
	int err;

	*b = (struct chroot_helper_bind) { .at = AT_FDCWD, .fd = u->fd, .name = u->name, .len = u->name_len };
	if (has_place(r, u)) {
		err = choose_hidden(r, u);
		b->folder = u->hidden->path;
		b->file = u->hidden_file;
		return err;
	}
	err = scratch_folder(all, &u->scratch, folder);
	b->at = all->scratch;
	b->folder = arena_strdup(r->arena, folder);
	b->file = SOCK_FILE;
	return err;
}

static int finish_path(struct restore *r, struct usk *u, int err)
{
	if (err)
		return log_errno(err, "%s: bind in %s", u->text, u->hidden ? u->hidden->path : "the scratch root");
	err = usk_set_at(u, u->hidden ? AT_HIDDEN : AT_SCRATCH);
	if (err)
		return err;
	return u->hidden ? set_file_perms(r, u) : open_to_all(usk_all(r), u->scratch);
}

static int bind_named(struct restore *r, struct usk **sockets, size_t n)
{
	struct chroot_helper_bind *binds = arena_array(r->arena, struct chroot_helper_bind, n);
	size_t k = 0;
	int err = 0;

	usk_all(r)->hidden = NULL;
	for (size_t i = 0; i < n && !err; i++)
		err = usk_is_path(sockets[i]) ? plan_path(r, sockets[i], &binds[k++]) : bind_abstract(sockets[i]);
	if (!err) {
		err = chroot_helper_bind(binds, k);
		if (err)
			log_errno(err, "clone of a helper that changes the root for the names of unix sockets");
	}
	k = 0;
	for (size_t i = 0; i < n && !err; i++)
		if (usk_is_path(sockets[i]))
			err = finish_path(r, sockets[i], binds[k++].err);
	return err;
}

int unix_bind_portion(struct restore *r)
{
	const struct unix_restore *all = usk_all(r);
	struct usk **named = NULL;
	size_t n = 0;
	int err = usk_each_made(r, unix_options_first);

	for (size_t i = 0; i < all->n_portion; i++) {
		struct usk *u = all->portion[i];

		if (u->made != MADE_NOT_YET && !u->inherited && u->name && u->made != MADE_ACCEPTED)
			arena_push(r->arena, &named, &n, u);
	}
	return err ?: bind_named(r, named, n);
}

/* ---- connecting to what was bound ---- */

int unix_bind_address(struct unix_restore *all, const struct usk *to, struct sockaddr_un *a, socklen_t *len, int *dir,
                      bool *own)
{
	char path[32];

	*dir = -1;
	*own = false;
	if (to->at == AT_ABSTRACT) {
		*len = unix_address(a, to->name, to->name_len);
	} else if (to->at == AT_SCRATCH) {
		snprintf(path, sizeof(path), "%u/" SOCK_FILE, to->scratch);
		*len = unix_address(a, path, strlen(path));
		*dir = all->scratch;
	} else if (to->at == AT_HIDDEN) {
		*len = unix_address(a, to->hidden_file, strlen(to->hidden_file));
		*dir = to->hidden->fd;
	} else if (to->at == AT_FILE) {
		*len = unix_address(a, to->base, strlen(to->base));
		*dir = open(to->dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
		if (*dir < 0)
			return log_errno(-errno, "%s: open of the folder of its file", to->text);
		*own = true;
	} else {
		return log_errno(-EINVAL, "%s: a socket is to connect to this one, which has no name", to->text);
	}
	return 0;
}

int unix_bind_connect(struct unix_restore *all, int fd, const struct usk *to)
{
	struct sockaddr_un a;
	socklen_t len;
	bool own;
	int dir, err = unix_bind_address(all, to, &a, &len, &dir, &own);

	if (err)
		return err;
	if (dir < 0)
		return connect(fd, (struct sockaddr *)&a, len) ? -errno : 0;
	err = chroot_helper_connect(fd, dir, a.sun_path, strnlen(a.sun_path, sizeof(a.sun_path)));
	if (own)
		close(dir);
	return err;
}
