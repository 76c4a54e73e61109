/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A set of files cannot be exchanged in one step. So the directory in which files lie says whether they count, and one
 * rename of a directory decides:
 *
 *	.checkpoint.new		being written, or a dump was killed: never counts
 *	.checkpoint.whole	what counts is here alone; images beside it are left over
 *	.checkpoint.part	what counts is here and in the image directory, some files in each
 *	.checkpoint.undo	the older checkpoint, complete, until the dump commits: does not count
 *
 * Each is looked for in the order whole, part; without them the image directory is what counts. To publish:
 *
 *	part is made, the older images move into it		(part: the older one)
 *	part is renamed to whole, new to part			(whole: the older one)
 *	whole is renamed to undo				(part: the new one)
 *	the images move out of part, which is removed		(the image directory: the new one)
 *
 * The inventory leaves first and comes last: other readers do not take a mixture for a checkpoint. To take back, undo
 * is renamed to whole, and all else is as after a kill.
 */
#include "image/image_exchange.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>

#include "image/image_chain.h"
#include "image/image_dir.h"
#include "image/image_names.h"
#include "lib/fault.h"
#include "lib/log.h"

#define NEW             ".checkpoint.new"
#define WHOLE           ".checkpoint.whole"
#define PART            ".checkpoint.part"
#define UNDO            ".checkpoint.undo"
#define INVENTORY       "inventory.img"

/* How long a dump waits for another one that is about to end (its guardian may be taking it back), and for restores. */
#define WAIT_DUMP_MS    2000
#define WAIT_RESTORE_MS 10000
#define WAIT_BACK_MS    1000
#define WAIT_LOOK_MS    200 /* for a restore that puts in order what a killed dump has left */

struct place {
	int fd;
	const char *path;
};

/* ---- the names in a directory ---- */

struct names {
	char **all;
	size_t n, room;
};

static void cleanup_names(struct names *names)
{
	for (size_t i = 0; i < names->n; i++)
		free(names->all[i]);
	free(names->all);
}

#define _cleanup_names_ __attribute__((cleanup(cleanup_names)))

static int add_name(struct names *names, const char *name)
{
	if (names->n == names->room) {
		size_t room = names->room ? names->room * 2 : 64;
		char **all = realloc(names->all, room * sizeof(*all));

		if (!all)
			return -ENOMEM;
		names->all = all;
		names->room = room;
	}
	names->all[names->n] = strdup(name);
	if (!names->all[names->n])
		return -ENOMEM;
	/* The inventory stands first. */
	if (!strcmp(name, INVENTORY)) {
		char *inventory = names->all[names->n];

		names->all[names->n] = names->all[0];
		names->all[0] = inventory;
	}
	names->n++;
	return 0;
}

/* The link of a chain; another file or directory of this name is not criu's. */
static bool is_prev_link(const struct dirent *e)
{
	return e->d_type == DT_LNK && !strcmp(e->d_name, IMAGE_PREV);
}

/* All files of a directory, or the images alone. */
static int list_names(const struct place *p, int fd, bool images, struct names *names)
{
	int copy = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), err = 0;
	DIR *d = copy < 0 ? NULL : fdopendir(copy);
	const struct dirent *e;

	if (!d) {
		err = log_errno(-errno, "%s: opendir", p->path);
		if (copy >= 0)
			close(copy);
		return err;
	}
	errno = 0;
	while (!err && (e = readdir(d))) {
		if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."))
			continue;
		if (!images || image_names_has(e->d_name) || is_prev_link(e))
			err = add_name(names, e->d_name);
		errno = 0;
	}
	if (!err)
		err = -errno;
	closedir(d);
	return err ? log_errno(err, "%s: readdir", p->path) : 0;
}

/* ---- steps ---- */

