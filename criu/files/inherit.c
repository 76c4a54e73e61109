/* SPDX-License-Identifier: GPL-2.0-only */
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>

#include "options/inherited.h"
#include "lib/fd_flags.h"
#include "files/long_path.h"
#include "files/file_store.h"
#include "files/inherit.h"
#include "lib/fault.h"
#include "lib/log.h"
#include "lib/message.h"
#include "proc/fdinfo.h"
#include "regfile.pb-c.h"
#include "tree/subsys.h"

#define KEY_SIZE 48

struct given {
	const char *resource;
	int fd, mode; /* mode: O_ACCMODE */
	bool path;    /* a file has this very name, seen from our root */
	bool used, refused;
};

struct all_given {
	struct given *list;
	size_t n;
	const char **roots; /* of tasks that have another root than ours */
	size_t n_roots;
};

const struct subsys inherit_subsys = { .name = "inherited descriptors",
	                               .state = { .restore = sizeof(struct all_given) } };

/* Paths may be told with or without the slash of the root. */
static bool same_resource(const char *a, const char *b)
{
	return !strcmp(a + (*a == '/'), b + (*b == '/'));
}

/* "/tmp/x (deleted)", as /proc shows it, is /tmp/x in the images. */
static bool same_deleted(const char *resource, const char *name)
{
	size_t end = strlen(PROC_DELETED), n;

	resource += *resource == '/';
	name += *name == '/';
	n = strlen(resource);
	return n > end && !strcmp(resource + n - end, PROC_DELETED) && strlen(name) == n - end &&
	       !strncmp(resource, name, n - end);
}

/* Of a file or a FIFO; else NULL. */
static const RegFileEntry *path_of(struct restore *r, const struct file_desc *fd)
{
	const struct fd_kind *kind = fd->kind;
	const void *m = fd->msg;

	if (kind->type == FD_TYPES__FIFO)
		m = files_message(r, message_get_u32(m, "regf_id") ?: fd->id, &kind);
	return kind && kind->type == FD_TYPES__REG ? m : NULL;
}

static uint32_t flags_of(struct restore *r, const struct file_desc *fd)
{
	const RegFileEntry *path = fd->kind->type == FD_TYPES__FIFO ? path_of(r, fd) : NULL;

	return path ? path->flags : message_get_u32(fd->msg, "flags");
}

/* file[MOUNT:INODE] of something that has a path, "" where the image does not tell. */
static void key_of(struct restore *r, const struct file_desc *fd, char key[KEY_SIZE])
{
	const RegFileEntry *path = path_of(r, fd);

	*key = 0;
	if (path && path->has_seen_mnt_id && path->has_seen_ino)
		snprintf(key, KEY_SIZE, "file[%x:%llx]", path->seen_mnt_id, (unsigned long long)path->seen_ino);
}

/* As a task in another root sees it, or /proc, where there is no file of this name in ours. */
static bool names_it(const struct all_given *all, const struct given *g, const char *name, const char *key)
{
	if (!strcmp(g->resource, key))
		return true;
	if (same_resource(g->resource, name) || (!g->path && same_deleted(g->resource, name)))
		return true;
	for (size_t i = 0; i < all->n_roots && !g->path; i++) {
		size_t len = strlen(all->roots[i]);

		if (!strncmp(name, all->roots[i], len) && name[len] == '/' && same_resource(g->resource, name + len))
			return true;
	}
	return false;
}

static bool suits(int given, uint32_t wanted)
{
	return given == O_RDWR || wanted & O_PATH || given == (int)(wanted & O_ACCMODE);
}

static bool same_kind(struct restore *r, const struct file_desc *desc, int fd)
{
	char path[32], link[PATH_MAX];
	struct fd_info info = { .number = fd, .fd = fd, .link = link, .info = "" };
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	n = readlink(path, link, sizeof(link) - 1);
	if (n < 0 || fstat(fd, &info.st))
		return false;
	link[n] = 0;
	info.flags = (uint32_t)fcntl(fd, F_GETFL);
	return desc->kind->takes ? desc->kind->takes(r, desc->msg, &info) : desc->kind->match(&info);
}

/* files/files_check.c says who wants it. */
static void refuse(struct restore *r, struct given *g, struct file_desc *fd, const char *why)
{
	g->refused = true;
	fd->checked = true;
	fd->why = arena_printf(r->arena, "--inherit-fd fd[%d]:%s: %s the %s of the checkpoint (file %u, flags 0%o)",
	                       g->fd, g->resource, why, fd->kind->name, fd->id, flags_of(r, fd));
}

/* First whoever asks for just that access; *named: something was handed in under this name. */
static void find_exact(struct restore *r, struct all_given *all, struct file_desc *fd, const char *name, bool *named)
{
	uint32_t flags = flags_of(r, fd);
	char key[KEY_SIZE];

	key_of(r, fd, key);
	for (size_t i = 0; i < all->n && fd->given < 0; i++) {
		struct given *g = &all->list[i];

		if (!names_it(all, g, name, key))
			continue;
		*named = true;
		if (!same_kind(r, fd, g->fd)) {
			refuse(r, g, fd, "that descriptor is of another kind than");
			return;
		}
		if (!suits(g->mode, flags))
			continue;
		fd->given = g->fd;
		g->used = true;
	}
}

