/* SPDX-License-Identifier: GPL-2.0-only */
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>

#include "options/inherited.h"
#include "lib/fd_flags.h"
#include "files/long_path.h"
#include "files/inherit.h"
#include "files/open_file.h"
#include "lib/fault.h"
#include "lib/log.h"
#include "lib/message.h"
#include "proc/fdinfo.h"
#include "regfile.pb-c.h"
#include "tree/ns_given.h"
#include "tree/subsys.h"

#define KEY_SIZE 48

/* One --inherit-fd. */
struct inherited {
	const char *resource;
	int fd, mode;     /* mode: O_ACCMODE */
	bool is_our_path; /* a file of the checkpoint has this very name, seen from our root */
	bool used, refused;
};

struct inherited_list {
	struct inherited *list;
	size_t n;
	const char **roots; /* of tasks that have another root than ours */
	size_t n_roots;
};

/* What --inherit-fd may call a file: its resource, or file[MOUNT:INODE] where the image tells these ("": it does not).
 */
struct file_resource {
	char name[PATH_MAX];
	char key[KEY_SIZE];
	bool is_external; /* the dump was told that it would be inherited */
};

const struct subsys inherit_subsys = { .name = "inherited descriptors",
	                               .state = { .restore = sizeof(struct inherited_list) } };

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

/* The path behind a file or a FIFO; NULL for all others. */
static const RegFileEntry *path_behind(struct restore *r, const struct open_file *f)
{
	const struct fd_kind *kind = f->kind;
	const void *m = f->msg;

	if (kind->type == FD_TYPES__FIFO)
		m = files_message(r, message_get_u32(m, "regf_id") ?: f->id, &kind);
	return kind && kind->type == FD_TYPES__REG ? m : NULL;
}

static uint32_t flags_of(struct restore *r, const struct open_file *f)
{
	const RegFileEntry *path = f->kind->type == FD_TYPES__FIFO ? path_behind(r, f) : NULL;

	return path ? path->flags : message_get_u32(f->msg, "flags");
}

/* A file that something wants and that can be inherited. What is only mapped is not known to be wanted yet. */
static bool can_be_inherited(const struct open_file *f)
{
	return f->kind && f->kind->resource && (open_file_is_wanted(f) || f->kind->inherits_mapped);
}

/* The same, with its name, of kinds for which --inherit-fd is matched here (itself: of those that do it themselves). */
static bool find_resource(struct restore *r, const struct open_file *f, bool itself, struct file_resource *res)
{
	const RegFileEntry *path;

	*res->name = *res->key = 0;
	res->is_external = false;
	if (!can_be_inherited(f) || f->kind->inherits_itself != itself)
		return false;
	f->kind->resource(r, f->msg, res->name, sizeof(res->name), &res->is_external);
	path = path_behind(r, f);
	if (path && path->has_seen_mnt_id && path->has_seen_ino)
		snprintf(res->key, KEY_SIZE, "file[%x:%llx]", path->seen_mnt_id, (unsigned long long)path->seen_ino);
	return *res->name;
}

/* Seen from our root, from a task's other root, or as /proc shows a deleted file if no file of ours has this name. */
static bool is_name_of(const struct inherited_list *all, const struct inherited *in, const struct file_resource *res)
{
	if (!strcmp(in->resource, res->key))
		return true;
	if (same_resource(in->resource, res->name) || (!in->is_our_path && same_deleted(in->resource, res->name)))
		return true;
	for (size_t i = 0; i < all->n_roots && !in->is_our_path; i++) {
		size_t len = strlen(all->roots[i]);

		if (!strncmp(res->name, all->roots[i], len) && res->name[len] == '/' &&
		    same_resource(in->resource, res->name + len))
			return true;
	}
	return false;
}

/* The next --inherit-fd from *i on that names the file; NULL: there are no more. */
static struct inherited *next_named(const struct inherited_list *all, size_t *i, const struct file_resource *res)
{
	while (*i < all->n) {
		struct inherited *in = &all->list[(*i)++];

		if (is_name_of(all, in, res))
			return in;
	}
	return NULL;
}

static bool has_access(int mode, uint32_t wanted)
{
	return mode == O_RDWR || wanted & O_PATH || mode == (int)(wanted & O_ACCMODE);
}

static bool is_of_kind(struct restore *r, const struct open_file *f, int fd)
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
	return f->kind->accepts_inherited ? f->kind->accepts_inherited(r, f->msg, &info) : f->kind->match(&info);
}

/* files/files_check.c logs it, with the tasks that want the file. */
static void refuse_inherited(struct restore *r, struct inherited *in, struct open_file *f, const char *why)
{
	in->refused = true;
	f->checked = true;
	f->problem = arena_printf(r->arena, "--inherit-fd fd[%d]:%s: %s the %s of the checkpoint (file %u, flags 0%o)",
	                          in->fd, in->resource, why, f->kind->name, f->id, flags_of(r, f));
}

