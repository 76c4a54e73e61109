/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The cgroup freezer: Documentation/admin-guide/cgroup-v1/freezer-subsystem.rst and cgroup-v2.rst of the kernel. It
 * keeps a tree from forking while it is seized; a task in it comes to its ptrace stop only when it is thawed.
 */
#include <fcntl.h>
#include <fts.h>
#include <poll.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "freeze/freezer.h"
#include "lib/log.h"
#include "proc/proc.h"

#define V1_FILE   "freezer.state"
#define V2_FILE   "cgroup.freeze"

/* How long tasks that were let go may take to be frozen again. */
#define SETTLE_MS 2000

/* What the kernel says; CHANGING: v1 while some task is not frozen yet. */
enum state { THAWED, FROZEN, CHANGING };

static const char *state_file_of(const struct frozen *z)
{
	return z->v2 ? V2_FILE : V1_FILE;
}

static const char *word_of(const struct frozen *z, enum state state)
{
	if (z->v2)
		return state == FROZEN ? "1" : "0";
	return state == FROZEN ? "FROZEN" : "THAWED";
}

static int write_state(const struct frozen *z, enum state state)
{
	_cleanup_close_ int fd = openat(z->dir, state_file_of(z), O_WRONLY | O_CLOEXEC);
	const char *word = word_of(z, state);

	if (fd < 0 || write(fd, word, strlen(word)) < 0)
		return log_errno(-errno, "write of %s into %s", word, z->path);
	return 0;
}

/* fd: cgroup.events or freezer.state. Reading v1's makes the kernel look at the tasks again. */
static int read_freezer_state(const struct frozen *z, int fd)
{
	char text[256];
	ssize_t n = pread(fd, text, sizeof(text) - 1, 0);

	if (n < 0)
		return log_errno(-errno, "read of the state of %s", z->path);
	text[n] = '\0';
	if (z->v2)
		return strstr(text, "frozen 1") ? FROZEN : THAWED;
	return strncmp(text, "FROZEN", 6) == 0 ? FROZEN : strncmp(text, "THAWED", 6) == 0 ? THAWED : CHANGING;
}

/* v2 tells of a change since the last read; v1 has to be asked. */
static void wait_change(const struct frozen *z, int fd, unsigned round, int64_t deadline)
{
	struct pollfd p = { .fd = fd, .events = POLLPRI };
	struct timespec pause = { .tv_nsec = (50L << MIN(round, 7U)) * 1000 };
	int64_t left = deadline - clock_now_ms();

	if (z->v2)
		poll(&p, 1, (int)MAX(left, 0));
	else
		nanosleep(&pause, NULL);
}

