/* SPDX-License-Identifier: GPL-2.0-only */
/* Terminals at dump: what a descriptor is, and the terminal behind it. */
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>

#include "options/external.h"
#include "files/files.h"
#include "lib/log.h"
#include "path/pathfile.h"
#include "regfile.pb-c.h"
#include "tty/params.h"
#include "tty/tty_dump.h"

#define VT_MAJOR  4
#define VT_MAX    63
#define AUX_MAJOR 5 /* /dev/tty, /dev/console, /dev/ptmx */
#define PTS_MAJOR 136

static bool is_aux(const struct stat *st, unsigned minor)
{
	return major(st->st_rdev) == AUX_MAJOR && minor(st->st_rdev) == minor;
}

/* Those that were hung up answer nothing; of these, only what can be told from its number is known. */
bool tty_match(const struct fd_info *info)
{
	unsigned major = major(info->st.st_rdev);

	if (!S_ISCHR(info->st.st_mode) || (info->flags & O_PATH) || info->by_path)
		return false;
	return major == PTS_MAJOR || major == VT_MAJOR || major == AUX_MAJOR || isatty(info->fd);
}

static TtyType type_of(const struct stat *st)
{
	if (major(st->st_rdev) == PTS_MAJOR || is_aux(st, 2))
		return TTY_TYPE__PTY;
	if (is_aux(st, 0))
		return TTY_TYPE__CTTY;
	if (is_aux(st, 1))
		return TTY_TYPE__CONSOLE;
	return major(st->st_rdev) == VT_MAJOR && minor(st->st_rdev) <= VT_MAX ? TTY_TYPE__VT : TTY_TYPE__SERIAL;
}

static struct tty_dump *state_of(struct dump *d)
{
	return dump_state(d, &tty_kind);
}

/* ---- one terminal ---- */

static struct term *new_term(struct dump *d, struct tty_dump *td, const struct fd_info *info)
{
	struct term *t = arena_new_of(d->arena, struct term);

	t->entry = arena_msg(d->arena, TtyInfoEntry, tty_info_entry);
	t->entry->id = (uint32_t)td->n + 1;
	t->entry->rdev = (uint32_t)info->st.st_rdev;
	t->entry->has_dev = t->entry->has_uid = t->entry->has_gid = true;
	t->entry->dev = (uint32_t)info->st.st_dev;
	t->entry->uid = info->st.st_uid;
	t->entry->gid = info->st.st_gid;
	t->task = info->task;
	t->number = info->number;
	t->held = info->number < 0 ? info->fd : -1;
	t->who = arena_strdup(d->arena, fd_name(info));
	t->link = arena_strdup(d->arena, info->link);
	arena_push(d->arena, &td->all, &td->n, t);
	return t;
}

static int set_session(struct dump *d, struct tty_dump *td, struct term *t, uint32_t dev)
{
	const struct tty_session *s = NULL;
	int err = tty_session_of(d, td, dev, &s);

	t->entry->sid = s ? s->sid : 0;
	t->entry->pgrp = s ? s->pgrp : 0;
	return err;
}

/* TIOCGDEV: of /dev/tty, the terminal that it led to when it was opened. */
static int dump_ctty(struct dump *d, struct tty_dump *td, const struct fd_info *info, struct term *t)
{
	unsigned dev = 0;
	int err;

	if (ioctl(info->fd, TIOCGDEV, &dev))
		return log_errno(-errno, "%s: %s: its terminal (TIOCGDEV)", fd_name(info), info->link);
	err = set_session(d, td, t, dev);
	if (err || t->entry->sid)
		return err;
	log_refusal(
	    -ENOTSUP,
	    "%s: %s: it leads to terminal %u:%u, which is no task's controlling terminal any more: it could not "
	    "be opened again; close it before the dump",
	    fd_name(info), info->link, major((dev_t)dev), minor((dev_t)dev));
	return DUMP_REFUSED;
}

static int dump_pty(struct dump *d, struct tty_dump *td, const struct fd_info *info, struct term *t)
{
	t->master = is_aux(&info->st, 2);
	t->index = minor(info->st.st_rdev);
	if (t->master && ioctl(info->fd, TIOCGPTN, &t->index))
		return log_errno(-errno, "%s: the number of its terminal (TIOCGPTN)", fd_name(info));
	t->entry->pty = arena_msg(d->arena, TtyPtyEntry, tty_pty_entry);
	t->entry->pty->index = t->index;
	return set_session(d, td, t, (uint32_t)makedev(PTS_MAJOR, t->index));
}

