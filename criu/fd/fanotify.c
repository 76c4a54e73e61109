/* SPDX-License-Identifier: GPL-2.0-only */
/* fanotify: groups and their marks, on inodes, mounts and file systems. Events that were not read yet are lost. */
#include <fcntl.h>
#include <sched.h>
#include <string.h>
#include <sys/fanotify.h>
#include <sys/ioctl.h>
#include <sys/sysmacros.h>

#include "files/files.h"
#include "helper/ns_roots.h"
#include "lib/log.h"
#include "tree/ns_ids.h"
#include "path/watched.h"
#include "fsnotify.pb-c.h"
#include "uapi/fanotify_bits.h"

extern const struct fd_kind fanotify_kind;

/* Events for which the process that causes them waits. */
#define PERMISSION_EVENTS (FAN_OPEN_PERM | FAN_ACCESS_PERM | FAN_OPEN_EXEC_PERM | FAN_PRE_ACCESS)

struct fanotify_group {
	FanotifyFileEntry *m;
	struct task *task;
	const char *name;
	struct fanotify_group *next;
};

struct fanotify_dump {
	struct fanotify_group *first;
	struct watched_inodes inodes;
};

static bool fanotify_match(const struct fd_info *info)
{
	return !strcmp(info->link, "anon_inode:[fanotify]");
}

/* ---- fdinfo ---- */

static int parse_inode_mark(struct dump *d, const char *line, FanotifyMarkEntry *e)
{
	unsigned long long ino;

	if (sscanf(line, "fanotify ino:%llx sdev:%x mflags:%x mask:%x ignored_mask:%x", &ino, &e->s_dev, &e->mflags,
	           &e->mask, &e->ignored_mask) != 5)
		return -EBADMSG;
	e->type = MARK_TYPE__INODE;
	e->ie = arena_msg(d->arena, FanotifyInodeMarkEntry, fanotify_inode_mark_entry);
	e->ie->i_ino = ino;
	e->ie->f_handle = fhandle_parse(d->arena, line, strlen(line));
	return e->ie->f_handle ? 0 : -EBADMSG;
}

static int parse_fanotify_mark(struct dump *d, const char *line, FanotifyMarkEntry *e)
{
	unsigned mnt_id = 0;

	if (!strncmp(line, "fanotify ino:", 13))
		return parse_inode_mark(d, line, e);
	if (sscanf(line, "fanotify mnt_id:%x mflags:%x mask:%x ignored_mask:%x", &mnt_id, &e->mflags, &e->mask,
	           &e->ignored_mask) != 4) {
		if (sscanf(line, "fanotify sdev:%x mflags:%x mask:%x ignored_mask:%x", &e->s_dev, &e->mflags, &e->mask,
		           &e->ignored_mask) != 4)
			return -EBADMSG;
		e->has_filesystem = e->filesystem = true;
	}
	/* Of a file system: by any of its mounts, since CRIU knows no such mark. */
	e->type = MARK_TYPE__MOUNT;
	e->me = arena_msg(d->arena, FanotifyMountMarkEntry, fanotify_mount_mark_entry);
	e->me->mnt_id = mnt_id;
	return 0;
}

/* "fanotify flags:13 event-flags:8000", then a line for each mark. */
static int parse_fanotify_line(struct dump *d, const struct fd_info *info, FanotifyFileEntry *m, const char *line)
{
	FanotifyMarkEntry *e;

	if (sscanf(line, "fanotify flags:%x event-flags:%x", &m->faflags, &m->evflags) == 2)
		return 0;
	e = arena_msg(d->arena, FanotifyMarkEntry, fanotify_mark_entry);
	e->id = m->id;
	if (parse_fanotify_mark(d, line, e)) {
		log_refusal(-ENOTSUP, "%s: fanotify: this kind of mark is not known: %s; remove it before the dump",
		            fd_name(info), line);
		return 0;
	}
	arena_push(d->arena, &m->mark, &m->n_mark, e);
	if (e->ie) {
		struct watched_inode w = {
			.task = info->task,
			.s_dev = e->s_dev,
			.ino = e->ie->i_ino,
			.fh = e->ie->f_handle,
			.file_id = &e->ie->file_id,
		};

		w.name = arena_printf(d->arena, "%s: fanotify: a mark", fd_name(info));
		watched_add(d, &((struct fanotify_dump *)dump_state(d, &fanotify_kind))->inodes, &w);
	}
	return 0;
}

