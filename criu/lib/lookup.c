/* SPDX-License-Identifier: GPL-2.0-only */
#include "lib/lookup.h"

#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/syscall.h>

/* What criu makes of its own descriptors is never a name of the tree's. */
#define OWN_FDS "/proc/self/fd/"

/* lint: global: of the calling thread; what takes names is too many to pass it down */
static __thread const struct lookup_root *root_now;

static __thread struct {
	int dir[LOOKUP_PATHS];
	char path[LOOKUP_PATHS][sizeof(OWN_FDS) + NAME_MAX + 16];
	unsigned next;
	bool any;
	/* lint: global: of the calling thread */
} given;

const struct lookup_root *lookup_in(const struct lookup_root *root)
{
	const struct lookup_root *before = root_now;

	root_now = root;
	return before;
}

const struct lookup_root *lookup_now(void)
{
	return root_now;
}

static bool is_own(const char *path)
{
	return !root_now || path[0] != '/' || !strncmp(path, OWN_FDS, strlen(OWN_FDS));
}

static int open_in(int dir, const char *path, int flags, mode_t mode, uint64_t resolve)
{
	struct open_how how = { .flags = (uint32_t)flags, .resolve = resolve };

	if (flags & O_CREAT || (flags & O_TMPFILE) == O_TMPFILE)
		how.mode = mode;
	if (flags & O_PATH) /* openat2(2) refuses what open(2) overlooks */
		how.flags &= O_PATH | O_CLOEXEC | O_DIRECTORY | O_NOFOLLOW;
	return (int)syscall(SYS_openat2, dir, path, &how, sizeof(how));
}

static bool is_covered(const char *path)
{
	return root_now && root_now->covered && !strcmp(path, root_now->covered);
}

int lookup_open(const char *path, int flags, mode_t mode)
{
	char own[sizeof(OWN_FDS) + 16];

	if (is_covered(path)) {
		snprintf(own, sizeof(own), OWN_FDS "%d", root_now->covered_fd);
		return open(own, flags & ~O_NOFOLLOW, mode);
	}
	if (is_own(path))
		return open(path, flags, mode);
	return open_in(root_now->root, path, flags, mode, RESOLVE_IN_ROOT);
}

int lookup_open_below(int dir, const char *path, int flags)
{
	return open_in(dir, path, flags, 0, RESOLVE_IN_ROOT);
}

static int stat_opened(const char *path, int nofollow, struct stat *st)
{
	_cleanup_close_ int fd = lookup_open(path, O_PATH | O_CLOEXEC | nofollow, 0);

	return fd < 0 ? -1 : fstat(fd, st);
}

int lookup_stat(const char *path, struct stat *st)
{
	return is_own(path) ? stat(path, st) : stat_opened(path, 0, st);
}

int lookup_lstat(const char *path, struct stat *st)
{
	return is_own(path) ? lstat(path, st) : stat_opened(path, O_NOFOLLOW, st);
}

static int open_parent(const char *path, const char *last)
{
	char dir[PATH_MAX];
	size_t n = (size_t)(last - path);

	if (n >= sizeof(dir))
		return -ENAMETOOLONG;
	memcpy(dir, path, n);
	dir[n] = 0;
	return open_in(root_now->root, dir, O_PATH | O_DIRECTORY | O_CLOEXEC, 0, RESOLVE_IN_ROOT);
}

const char *lookup_path(const char *path)
{
	const char *last = strrchr(path, '/') ? strrchr(path, '/') + 1 : path;
	unsigned i = given.next++ % LOOKUP_PATHS;

	if (is_own(path))
		return path;
	for (unsigned k = 0; !given.any && k < LOOKUP_PATHS; k++)
		given.dir[k] = -1;
	given.any = true;
	if (given.dir[i] >= 0)
		close(given.dir[i]);
	given.dir[i] = open_parent(path, last);
	snprintf(given.path[i], sizeof(given.path[i]), OWN_FDS "%d/%s", given.dir[i],
	         *last && strcmp(last, "..") ? last : ".");
	return given.path[i];
}
