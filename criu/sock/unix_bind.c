/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Names of unix sockets at restore.
 *
 * A path goes into the socket as the bytes that bind(2) is given, so it is bound in a root made for it: by a
 * short-lived clone with our memory and descriptors and a root of its own. Names that lead to nothing any more are
 * bound in a file system that is mounted nowhere. A name that has to lead to its socket again is bound in a folder
 * beside the place, and renamed into it when everything is ready: what was there (the file of the dumped socket) is
 * there until then.
 */
#include <fcntl.h>
#include <linux/mount.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <string.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#include "core/log.h"
#include "sock/unix_restore.h"

#define STACK_SIZE (64UL << 10)

socklen_t unix_address(struct sockaddr_un *a, const void *name, size_t len)
{
	memset(a, 0, sizeof(*a));
	a->sun_family = AF_UNIX;
	memcpy(a->sun_path, name, MIN(len, sizeof(a->sun_path)));
	/* A path that fills all of sun_path has no zero behind it. */
	if (len && a->sun_path[0])
		len++;
	return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + MIN(len, sizeof(a->sun_path)));
}

/* ---- with another root ---- */

/* What is changed below by calls that the tool itself never makes (chdir, chroot) is the clone's own. */

struct job {
	int (*fn)(const struct job *job);
	int dir, fd;
	const char *name;
	size_t len;
	int ret;
	pid_t parent;
};

static int run_job(void *arg)
{
	struct job *job = arg;

	/* Whoever dies now is followed at once: the guardian is going to clean up. */
	if (!prctl(PR_SET_PDEATHSIG, SIGKILL) && getppid() == job->parent)
		job->ret = job->fn(job);
	return 0;
}

/* Runs job->fn in a clone that shares everything but root and cwd. We sleep meanwhile (CLONE_VFORK). */
static int run_aside(struct job *job)
{
	int status;
	pid_t pid;
	char *stack = mmap(NULL, STACK_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);

	if (stack == MAP_FAILED)
		return -errno;
	job->ret = -ECANCELED;
	job->parent = getpid();
	pid = clone(run_job, stack + STACK_SIZE, CLONE_VM | CLONE_FILES | CLONE_VFORK, job);
	if (pid < 0)
		job->ret = -errno;
	while (pid > 0 && waitpid(pid, &status, __WALL) < 0 && errno == EINTR)
		;
	munmap(stack, STACK_SIZE);
	return job->ret;
}