static int fanotify_dump(struct dump *d, const struct fd_info *info, void *msg)
{
	struct fanotify_dump *s = dump_state(d, &fanotify_kind);
	struct fanotify_group *w = arena_new_of(d->arena, struct fanotify_group);
	FanotifyFileEntry *m = msg;
	int bytes = 0, err = 0;

	for (const char *line = info->info, *end; *line && !err; line = *end ? end + 1 : end) {
		end = strchrnul(line, '\n');
		if (!strncmp(line, "fanotify ", 9))
			err = parse_fanotify_line(d, info, m, arena_printf(d->arena, "%.*s", (int)(end - line), line));
	}
	if (!ioctl(info->fd, FIONREAD, &bytes) && bytes)
		log_warn("%s: fanotify: %d bytes of events were not read yet; they are lost in a restore%s",
		         fd_name(info), bytes,
		         m->faflags & (FAN_CLASS_CONTENT | FAN_CLASS_PRE_CONTENT)
		             ? ", and processes that wait for an answer to one are let through"
		             : "");
	w->m = m;
	w->task = info->task;
	w->name = arena_strdup(d->arena, fd_name(info));
	w->next = s->first;
	s->first = w;
	return err ?: DUMP_LATER;
}

/* ---- mounts ---- */

/*
 * Whether criu's own files lie where the group has to be asked: criu would wait for a task that it has frozen. Only for
 * marks on a mount or a whole file system.
 */
static bool asks_criu(const struct options *o, const FanotifyMarkEntry *e)
{
	const char *const dirs[] = { o->images_dir, o->work_dir };
	struct stat here, st;

	if (!e->me || !e->me->path || !(e->mask & PERMISSION_EVENTS) || stat(e->me->path, &st))
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(dirs); i++)
		if (!stat(dirs[i], &here) && here.st_dev == st.st_dev)
			return true;
	return false;
}

/* Whether the path still leads to that mount: another may lie over it. */
static bool is_mount_visible(const struct mount_at *m)
{
	return mountinfo_mount_id(AT_FDCWD, m->path) == m->id;
}

/* In a mount namespace of the tree's own. */
static void find_mark_in_ns(struct dump *d, const struct fanotify_group *w, FanotifyMarkEntry *e)
{
	_cleanup_lookup_ const struct lookup_root *before = lookup_now();
	const struct ns_root *ns = w->task->ids ? ns_roots_find(d, w->task->ids->mnt_ns_id) : NULL;

	lookup_in(ns ? &ns->at : NULL);
	for (size_t i = 0; ns && i < ns->n_mounts && !e->me->path; i++) {
		const struct mount_at *m = &ns->mounts[i];

		if ((e->filesystem ? m->s_dev != e->s_dev : m->id != (int)e->me->mnt_id) || !is_mount_visible(m))
			continue;
		e->s_dev = m->s_dev;
		e->me->mnt_id = (uint32_t)m->id;
		e->me->path = (char *)m->path;
	}
}

