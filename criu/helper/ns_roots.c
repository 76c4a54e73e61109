/* SPDX-License-Identifier: GPL-2.0-only */
#include "helper/ns_roots.h"

#include <fcntl.h>
#include <sched.h>
#include <string.h>

#include "helper/bare_mount.h"
#include "helper/ns_enter.h"
#include "lib/arena_hash.h"
#include "lib/log.h"
#include "lib/message.h"
#include "tree/ns_ids.h"
#include "tree/subsys.h"

/* Which namespace a mount is in. */
struct mount_in {
	int id;
	struct ns_root *root; /* NULL: criu's own */
	bool late;            /* restore: it is made when tasks are there */
	UT_hash_handle hh;
};

/* A file on a mount that others hide. */
struct covered_file {
	int mnt_id;
	struct lookup_root at; /* restore */
	struct covered_file *next;
};

/* Dump: a mount on which nothing lies. */
struct bare_copy {
	int mnt_id, fd;
	struct bare_copy *next;
};

struct ns_roots {
	struct covered_file *covered;
	struct bare_copy *bare;
	struct ns_root **all;
	size_t n;
	struct mount_in *by_mount;
	struct mount_at *own;
	size_t n_own;
	bool own_read;
	int failed; /* a namespace could not be read: a dump without it would be a lesser one */
	int *kept;  /* directories */
	size_t n_kept;
};

extern const struct subsys ns_roots_subsys;

/* ---- looking from inside ---- */

struct root_job {
	int proc;
	struct lookup_root at;
};

/* In the namespace, with criu's descriptors: the file of mounts belongs to the process that opens it. */
static int open_inside(void *arg)
{
	struct root_job *job = arg;

	job->at.root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	job->at.mounts = openat(job->proc, "self/mountinfo", O_RDONLY | O_CLOEXEC);
	return job->at.root < 0 || job->at.mounts < 0
	           ? log_errno(-errno, "open of / or /proc/self/mountinfo in a mount namespace")
	           : 0;
}

static int open_root(struct ns_root *root, int fd)
{
	_cleanup_close_ int proc = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
	struct root_job job = { .proc = proc, .at = { .root = -1, .mounts = -1 } };
	int err = proc < 0 ? log_errno(-errno, "open of /proc") : ns_enter_run(fd, open_inside, &job);

	root->at = job.at;
	root->fd = err ? -1 : fd;
	return err;
}

static void note_mount(struct arena *a, struct ns_roots *all, int id, struct ns_root *root)
{
	struct mount_in *in;

	HASH_FIND_INT(all->by_mount, &id, in);
	if (in)
		return;
	in = arena_new_of(a, struct mount_in);
	in->id = id;
	in->root = root;
	HASH_ADD_IN(a, hh, all->by_mount, id, sizeof(in->id), in);
}

static struct mount_in *find_mount(const struct ns_roots *all, int id)
{
	struct mount_in *in;

	HASH_FIND_INT(all->by_mount, &id, in);
	return in;
}

static struct ns_root *root_by_id(const struct ns_roots *all, uint32_t id)
{
	for (size_t i = 0; i < all->n; i++)
		if (all->all[i]->id == id)
			return all->all[i];
	return NULL;
}

static struct ns_root *add_root(struct arena *a, struct ns_roots *all, uint32_t id)
{
	struct ns_root *root = arena_new_of(a, struct ns_root);

	*root = (struct ns_root) { .id = id, .fd = -1, .at = { .root = -1, .mounts = -1 } };
	arena_push(a, &all->all, &all->n, root);
	return root;
}

/* ---- dump ---- */

static int read_own(struct dump *d, struct ns_roots *all)
{
	_cleanup_lookup_ const struct lookup_root *before = lookup_in(NULL);
	int err = all->own_read ? 0 : mountinfo_read(d->arena, &all->own, &all->n_own);

	if (err)
		return log_errno(err, "read of /proc/self/mountinfo");
	for (size_t i = 0; !all->own_read && i < all->n_own; i++)
		note_mount(d->arena, all, all->own[i].id, NULL);
	all->own_read = true;
	return 0;
}