static int dump_device(struct dump *d, struct tty_dump *td, const struct fd_info *info, struct term *t)
{
	int discipline = 0;

	t->device = true;
	if (ioctl(info->fd, TIOCGETD, &discipline) || !discipline)
		return set_session(d, td, t, t->entry->rdev);
	log_refusal(-ENOTSUP, "%s: %s: its line discipline is number %d, which makes it something else than a terminal",
	            fd_name(info), info->link, discipline);
	return DUMP_REFUSED;
}

static int hung_up(struct dump *d, const struct fd_info *info, struct term *t)
{
	if (major(info->st.st_rdev) != PTS_MAJOR) {
		log_refusal(-EIO, "%s: %s: this terminal was hung up, and could only be opened as a working one",
		            fd_name(info), info->link);
		return DUMP_REFUSED;
	}
	t->entry->type = TTY_TYPE__PTY;
	t->entry->pty = arena_msg(d->arena, TtyPtyEntry, tty_pty_entry);
	t->entry->pty->index = minor(info->st.st_rdev);
	t->entry->has_hung_up = t->entry->hung_up = true;
	return 0;
}

static const char *external_key(struct dump *d, const struct stat *st)
{
	return arena_printf(d->arena, "tty[%lx:%lx]", (unsigned long)st->st_rdev, (unsigned long)st->st_dev);
}

static int fill(struct dump *d, struct tty_dump *td, const struct fd_info *info, struct term *t)
{
	int err = tty_params_read(d->arena, info->fd, is_aux(&info->st, 2), t->entry);

	if (err == -EIO)
		return hung_up(d, info, t);
	if (err)
		return log_errno(err, "%s: %s: reading its settings", fd_name(info), info->link);
	t->entry->type = type_of(&info->st);
	if (!is_aux(&info->st, 2) && external_named(d->opts, external_key(d, &info->st))) {
		t->entry->type = TTY_TYPE__EXT_TTY;
		return set_session(d, td, t, t->entry->rdev);
	}
	if (t->entry->type == TTY_TYPE__CTTY)
		return dump_ctty(d, td, info, t);
	return t->entry->type == TTY_TYPE__PTY ? dump_pty(d, td, info, t) : dump_device(d, td, info, t);
}

/* Slaves and devices are the same terminal for all who opened them; each master is one. */
static int find_term(struct dump *d, const struct fd_info *info, struct term **tp)
{
	struct tty_dump *td = state_of(d);
	struct term *t, *same, key = { .key.dev = info->st.st_dev, .key.rdev = info->st.st_rdev };
	int err;

	HASH_FIND(hh, td->by_key, &key.key, sizeof(key.key), t);
	*tp = t;
	if (t && isatty(info->fd))
		return 0;
	*tp = t = new_term(d, td, info);
	err = fill(d, td, info, t);
	if (err || t->master || t->entry->hung_up || t->entry->type == TTY_TYPE__CTTY)
		return err;
	t->key = key.key;
	HASH_ADD_IN(d->arena, hh, td->by_key, key, sizeof(t->key), t);
	if (t->entry->type != TTY_TYPE__PTY)
		return 0;
	HASH_FIND(by_index, td->slaves, &t->index, sizeof(t->index), same);
	if (same) {
		t->same_index = same->same_index;
		same->same_index = t;
	} else {
		HASH_ADD_IN(d->arena, by_index, td->slaves, index, sizeof(t->index), t);
	}
	return 0;
}

/* The path is noted, not checked: a slave comes back through its master, or is the terminal of whoever restores. */
static int dump_path(struct dump *d, const struct fd_info *info, uint32_t *id)
{
	RegFileEntry *m = arena_msg(d->arena, RegFileEntry, reg_file_entry);

	m->id = *id = files_new_id(d);
	m->flags = info->flags;
	m->name = arena_strdup(d->arena, info->link);
	m->has_mode = true;
	m->mode = info->st.st_mode;
	m->fown = arena_msg(d->arena, FownEntry, fown_entry);
	return files_write_entry(d, kind_by_fd_type(FD_TYPES__REG), m->id, m);
}

