/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The cgroup freezer: Documentation/admin-guide/cgroup-v1/freezer-subsystem.rst and cgroup-v2.rst of the kernel. It
 * keeps a tree from forking while it is seized; a task in it comes to its ptrace stop only when it is thawed.
 */
#include <fcntl.h>
#include <fts.h>
#include <poll.h>
#include <string.h>
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
	if (cgroup_holds(a, full, getpid()))
		return log_errno(-EDEADLK, "%s: criu itself is in it; move it out of the cgroup that it is to freeze",
		                 full);
	return 0;
}

static int note_thaw(struct frozen *z, enum state back)
{
	struct undo u = { .type = UNDO_CGROUP_THAW, .fd = -1, .path = z->path, .text = word_of(z, back) };

	z->undo = z->guardian ? guardian_note(z->guardian, &u) : 0;
	return MIN(z->undo, 0);
}

static void unfreeze_and_drop(struct frozen *z)
{
	if (z->guardian && z->undo >= 0)
		guardian_drop(z->guardian, z->undo);
	if (z->dir >= 0)
		close(z->dir);
	z->undo = z->dir = -1;
}

int freeze_cgroup_start(const char *path, struct guardian *g, struct arena *a, int64_t deadline,
                        struct frozen **frozenp)
{
	struct frozen *z = arena_new_of(a, struct frozen);
	int err;

	*z = (struct frozen) { .dir = -1, .undo = -1, .guardian = g };
	err = open_cgroup(z, a, path);
	if (!err)
		err = note_thaw(z, z->was_frozen ? FROZEN : THAWED);
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

void freeze_cgroup_restore(struct frozen *z, bool dead)
{
	if (!z || z->dir < 0)
		return;
	if (!z->was_frozen)
		write_state(z, THAWED);
	else if (!dead)
		write_state(z, FROZEN);
}

void freeze_cgroup_settle(struct frozen *z, bool dead)
{
	if (!z || z->dir < 0)
		return;
	if (z->was_frozen && !dead)
		wait_state(z, FROZEN, clock_now_ms() + SETTLE_MS);
	unfreeze_and_drop(z);
}
