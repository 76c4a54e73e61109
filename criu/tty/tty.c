/* SPDX-License-Identifier: GPL-2.0-only */
/* The row of terminals: what a descriptor is at dump, the terminal behind it, and how it is opened at restore. */
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/sysmacros.h>

#include "files/files.h"
#include "lib/log.h"
#include "lib/lookup.h"
#include "path/pathfile.h"
#include "tty/ctty.h"
#include "tty/orphan_pts.h"
#include "tty/pty.h"
#include "tty/tty_external.h"
#include "tty/tty_queue.h"
#include "tty/tty_session.h"
#include "tty/tty_settings.h"

extern const struct fd_kind tty_kind;

#define VT_MAJOR  4
#define VT_MAX    63
#define AUX_MAJOR 5 /* /dev/tty, /dev/console, /dev/ptmx */
#define PTS_MAJOR 136

static bool is_aux(const struct stat *st, unsigned minor)
{
	return major(st->st_rdev) == AUX_MAJOR && minor(st->st_rdev) == minor;
}

/* A terminal that was hung up answers no ioctl(2): only its device number tells that it is one. */
static bool tty_match(const struct fd_info *info)
{
	unsigned major = major(info->st.st_rdev);

	if (!S_ISCHR(info->st.st_mode) || (info->flags & O_PATH) || info->by_path)
		return false;
	return major == PTS_MAJOR || major == VT_MAJOR || major == AUX_MAJOR || isatty(info->fd);
}

static TtyType terminal_type(const struct stat *st)
{
	if (major(st->st_rdev) == PTS_MAJOR || is_aux(st, 2))
		return TTY_TYPE__PTY;
	if (is_aux(st, 0))
		return TTY_TYPE__CTTY;
	if (is_aux(st, 1))
		return TTY_TYPE__CONSOLE;
	return major(st->st_rdev) == VT_MAJOR && minor(st->st_rdev) <= VT_MAX ? TTY_TYPE__VT : TTY_TYPE__SERIAL;
}

/* ---- one terminal ---- */

static struct terminal *add_terminal(struct dump *d, struct tty_dump *td, const struct fd_info *info)
{
	struct terminal *t = arena_new_of(d->arena, struct terminal);