static void find_marked_mount(struct dump *d, const struct fanotify_group *w, const struct fhandles *h,
                              FanotifyMarkEntry *e)
{
	for (size_t i = 0; i < h->n && !e->me->path; i++) {
		const struct mount_at *m = &h->mounts[i];

		if (e->filesystem ? m->s_dev != e->s_dev : m->id != (int)e->me->mnt_id)
			continue;
		if (!is_mount_visible(m))
			continue;
		e->s_dev = m->s_dev;
		e->me->mnt_id = (uint32_t)m->id;
		e->me->path = arena_strdup(d->arena, m->path);
	}
	if (!e->me->path && ns_ids_any(d, CLONE_NEWNS))
		find_mark_in_ns(d, w, e);
	if (!e->me->path && e->filesystem)
		log_refusal(-ENOENT,
		            "%s: fanotify: it marks a file system (%u:%u) that is not mounted here; remove the mark, "
		            "or run criu where it is mounted",
		            w->name, e->s_dev >> 20, e->s_dev & 0xfffff);
	else if (!e->me->path)
		log_refusal(
		    -ENOENT,
		    "%s: fanotify: it marks mount %u, which is not in the mount namespace of criu, or lies under "
		    "another mount; remove the mark before the dump",
		    w->name, e->me->mnt_id);
}

static int fanotify_collected(struct dump *d)
{
	struct fanotify_dump *s = dump_state(d, &fanotify_kind);
	struct fhandles mounts = { 0 };
	int err = watched_find(d, &s->inodes);

	if (!err && s->first)
		err = fhandle_init(&mounts, d->arena);
	for (struct fanotify_group *w = s->first; w && !err; w = w->next) {
		for (size_t i = 0; i < w->m->n_mark; i++) {
			FanotifyMarkEntry *e = w->m->mark[i];

			if (e->me)
				find_marked_mount(d, w, &mounts, e);
			else
				e->ie->has_file_id = e->ie->file_id != 0;
			if (asks_criu(d->opts, e))
				log_refusal(
				    -EDEADLK,
				    "%s: fanotify: this group has to allow every open of a file below %s, by criu too, "
				    "whose images or logs lie there; give directories on another file system (-D, -W)",
				    w->name, e->me->path);
		}
		err = files_write_entry(d, &fanotify_kind, w->m->id, w->m);
	}
	return err;
}

/* ---- restore ---- */

static int check_marked_mount(struct restore *r, const FanotifyMountMarkEntry *me, const char **why)
{
	const struct ns_root *ns = ns_roots_expected(r, me->mnt_id);
	struct statx st;

	if (ns && ns->fd < 0) /* looked at when it is opened */
		return 0;
	if (!me->path || me->path[0] != '/') {
		*why =
		    arena_printf(r->arena, "fanotify: it marks mount %u, whose path is not in the image", me->mnt_id);
		return -EINVAL;
	}
	if (statx(AT_FDCWD, me->path, AT_NO_AUTOMOUNT, STATX_TYPE, &st)) {
		*why = arena_printf(r->arena, "fanotify: it marks the mount at %s: %s", me->path, strerror(errno));
		return -ENOENT;
	}
	if ((st.stx_attributes_mask & STATX_ATTR_MOUNT_ROOT) && !(st.stx_attributes & STATX_ATTR_MOUNT_ROOT)) {
		*why = arena_printf(r->arena, "fanotify: it marks the mount at %s, where nothing is mounted", me->path);
		return -ENOENT;
	}
	return 0;
}

static int fanotify_check(struct restore *r, const void *msg, const char **why)
{
	const FanotifyFileEntry *m = msg;
	int err = 0;

	for (size_t i = 0; i < m->n_mark && !err; i++) {
		const FanotifyMarkEntry *e = m->mark[i];

		if (e->type == MARK_TYPE__MOUNT ? !e->me : !e->ie) {
			*why = "fanotify: a mark does not say what it is on";
			err = -EINVAL;
		} else if (e->me) {
			err = check_marked_mount(r, e->me, why);
			if (!err && asks_criu(r->opts, e)) {
				*why = arena_printf(
				    r->arena,
				    "fanotify: this group would have to allow every open of a file below %s, by criu "
				    "too; give directories on another file system (-D, -W)",
				    e->me->path);
				err = -EDEADLK;
			}
		} else {
			err = watched_check(r, e->s_dev, e->ie->f_handle, e->ie->has_file_id ? e->ie->file_id : 0, why);
		}
	}
	watched_close_mounts(r);
	return err;
}

