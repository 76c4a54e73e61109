/* SPDX-License-Identifier: GPL-2.0-only */
/* The row of terminals: pseudo terminals whose two ends are in the tree, and with --shell-job the one that is a job's.
 */
#include <fcntl.h>
#include <signal.h>
#include <sys/ioctl.h>

#include "core/files.h"
#include "core/log.h"
#include "core/pathfile.h"
#include "tty/params.h"
#include "tty/pty.h"
#include "tty/pty_dump.h"

struct tty_state *tty_state_of(struct restore *r)
{
	void **state = restore_kind_state(r, &tty_kind);

	if (!*state) {
		struct tty_state *s = *state = arena_new_of(r->arena, struct tty_state);

		s->own = -1;
	}
	return *state;
}

static const struct tty_info *info_of(struct restore *r, const TtyFileEntry *m)
{
	struct tty_state *s = tty_state_of(r);
	struct tty_info *ti;

	HASH_FIND(hh, s->infos, &m->tty_info_id, sizeof(m->tty_info_id), ti);
	return ti;
}

static int note_file(struct restore *r, const void *msg, void *arg)
{
	const TtyFileEntry *m = msg;
	const struct tty_info *ti = info_of(r, m);
	enum pty_side side;

	if (!ti)
		return log_errno(-EINVAL, "tty-info.img has no terminal %u, which file %u names", m->tty_info_id,
		                 m->id);
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
	int err = pty_read_infos(r);

	return err ?: files_each(r, &tty_kind, note_file, NULL);
}

/* The terminal of whoever restores. */
static int own_terminal(struct restore *r)
{
	struct tty_state *s = tty_state_of(r);

	for (int fd = 0; s->own < 0 && fd < 3; fd++)
		if (isatty(fd))
			s->own = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	if (s->own < 0)
		s->own = open("/dev/tty", O_RDWR | O_NOCTTY | O_CLOEXEC);
	return s->own;
}

static int tty_check(struct restore *r, const void *msg, const char **why)
{
	const TtyFileEntry *m = msg;
	const struct tty_info *ti = info_of(r, m);
	const RegFileEntry *path = pathfile_message(r, m->has_regf_id ? m->regf_id : m->id);

	*why = "its terminal is not in the images";
	if (!ti || !path)
		return -EINVAL;
	*why = NULL;
	if (!ti->pty) {
		*why = arena_printf(r->arena, "%s: only pseudo terminals are supported yet", path->name);
		return -ENOTSUP;
	}
	if (pty_side_of(ti->entry) == PTY_MASTER)
		return pathfile_check(r, path, why);
	if (ti->pty->file[PTY_MASTER])
		return 0;
	if (!r->opts->shell_job) {
		*why = arena_printf(
		    r->arena,
		    "%s: the other end of this terminal was outside of the tree; give --shell-job (-j) to go "
		    "on in this terminal",
		    path->name);
		return -ENOTSUP;
	}
	if (own_terminal(r) >= 0)
		return 0;
	*why = arena_printf(r->arena, "%s: --shell-job puts the tool's own terminal in its place, but it has none",
	                    path->name);
	return -ENOTTY;
}

static int open_own(struct restore *r, const TtyFileEntry *m)
{
	int own = own_terminal(r), fd;
	char path[32];

	if (own < 0)
		return log_errno(-ENOTTY,
		                 "there is no terminal here to take the place of the one at dump (--shell-job)");
	/* Opened anew, so that O_NONBLOCK and the like are not the shell's too. */
	snprintf(path, sizeof(path), "/proc/self/fd/%d", own);
	fd = open(path, (int)(m->flags & ~(uint32_t)O_ASYNC) | O_NOCTTY | O_CLOEXEC);
	return fd < 0 ? log_errno(-errno, "opening this terminal with flags 0%o", m->flags) : fd;
}

static int tty_open(struct restore *r, const void *msg)
{
	const TtyFileEntry *m = msg;
	const struct tty_info *ti = info_of(r, m);
	int err, fd;

	if (!ti || !ti->pty)
		return log_errno(-ENOTSUP, "file %u is a terminal of a type that is not supported yet", m->id);
	if (!ti->pty->file[PTY_MASTER])
		return open_own(r, m);
	err = pty_make(r, ti->pty);
	if (err)
		return err;
	if (pty_side_of(ti->entry) == PTY_SLAVE)
		return pty_open_slave(r, ti->pty, m->flags);
	fd = fcntl(ti->pty->master, F_DUPFD_CLOEXEC, 0);
	return fd < 0 ? log_errno(-errno, "terminal %u: its master", ti->pty->index) : fd;
}

/*
 * A job's terminal: settings as the job had made them, and if the job was in the foreground and so are we, it is again.
 * The shell takes both back when it sees us end.
 */
static int hand_over(struct restore *r, struct pty *p, int fd)
{
	const TtyInfoEntry *e = p->info[PTY_SLAVE];
	int err;

	if (p->handed_over || tcgetpgrp(fd) != getpgrp())
		return 0;
	p->handed_over = true;
	err = tty_params_set_termios(fd, e);
	if (err)
		return log_errno(err, "setting this terminal as the one at dump was");
	for (size_t i = 0; i < r->tree.n_tasks; i++) {
		const struct task *t = r->tree.tasks[i];

		if (t->state == TASK_DEAD || (uint32_t)t->vpgid.v != e->pgrp || getsid(t->pid) != getsid(0))
			continue;
		if (tcsetpgrp(fd, getpgid(t->pid)))
			return log_errno(-errno, "%s: making its process group the foreground one", task_name(t));
		break;
	}
	return 0;
}

static int close_pair(struct pty *p)
{
	if (p->master >= 0)
		close(p->master);
	if (p->slave >= 0)
		close(p->slave);
	p->master = p->slave = -1;
	return 0;
}

/* What would have kept us from opening it, and the end of our own descriptors. */
static int tty_late(struct restore *r, const void *msg, int fd)
{
	const struct tty_info *ti = info_of(r, msg);
	const TtyInfoEntry *e = ti->entry;
	int on = 1;

	if (!ti->pty->file[PTY_MASTER])
		return hand_over(r, ti->pty, fd);
	if (e->exclusive && ioctl(fd, TIOCEXCL))
		return log_errno(-errno, "terminal %u: exclusive mode", ti->pty->index);
	if (pty_side_of(e) == PTY_SLAVE)
		return 0;
	if (e->locked && ioctl(fd, TIOCSPTLCK, &on))
		return log_errno(-errno, "terminal %u: locking it", ti->pty->index);
	return close_pair(ti->pty);
}

const struct fd_kind tty_kind = {
	.name = "terminal",
	.type = FD_TYPES__TTY,
	.field = 19,
	.pb = &tty_file_entry__descriptor,
	.match = pty_match,
	.dump = pty_dump,
	.check = tty_check,
	.open = tty_open,
	.late = tty_late,
	.read_images = tty_read_images,
	.write_images = pty_write_images,
	.where = IN_TOOL,
};
