/* SPDX-License-Identifier: GPL-2.0-only */
/* Pseudo terminals at dump. */
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/sysmacros.h>

#include "core/files.h"
#include "core/log.h"
#include "core/proc.h"
#include "regfile.pb-c.h"
#include "tty/params.h"
#include "tty/pty.h"
#include "tty/pty_dump.h"

#define PTS_MAJOR  136
#define PTMX_MAJOR 5
#define PTMX_MINOR 2

struct seen {
	uint32_t id; /* in tty-info: twice the index, and 1 for the master */
	const char *who, *link;
	int waiting; /* bytes in its queue */
	UT_hash_handle hh;
};

struct tty_dump {
	struct image *img;
	struct seen *seen;
};

static bool is_master(const struct stat *st)
{
	return major(st->st_rdev) == PTMX_MAJOR && minor(st->st_rdev) == PTMX_MINOR;
}

bool pty_match(const struct fd_info *info)
{
	if (!S_ISCHR(info->st.st_mode) || (info->flags & O_PATH))
		return false;
	return major(info->st.st_rdev) == PTS_MAJOR || is_master(&info->st);
}

/* Whose terminal it is, as those see it who have it: TIOCGSID answers to them only. */
static int add_session(struct dump *d, unsigned index, TtyInfoEntry *e)
{
	for (size_t i = 0; i < d->tree.n_tasks; i++) {
		const struct task *t = d->tree.tasks[i];
		struct proc_stat st;
		int err;

		if (t->state == TASK_DEAD)
			continue;
		err = read_proc_stat(t->dump->proc_fd, 0, &st);
		if (err)
			return log_errno(err, "%s: reading its stat", task_name(t));
		if (major((dev_t)(uint32_t)st.tty_nr) != PTS_MAJOR || minor((dev_t)(uint32_t)st.tty_nr) != index)
			continue;
		e->sid = (uint32_t)t->vsid.v;
		e->pgrp = st.tpgid > 0 ? (uint32_t)st.tpgid : 0;
		for (size_t k = 0; k < d->tree.n_tasks; k++)
			if (d->tree.tasks[k]->state != TASK_DEAD && getpgid(d->tree.tasks[k]->pid) == st.tpgid)
				e->pgrp = (uint32_t)d->tree.tasks[k]->vpgid.v;
		return 0;
	}
	return 0;
}

static int write_info(struct dump *d, const struct fd_info *info, struct tty_dump *td, uint32_t id, unsigned index)
{
	TtyInfoEntry *e = arena_msg(d->arena, TtyInfoEntry, tty_info_entry);
	int err = tty_params_read(d->arena, info->fd, id & 1, e);

	if (err == -EIO) {
		log_refusal(err, "%s: %s: its terminal was hung up; such descriptors come with a later release",
		            fd_name(info), info->link);
		return 1;
	}
	if (err)
		return log_errno(err, "%s: %s: reading its settings", fd_name(info), info->link);
	e->id = id;
	e->type = TTY_TYPE__PTY;
	e->rdev = (uint32_t)info->st.st_rdev;
	e->pty = arena_msg(d->arena, TtyPtyEntry, tty_pty_entry);
	e->pty->index = index;
	e->has_dev = e->has_uid = e->has_gid = true;
	e->dev = (uint32_t)info->st.st_dev;
	e->uid = info->st.st_uid;
	e->gid = info->st.st_gid;
	err = add_session(d, index, e);
	return err ?: image_write(td->img, e);
}

static struct tty_dump *tty_dump_of(struct dump *d)
{
	void **state = dump_kind_state(d, &tty_kind);

	if (!*state)
		*state = arena_new_of(d->arena, struct tty_dump);
	return *state;
}

/* The terminal behind a descriptor, the first time that it is seen. */
static int note_terminal(struct dump *d, const struct fd_info *info, uint32_t id, unsigned index)
{
	struct tty_dump *td = tty_dump_of(d);
	struct arena *table_arena = d->arena;
	struct seen *s;
	int err = 0;

	HASH_FIND(hh, td->seen, &id, sizeof(id), s);
	if (s)
		return 0;
	if (!td->img)
		err = image_create(d->dir, IMG_TTY_INFO, 0, &td->img);
	if (!err)
		err = write_info(d, info, td, id, index);
	if (err)
		return err;
	s = arena_new_of(d->arena, struct seen);
	s->id = id;
	s->who = arena_strdup(d->arena, fd_name(info));
	s->link = arena_strdup(d->arena, info->link);
	if (ioctl(info->fd, FIONREAD, &s->waiting))
		s->waiting = 0;
	HASH_ADD(hh, td->seen, id, sizeof(s->id), s);
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
	return files_write_entry(d, fd_kind_of(FD_TYPES__REG), m->id, m);
}

int pty_dump(struct dump *d, const struct fd_info *info, void *msg)
{
	bool master = is_master(&info->st);
	unsigned index = minor(info->st.st_rdev);
	TtyFileEntry *m = msg;
	int err;

	if (master && ioctl(info->fd, TIOCGPTN, &index))
		return log_errno(-errno, "%s: the number of its terminal (TIOCGPTN)", fd_name(info));
	m->tty_info_id = index << 1 | master;
	err = note_terminal(d, info, m->tty_info_id, index);
	m->has_regf_id = true;
	return err ?: dump_path(d, info, &m->regf_id);
}

static const struct seen *other_side(const struct tty_dump *td, const struct seen *s)
{
	uint32_t id = s->id ^ 1;
	struct seen *other;

	HASH_FIND(hh, td->seen, &id, sizeof(id), other);
	return other;
}

/* What can be told only when all descriptors of the tree have been seen. */
int pty_write_images(struct dump *d)
{
	struct tty_dump *td = tty_dump_of(d);
	const struct seen *job = NULL;
	int err = 0;

	for (const struct seen *s = td->seen; s; s = s->hh.next) {
		bool outside = !(s->id & 1) && !other_side(td, s);

		if (outside && !d->opts->shell_job)
			err = log_refusal(
			    -ENOTSUP,
			    "%s: %s: the other end of this terminal is outside of the tree; give --shell-job (-j), "
			    "here and at restore, to go on in the terminal of whoever restores",
			    s->who, s->link);
		else if (outside && job)
			err = log_refusal(-ENOTSUP,
			                  "%s: %s: a second terminal from outside of the tree (the first is %s, %s); "
			                  "--shell-job can put one in its place only",
			                  s->who, s->link, job->link, job->who);
		/* Reading a terminal's queue takes it out, so that it cannot be had before the commit. */
		if (!outside && s->waiting)
			err = log_refusal(
			    -EAGAIN,
			    "%s: %s: %d bytes wait to be read from this terminal, which cannot be kept in this "
			    "release; try again when they have been read",
			    s->who, s->link, s->waiting);
		if (outside)
			job = job ?: s;
	}
	return err ?: image_close(move_ptr(td->img));
}