	t->entry = arena_msg(d->arena, TtyInfoEntry, tty_info_entry);
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

static int dump_pty(struct dump *d, const struct fd_info *info, struct terminal *t)
{
	t->master = is_aux(&info->st, 2);
	t->index = minor(info->st.st_rdev);
	if (t->master && ioctl(info->fd, TIOCGPTN, &t->index))
		return log_errno(-errno, "%s: ioctl(TIOCGPTN)", fd_name(info));
	t->entry->pty = arena_msg(d->arena, TtyPtyEntry, tty_pty_entry);
	t->entry->pty->index = t->index;
	return tty_session_dump(d, t->entry, (uint32_t)makedev(PTS_MAJOR, t->index));
}

static int refuse_discipline(const struct fd_info *info, int discipline)
{
	log_refusal(
	    -ENOTSUP,
	    "%s: %s: has line discipline %d, which makes it something else than a terminal; have it set back to "
	    "N_TTY (TIOCSETD) before the dump",
	    fd_name(info), info->link, discipline);
	return DUMP_REFUSED;
}

static int dump_hung_up(struct dump *d, const struct fd_info *info, struct terminal *t)
{
	if (major(info->st.st_rdev) != PTS_MAJOR) {
		log_refusal(
		    -EIO,
		    "%s: %s: this terminal was hung up, and could only be opened as a working one; close it before "
		    "the dump",
		    fd_name(info), info->link);
		return DUMP_REFUSED;
	}
	t->entry->type = TTY_TYPE__PTY;
	t->entry->pty = arena_msg(d->arena, TtyPtyEntry, tty_pty_entry);
	t->entry->pty->index = minor(info->st.st_rdev);
	t->entry->has_hung_up = t->entry->hung_up = true;
	return 0;
}

static int fill_terminal(struct dump *d, const struct fd_info *info, struct terminal *t)
{
	bool external = !is_aux(&info->st, 2) && tty_external_named(d, &info->st);
	int discipline = 0, err;

	if (!external && !ioctl(info->fd, TIOCGETD, &discipline) && discipline)
		return refuse_discipline(info, discipline);
	err = tty_settings_read(d->arena, info->fd, is_aux(&info->st, 2), t->entry);
	if (err == -EIO)
		return dump_hung_up(d, info, t);
	if (err)
		return log_errno(err, "%s: %s: reading its settings with ioctl_tty(2)", fd_name(info), info->link);
	t->entry->type = terminal_type(&info->st);
	if (external) {
		t->entry->type = TTY_TYPE__EXT_TTY;
		return tty_session_dump(d, t->entry, t->entry->rdev);
	}
	if (t->entry->type == TTY_TYPE__CTTY)
		return ctty_dump(d, info, t);
	if (t->entry->type == TTY_TYPE__PTY)
		return dump_pty(d, info, t);
	t->device = true;
	return tty_session_dump(d, t->entry, t->entry->rdev);
}

#define ID_OTHERS (1U << 24) /* above those of all pseudo terminals */

/*
 * CRIU finds each end of a pair from the other by these numbers. Of several devpts only one can have them, and other
 * terminals have none.
 */
static uint32_t id_of_terminal(const struct tty_dump *td, const struct terminal *t)
{
	uint32_t other = ID_OTHERS + (uint32_t)td->n, id;

	if (t->entry->type != TTY_TYPE__PTY || !t->entry->pty)
		return other;
	id = t->entry->pty->index * 2 + t->master;
	for (size_t i = 0; i < td->n; i++)
		if (td->all[i] != t && td->all[i]->entry->id == id)
			return other;
	return id;
}

/* A slave or a device is the same terminal however often it is opened; each open master is a terminal. */
static int find_terminal(struct dump *d, const struct fd_info *info, struct terminal **tp)
{
	struct tty_dump *td = tty_dump_of(d);
	struct terminal *t, *same, key = { .key.dev = info->st.st_dev, .key.rdev = info->st.st_rdev };
	int err;

	HASH_FIND(hh, td->by_key, &key.key, sizeof(key.key), t);
	*tp = t;
	if (t && isatty(info->fd))
		return 0;
	*tp = t = add_terminal(d, td, info);
	err = fill_terminal(d, info, t);
	t->entry->id = id_of_terminal(td, t);
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

/* The path is noted, not checked: a slave comes back through its master, or is the terminal in which criu runs. */
static int note_path(struct dump *d, const struct fd_info *info, uint32_t *id)
{
	RegFileEntry *m = arena_msg(d->arena, RegFileEntry, reg_file_entry);

	m->id = *id = files_new_id(d);
	m->has_mnt_id = lookup_now() != NULL;
	m->mnt_id = lookup_now() ? info->mnt_id : -1;
	m->flags = info->flags;
	m->name = arena_strdup(d->arena, info->link);
	m->has_mode = true;
	m->mode = info->st.st_mode;
	m->fown = arena_msg(d->arena, FownEntry, fown_entry);
	return files_write_entry(d, kind_by_fd_type(FD_TYPES__REG), m->id, m);
}

static int tty_dump(struct dump *d, const struct fd_info *info, void *msg)
{
	TtyFileEntry *m = msg;
	struct terminal *t = NULL;
	int err = find_terminal(d, info, &t);

	if (err)
		return err;
	m->tty_info_id = t->entry->id;
	m->has_regf_id = true;
	return t->device ? pathfile_dump_extra(d, info, &m->regf_id) : note_path(d, info, &m->regf_id);
}

static int tty_collected(struct dump *d)
{
	int err = pty_find_pairs(d);

	if (err || !tty_dump_of(d)->n)
		return err;
	tty_external_refuse(d);
	if (!log_refusals())
		err = tty_queue_dump(d);
	return err ?: tty_images_write(d);
}

/* ---- restore ---- */

static int note_file(struct restore *r, const void *msg, void *arg)
{
	const TtyFileEntry *m = msg;
	struct tty_info *ti = tty_info_of(r, m->tty_info_id);
	enum pty_side side;

	if (!ti)
		return log_errno(-EINVAL, "tty-info.img has no terminal %u, which file %u of files.img refers to",
		                 m->tty_info_id, m->id);
	ti->file = m;
	if (!ti->pty)
		return 0;
	side = pty_side_of(ti->entry);
	if (side == PTY_MASTER && ti->pty->file[side])
		return log_errno(-EINVAL, "files.img: terminal %u has two masters", ti->pty->index);
	ti->pty->file[side] = m;
	return 0;
}

static int tty_read_images(struct restore *r)
{
	int err = tty_images_read(r);

	err = err ?: files_all(r, &tty_kind, note_file, NULL);
	if (!err)
		orphan_pts_adopt(r);
	return err;
}

static int tty_check(struct restore *r, const void *msg, const char **why)
{
	const TtyFileEntry *m = msg;
	const struct tty_info *ti = tty_info_of(r, m->tty_info_id);
	const RegFileEntry *path = tty_path_of(r, m);

	*why = "its terminal is not in the images";
	if (!ti || !path)
		return -EINVAL;
	*why = NULL;
	if (tty_external_is_mine(ti))
		return tty_external_check(r, m, ti, why);
	if (ti->entry->type == TTY_TYPE__CTTY)
		return ctty_check(r, ti->entry, why);
	return ti->pty && pty_side_of(ti->entry) == PTY_MASTER ? pathfile_check(r, path, why) : 0;
}

static int prepare_file(struct restore *r, const void *msg, void *arg)
{
	return ctty_prepare(r, msg);
}

static int tty_prepare(struct restore *r)
{
	return files_each(r, &tty_kind, prepare_file, NULL);
}

static int tty_open(struct restore *r, const void *msg)
{
	const TtyFileEntry *m = msg;
	const struct tty_info *ti = tty_info_of(r, m->tty_info_id);
	int err, fd;

	if (!ti || ti->entry->type == TTY_TYPE__CTTY)
		return log_errno(-EINVAL, "file %u is a terminal that criu cannot open", m->id);
	if (ti->entry->hung_up)
		return pty_open_hung_up(r, m, ti->entry);
	if (tty_external_is_mine(ti))
		return tty_external_open(r, m, ti);
	err = pty_make(r, ti->pty);
	if (err)
		return err;
	if (pty_side_of(ti->entry) == PTY_SLAVE)
		return pty_open_slave(r, ti->pty, m->flags);
	fd = fcntl(ti->pty->master, F_DUPFD_CLOEXEC, 0);
	return fd < 0 ? log_errno(-errno, "terminal %u: fcntl(F_DUPFD_CLOEXEC) of its master", ti->pty->index) : fd;
}

/* Sets what would have kept criu from opening it, and closes our own descriptors of a pair. */
static int tty_post_open(struct restore *r, const void *msg, int fd)
{
	const TtyFileEntry *m = msg;
	struct tty_info *ti = tty_info_of(r, m->tty_info_id);
	const TtyInfoEntry *e = ti->entry;
	int on = 1;

	if (e->hung_up)
		return 0;
	if (tty_external_is_mine(ti) || ctty_is_job(r, e))
		return tty_external_post_open(r, ti, fd);
	if (!ti->pty)
		return 0;
	if (e->exclusive && ioctl(fd, TIOCEXCL))
		return log_errno(-errno, "terminal %u: ioctl(TIOCEXCL)", ti->pty->index);
	if (pty_side_of(e) == PTY_SLAVE)
		return 0;
	if (e->locked && ioctl(fd, TIOCSPTLCK, &on))
		return log_errno(-errno, "terminal %u: ioctl(TIOCSPTLCK)", ti->pty->index);
	pty_close(ti->pty);
	return 0;
}

static void tty_resource(struct restore *r, const void *msg, char *buf, size_t size, bool *marked)
{
	const struct tty_info *ti = tty_info_of(r, ((const TtyFileEntry *)msg)->tty_info_id);

	if (ti && tty_external_is_mine(ti))
		tty_external_name(ti->entry, buf, size);
}

const struct fd_kind tty_kind = {
	.name = "terminal",
	.type = FD_TYPES__TTY,
	.field = 19,
	.pb = &tty_file_entry__descriptor,
	.match = tty_match,
	.dump = tty_dump,
	.all_collected = tty_collected,
	.check = tty_check,
	.resource = tty_resource,
	.inherits_itself = true,
	.prepare = tty_prepare,
	.open = tty_open,
	.post_open = tty_post_open,
	.read_images = tty_read_images,
};