static bool has_entry(int dir, const char *name)
{
	return faccessat(dir, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

/* -ENOENT is not logged. */
static int open_sub(const struct place *p, const char *name)
{
	int fd = openat(p->fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0)
		return errno == ENOENT ? -ENOENT : log_errno(-errno, "%s/%s: openat", p->path, name);
	return fd;
}

static int make_sub(const struct place *p, const char *name)
{
	if (mkdirat(p->fd, name, 0700) < 0)
		return log_errno(-errno, "%s/%s: mkdirat", p->path, name);
	return 0;
}

static int rename_sub(const struct place *p, const char *from, const char *to)
{
	if (renameat(p->fd, from, p->fd, to) < 0)
		return log_errno(-errno, "%s/%s: rename to %s", p->path, from, to);
	return 0;
}

static int remove_sub(const struct place *p, const char *name)
{
	if (unlinkat(p->fd, name, AT_REMOVEDIR) < 0 && errno != ENOENT)
		return log_errno(-errno, "%s/%s: rmdir", p->path, name);
	return 0;
}

static int move_name(const struct place *p, int from, int to, const char *name)
{
	if (renameat(from, name, to, name) < 0)
		return log_errno(-errno, "%s/%s: rename", p->path, name);
	return 0;
}

static int delete_files(const struct place *p, int fd, bool images)
{
	_cleanup_names_ struct names names = {};
	int err = list_names(p, fd, images, &names);

	for (size_t i = 0; !err && i < names.n; i++)
		if (unlinkat(fd, names.all[i], 0) < 0 && errno != ENOENT)
			err = log_errno(-errno, "%s/%s: unlink", p->path, names.all[i]);
	return err;
}

/* A directory of ours with all that lies in it. */
static int delete_sub(const struct place *p, const char *name)
{
	_cleanup_close_ int fd = open_sub(p, name);
	int err;

	if (fd < 0)
		return fd == -ENOENT ? 0 : fd;
	err = delete_files(p, fd, false);
	return err ?: remove_sub(p, name);
}

static int move_out(const struct place *p)
{
	_cleanup_close_ int part = open_sub(p, PART);
	_cleanup_names_ struct names names = {};
	int err = part < 0 ? part : list_names(p, p->fd, true, &names);

	for (size_t i = 0; !err && i < names.n; i++) {
		err = move_name(p, p->fd, part, names.all[i]);
		if (i < 2)
			fault_point("an older image moved aside");
	}
	return err;
}

static int move_in(const struct place *p)
{
	_cleanup_close_ int part = open_sub(p, PART);
	_cleanup_names_ struct names names = {};
	int err;

	if (part < 0)
		return part == -ENOENT ? 0 : part;
	err = list_names(p, part, false, &names);
	for (size_t i = names.n; !err && i-- > 0;) {
		err = move_name(p, part, p->fd, names.all[i]);
		if (i < 2)
			fault_point("an image moved to its place");
	}
	return err ?: remove_sub(p, PART);
}

/* ---- locks ---- */

/* What no lock can be had of (some network file systems) is used without one. */
static int lock_within(int fd, int how, int wait_ms)
{
	const struct timespec pause = { .tv_nsec = 1000000 };

	for (; flock(fd, how | LOCK_NB) < 0; wait_ms--) {
		if (errno == EINTR)
			continue;
		if (errno != EWOULDBLOCK)
			return -errno;
		if (wait_ms <= 0)
			return -EBUSY;
		nanosleep(&pause, NULL);
	}
	return 0;
}

int image_exchange_lock(int dir, const char *path)
{
	int err = lock_within(dir, LOCK_EX, WAIT_DUMP_MS);

	if (err == -EBUSY)
		return log_errno(err, "%s: another dump is writing into this image directory", path);
	if (err)
		log_info("%s: flock: %s: nothing keeps two dumps apart here", path, strerror(-err));
	return 0;
}

bool image_exchange_try_lock(int dir)
{
	return flock(dir, LOCK_EX | LOCK_NB) == 0;
}

void image_exchange_unlock(int dir)
{
	flock(dir, LOCK_UN);
}

static int open_inventory(const int places[2], int flags)
{
	int fd = openat(places[0], INVENTORY, flags | O_CLOEXEC | O_NONBLOCK);

	if (fd < 0 && errno == ENOENT && places[1] >= 0)
		fd = openat(places[1], INVENTORY, flags | O_CLOEXEC | O_NONBLOCK);
	return fd < 0 ? -errno : fd;
}

/* No restore reads it from here on, until the descriptor is closed. -ENOENT: there is nothing to be locked. */
static int keep_readers_out(const struct place *p, const int places[2], int wait_ms)
{
	_cleanup_close_ int fd = open_inventory(places, O_RDWR); /* NFS locks what may be written */
	int err;

	if (fd < 0)
		fd = open_inventory(places, O_RDONLY);
	if (fd < 0)
		return -ENOENT;
	err = lock_within(fd, LOCK_EX, wait_ms);
	if (err == -EBUSY)
		return log_errno(err, "%s/" INVENTORY ": a restore is reading this checkpoint", p->path);
	return move_fd(&fd);
}

/* The guardian shares the descriptors, so closing would do; a fork of criu would not. */
static void let_readers_in(int *fd)
{
	if (*fd < 0)
		return;
	flock(*fd, LOCK_UN);
	close(*fd);
	*fd = -1;
}

void image_exchange_end_read(int lock)
{
	let_readers_in(&lock);
}

int image_exchange_claim(int lock, const char *path)
{
	/* Where no lock can be had, it was read without one. */
	if (lock < 0 || lock_within(lock, LOCK_EX, WAIT_RESTORE_MS) != -EBUSY)
		return 0;
	return log_errno(-EBUSY, "%s/" INVENTORY ": another command is reading this checkpoint", path);
}

#define _cleanup_readers_ __attribute__((cleanup(let_readers_in)))

/* ---- reading ---- */

static void close_places(int dir, int places[2])
{
	for (int i = 0; i < 2; i++) {
		if (places[i] >= 0 && places[i] != dir)
			close(places[i]);
		places[i] = -1;
	}
}

static int find_places(const struct place *p, int places[2])
{
	int fd = open_sub(p, WHOLE);

	places[0] = fd >= 0 ? fd : p->fd;
	places[1] = -1;
	if (fd != -ENOENT)
		return fd < 0 ? fd : 0;
	fd = open_sub(p, PART);
	if (fd == -ENOENT)
		return 0;
	if (fd < 0)
		return fd;
	places[0] = fd;
	places[1] = p->fd;
	return 0;
}

static bool is_inode(int fd, const struct stat *wanted)
{
	struct stat st;

	return !fstat(fd, &st) && st.st_dev == wanted->st_dev && st.st_ino == wanted->st_ino;
}

/*
 * criu was killed in the middle of an exchange: its locks live on in the descriptors that the guardian shares with it,
 * and would keep the guardian out for good.
 */
static void drop_own_locks(const struct place *p)
{
	_cleanup_close_ int inventory = -1;
	struct stat wanted;
	int places[2];
	const struct dirent *e;
	DIR *d;

	if (find_places(p, places))
		return;
	inventory = open_inventory(places, O_RDONLY);
	close_places(p->fd, places);
	d = inventory >= 0 && !fstat(inventory, &wanted) ? opendir("/proc/self/fd") : NULL;
	if (!d)
		return;
	while ((e = readdir(d)))
		if (e->d_name[0] != '.' && is_inode(atoi(e->d_name), &wanted))
			flock(atoi(e->d_name), LOCK_UN);
	closedir(d);
}

/* Whether the checkpoint whose inventory was locked is still the one that counts. */
static bool is_same_inventory(const struct place *p, int inventory)
{
	struct stat now;
	int places[2];
	bool same = false;
	int fd;

	if (find_places(p, places))
		return false;
	fd = open_inventory(places, O_RDONLY);
	if (fd >= 0) {
		same = !fstat(fd, &now) && is_inode(inventory, &now);
		close(fd);
	}
	close_places(p->fd, places);
	return same;
}

/* -EAGAIN: a dump is in the middle of the exchange. In a hurry, an inventory that is not there is just missing. */
static int try_read(const struct place *p, int places[2], int *lockp, bool hurry)
{
	_cleanup_close_ int fd = -1;
	int err = find_places(p, places);

	if (err)
		return err;
	*lockp = -1;
	fd = open_inventory(places, O_RDONLY);
	if (fd == -ENOENT && !hurry && places[0] != p->fd)
		return -EAGAIN;
	if (fd < 0)
		return 0; /* whoever wants to read it will say so */
	err = lock_within(fd, LOCK_SH, 0);
	if (err == -EBUSY || (!err && !is_same_inventory(p, fd)))
		return -EAGAIN;
	*lockp = move_fd(&fd);
	return 0;
}

int image_exchange_read(int dir, const char *path, int places[2], int *lockp)
{
	const struct timespec pause = { .tv_nsec = 1000000 };
	const struct place p = { dir, path };

	for (int tries = 0; tries < WAIT_RESTORE_MS; tries++) {
		int err = try_read(&p, places, lockp, tries > 20);

		if (err != -EAGAIN)
			return err;
		close_places(dir, places);
		nanosleep(&pause, NULL);
	}
	return log_errno(-EBUSY, "%s: a dump is exchanging this checkpoint for a new one", path);
}

/* ---- what a dump does ---- */

bool image_exchange_is_settled(int dir)
{
	return !has_entry(dir, NEW) && !has_entry(dir, PART) && !has_entry(dir, WHOLE) && !has_entry(dir, UNDO);
}

/* Nobody reads what counts while it is moved. */
static int lock_what_counts(const struct place *p, int wait_ms)
{
	int places[2], err = find_places(p, places);

	if (!err)
		err = keep_readers_out(p, places, wait_ms);
	close_places(p->fd, places);
	return err;
}

static int finish_exchange(const struct place *p)
{
	int err = 0;

	if (has_entry(p->fd, WHOLE)) {
		err = delete_sub(p, PART);
		if (!err)
			err = delete_files(p, p->fd, true);
		if (!err)
			err = rename_sub(p, WHOLE, PART);
	}
	return err ?: move_in(p);
}

int image_exchange_settle(int dir, const char *path, int wait_ms)
{
	const struct place p = { dir, path };
	int err = 0;

	if (image_exchange_is_settled(dir))
		return 0;
	if (has_entry(dir, WHOLE) || has_entry(dir, PART)) {
		_cleanup_readers_ int lock = lock_what_counts(&p, wait_ms);

		err = lock < 0 && lock != -ENOENT ? lock : finish_exchange(&p);
	}
	if (!err)
		err = delete_sub(&p, UNDO);
	return err ?: delete_sub(&p, NEW);
}

int image_exchange_is_empty(int dir, const char *path, bool link_too)
{
	const struct place p = { dir, path };
	_cleanup_names_ struct names names = {};
	int err = list_names(&p, dir, true, &names);
	size_t n = names.n;

	for (size_t i = 0; !link_too && i < names.n; i++)
		n -= !strcmp(names.all[i], IMAGE_PREV);
	return err ?: !n;
}

int image_exchange_take_back(int dir, const char *path, bool was_empty)
{
	const struct place p = { dir, path };
	_cleanup_readers_ int lock = -1;
	int err;

	if (was_empty)
		return delete_files(&p, dir, true);
	drop_own_locks(&p);
	if (has_entry(dir, UNDO)) {
		lock = lock_what_counts(&p, WAIT_BACK_MS);
		err = rename_sub(&p, UNDO, WHOLE);
		if (err)
			return err;
		drop_own_locks(&p); /* another inventory counts now */
	}
	return image_exchange_settle(dir, path, WAIT_BACK_MS);
}

int image_exchange_begin(int dir, const char *path)
{
	const struct place p = { dir, path };
	int err = make_sub(&p, NEW);

	return err ?: open_sub(&p, NEW);
}

static int lock_new(const struct place *p)
{
	_cleanup_close_ int fd = open_sub(p, NEW);

	return fd < 0 ? fd : keep_readers_out(p, (const int[]) { fd, -1 }, 0);
}

int image_exchange_publish(int dir, const char *path)
{
	const struct place p = { dir, path };
	_cleanup_readers_ int older = keep_readers_out(&p, (const int[]) { dir, -1 }, WAIT_RESTORE_MS);
	_cleanup_readers_ int newer = -1;
	int err;

	if (older < 0 && older != -ENOENT)
		return older;
	newer = lock_new(&p);
	err = make_sub(&p, PART);
	if (!err)
		err = move_out(&p);
	if (!err)
		err = rename_sub(&p, PART, WHOLE);
	fault_point("the older checkpoint is aside");
	if (!err)
		err = rename_sub(&p, NEW, PART);
	fault_point("the new checkpoint is beside the older");
	if (!err)
		err = rename_sub(&p, WHOLE, UNDO);
	fault_point("the new checkpoint counts");
	return err ?: move_in(&p);
}

/* ---- what a page server does ---- */

/* The dump that writes there has made the same link. */
static bool is_same_link(int from, int to, const char *name)
{
	char a[PATH_MAX], b[PATH_MAX];
	ssize_t n = readlinkat(from, name, a, sizeof(a)), m = readlinkat(to, name, b, sizeof(b));

	return n > 0 && n == m && !memcmp(a, b, (size_t)n);
}

/* What has the name already is another's. */
static int check_names(const struct place *p, int from, int to, const struct names *names)
{
	int err = 0;

	for (size_t i = 0; !err && i < names->n; i++)
		if (has_entry(to, names->all[i]) && !is_same_link(from, to, names->all[i]))
			err = log_errno(-EEXIST, "%s/%s: another dump or page server has written this file", p->path,
			                names->all[i]);
	return err;
}

static int add_files(const struct place *p, const char *from, int to)
{
	_cleanup_close_ int fd = open_sub(p, from);
	_cleanup_names_ struct names names = {};
	int err = fd < 0 ? fd : list_names(p, fd, false, &names) ?: check_names(p, fd, to, &names);

	for (size_t i = 0; !err && i < names.n; i++) {
		err = move_name(p, fd, to, names.all[i]);
		if (i < 2)
			fault_point("a file of a page server moved to its place");
	}
	return err;
}

/* A dump that writes into this directory waits for our answer: nothing of it moves meanwhile. */
static int add_to_dump(const struct place *p, const char *from)
{
	_cleanup_close_ int sub = open_sub(p, NEW);

	if (sub < 0 && sub != -ENOENT)
		return sub;
	return add_files(p, from, sub < 0 ? p->fd : sub) ?: remove_sub(p, from);
}

/* CRIU's dumps take no lock: one that writes here just now would lose its images. */
static int check_not_newer(const struct place *p, const struct timespec *since)
{
	_cleanup_names_ struct names names = {};
	int err = list_names(p, p->fd, true, &names);
	struct stat st;

	for (size_t i = 0; !err && i < names.n; i++) {
		if (fstatat(p->fd, names.all[i], &st, AT_SYMLINK_NOFOLLOW))
			continue;
		if (st.st_ctim.tv_sec > since->tv_sec ||
		    (st.st_ctim.tv_sec == since->tv_sec && st.st_ctim.tv_nsec > since->tv_nsec))
			err = log_errno(-EBUSY,
			                "%s/%s: another dump writes into this directory, which has an older checkpoint "
			                "in it: empty the directory, or give one of them another",
			                p->path, names.all[i]);
	}
	return err;
}

static int replace_by(const struct place *p, const char *from)
{
	int err = rename_sub(p, from, NEW);

	if (!err)
		err = image_exchange_publish(p->fd, p->path);
	return err ?: image_exchange_settle(p->fd, p->path, WAIT_BACK_MS);
}

int image_exchange_add(int dir, const char *path, const char *from, const struct timespec *since)
{
	const struct place p = { dir, path };
	int err = lock_within(dir, LOCK_EX, WAIT_LOOK_MS);

	if (err == -EBUSY)
		return add_to_dump(&p, from);
	err = since ? check_not_newer(&p, since) : 0;
	if (!err)
		err = image_exchange_settle(dir, path, WAIT_RESTORE_MS);
	if (!err)
		err = since ? replace_by(&p, from) : add_files(&p, from, dir) ?: remove_sub(&p, from);
	image_exchange_unlock(dir);
	return err;
}

int image_exchange_remove(int dir, const char *path, const char *name)
{
	return delete_sub(&(const struct place) { dir, path }, name);
}