static int wait_state(const struct frozen *z, enum state state, int64_t deadline)
{
	_cleanup_close_ int fd = openat(z->dir, z->v2 ? "cgroup.events" : V1_FILE, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return log_errno(-errno, "open of the state of %s", z->path);
	for (unsigned round = 0;; round++) {
		int now = read_freezer_state(z, fd), err;

		if (now < 0)
			return now;
		if (now == (int)state)
			return 0;
		if (clock_now_ms() >= deadline)
			break;
		/* v1 looks at each task once, and one may have come out of a stop just then: it is told again. */
		err = round && now == CHANGING && state == FROZEN ? write_state(z, state) : 0;
		if (err)
			return err;
		wait_change(z, fd, round, deadline);
	}
	if (state == FROZEN)
		return log_errno(-ETIMEDOUT, "%s: its tasks do not freeze within the time limit (--timeout)", z->path);
	return log_errno(-EBUSY, "%s: the cgroup stays frozen; if a cgroup above this one is frozen, thaw that first",
	                 z->path);
}

/* Whether a pid stands in a cgroup.procs file. Those of other namespaces are 0 there. */
static bool file_lists(const char *path, pid_t pid)
{
	_cleanup_fclose_ FILE *file = fopen(path, "re");
	int listed;

	while (file && fscanf(file, "%d", &listed) == 1)
		if (listed == pid)
			return true;
	return false;
}

/* Whether a process is in the cgroup or one below it: we would freeze ourselves. */
static bool cgroup_holds(struct arena *a, const char *path, pid_t pid)
{
	char *const roots[] = { arena_strdup(a, path), NULL };
	FTS *fts = fts_open(roots, FTS_PHYSICAL | FTS_NOCHDIR | FTS_NOSTAT, NULL);
	bool found = false;
	FTSENT *e;

	while (fts && !found && (e = fts_read(fts)))
		if (e->fts_info == FTS_D)
			found = file_lists(arena_printf(a, "%s/cgroup.procs", e->fts_path), pid);
	if (fts)
		fts_close(fts);
	return found;
}

static int open_cgroup(struct frozen *z, struct arena *a, const char *path)
{
	_cleanup_free_ char *text = NULL, *full = realpath(path, NULL);
	int err;

	z->dir = full ? open(full, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
	if (z->dir < 0)
		return log_errno(-errno, "open of the cgroup %s", path);
	z->v2 = faccessat(z->dir, V1_FILE, F_OK, 0) != 0;
	z->path = arena_printf(a, "%s/%s", full, state_file_of(z));
	err = proc_read(z->dir, state_file_of(z), &text, NULL);
	if (err == -ENOENT)
		return log_errno(
		    err, "%s has neither " V1_FILE " nor " V2_FILE ": it is no cgroup of a freezer, or the root", full);
	if (err)
		return log_errno(err, "reading %s", z->path);
	z->was_frozen = z->v2 ? *text == '1' : strncmp(text, "THAWED", 6) != 0;
	return 0;
}

static int write_back(const struct undo *u)
{
	_cleanup_close_ int fd = open(u->path, O_WRONLY | O_CLOEXEC);

	return fd < 0 || write(fd, u->text, strlen(u->text)) < 0 ? -errno : 0;
}

static int note_state(struct frozen *z, enum undo_type type, bool while_stopped)
{
	struct undo u = {
		.type = type,
		.while_stopped = while_stopped,
		.call = type == FORWARD_CALL ? write_back : NULL,
		.fd = -1,
		.path = z->path,
		.text = word_of(z, z->was_frozen ? FROZEN : THAWED),
	};

	return z->guardian ? guardian_note(z->guardian, &u) : 0;
}

/*
 * What was frozen is frozen again before the tasks of a dead criu run on, and that is said once more at the end: the
 * agent in a task can leave it only where that is thawed. After the commit of a dump that kills, version 1 has to wait:
 * it does not let a killed task end.
 */
static int note_thaw(struct frozen *z, bool kills)
{
	z->undo = note_state(z, UNDO_CGROUP_THAW, false);
	if (z->undo >= 0 && z->was_frozen)
		z->undo_stopped = note_state(z, UNDO_CGROUP_THAW, true);
	if (z->undo >= 0 && z->undo_stopped >= 0 && z->found)
		z->forward = note_state(z, FORWARD_CALL, z->v2 || !kills);
	return MIN(MIN(z->undo, 0), z->was_frozen ? MIN(z->undo_stopped, 0) : 0);
}

static void unfreeze_and_drop(struct frozen *z)
{
	if (z->guardian) {
		guardian_drop(z->guardian, z->forward);
		guardian_drop(z->guardian, z->undo_stopped);
		guardian_drop(z->guardian, z->undo);
	}
	if (z->dir >= 0)
		close(z->dir);
	z->undo = z->undo_stopped = z->forward = z->dir = -1;
}

int freeze_cgroup_start(const char *path, struct guardian *g, struct arena *a, int64_t deadline,
                        struct frozen **frozenp)
{
	struct frozen *z = arena_new_of(a, struct frozen);
	int err;

	*z = (struct frozen) { .dir = -1, .undo = -1, .undo_stopped = -1, .forward = -1, .guardian = g };
	err = open_cgroup(z, a, path);
	if (!err && cgroup_holds(a, path, getpid()))
		err = log_errno(-EDEADLK, "%s: criu itself is in it; move it out of the cgroup that it is to freeze",
		                path);
	if (!err)
		err = note_thaw(z, false);
	if (err) {
		unfreeze_and_drop(z);
		return err;
	}
	*frozenp = z;
	if (!z->was_frozen)
		err = write_state(z, FROZEN);
	return err ?: wait_state(z, FROZEN, deadline);
}

int freeze_cgroup_thaw(struct frozen *z, int64_t deadline)
{
	int err = write_state(z, THAWED);

	if (!err)
		err = wait_state(z, THAWED, deadline);
	if (!err && !z->was_frozen)
		unfreeze_and_drop(z);
	return err;
}

int freeze_cgroup_take(const char *path, const struct unfreezer *u, struct frozen *z)
{
	int err = 0;

	if (!z || z->dir < 0) {
		z = arena_new_of(u->arena, struct frozen);
		*z = (struct frozen) {
			.dir = -1, .undo = -1, .undo_stopped = -1, .forward = -1, .guardian = u->guardian
		};
		err = open_cgroup(z, u->arena, path);
		z->was_frozen = z->found = true;
		if (!err)
			err = note_thaw(z, u->kills);
		z->next = u->tree->frozen;
		u->tree->frozen = z;
	}
	if (!err)
		err = strangers_seize(z, u->arena, path, u->spare);
	return err ?: write_state(z, THAWED);
}

int freeze_cgroup_wait_thawed(const struct frozen *like, const char *path, int64_t deadline)
{
	struct frozen z = { .v2 = like->v2, .path = path, .dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC) };
	int err = z.dir < 0 ? log_errno(-errno, "open of the cgroup %s", path) : wait_state(&z, THAWED, deadline);

	if (z.dir >= 0)
		close(z.dir);
	return err;
}

/* CRIU leaves a cgroup thawed that was named to it and whose tree it has killed. What was found is as it was. */
static bool is_refrozen(const struct frozen *z, bool dead)
{
	return z->was_frozen && (z->found || !dead);
}

void freeze_cgroup_restore(struct frozen *z, bool dead)
{
	for (struct frozen *one = z; one; one = one->next)
		strangers_wait(one);
	for (; z; z = z->next)
		if (z->dir >= 0 && (!z->was_frozen || is_refrozen(z, dead)))
			write_state(z, z->was_frozen ? FROZEN : THAWED);
}

void freeze_cgroup_settle(struct frozen *z, bool dead)
{
	for (struct frozen *one = z; one; one = one->next)
		strangers_let_go(one);
	for (; z; z = z->next) {
		if (z->dir >= 0 && is_refrozen(z, dead))
			wait_state(z, FROZEN, clock_now_ms() + SETTLE_MS);
		unfreeze_and_drop(z);
	}
}

void freeze_again(struct tree *tree)
{
	for (struct frozen *z = tree->frozen; z; z = z->next) {
		strangers_wait(z);
		if (z->was_frozen && z->dir >= 0 && z->v2)
			write_state(z, FROZEN);
	}
}

bool freeze_was_frozen(const struct tree *tree, int dir)
{
	struct stat a, b;

	for (const struct frozen *z = tree->frozen; z; z = z->next)
		if (z->was_frozen && z->dir >= 0 && !fstat(z->dir, &a) && !fstat(dir, &b) && a.st_dev == b.st_dev &&
		    a.st_ino == b.st_ino)
			return true;
	return false;
}

bool freeze_any_was_frozen(const struct tree *tree)
{
	for (const struct frozen *z = tree->frozen; z; z = z->next)
		if (z->was_frozen)
			return true;
	return false;
}

void freeze_take_back(struct tree *tree)
{
	freeze_cgroup_restore(tree->frozen, false);
	freeze_cgroup_settle(tree->frozen, false);
	tree->frozen = NULL;
}