/* The other end of a pipe of which one end was handed in: opened through that. */
static void find_other_end(struct restore *r, struct all_given *all, struct file_desc *fd, const char *name)
{
	struct given *wrong = NULL;
	char key[KEY_SIZE];

	key_of(r, fd, key);
	for (size_t i = 0; i < all->n && fd->given < 0; i++) {
		struct given *g = &all->list[i];

		if (!names_it(all, g, name, key))
			continue;
		wrong = g;
		if (!g->used || (fd->kind->type != FD_TYPES__PIPE && fd->kind->type != FD_TYPES__FIFO))
			continue;
		fd->given = g->fd;
		fd->reopen = true;
	}
	if (fd->given < 0 && wrong && !fd->why)
		refuse(r, wrong, fd, "that descriptor is open for another direction than");
}

static bool wanted(const struct file_desc *fd)
{
	return (fd->tables || fd->held) && fd->kind && fd->kind->resource;
}

static void check_one(struct restore *r, struct all_given *all, struct file_desc *fd)
{
	bool marked = false, named = false;
	char name[PATH_MAX] = "";

	fd->kind->resource(r, fd->msg, name, sizeof(name), &marked);
	if (*name)
		find_exact(r, all, fd, name, &named);
	if (!marked || named)
		return;
	fd->checked = true;
	fd->why = arena_printf(
	    r->arena, "%s: the dump was told that it comes from outside; give --inherit-fd 'fd[N]:%s'", name, name);
}

static void add_root(struct restore *r, struct all_given *all, uint32_t id)
{
	const struct fd_kind *kind = NULL;
	const RegFileEntry *m = files_message(r, id, &kind);

	if (!m || kind != kind_by_fd_type(FD_TYPES__REG) || !strcmp(m->name, "/"))
		return;
	for (size_t i = 0; i < all->n_roots; i++)
		if (!strcmp(all->roots[i], m->name))
			return;
	arena_push(r->arena, &all->roots, &all->n_roots, (const char *)m->name);
}

static int collect(struct restore *r, struct all_given *all)
{
	for (size_t i = 0; i < r->opts->n_inherit_fd; i++) {
		struct given g = { .resource = inherited_resource(r->opts->inherit_fd[i], &g.fd) };
		int flags;

		if (!g.resource)
			continue;
		flags = fcntl(g.fd, F_GETFL);
		if (flags < 0)
			return log_errno(-errno, "--inherit-fd %s", r->opts->inherit_fd[i]);
		g.mode = flags & O_ACCMODE;
		arena_push(r->arena, &all->list, &all->n, g);
	}
	for (size_t i = 0; i < r->tree.n_tasks && all->n; i++)
		if (r->tree.tasks[i]->fs)
			add_root(r, all, r->tree.tasks[i]->fs->root_id);
	return 0;
}

/* The name of a file, for rows of which the core hands in (or, where itself is true, of which they do). */
static bool name_of(struct restore *r, const struct file_desc *fd, bool itself, char name[PATH_MAX])
{
	bool marked = false;

	*name = 0;
	if (wanted(fd) && fd->kind->takes_itself == itself)
		fd->kind->resource(r, fd->msg, name, PATH_MAX, &marked);
	return *name;
}

static void find_paths(struct restore *r, struct all_given *all)
{
	char name[PATH_MAX];

	for (struct file_desc *fd = file_store_of(r)->by_id; fd && all->n; fd = fd->hh.next)
		for (size_t i = 0; name_of(r, fd, false, name) && i < all->n; i++)
			all->list[i].path = all->list[i].path || same_resource(all->list[i].resource, name);
}

int inherit_check(struct restore *r)
{
	struct all_given *all = restore_state(r, &inherit_subsys);
	char name[PATH_MAX];
	int err = collect(r, all);

	if (err)
		return err;
	find_paths(r, all);
	for (struct file_desc *fd = file_store_of(r)->by_id; fd; fd = fd->hh.next)
		if (wanted(fd) && !fd->kind->takes_itself)
			check_one(r, all, fd);
	for (struct file_desc *fd = file_store_of(r)->by_id; fd && all->n; fd = fd->hh.next)
		if (fd->given < 0 && name_of(r, fd, false, name))
			find_other_end(r, all, fd, name);
	return 0;
}

/* Who was handed in for the same, and taken; or NULL. */
static const struct given *instead_of(const struct all_given *all, const struct given *g)
{
	for (size_t i = 0; i < all->n; i++)
		if (all->list[i].used && same_resource(all->list[i].resource, g->resource))
			return &all->list[i];
	return NULL;
}

/* Rows that look by themselves take the first of a name. */
static void note_taken(struct all_given *all, const char *name)
{
	for (size_t i = 0; i < all->n; i++) {
		if (strcmp(all->list[i].resource, name))
			continue;
		all->list[i].used = true;
		return;
	}
}