static void use_inherited(struct open_file *f, const struct inherited *in, enum open_file_source source)
{
	f->inherited_fd = in->fd;
	f->source = source;
}

/* Files of just the access that a descriptor has come first. Returns whether any descriptor was named for this file. */
static bool match_exactly(struct restore *r, struct inherited_list *all, struct open_file *f,
                          const struct file_resource *res)
{
	bool named = false;
	struct inherited *in;

	for (size_t i = 0; f->inherited_fd < 0 && (in = next_named(all, &i, res));) {
		named = true;
		if (!is_of_kind(r, f, in->fd)) {
			refuse_inherited(r, in, f, "that descriptor is of another kind than");
			break;
		}
		if (!has_access(in->mode, flags_of(r, f)))
			continue;
		use_inherited(f, in, OPEN_FILE_INHERITED);
		in->used = true;
	}
	return named;
}

/* The other end of a pipe of which one end is inherited: opened through that. */
static void match_other_end(struct restore *r, struct inherited_list *all, struct open_file *f,
                            const struct file_resource *res)
{
	bool is_pipe = f->kind->type == FD_TYPES__PIPE || f->kind->type == FD_TYPES__FIFO;
	struct inherited *wrong = NULL, *in;

	for (size_t i = 0; f->inherited_fd < 0 && (in = next_named(all, &i, res));) {
		wrong = in;
		if (in->used && is_pipe)
			use_inherited(f, in, OPEN_FILE_OTHER_END);
	}
	if (f->inherited_fd < 0 && wrong && !f->problem)
		refuse_inherited(r, wrong, f, "that descriptor is open for another direction than");
}

static void match_file(struct restore *r, struct inherited_list *all, struct open_file *f)
{
	struct file_resource res;
	bool named = find_resource(r, f, false, &res) && match_exactly(r, all, f, &res);

	if (!res.is_external || named)
		return;
	f->checked = true;
	f->problem =
	    arena_printf(r->arena, "%s: the dump was told that it would be inherited; give --inherit-fd 'fd[N]:%s'",
	                 res.name, res.name);
}

static void add_root(struct restore *r, struct inherited_list *all, uint32_t id)
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

static int list_inherited(struct restore *r, struct inherited_list *all)
{
	for (size_t i = 0; i < r->opts->n_inherit_fd; i++) {
		struct inherited in = { .fd = -1 };
		int flags;

		in.resource = inherited_resource(r->opts->inherit_fd[i], &in.fd);
		if (!in.resource)
			continue;
		flags = fcntl(in.fd, F_GETFL);
		if (flags < 0)
			return log_errno(-errno, "--inherit-fd %s: fcntl(F_GETFL)", r->opts->inherit_fd[i]);
		in.mode = flags & O_ACCMODE;
		arena_push(r->arena, &all->list, &all->n, in);
	}
	for (size_t i = 0; i < r->tree.n_tasks && all->n; i++)
		if (r->tree.tasks[i]->fs)
			add_root(r, all, r->tree.tasks[i]->fs->root_id);
	return 0;
}

static void note_our_paths(struct restore *r, struct inherited_list *all)
{
	struct file_resource res;

	for (struct open_file *f = open_files_of(r)->by_id; f && all->n; f = f->hh.next)
		for (size_t i = 0; find_resource(r, f, false, &res) && i < all->n; i++)
			all->list[i].is_our_path =
			    all->list[i].is_our_path || same_resource(all->list[i].resource, res.name);
}

int inherit_check(struct restore *r)
{
	struct inherited_list *all = restore_state(r, &inherit_subsys);
	struct file_resource res;
	int err = list_inherited(r, all);

	if (err)
		return err;
	note_our_paths(r, all);
	for (struct open_file *f = open_files_of(r)->by_id; f; f = f->hh.next)
		match_file(r, all, f);
	for (struct open_file *f = open_files_of(r)->by_id; f && all->n; f = f->hh.next)
		if (f->inherited_fd < 0 && find_resource(r, f, false, &res))
			match_other_end(r, all, f, &res);
	return 0;
}

/* ---- what nothing took ---- */

/* The --inherit-fd of this resource that was used; NULL: none. */
static const struct inherited *used_for(const struct inherited_list *all, const char *resource)
{
	for (size_t i = 0; i < all->n; i++)
		if (all->list[i].used && same_resource(all->list[i].resource, resource))
			return &all->list[i];
	return NULL;
}

/* Kinds that look for theirs themselves take the first of a name. */
static void note_taken(struct inherited_list *all, const char *name)
{
	for (size_t i = 0; i < all->n; i++) {
		if (strcmp(all->list[i].resource, name))
			continue;
		all->list[i].used = true;
		return;
	}
}

#define HINTS 5

