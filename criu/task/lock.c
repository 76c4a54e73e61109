/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * File locks and leases (--file-locks), as /proc/PID/fdinfo shows them. A lock is shown with the open file through
 * which it was taken, and with that alone: flock(2), OFD locks and leases belong to it, so it is shown by all
 * descriptors of it, in all tasks; a POSIX lock belongs to the descriptor table, and is shown by that table's
 * descriptors of the file. (It cannot outlive them: to close any descriptor of the file drops it.) So a task that shows
 * a lock can take it again.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/syscall.h>

#include "proc/fdinfo.h"
#include "lib/log.h"
#include "lib/message.h"
#include "task/answer.h"
#include "task/lock_holders.h"
#include "task/lock_lease.h"
#include "tree/inventory.h"

extern const struct task_part lock_part;

/* ---- dump ---- */

/* Locks of one open file (posix false), or POSIX locks of one descriptor table through it. */
struct locks_seen {
	struct {
		uint32_t id, files_id;
		uint64_t posix;
	} key;
	const struct file_locked *from; /* the descriptor met first; the others show the same locks */
	UT_hash_handle hh;
};

/* Tasks by our pid, as /proc names the taker of a lock. */
struct lock_task {
	pid_t pid;
	const struct task *task;
	UT_hash_handle hh;
};

struct lock_dump {
	struct dump *d;
	struct locks_seen *seen;
	struct lock_task *tasks;
	struct outsiders outsiders;
	struct image *img;
};

static void index_tasks(struct lock_dump *ld)
{
	for (size_t i = 0; i < ld->d->tree.n_tasks; i++) {
		struct lock_task *p = arena_new_of(ld->d->arena, struct lock_task);

		p->task = ld->d->tree.tasks[i];
		p->pid = task_id(p->task);
		HASH_ADD_IN(ld->d->arena, hh, ld->tasks, pid, sizeof(p->pid), p);
	}
}

static const struct task *find_taker(const struct lock_dump *ld, pid_t pid)
{
	struct lock_task *p;

	HASH_FIND_INT(ld->tasks, &pid, p);
	return p ? p->task : NULL;
}

static int compare_number(const void *number, const void *entry)
{
	uint32_t x = *(const uint32_t *)number, y = (*(FdinfoEntry *const *)entry)->fd;

	return (x > y) - (x < y);
}

static const FdinfoEntry *find_fd(const struct task *t, uint32_t number)
{
	FdinfoEntry **e = t->n_fds ? bsearch(&number, t->fds, t->n_fds, sizeof(*t->fds), compare_number) : NULL;

	return e ? *e : NULL;
}

/* Whether this descriptor is the first one met that shows these locks. */
static bool is_first(struct lock_dump *ld, const struct file_locked *l, uint32_t id, bool posix)
{
	struct locks_seen *s, key = { .key.id = id, .key.posix = posix };

	if (posix)
		key.key.files_id = l->task->ids->files_id;
	HASH_FIND(hh, ld->seen, &key.key, sizeof(key.key), s);
	if (!s) {
		s = arena_new_of(ld->d->arena, struct locks_seen);
		s->key = key.key;
		s->from = l;
		HASH_ADD_IN(ld->d->arena, hh, ld->seen, key, sizeof(s->key), s);
	}
	return s->from == l;
}

/* With what a lease that is being broken is to become. (The kernel shows one without that mark, when it is over.) */
static bool note_lease(const struct file_locked *l, const struct lock_line *line, FileLockEntry *e)
{
	if (line->kind != LOCK_LEASE)
		return true;
	if (line->breaking)
		e->type |= LOCK_TYPE_BREAKING;
	if (line->breaking)
		log_info("%s: fd %d: %s: its lease is being broken by a process that opens the file",
		         task_name(l->task), l->number, l->link);
	return line->breaking || line->type != F_UNLCK;
}