int ns_roots_own_mounts(struct dump *d, struct mount_at **mounts, size_t *n)
{
	struct ns_roots *all = dump_state(d, &ns_roots_subsys);
	int err = read_own(d, all);

	*mounts = all->own;
	*n = all->n_own;
	return err;
}

/* The descriptor stays open as long as the dump. */
static int look_at(struct dump *d, struct ns_roots *all, const struct ns *ns)
{
	struct ns_root *root = add_root(d->arena, all, ns->id);
	char path[64];
	int fd, err;

	if (ns->pid > 0)
		snprintf(path, sizeof(path), "/proc/%d/ns/%s", ns->pid, ns->type->name);
	else
		snprintf(path, sizeof(path), "/proc/self/fd/%d", ns->fd);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return log_errno(-errno, "open of %s", path);
	err = open_root(root, fd);
	if (err) {
		close(fd);
		return err;
	}
	lookup_in(&root->at);
	err = mountinfo_read(d->arena, &root->mounts, &root->n_mounts);
	lookup_in(NULL);
	if (err)
		return log_errno(err, "read of the mounts of %s", path);
	for (size_t i = 0; i < root->n_mounts; i++)
		note_mount(d->arena, all, root->mounts[i].id, root);
	return 0;
}

/* Those that have been met since the last call. */
static int look_at_new(struct dump *d, struct ns_roots *all)
{
	_cleanup_lookup_ const struct lookup_root *before = lookup_in(NULL);
	const struct ns_ids *ids = ns_ids_all(d);
	int err = all->failed ?: read_own(d, all);

	for (size_t i = 0; !err && i < ids->n; i++)
		if (ids->all[i].type->flag == CLONE_NEWNS && ids->all[i].pid && !root_by_id(all, ids->all[i].id))
			err = look_at(d, all, &ids->all[i]);
	all->failed = err;
	return err;
}

int ns_roots_of_mount(struct dump *d, int mnt_id, const struct ns_root **root)
{
	struct ns_roots *all = dump_state(d, &ns_roots_subsys);
	const struct mount_in *in = find_mount(all, mnt_id);
	int err = in ? 0 : look_at_new(d, all);

	in = in ?: find_mount(all, mnt_id);
	*root = in ? in->root : NULL;
	return err;
}

bool ns_roots_has_mount(struct dump *d, int mnt_id)
{
	struct ns_roots *all = dump_state(d, &ns_roots_subsys);
	_cleanup_lookup_ const struct lookup_root *before = lookup_in(NULL);
	const struct ns_root *root;

	if (find_mount(all, mnt_id) || ns_roots_of_mount(d, mnt_id, &root) || find_mount(all, mnt_id))
		return true;
	return mountinfo_mount_id(AT_FDCWD, "/") == mnt_id; /* criu may be chrooted */
}

const struct ns_root *ns_roots_find(struct dump *d, uint32_t id)
{
	struct ns_roots *all = dump_state(d, &ns_roots_subsys);

	return look_at_new(d, all) ? NULL : root_by_id(all, id);
}

static int open_bare(struct dump *d, struct ns_roots *all, const struct ns_root *ns, const struct mount_at *m)
{
	struct bare_copy *b = all->bare;

	while (b && b->mnt_id != m->id)
		b = b->next;
	if (b)
		return b->fd;
	b = arena_new_of(d->arena, struct bare_copy);
	b->mnt_id = m->id;
	b->fd = bare_mount_open(d->arena, ns->fd, ns->mounts, ns->n_mounts, m);
	b->next = all->bare;
	all->bare = b;
	return b->fd;
}

static void note_covered(struct arena *a, struct ns_roots *all, int mnt_id, const char *path)
{
	struct covered_file *c = arena_new_of(a, struct covered_file);

	c->mnt_id = mnt_id;
	c->at = (struct lookup_root) { .covered = arena_strdup(a, path), .covered_fd = -1 };
	c->next = all->covered;
	all->covered = c;
}