/* Against a mistyped number: the pipes, sockets and terminals that no descriptor was given for; "": there are none. */
static const char *resources_left(struct restore *r)
{
	const struct inherited_list *all = restore_state(r, &inherit_subsys);
	struct file_resource res;
	char last[PATH_MAX] = "";
	const char *text = "";
	unsigned n = 0;

	for (struct open_file *f = open_files_of(r)->by_id; f && n <= HINTS; f = f->hh.next) {
		if (f->inherited_fd >= 0 || !can_be_inherited(f) || path_behind(r, f) ||
		    !find_resource(r, f, f->kind->inherits_itself, &res) || !strcmp(res.name, last) ||
		    used_for(all, res.name))
			continue;
		text = n == HINTS ? arena_printf(r->arena, "%s, ...", text)
		                  : arena_printf(r->arena, "%s%s%s", text, n ? ", " : "; there are ", res.name);
		snprintf(last, sizeof(last), "%s", res.name);
		n++;
	}
	return text;
}

void inherit_tell(struct restore *r)
{
	struct inherited_list *all = restore_state(r, &inherit_subsys);
	struct file_resource res;
	const char *left = NULL;

	for (struct open_file *f = open_files_of(r)->by_id; f && all->n; f = f->hh.next)
		if (find_resource(r, f, true, &res))
			note_taken(all, res.name);
	for (size_t i = 0; i < all->n; i++) {
		const struct inherited *in = &all->list[i], *other = used_for(all, in->resource);

		if (in->used || in->refused || (other && other->fd == in->fd) || ns_given_takes(r, in->resource))
			continue;
		left = left ?: resources_left(r);
		if (other)
			log_warn("--inherit-fd fd[%d]:%s: fd[%d] has taken that place already", in->fd, in->resource,
			         other->fd);
		else
			log_warn("--inherit-fd fd[%d]:%s: nothing in the checkpoint has this name%s", in->fd,
			         in->resource, left);
	}
}

/* ---- opening ---- */

static int put_flags_back(const struct undo *u)
{
	int flags;

	if (u->data_len != sizeof(flags))
		return -EINVAL;
	memcpy(&flags, u->data, sizeof(flags));
	return fcntl(u->fd, F_SETFL, flags) ? -errno : 0;
}

/*
 * A program that waits in epoll alone would hang in a read that blocks. The flags of what cannot be opened anew are
 * those of criu's caller too: they are put back if the restore fails.
 */
int inherit_nonblock(struct restore *r, int inherited_fd, uint32_t flags)
{
	int now = fcntl(inherited_fd, F_GETFL);
	struct undo u = {
		.type = UNDO_CALL, .call = put_flags_back, .fd = inherited_fd, .data = &now, .data_len = sizeof(now)
	};
	int number;

	if (now < 0)
		return -errno;
	if (!((uint32_t)now & O_NONBLOCK) == !(flags & O_NONBLOCK))
		return 0;
	number = guardian_note(r->guardian, &u);
	if (number < 0)
		return number;
	fault_point("flags of an inherited descriptor changed");
	return fcntl(inherited_fd, F_SETFL, now ^ O_NONBLOCK) ? -errno : 0;
}

/* An end of a pipe as the task had it: its own description, flags and direction. Does not wait for another end. */
static int reopen_pipe(int inherited_fd, uint32_t flags)
{
	uint32_t how = flags & (O_ACCMODE | O_NONBLOCK | O_DIRECT);
	int fd = fd_flags_reopen(inherited_fd, how | O_NONBLOCK), err;

	if (fd < 0)
		return fd;
	err = fd_flags_restore(fd, how);
	if (err)
		close(fd);
	return err ?: fd;
}

int inherit_open(struct restore *r, struct open_file *f)
{
	uint32_t flags = flags_of(r, f);
	int ours = -EINVAL, err = 0;
	struct stat st;

	if (fstat(f->inherited_fd, &st))
		return log_errno(-errno, "file %u: fstat of inherited descriptor %d", f->id, f->inherited_fd);
	if (S_ISFIFO(st.st_mode))
		ours = reopen_pipe(f->inherited_fd, flags);
	if (ours >= 0) {
		f->source = OPEN_FILE_REOPENED;
		return ours;
	}
	if (f->source == OPEN_FILE_OTHER_END)
		return log_errno(ours, "file %u: reopening inherited descriptor %d", f->id, f->inherited_fd);
	if (S_ISFIFO(st.st_mode) || S_ISSOCK(st.st_mode)) /* a terminal would be changed for the shell, too */
		err = inherit_nonblock(r, f->inherited_fd, flags);
	if (err)
		return log_errno(err, "file %u: setting O_NONBLOCK of inherited descriptor %d", f->id, f->inherited_fd);
	ours = fcntl(f->inherited_fd, F_DUPFD_CLOEXEC, 3);
	return ours < 0 ? log_errno(-errno, "file %u: fcntl(F_DUPFD_CLOEXEC) of inherited descriptor %d", f->id,
	                            f->inherited_fd)
	                : ours;
}