static int dump_lock(struct lock_dump *ld, const struct file_locked *l, const struct lock_line *line)
{
	FileLockEntry e = FILE_LOCK_ENTRY__INIT;
	const struct task *taker = find_taker(ld, line->pid);
	int err = 0;

	e.type = (uint32_t)line->type;
	if (!note_lease(l, line, &e))
		return 0;
	if (lock_lease_is_mapped(&ld->d->tree, line))
		return log_refusal(0,
		                   "%s: fd %d: %s: a write lease on a file that is mapped as well: the restored "
		                   "mapping would be in its way; give the lease up (fcntl(F_SETLEASE, F_UNLCK)) or "
		                   "unmap the file before the dump",
		                   task_name(l->task), l->number, l->link);
	/* Of tasks that share a table, the one that took the lock takes it again: F_GETLK tells its pid to others. */
	if (!taker || !taker->ids || taker->ids->files_id != l->task->ids->files_id)
		taker = l->task;
	if (line->kind == LOCK_FLOCK || line->kind == LOCK_OFD)
		lock_holders_warn(ld->d, &ld->outsiders, l,
		                  line->pid > 0 && !find_taker(ld, line->pid) ? line->pid : 0);
	e.flag = line->kind;
	e.pid = taker->vpid.v;
	e.fd = l->number;
	e.start = line->start;
	e.len = line->len;
	if (!ld->img)
		err = image_create(ld->d->dir, IMG_FILE_LOCKS, 0, &ld->img);
	return err ?: image_write(ld->img, &e);
}

static int dump_descriptor(struct lock_dump *ld, const struct file_locked *l)
{
	const FdinfoEntry *fd = find_fd(l->task, (uint32_t)l->number);
	bool own, common;
	int err = 0;

	if (!fd) /* the descriptor was refused */
		return 0;
	own = is_first(ld, l, fd->id, true);
	common = is_first(ld, l, fd->id, false);
	for (const char *text = l->info; !err && text; text = proc_next_line(text)) {
		struct lock_line line;

		if (strncmp(text, "lock:", 5))
			continue;
		if (lockline_parse(text, &line)) {
			log_refusal(-ENOTSUP,
			            "%s: fd %d: %s: a lock of unknown kind is held on it (%.*s); give it up before "
			            "the dump",
			            task_name(l->task), l->number, l->link, (int)strcspn(text, "\n"), text);
			break;
		}
		if (line.kind == LOCK_POSIX ? own : common)
			err = dump_lock(ld, l, &line);
	}
	return err;
}

/* Of a file that is only in flight, so that no task can take its locks again. (POSIX locks are not shown there.) */
static void refuse_in_flight(struct lock_dump *ld, const struct file_locked *l)
{
	if (l->number < 0 && is_first(ld, l, l->id, false))
		log_refusal(-ENOTSUP,
		            "%s: %s: a file lock is held on a file that is in flight in a socket, and open nowhere "
		            "else: receive it before the dump",
		            task_name(l->task), l->link);
}

static int locks_collected(struct dump *d)
{
	struct lock_dump ld = { .d = d };
	const struct file_locked **all = NULL;
	size_t n = 0;
	int err = 0;

	if (!files_locked(d))
		return 0;
	index_tasks(&ld);
	for (const struct file_locked *l = files_locked(d); l; l = l->next)
		arena_push(d->arena, &all, &n, l);
	for (size_t i = n; !err && i > 0; i--) /* the list has the last one first */
		if (all[i - 1]->number >= 0)
			err = dump_descriptor(&ld, all[i - 1]);
	for (size_t i = 0; !err && i < n; i++)
		refuse_in_flight(&ld, all[i]);
	if (err) {
		image_cleanup(&ld.img);
		return err;
	}
	return image_close(ld.img);
}

/* ---- restore ---- */

/* The locks of one task, by its pid in the images. */
struct task_locks {
	int32_t pid;
	FileLockEntry **locks;
	size_t n;
	UT_hash_handle hh;
};