int tty_dump(struct dump *d, const struct fd_info *info, void *msg)
{
	TtyFileEntry *m = msg;
	struct term *t = NULL;
	int err = find_term(d, info, &t);

	if (err)
		return err;
	m->tty_info_id = t->entry->id;
	m->has_regf_id = true;
	return t->device ? pathfile_dump_extra(d, info, &m->regf_id) : dump_path(d, info, &m->regf_id);
}

int tty_open_peer(const struct term *t)
{
	int fd = t->held >= 0 ? fcntl(t->held, F_DUPFD_CLOEXEC, 3)
	                      : (int)syscall(SYS_pidfd_getfd, t->task->dump->pidfd, t->number, 0);

	return fd < 0 ? log_errno(-errno, "%s: %s: getting a duplicate", t->who, t->link) : fd;
}

/* ---- when all are known ---- */

static void pair(struct tty_dump *td, struct term *master, struct term *slave)
{
	master->peer = slave;
	slave->peer = master;
	master->entry->has_pair = slave->entry->has_pair = true;
	master->entry->pair = slave->entry->pair = ++td->last_pair;
}

/*
 * Which of the slaves with its index is a master's: that of its own devpts. Asked only where one is in the tree:
 * opening a slave that nobody has would tell the master, when it is closed again, that it is gone.
 */
static int find_slave(struct tty_dump *td, struct term *master)
{
	_cleanup_close_ int fd = -1, peer = -1;
	struct stat st = { 0 };
	struct term *s;

	HASH_FIND(by_index, td->slaves, &master->index, sizeof(master->index), s);
	if (!s)
		return 0;
	fd = tty_open_peer(master);
	if (fd < 0)
		return fd;
	peer = ioctl(fd, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
	/* A terminal that is locked again is not opened: it is told by its index alone. */
	if (peer >= 0 && fstat(peer, &st))
		return log_errno(-errno, "%s: its slave", master->who);
	while (s && (s->peer || (peer >= 0 && s->key.dev != st.st_dev)))
		s = s->same_index;
	if (s)
		pair(td, master, s);
	return 0;
}

static bool is_outside(const struct term *t)
{
	return t->entry->type == TTY_TYPE__PTY && !t->master && !t->peer && !t->entry->hung_up;
}

/* A slave whose master somebody else has: only one can be replaced by the terminal of whoever restores. */
static void check_outside(struct dump *d, const struct tty_dump *td)
{
	const struct term *job = NULL;

	for (size_t i = 0; i < td->n; i++) {
		const struct term *t = td->all[i];

		if (!is_outside(t))
			continue;
		if (!d->opts->shell_job)
			log_refusal(
			    -ENOTSUP,
			    "%s: %s: the other end of this terminal is outside of the tree; give --shell-job (-j), "
			    "here and at restore, to go on in the terminal of whoever restores, or --external "
			    "'tty[%x:%x]' to hand one in",
			    t->who, t->link, t->entry->rdev, t->entry->dev);
		else if (job)
			log_refusal(-ENOTSUP,
			            "%s: %s: a second terminal from outside of the tree (the first is %s, %s); "
			            "--shell-job can put one in its place only; name others with --external "
			            "'tty[%x:%x]'",
			            t->who, t->link, job->link, job->who, t->entry->rdev, t->entry->dev);
		else
			job = t;
	}
}

static int write_images(struct dump *d, const struct tty_dump *td)
{
	_cleanup_image_ struct image *infos = NULL, *data = NULL;
	int err = image_create(d->dir, IMG_TTY_INFO, 0, &infos);

	for (size_t i = 0; !err && i < td->n; i++) {
		err = image_write(infos, td->all[i]->entry);
		if (!err && td->all[i]->data && !data)
			err = image_create(d->dir, IMG_TTY_DATA, 0, &data);
		if (!err && td->all[i]->data)
			err = image_write(data, td->all[i]->data);
	}
	if (!err)
		err = image_close(move_ptr(infos));
	return err || !data ? err : image_close(move_ptr(data));
}

int tty_collected(struct dump *d)
{
	struct tty_dump *td = state_of(d);
	int err = 0;

	for (size_t i = 0; !err && i < td->n; i++)
		if (td->all[i]->master)
			err = find_slave(td, td->all[i]);
	if (err || !td->n)
		return err;
	check_outside(d, td);
	if (!log_refusals())
		err = tty_dump_queues(d, td);
	return err ?: write_images(d, td);
}
