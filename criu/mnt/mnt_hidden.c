/* SPDX-License-Identifier: GPL-2.0-only */
#include "mnt/mnt_hidden.h"

#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include "lib/log.h"
#include "path/ghost.h"

/* ---- places ---- */

struct place_search {
	struct dump *d;
	const struct mnt_dumped *ns;
	const struct mount_at *top;
	MntEntry *e; /* of top */
	int dir;
	struct mnt_hidden *h;
};

static bool is_known(const struct mnt_hidden *h, const char *place)
{
	for (size_t i = 0; i < h->n; i++)
		if (!strcmp(h->places[i], place))
			return true;
	return false;
}

static int add_place(struct place_search *s, const char *place)
{
	MntSocketEntry *e = arena_msg(s->d->arena, MntSocketEntry, mnt_socket_entry);
	char *copy = arena_strdup(s->d->arena, place);
	struct stat st;

	if (is_known(s->h, place))
		return 0;
	if (fstatat(s->dir, place, &st, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT))
		return log_errno(-errno, "mount namespace %u: fstatat of %s below %s", s->ns->ns->id, place,
		                 s->top->path);
	arena_push(s->d->arena, &s->h->places, &s->h->n, copy);
	e->path = copy;
	e->mode = S_ISDIR(st.st_mode) ? S_IFDIR | 0755 : S_IFREG | 0644;
	arena_push(s->d->arena, &s->e->sockets, &s->e->n_sockets, e);
	return 0;
}

/* A mount of the very directory that it covers shows what is there. */
static bool shows_its_place(const struct place_search *s, const struct mount_at *m, const char *place)
{
	const char *rel = mountinfo_below(m->root, s->top->root);

	return m->s_dev == s->top->s_dev && rel && !strcmp(rel, place);
}

static int find_on(struct place_search *s, const struct mount_at *on)
{
	int err = 0;

	for (size_t i = 0; !err && i < s->ns->n; i++) {
		const struct mount_at *m = &s->ns->ns->mounts[i];
		const char *place;

		if (m->parent != on->id || m == on || !s->ns->all[i] || !s->ns->all[i]->locked)
			continue;
		place = mountinfo_below(m->path, s->top->path);
		if (!place || !*place)
			return log_errno(
			    -EINVAL,
			    "mount namespace %u: %s: another mount covers it, and cannot be moved away (locked)",
			    s->ns->ns->id, s->top->path);
		err = shows_its_place(s, m, place) ? find_on(s, m) : add_place(s, place);
	}
	return err;
}

int mnt_hidden_find(struct dump *d, const struct mnt_dumped *ns, size_t k, int dir, struct mnt_hidden *h)
{
	struct place_search s = { d, ns, &ns->ns->mounts[k], ns->all[k], dir, h };

	*h = (struct mnt_hidden) { 0 };
	return find_on(&s, s.top);
}

/* ---- how many there are ---- */

struct file_count {
	const struct mnt_hidden *h;
	struct arena *a;
	dev_t dev;
	uint64_t n;
};

/* dir is used up. A tmpfs counts names. */
static int count_below(struct file_count *c, int fd, const char *path, int depth)
{
	DIR *dir = mnt_walk_open(fd, depth);
	struct dirent *e;
	struct stat st;
	int err = dir ? 0 : -errno;

	while (!err && (e = readdir(dir))) {
		const char *below;

		if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."))
			continue;
		c->n++;
		below = arena_printf(c->a, "%s%s%s", path, *path ? "/" : "", e->d_name);
		if (is_known(c->h, below) || fstatat(fd, e->d_name, &st, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT))
			continue;
		if (S_ISDIR(st.st_mode) && st.st_dev == c->dev)
			err = count_below(c, openat(fd, e->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC),
			                  below, depth + 1);
	}
	if (dir)
		closedir(dir);
	return err;
}

int mnt_hidden_check(struct dump *d, const char *who, int dir, const struct mnt_hidden *h)
{
	struct file_count c = { .h = h, .a = d->arena, .n = 1 };
	struct statfs fs;
	struct stat st;
	uint64_t there;
	int err;

	if (!h->n)
		return 0;
	if (fstat(dir, &st) || fstatfs(dir, &fs))
		return log_errno(-errno, "%s: fstatfs", who);
	c.dev = st.st_dev;
	err = count_below(&c, openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), "", 0);
	if (err)
		return log_errno(err, "%s: readdir", who);
	c.n += ghost_count(d, st.st_dev);
	there = fs.f_files - fs.f_ffree;
	if (fs.f_files && there <= c.n)
		return 0;
	return log_refusal(
	    -ENOTSUP,
	    "%s: of %llu files %llu are seen: locked mounts (%s and %zu others) cover the rest, which "
	    "nobody can read; let the program make a root of its own (pivot_root) and unmount the old one",
	    who, (unsigned long long)there, (unsigned long long)c.n, h->places[0], h->n - 1);
}