static struct task_locks *locks_of(const struct restore *r, const struct task *t)
{
	struct task_locks *l, **all = restore_state(r, &lock_part);

	HASH_FIND_INT(*all, &t->vpid.v, l);
	return l;
}

/* Our older images have the numbers of these two the other way round. */
static uint32_t true_flag(const struct restore *r, uint32_t flag)
{
	if (inventory_has_crius_numbers(r->inventory) || (flag != LOCK_POSIX && flag != LOCK_FLOCK))
		return flag;
	return flag == LOCK_POSIX ? LOCK_FLOCK : LOCK_POSIX;
}

static int add_lock(struct restore *r, FileLockEntry *e)
{
	const struct task *t = tree_find(&r->tree, VPID(e->pid));
	struct task_locks *l;

	if (!t || t->state == TASK_DEAD)
		return log_errno(-EINVAL, "filelocks.img: a lock of pid %d, which is not in the checkpoint", e->pid);
	e->flag = true_flag(r, e->flag);
	l = locks_of(r, t);
	if (!l) {
		l = arena_new_of(r->arena, struct task_locks);
		l->pid = t->vpid.v;
		HASH_ADD_IN(r->arena, hh, *(struct task_locks **)restore_state(r, &lock_part), pid, sizeof(l->pid), l);
	}
	arena_push(r->arena, &l->locks, &l->n, e);
	return 0;
}

static int locks_read_images(struct restore *r)
{
	_cleanup_image_ struct image *img = NULL;
	int err = image_open(r->dir, IMG_FILE_LOCKS, 0, &img);
	FileLockEntry *e;

	if (err)
		return err == -ENOENT ? 0 : err;
	while ((err = image_read(img, &file_lock_entry__descriptor, r->arena, &e)) > 0) {
		err = add_lock(r, e);
		if (err)
			return err;
	}
	return err;
}

static bool is_known_lock(const FileLockEntry *e)
{
	bool range = e->flag == LOCK_POSIX || e->flag == LOCK_OFD;

	if (e->flag == LOCK_LEASE)
		return lock_lease_is_known(e);
	if (!range && e->flag != LOCK_FLOCK)
		return false;
	return (e->type == F_RDLCK || e->type == F_WRLCK) && e->start >= 0 && e->len >= 0 &&
	       (!e->len || e->start <= INT64_MAX - e->len);
}

/* Whether a descriptor can take a lock: locks of ranges need one open for reading or writing, as they are. */
static bool can_take(const FileLockEntry *e, uint32_t flags)
{
	uint32_t mode = flags & O_ACCMODE;

	if (flags & O_PATH)
		return false;
	if (e->flag != LOCK_POSIX && e->flag != LOCK_OFD)
		return true;
	return mode == O_RDWR || mode == (e->type == F_WRLCK ? O_WRONLY : O_RDONLY);
}

static int locks_check(struct restore *r, const struct thread *th)
{
	const struct task_locks *l = locks_of(r, th->task);
	char text[96];

	log_about("filelocks.img, or fdinfo-%lu.img", th->task->ids ? th->task->ids->files_id : 0);
	for (size_t i = 0; l && i < l->n; i++) {
		const FileLockEntry *e = l->locks[i];
		const FdinfoEntry *fd = find_fd(th->task, (uint32_t)e->fd);
		const struct fd_kind *kind = NULL;
		const void *msg = fd ? files_message(r, fd->id, &kind) : NULL;

		if (!is_known_lock(e))
			return log_refusal(
			    -ENOTSUP, "%s: filelocks.img: a lock on fd %d of unknown kind (%u), type (%u) or range",
			    task_name(th->task), e->fd, e->flag, e->type);
		/* The messages of other kinds do not have all flags: then the kernel will tell. */
		if (!msg || (kind == kind_by_fd_type(FD_TYPES__REG) && !can_take(e, message_get_u32(msg, "flags"))))
			return log_refusal(-EBADF, "%s: fd %d %s to take %s", task_name(th->task), e->fd,
			                   fd ? "is not open in a way" : "is not open",
			                   lock_holders_text(e, text, sizeof(text)));
	}
	return 0;
}