int ns_roots_is_covered(struct dump *d, const struct ns_root *ns, int mnt_id, const char *path, const struct stat *st)
{
	struct ns_roots *all = dump_state(d, &ns_roots_subsys);
	_cleanup_lookup_ const struct lookup_root *before = lookup_in(NULL);
	const struct mount_at *m = NULL;
	_cleanup_close_ int fd = -1;
	const char *below;
	struct stat there;
	int bare;

	for (size_t i = 0; !m && i < ns->n_mounts; i++)
		m = ns->mounts[i].id == mnt_id ? &ns->mounts[i] : NULL;
	below = m ? mountinfo_below(path, m->path) : NULL;
	bare = below ? open_bare(d, all, ns, m) : -1;
	if (bare < 0)
		return 0;
	fd = *below ? lookup_open_below(bare, below, O_PATH | O_NOFOLLOW | O_CLOEXEC) : fcntl(bare, F_DUPFD_CLOEXEC, 0);
	if (fd < 0 || fstat(fd, &there) || there.st_dev != st->st_dev || there.st_ino != st->st_ino)
		return 0;
	note_covered(d->arena, all, mnt_id, path);
	return 1;
}

bool ns_roots_any_covered(struct dump *d, int mnt_id)
{
	const struct ns_roots *all = dump_state(d, &ns_roots_subsys);

	for (const struct covered_file *c = all->covered; c; c = c->next)
		if (c->mnt_id == mnt_id)
			return true;
	return false;
}

/* ---- restore ---- */

static struct covered_file *find_covered(const struct ns_roots *all, int mnt_id, const char *path)
{
	struct covered_file *c = all->covered;

	while (c && (c->mnt_id != mnt_id || strcmp(c->at.covered, path)))
		c = c->next;
	return c;
}

/* NULL: it is not on a mount that others hide. */
static const char *covered_name(const void *msg, int64_t *mnt_id)
{
	const ProtobufCMessage *m = msg;
	const ProtobufCFieldDescriptor *f = protobuf_c_message_descriptor_get_field_by_name(m->descriptor, "name");
	int64_t covered;

	if (!message_get_number(msg, "covered", &covered) || !covered || !message_get_number(msg, "mnt_id", mnt_id))
		return NULL;
	return f ? *(char *const *)((const char *)msg + f->offset) : NULL;
}

void ns_roots_expect_covered(struct restore *r, const void *msg)
{
	struct ns_roots *all = restore_state(r, &ns_roots_subsys);
	int64_t mnt_id;
	const char *name = covered_name(msg, &mnt_id);

	if (name && !find_covered(all, (int)mnt_id, name))
		note_covered(r->arena, all, (int)mnt_id, name);
}

int ns_roots_open_covered(struct restore *r, uint32_t mnt_id, const char *mounted_at, int fd)
{
	struct ns_roots *all = restore_state(r, &ns_roots_subsys);

	for (struct covered_file *c = all->covered; c; c = c->next) {
		const char *below = mountinfo_below(c->at.covered, mounted_at);

		if (c->mnt_id != (int)mnt_id || !below || c->at.covered_fd >= 0)
			continue;
		c->at.covered_fd = *below ? lookup_open_below(fd, below, O_PATH | O_NOFOLLOW | O_CLOEXEC)
		                          : fcntl(fd, F_DUPFD_CLOEXEC, 3);
		if (c->at.covered_fd < 0)
			return log_errno(-errno, "open of %s, on a mount that others hide", c->at.covered);
	}
	return 0;
}

/* The place of a file, once its namespace is made. */
static const struct lookup_root *place_of(const struct ns_roots *all, const struct ns_root *root, const void *msg)
{
	int64_t mnt_id;
	const char *name = covered_name(msg, &mnt_id);
	struct covered_file *c = name ? find_covered(all, (int)mnt_id, name) : NULL;

	if (!c)
		return &root->at;
	c->at.root = root->at.root;
	c->at.mounts = root->at.mounts;
	return &c->at;
}

void ns_roots_expect(struct restore *r, uint32_t id)
{
	struct ns_roots *all = restore_state(r, &ns_roots_subsys);

	if (!root_by_id(all, id))
		add_root(r->arena, all, id);
}