/* The folders of a path, as the dumped program saw them. */
static int make_folders(const char *name)
{
	char path[sizeof(((struct sockaddr_un *)0)->sun_path) + 1];

	for (const char *slash = strchr(name + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		memcpy(path, name, slash - name);
		path[slash - name] = 0;
		if (mkdir(path, 0700) && errno != EEXIST)
			return -errno;
	}
	return 0;
}

/* A relative name may go up: cwd lies as deep as it can go. */
static int go_down(const char *name)
{
	for (const char *s = name; s; s = strstr(s + 1, ".."))
		if ((mkdir("w", 0700) && errno != EEXIST) || syscall(SYS_chdir, "w"))
			return -errno;
	return 0;
}

static int bind_aside(const struct job *job)
{
	char name[sizeof(((struct sockaddr_un *)0)->sun_path) + 1];
	struct sockaddr_un a;
	socklen_t len = unix_address(&a, job->name, job->len);
	int err;

	memcpy(name, job->name, job->len);
	name[job->len] = 0;
	if (syscall(SYS_fchdir, job->dir) || chroot("."))
		return -errno;
	err = name[0] == '/' ? 0 : go_down(name);
	if (!err)
		err = make_folders(name);
	if (err)
		return err;
	if (bind(job->fd, (struct sockaddr *)&a, len))
		return -errno;
	return rename(name, "/" SOCK_FILE) ? -errno : 0;
}

static int connect_aside(const struct job *job)
{
	struct sockaddr_un a;
	socklen_t len = unix_address(&a, job->name, job->len);

	if (syscall(SYS_fchdir, job->dir))
		return -errno;
	return connect(job->fd, (struct sockaddr *)&a, len) ? -errno : 0;
}

/* A mount needs a mount namespace that is ours: in a user namespace the caller's may not be. */
static int mount_aside(const struct job *job)
{
	_cleanup_close_ int fs = -1;
	int mnt;

	if (job->fd && unshare(CLONE_NEWNS))
		return -errno;
	fs = (int)syscall(SYS_fsopen, "tmpfs", FSOPEN_CLOEXEC);
	if (fs < 0 || syscall(SYS_fsconfig, fs, FSCONFIG_SET_STRING, "mode", "0755", 0) ||
	    syscall(SYS_fsconfig, fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0))
		return -errno;
	mnt = (int)syscall(SYS_fsmount, fs, FSMOUNT_CLOEXEC, 0);
	return mnt < 0 ? -errno : mnt;
}

/* ---- the scratch root ---- */

static int open_scratch(struct unix_restore *all)
{
	struct job job = { .fn = mount_aside, .fd = false };
	int mnt;

	if (all->scratch >= 0)
		return 0;
	mnt = run_aside(&job);
	if (mnt == -EPERM) {
		job.fd = true;
		mnt = run_aside(&job);
	}
	if (mnt < 0)
		return log_errno(mnt, "a file system (tmpfs) for the names of unix sockets that were deleted");
	all->scratch = mnt;
	return 0;
}

int unix_bind_scratch(struct unix_restore *all, int fd, const char *name, size_t len, unsigned *number)
{
	_cleanup_close_ int dir = -1;
	struct job job = { .fn = bind_aside, .fd = fd, .name = name, .len = len };
	char text[16];
	int err = open_scratch(all);

	if (err)
		return err;
	*number = all->n_scratch++;
	snprintf(text, sizeof(text), "%u", *number);
	if (mkdirat(all->scratch, text, 0755))
		return log_errno(-errno, "a folder for the name of a unix socket");
	job.dir = dir = openat(all->scratch, text, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return log_errno(-errno, "a folder for the name of a unix socket");
	err = run_aside(&job);
	/* Whoever is to connect to it may have few rights. */
	if (!err && fchmodat(dir, SOCK_FILE, 0777, 0))
		err = -errno;
	return err ? log_errno(err, "binding a unix socket to %.*s, which leads nowhere any more", (int)len, name) : 0;
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

	*base = slash ? slash + 1 : name;
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
	struct job job = { .fn = connect_aside, .dir = dir, .name = base, .len = strlen(base) };
	struct stat st;
	int err;

	if (fstatat(dir, base, &st, AT_SYMLINK_NOFOLLOW))
		return -errno;
	if (!S_ISSOCK(st.st_mode))
		return -EEXIST;
	/* A datagram socket is refused by one of another type (EPROTOTYPE), and by no one where nobody is
	 * (ECONNREFUSED). */
	job.fd = fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	err = run_aside(&job);
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

static int set_perms(int dir, const struct usk *u)
{
	const FilePermsEntry *p = u->m->file_perms;

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

static int bind_hidden(struct restore *r, struct usk *u)
{
	struct unix_restore *all = unix_restore_of(r);
	struct job job = { .fn = bind_aside, .fd = u->fd, .name = u->name, .len = u->name_len };
	struct undo undo = { .type = UNDO_CALL, .call = undo_folder };
	_cleanup_close_ int dir = -1;
	int err;

	u->hidden = undo.path = arena_printf(r->arena, "%s/.criu-%d-%u", u->dir, getpid(), all->n_scratch++);
	u->undo = guardian_note(r->guardian, &undo);
	if (u->undo < 0)
		return u->undo;
	if (mkdir(u->hidden, 0755))
		return log_errno(-errno, "%s: a folder beside its name, %s", u->text, u->hidden);
	job.dir = dir = open(u->hidden, O_PATH | O_DIRECTORY | O_CLOEXEC);
	err = dir < 0 ? -errno : run_aside(&job);
	if (err)
		return log_errno(err, "%s: binding it in %s", u->text, u->hidden);
	u->at = AT_HIDDEN;
	return set_perms(dir, u);
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

int unix_bind(struct restore *r, struct usk *u)
{
	struct unix_restore *all = unix_restore_of(r);
	struct sockaddr_un a;
	socklen_t len;
	int err;

	if (!usk_is_path(u)) {
		len = unix_address(&a, u->name, u->name_len);
		if (bind(u->fd, (struct sockaddr *)&a, len))
			return log_errno(-errno, "%s: binding it%s", u->text,
			                 errno == EADDRINUSE ? " (another socket has this name now)" : "");
		u->at = AT_NAME;
		return 0;
	}
	/* Nobody can be connected to a connected one by its name: whether the file leads to it cannot be seen. */
	if (!u->m->deleted && (u->m->type == SOCK_DGRAM || u->m->state != TCP_ESTABLISHED) &&
	    unix_place(r->arena, u->m, u->name, &u->dir, &u->base))
		return bind_hidden(r, u);
	err = unix_bind_scratch(all, u->fd, u->name, u->name_len, &u->scratch);
	if (!err)
		u->at = AT_SCRATCH;
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
	struct job job = { .fn = connect_aside, .fd = fd };
	struct sockaddr_un a;
	socklen_t len;
	bool own;
	int err = unix_reach(all, to, &a, &len, &job.dir, &own);

	if (err)
		return err;
	if (job.dir < 0)
		return connect(fd, (struct sockaddr *)&a, len) ? -errno : 0;
	job.name = a.sun_path;
	job.len = strnlen(a.sun_path, sizeof(a.sun_path));
	err = run_aside(&job);
	if (own)
		close(job.dir);
	return err;
}