static int fanotify_open(struct restore *r, const void *msg)
{
	const FanotifyFileEntry *m = msg;
	/* /proc shows FAN_CLOEXEC and FAN_NONBLOCK as they were given, whatever became of the descriptor. */
	_cleanup_close_ int fd = fanotify_init(m->faflags, m->evflags);

	if (fd < 0)
		return log_errno(-errno, "fanotify_init (flags %x, %x)", m->faflags, m->evflags);
	if (fcntl(fd, F_SETFD, FD_CLOEXEC) || fcntl(fd, F_SETFL, m->flags & O_NONBLOCK))
		return log_errno(-errno, "fanotify: fcntl(F_SETFD, F_SETFL)");
	return move_fd(&fd);
}

static int mark_path(int fd, const FanotifyMarkEntry *e, const char *path)
{
	unsigned on = e->filesystem ? FAN_MARK_FILESYSTEM : e->type == MARK_TYPE__MOUNT ? FAN_MARK_MOUNT : 0;
	unsigned how = FAN_MARK_ADD | on | (e->mflags & FAN_MARK_EVICTABLE);
	unsigned ignore = e->mflags & FAN_MARK_IGNORE ? FAN_MARK_IGNORE : FAN_MARK_IGNORED_MASK;

	/* An existing mark cannot be made evictable: the flag stands with both calls. */
	if (e->mask && fanotify_mark(fd, how, e->mask, AT_FDCWD, path))
		return -errno;
	if (e->ignored_mask && fanotify_mark(fd, how | ignore | (e->mflags & FAN_MARK_IGNORED_SURV_MODIFY),
	                                     e->ignored_mask, AT_FDCWD, path))
		return -errno;
	return 0;
}

static int open_marked(struct restore *r, const FanotifyMountMarkEntry *me)
{
	_cleanup_lookup_ const struct lookup_root *before = lookup_now();
	const struct ns_root *ns = ns_roots_expected(r, me->mnt_id);

	lookup_in(ns && ns->fd >= 0 ? &ns->at : NULL);
	return lookup_open(me->path, O_PATH | O_CLOEXEC, 0);
}

static int restore_mark(struct restore *r, int fd, const FanotifyMarkEntry *e)
{
	_cleanup_close_ int target = -1;
	const char *name = e->me ? e->me->path : e->ie->f_handle->path ?: "a file known by its handle";
	char path[40];
	int err;

	if (e->me)
		target = open_marked(r, e->me);
	else
		target = watched_open(r, e->s_dev, e->ie->f_handle, e->ie->has_file_id ? e->ie->file_id : 0);
	if (target < 0)
		return log_errno(e->me ? -errno : target, "fanotify: open of %s", name);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", target);
	err = mark_path(fd, e, path);
	return err ? log_errno(err, "fanotify_mark of %s (events %x, ignored %x, flags %x)", name, e->mask,
	                       e->ignored_mask, e->mflags)
	           : 0;
}

static int fanotify_post_open(struct restore *r, const void *msg, int fd)
{
	const FanotifyFileEntry *m = msg;
	int err = 0;

	for (size_t i = 0; i < m->n_mark && !err; i++)
		err = restore_mark(r, fd, m->mark[i]);
	watched_close_mounts(r);
	return err;
}

const struct fd_kind fanotify_kind = {
	.name = "fanotify",
	.state = { .dump = sizeof(struct fanotify_dump) },
	.type = FD_TYPES__FANOTIFY,
	.field = 14,
	.pb = &fanotify_file_entry__descriptor,
	.match = fanotify_match,
	.dump = fanotify_dump,
	.all_collected = fanotify_collected,
	.check = fanotify_check,
	.open = fanotify_open,
	.post_open = fanotify_post_open,
};