/* The message of the file that a lock is on; *flags: of the description. */
static const RegFileEntry *locked_file(struct restore *r, const struct task *t, const FileLockEntry *e, uint32_t *flags)
{
	const FdinfoEntry *fd = find_fd(t, (uint32_t)e->fd);
	const struct fd_kind *kind = NULL;
	const void *msg = fd ? files_message(r, fd->id, &kind) : NULL;

	*flags = msg ? message_get_u32(msg, "flags") : 0;
	return kind == kind_by_fd_type(FD_TYPES__REG) ? msg : NULL;
}

/* Adds the call that takes a lock. flags: of the description. */
static int ask_lock(struct batch *b, const FileLockEntry *e, uint32_t flags)
{
	struct flock range = { .l_type = (short)e->type, .l_start = e->start, .l_len = e->len };

	switch (e->flag) {
	case LOCK_FLOCK:
		return batch_ask(b, SYS_flock, (uint64_t)e->fd, (e->type == F_WRLCK ? LOCK_EX : LOCK_SH) | LOCK_NB);
	case LOCK_LEASE:
		return batch_ask(b, SYS_fcntl, (uint64_t)e->fd, F_SETLEASE,
		                 lock_lease_is_breaking(e) ? lock_lease_before(e, flags) : (int)e->type);
	default:
		return batch_ask(b, SYS_fcntl, (uint64_t)e->fd, e->flag == LOCK_OFD ? F_OFD_SETLK : F_SETLK,
		                 batch_data(b, &range, sizeof(range)));
	}
}

#define LOCKS_A_BATCH 64

/* got: what came of taking it. */
static int after_taking(struct restore *r, const struct task *t, struct batch *b, const FileLockEntry *e, int got)
{
	const RegFileEntry *m;
	uint32_t flags;

	if (lock_lease_is_breaking(e) && got == -EAGAIN)
		return lock_lease_over(t, b, e);
	if (got < 0)
		return lock_holders_refused(t, e, got);
	if (!lock_lease_is_breaking(e))
		return 0;
	m = locked_file(r, t, e, &flags);
	return lock_lease_break(r, t, e, m ? m->fown : NULL);
}

static int take_locks(struct restore *r, const struct task *t, struct batch *b, FileLockEntry *const *locks, size_t n)
{
	int op[LOCKS_A_BATCH], got[LOCKS_A_BATCH], err;
	uint32_t flags;

	batch_reserve(b, (unsigned)n, n * sizeof(struct flock));
	for (size_t i = 0; i < n; i++) {
		locked_file(r, t, locks[i], &flags);
		op[i] = ask_lock(b, locks[i], flags);
	}
	err = batch_run(b);
	for (size_t i = 0; i < n; i++) /* the next call takes the results away */
		got[i] = err ? 0 : (int)batch_ret(b, op[i]);
	for (size_t i = 0; !err && i < n; i++)
		err = after_taking(r, t, b, locks[i], got[i]);
	return err;
}

static int locks_restore(struct restore *r, struct thread *th, struct batch *b)
{
	const struct task_locks *l = locks_of(r, th->task);
	size_t chunk = MIN(LOCKS_A_BATCH, batch_capacity(b));
	int err = 0;

	for (size_t i = 0; l && !err && i < l->n; i += chunk)
		err = take_locks(r, th->task, b, l->locks + i, MIN(l->n - i, chunk));
	return err;
}

const struct task_part lock_part = {
	.name = "file locks",
	.state = { .restore = sizeof(struct task_locks *) },
	.all_collected = locks_collected,
	.read_images = locks_read_images,
	.check = locks_check,
	.restore = locks_restore,
};
