/* SPDX-License-Identifier: GPL-2.0-only */
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>

#include "core/external.h"
#include "core/file_store.h"
#include "core/inherit.h"
#include "core/log.h"
#include "core/message.h"

struct given {
	const char *resource;
	int fd, mode; /* mode: O_ACCMODE */
	bool used;
};

struct all_given {
	struct given *list;
	size_t n;
};

/* Paths may be told with or without the slash of the root. */
static bool same_resource(const char *a, const char *b)
{
	return !strcmp(a + (*a == '/'), b + (*b == '/'));
}

static bool suits(int given, uint32_t wanted)
{
	return given == O_RDWR || given == (int)(wanted & O_ACCMODE);
}

static bool same_kind(const struct fd_kind *kind, int fd)
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
	/* A path may come back as anything that can be written to: a log file as a pipe. */
	if (kind->type == FD_TYPES__REG)
		return !S_ISDIR(info.st.st_mode) && !S_ISSOCK(info.st.st_mode);
	return kind->match(&info);
}

static void refuse(const struct given *g, const struct file_desc *fd, const char *why)
{
	log_refusal(-EINVAL, "--inherit-fd fd[%d]:%s: %s the %s of the checkpoint (file %u, flags 0%o)", g->fd,
	            g->resource, why, fd->kind->name, fd->id, message_get_u32(fd->msg, "flags"));
}

/* First whoever asks for just that access; *named: something was handed in under this name. */
static void find_exact(struct all_given *all, struct file_desc *fd, const char *name, bool *named)
{
	uint32_t flags = message_get_u32(fd->msg, "flags");

	for (size_t i = 0; i < all->n; i++) {
		struct given *g = &all->list[i];

		if (!same_resource(g->resource, name))
			continue;
		*named = true;
		if (!same_kind(fd->kind, g->fd)) {
			g->used = true;
			refuse(g, fd, "that descriptor is of another kind than");
			return;
		}
		if (!suits(g->mode, flags))
			continue;
		fd->given = g->fd;
		g->used = true;
		return;
	}
}

/* The other end of a pipe of which one end was handed in: opened through that. */
static void find_other_end(struct all_given *all, struct file_desc *fd, const char *name)
{
	struct given *wrong = NULL;

	for (size_t i = 0; i < all->n && fd->given < 0; i++) {
		struct given *g = &all->list[i];

		if (!same_resource(g->resource, name))
			continue;
		wrong = g;
		if (!g->used || fd->kind->type != FD_TYPES__PIPE)
			continue;
		fd->given = g->fd;
		fd->reopen = true;
	}
	if (fd->given < 0 && wrong) {
		wrong->used = true; /* told once is enough */
		refuse(wrong, fd, "that descriptor is open for another direction than");
	}
}

static bool wanted(const struct file_desc *fd)
{
	return (fd->tables || fd->held) && fd->kind && fd->kind->resource;
}

static void check_one(struct all_given *all, struct file_desc *fd)
{
	bool marked = false, named = false;
	char name[PATH_MAX] = "";

	fd->kind->resource(fd->msg, name, sizeof(name), &marked);
	if (*name)
		find_exact(all, fd, name, &named);
	if (marked && !named)
		log_refusal(-ENOENT, "%s: the dump was told that it comes from outside; give --inherit-fd 'fd[N]:%s'",
		            name, name);
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
	return 0;
}

int inherit_check(struct restore *r)
{
	struct all_given all = { 0 };
	int err = collect(r, &all);

	if (err)
		return err;
	for (struct file_desc *fd = r->files->by_id; fd; fd = fd->hh.next)
		if (wanted(fd))
			check_one(&all, fd);
	for (struct file_desc *fd = r->files->by_id; fd && all.n; fd = fd->hh.next) {
		char name[PATH_MAX] = "";
		bool marked;

		if (!wanted(fd) || fd->given >= 0)
			continue;
		fd->kind->resource(fd->msg, name, sizeof(name), &marked);
		if (*name)
			find_other_end(&all, fd, name);
	}
	/* What a terminal is called stands in an image of their own: that row looks for what was handed in by itself.
	 */
	for (size_t i = 0; i < all.n; i++)
		if (!all.list[i].used && strncmp(all.list[i].resource, "tty[", 4))
			log_warn("--inherit-fd fd[%d]:%s: nothing in the checkpoint has this name", all.list[i].fd,
			         all.list[i].resource);
	return 0;
}

int inherit_open(const struct file_desc *fd)
{
	uint32_t flags = message_get_u32(fd->msg, "flags") & (O_ACCMODE | O_NONBLOCK);
	char path[32];
	int ours;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd->given);
	ours = fd->reopen ? open(path, (int)flags | O_CLOEXEC) : fcntl(fd->given, F_DUPFD_CLOEXEC, 3);
	return ours < 0 ? log_errno(-errno, "file %u: duplicating descriptor %d of --inherit-fd", fd->id, fd->given)
	                : ours;
}