void ns_roots_expect_mount(struct restore *r, uint32_t id, uint32_t mnt_id)
{
	struct ns_roots *all = restore_state(r, &ns_roots_subsys);

	note_mount(r->arena, all, (int)mnt_id, root_by_id(all, id));
}

void ns_roots_set_late(struct restore *r, uint32_t mnt_id)
{
	struct mount_in *in = find_mount(restore_state(r, &ns_roots_subsys), (int)mnt_id);

	if (in)
		in->late = true;
}

int ns_roots_made(struct restore *r, uint32_t id, int fd)
{
	struct ns_roots *all = restore_state(r, &ns_roots_subsys);
	struct ns_root *root = root_by_id(all, id);

	return root ? open_root(root, fd) : 0;
}

const struct ns_root *ns_roots_expected(struct restore *r, int64_t mnt_id)
{
	const struct ns_roots *all = restore_state(r, &ns_roots_subsys);
	const struct mount_in *in = all->n && mnt_id >= 0 && mnt_id <= INT32_MAX ? find_mount(all, (int)mnt_id) : NULL;

	return in ? in->root : NULL;
}

const struct ns_root *ns_roots_by_id(struct restore *r, uint32_t id)
{
	return root_by_id(restore_state(r, &ns_roots_subsys), id);
}

bool ns_roots_any(struct restore *r)
{
	return ((struct ns_roots *)restore_state(r, &ns_roots_subsys))->n > 0;
}

const struct lookup_root *ns_roots_of_message(struct restore *r, const void *msg)
{
	const struct ns_roots *all = restore_state(r, &ns_roots_subsys);
	const struct ns_root *root;
	int64_t id = -1;

	root = message_get_number(msg, "mnt_id", &id) ? ns_roots_expected(r, id) : NULL;
	return root && root->fd >= 0 ? place_of(all, root, msg) : NULL;
}

bool ns_roots_is_future(struct restore *r, const void *msg)
{
	const struct ns_root *root;
	int64_t id = -1;

	root = message_get_number(msg, "mnt_id", &id) ? ns_roots_expected(r, id) : NULL;
	return root && (root->fd < 0 || find_mount(restore_state(r, &ns_roots_subsys), (int)id)->late);
}

const char *ns_roots_keep_dir(struct restore *r, const void *msg, const char *dir)
{
	struct ns_roots *all = restore_state(r, &ns_roots_subsys);
	_cleanup_lookup_ const struct lookup_root *before = lookup_now();
	int fd;

	lookup_in(ns_roots_of_message(r, msg));
	if (!lookup_now())
		return dir;
	fd = lookup_open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC, 0);
	if (fd < 0)
		return NULL;
	arena_push(r->arena, &all->kept, &all->n_kept, fd);
	return arena_printf(r->arena, "/proc/self/fd/%d", fd);
}

/* ---- both ---- */

static void close_one(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static void close_roots(struct ns_roots *all, bool own_fd)
{
	for (size_t i = 0; i < all->n; i++) {
		close_one(&all->all[i]->at.root);
		close_one(&all->all[i]->at.mounts);
		if (own_fd)
			close_one(&all->all[i]->fd);
	}
	for (size_t i = 0; i < all->n_kept; i++)
		close(all->kept[i]);
	for (struct covered_file *c = all->covered; c; c = c->next)
		close_one(&c->at.covered_fd);
	for (struct bare_copy *b = all->bare; b; b = b->next)
		close_one(&b->fd);
	all->n = all->n_kept = 0;
}

static void close_at_dump(struct dump *d)
{
	close_roots(dump_state(d, &ns_roots_subsys), true);
}

static void close_at_restore(struct restore *r)
{
	close_roots(restore_state(r, &ns_roots_subsys), false);
}

const struct subsys ns_roots_subsys = {
	.name = "roots of mount namespaces",
	.state = { .dump = sizeof(struct ns_roots), .restore = sizeof(struct ns_roots) },
	.end = close_at_dump,
	.done = close_at_restore,
};