static bool is_taken(const struct all_given *all, const char *name)
{
	for (size_t i = 0; i < all->n; i++)
		if (all->list[i].used && !strcmp(all->list[i].resource, name))
			return true;
	return false;
}

#define HINTS 5

/* For who has mistyped a number: pipes, sockets and terminals that nothing was handed in for; "" where there are none.
 */
static const char *hint(struct restore *r)
{
	char name[PATH_MAX], last[PATH_MAX] = "";
	const char *text = "";
	unsigned n = 0;

	for (struct file_desc *fd = file_store_of(r)->by_id; fd && n <= HINTS; fd = fd->hh.next) {
		if (fd->given >= 0 || !wanted(fd) || path_of(r, fd) || !name_of(r, fd, fd->kind->takes_itself, name) ||
		    !strcmp(name, last) || is_taken(restore_state(r, &inherit_subsys), name))
			continue;
		text = n == HINTS ? arena_printf(r->arena, "%s, ...", text)
		                  : arena_printf(r->arena, "%s%s%s", text, n ? ", " : "; there are ", name);
		snprintf(last, sizeof(last), "%s", name);
		n++;
	}
	return text;
}

void inherit_tell(struct restore *r)
{
	struct all_given *all = restore_state(r, &inherit_subsys);
	const char *others = NULL;
	char name[PATH_MAX];

	for (struct file_desc *fd = file_store_of(r)->by_id; fd && all->n; fd = fd->hh.next)
		if (name_of(r, fd, true, name))
			note_taken(all, name);
	for (size_t i = 0; i < all->n; i++) {
		const struct given *g = &all->list[i], *other = instead_of(all, g);

		if (g->used || g->refused || (other && other->fd == g->fd))
			continue;
		others = others ?: hint(r);
		if (other)
			log_warn("--inherit-fd fd[%d]:%s: fd[%d] has taken that place already", g->fd, g->resource,
			         other->fd);
		else
			log_warn("--inherit-fd fd[%d]:%s: nothing in the checkpoint has this name%s", g->fd,
			         g->resource, others);
	}
}

static int put_flags_back(const struct undo *u)
{
	int flags;

	if (u->data_len != sizeof(flags))
		return -EINVAL;
	memcpy(&flags, u->data, sizeof(flags));
	return fcntl(u->fd, F_SETFL, flags) ? -errno : 0;
}

/*
 * Who was born to wait in epoll alone would hang in a read that blocks. What cannot be opened anew is changed for
 * whoever handed it in, too: put back if the restore fails.
 */
int inherit_nonblock(struct restore *r, int given, uint32_t flags)
{
	int now = fcntl(given, F_GETFL);
	struct undo u = {
		.type = UNDO_CALL, .call = put_flags_back, .fd = given, .data = &now, .data_len = sizeof(now)
	};
	int number;

	if (now < 0)
		return -errno;
	if (!((uint32_t)now & O_NONBLOCK) == !(flags & O_NONBLOCK))
		return 0;
	number = guardian_note(r->guardian, &u);
	if (number < 0)
		return number;
	fault_point("flags of what was handed in changed");
	return fcntl(given, F_SETFL, now ^ O_NONBLOCK) ? -errno : 0;
}

/* An end of a pipe as the task had it: its own description, flags and direction. No other end is waited for. */
static int open_anew(int given, uint32_t flags)
{
	uint32_t how = flags & (O_ACCMODE | O_NONBLOCK | O_DIRECT);
	int fd = fd_flags_reopen(given, how | O_NONBLOCK), err;

	if (fd < 0)
		return fd;
	err = fd_flags_restore(fd, how);
	if (err)
		close(fd);
	return err ?: fd;
}

int inherit_open(struct restore *r, struct file_desc *fd)
{
	uint32_t flags = flags_of(r, fd);
	int ours = -EINVAL, err = 0;
	struct stat st;

	if (fstat(fd->given, &st))
		return log_errno(-errno, "file %u: looking at descriptor %d of --inherit-fd", fd->id, fd->given);
	if (S_ISFIFO(st.st_mode))
		ours = open_anew(fd->given, flags);
	fd->own = ours >= 0;
	if (fd->own)
		return ours;
	if (fd->reopen)
		return log_errno(ours, "file %u: opening descriptor %d of --inherit-fd anew", fd->id, fd->given);
	if (S_ISFIFO(st.st_mode) || S_ISSOCK(st.st_mode)) /* a terminal would be changed for the shell, too */
		err = inherit_nonblock(r, fd->given, flags);
	if (err)
		return log_errno(err, "file %u: setting O_NONBLOCK of descriptor %d of --inherit-fd", fd->id,
		                 fd->given);
	ours = fcntl(fd->given, F_DUPFD_CLOEXEC, 3);
	return ours < 0 ? log_errno(-errno, "file %u: duplicating descriptor %d of --inherit-fd", fd->id, fd->given)
	                : ours;
}
