/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Terminals that exist without the tree: the one in which criu runs (--shell-job), external ones (--external at dump,
 * --inherit-fd at restore), and devices: consoles, virtual terminals, serial lines. They get the tree's settings, and
 * keep theirs when the restore fails.
 */
#include <asm/termbits.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>

#include "options/external.h"
#include "options/inherited.h"
#include "files/files.h"
#include "lib/fault.h"
#include "lib/log.h"
#include "path/pathfile.h"
#include "tty/tty_external.h"
#include "tty/tty_settings.h"
#include "uapi/fcntl_bits.h"

/* tcgetpgrp(3), whose header cannot be included beside asm/termbits.h. */
static int foreground_group(int fd)
{
	int pgrp = -1;

	return ioctl(fd, TIOCGPGRP, &pgrp) ? -1 : pgrp;
}

/* ---- dump ---- */

static void write_name(uint64_t rdev, uint64_t dev, char *buf, size_t size)
{
	snprintf(buf, size, "tty[%lx:%lx]", (unsigned long)rdev, (unsigned long)dev);
}

bool tty_external_named(const struct dump *d, const struct stat *st)
{
	char name[64];

	write_name(st->st_rdev, st->st_dev, name, sizeof(name));
	return external_named(d->opts, name);
}

static bool is_outside(const struct terminal *t)
{
	return t->entry->type == TTY_TYPE__PTY && !t->master && !t->peer && !t->entry->hung_up;
}

void tty_external_refuse(struct dump *d)
{
	const struct tty_dump *td = tty_dump_of(d);
	const struct terminal *job = NULL;

	for (size_t i = 0; i < td->n; i++) {
		const struct terminal *t = td->all[i];

		if (!is_outside(t) || (d->opts->orphan_pts_master && !d->opts->shell_job))
			continue;
		if (!d->opts->shell_job)
			log_refusal(
			    -ENOTSUP,
			    "%s: %s: the other end of this terminal is outside of the tree; give --shell-job (-j), "
			    "here and at restore, to go on in the terminal in which criu restore runs, or --external "
			    "'tty[%x:%x]' to give it one with --inherit-fd",
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

/* ---- restore ---- */

void tty_external_name(const TtyInfoEntry *e, char *buf, size_t size)
{
	write_name(e->rdev, e->dev, buf, size);
}

bool tty_external_is_mine(const struct tty_info *ti)
{
	const TtyInfoEntry *e = ti->entry;

	if (e->hung_up || e->type == TTY_TYPE__CTTY)
		return false;
	return e->type != TTY_TYPE__PTY || (pty_side_of(e) == PTY_SLAVE && !ti->pty->file[PTY_MASTER]);
}

/* ---- which terminal takes its place ---- */

/* The terminal in which criu runs. */
static int own_terminal(struct restore *r)
{
	struct tty_restore *s = tty_restore_of(r);

	for (int fd = 0; s->own < 0 && fd < 3; fd++)
		if (isatty(fd))
			s->own = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	if (s->own < 0)
		s->own = open("/dev/tty", O_RDWR | O_NOCTTY | O_CLOEXEC);
	return s->own;
}

static int inherited_terminal(struct restore *r, const TtyInfoEntry *e)
{
	char key[64];

	tty_external_name(e, key, sizeof(key));
	return inherited_fd(r->opts, key);
}

bool tty_external_is_inherited(struct restore *r, const TtyInfoEntry *e)
{
	return inherited_terminal(r, e) >= 0;
}

static int check_inherited(struct restore *r, const TtyInfoEntry *e, const char **why)
{
	int fd = inherited_terminal(r, e);

	if (fd >= 0 && isatty(fd))
		return 0;
	*why = arena_printf(r->arena,
	                    fd < 0 ? "an external terminal: give one with --inherit-fd 'fd[N]:tty[%x:%x]'"
	                           : "the descriptor of --inherit-fd for tty[%x:%x] is not a terminal",
	                    e->rdev, e->dev);
	return -ENOTTY;
}

int tty_external_check(struct restore *r, const TtyFileEntry *m, const struct tty_info *ti, const char **why)
{
	const RegFileEntry *path = tty_path_of(r, m);
	const TtyInfoEntry *e = ti->entry;

	if (e->type == TTY_TYPE__EXT_TTY || (e->type == TTY_TYPE__PTY && inherited_terminal(r, e) >= 0))
		return check_inherited(r, e, why);
	if (!path)
		return -EINVAL;
	if (e->type != TTY_TYPE__PTY)
		return pathfile_check(r, path, why);
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
	*why = arena_printf(r->arena,
	                    "%s: --shell-job puts criu's own terminal in its place, but criu has none: run criu in a "
	                    "terminal (script(1) makes one), or hand one in: --inherit-fd 'fd[N]:tty[%x:%x]'",
	                    path->name, e->rdev, e->dev);
	return -ENOTTY;
}

/* ---- opening ---- */

/* Opened anew, so that others do not share O_NONBLOCK and the like. A master can only be duplicated. */
static int reopen_terminal(int fd, uint32_t flags)
{
	char path[32];
	int index, again;

	if (!ioctl(fd, TIOCGPTN, &index))
		return fcntl(fd, F_DUPFD_CLOEXEC, 3);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	again = open(path, (int)(flags & ~(uint32_t)(O_ASYNC | KERNEL_O_LARGEFILE)) | O_NOCTTY | O_CLOEXEC);
	return again < 0 ? fcntl(fd, F_DUPFD_CLOEXEC, 3) : again;
}

int tty_external_open(struct restore *r, const TtyFileEntry *m, const struct tty_info *ti)
{
	const TtyInfoEntry *e = ti->entry;
	int there = e->type == TTY_TYPE__EXT_TTY || e->type == TTY_TYPE__PTY ? inherited_terminal(r, e) : -1, fd;

	if (there < 0 && e->type == TTY_TYPE__PTY)
		there = own_terminal(r);
	/* Without O_NONBLOCK a serial line might wait for a carrier; files/ sets the flag of the dump afterwards. */
	if (there < 0 && e->type != TTY_TYPE__PTY && e->type != TTY_TYPE__EXT_TTY)
		return pathfile_open(r, tty_path_of(r, m), m->flags | O_NOCTTY | O_NONBLOCK);
	if (there < 0)
		return log_errno(-ENOTTY, "criu has no terminal that could take the place of the one at dump");
	fd = reopen_terminal(there, m->flags);
	return fd < 0
	           ? log_errno(-errno, "opening this terminal with flags 0%o: open or fcntl(F_DUPFD_CLOEXEC)", m->flags)
	           : fd;
}

int tty_external_open_any(struct restore *r, const struct tty_info *ti)
{
	TtyFileEntry m = TTY_FILE_ENTRY__INIT;

	if (!ti->file)
		return log_errno(-ENOENT, "terminal %u: no file of the images leads to it", ti->id);
	m = *ti->file;
	m.flags = O_RDWR;
	return tty_external_open(r, &m, ti);
}

/* ---- settings ---- */

struct tty_before {
	struct termios2 termios;
	struct winsize size;
	int pgrp;
};

/*
 * The foreground group is set only where it differs: SIGTTOU would stop a background process that sets it. The guardian
 * cannot set it, since it is in another session.
 */
static int undo_settings(const struct undo *u)
{
	struct tty_before b;

	if (u->data_len != sizeof(b))
		return -EINVAL;
	memcpy(&b, u->data, sizeof(b));
	if (ioctl(u->fd, TCSETS2, &b.termios) || ioctl(u->fd, TIOCSWINSZ, &b.size))
		return -errno;
	if (b.pgrp > 0 && foreground_group(u->fd) != b.pgrp)
		ioctl(u->fd, TIOCSPGRP, &b.pgrp);
	return 0;
}

/* The undo entry's descriptor stays open until criu ends. */
static int note_settings(struct restore *r, int fd)
{
	struct tty_before b = { .pgrp = foreground_group(fd) };
	struct undo u = { .type = UNDO_CALL, .call = undo_settings, .data = &b, .data_len = sizeof(b) };
	int number;

	if (ioctl(fd, TCGETS2, &b.termios) || ioctl(fd, TIOCGWINSZ, &b.size))
		return log_errno(-errno, "this terminal: ioctl(TCGETS2) or ioctl(TIOCGWINSZ)");
	u.fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	if (u.fd < 0)
		return log_errno(-errno, "this terminal: fcntl(F_DUPFD_CLOEXEC)");
	number = guardian_note(r->guardian, &u);
	return MIN(number, 0);
}

/* If the job was in the foreground and criu is, the job gets there again. The shell takes it back when criu ends. */
static int set_job_foreground(struct restore *r, const TtyInfoEntry *e, int fd)
{
	for (size_t i = 0; i < r->tree.n_tasks; i++) {
		const struct task *t = r->tree.tasks[i];
		int pgrp;

		if (t->state == TASK_DEAD || (uint32_t)t->vpgid.v != e->pgrp || getsid(t->pid) != getsid(0))
			continue;
		pgrp = getpgid(t->pid);
		return ioctl(fd, TIOCSPGRP, &pgrp)
		           ? log_errno(-errno, "%s: making its process group the foreground one: ioctl(TIOCSPGRP)",
		                       task_name(t))
		           : 0;
	}
	return 0;
}

/* Settings belong to the device, also those that its next user finds. */
static int give_settings(struct restore *r, const struct tty_info *ti, int fd)
{
	const TtyInfoEntry *e = ti->entry;
	int err = note_settings(r, fd);

	if (err)
		return err;
	fault_point("terminal noted");
	err = tty_settings_set_termios(fd, e);
	if (!err && e->type == TTY_TYPE__SERIAL)
		err = tty_settings_set_size(fd, e);
	if (!err && e->exclusive && ioctl(fd, TIOCEXCL))
		err = -errno;
	if (err)
		return log_errno(err, "giving terminal %u the settings of the dump", ti->id);
	fault_point("terminal set");
	return 0;
}

int tty_external_post_open(struct restore *r, struct tty_info *ti, int fd)
{
	const TtyInfoEntry *e = ti->entry;

	if (ti->set)
		return 0;
	ti->set = true;
	if (e->type != TTY_TYPE__CTTY && (e->type != TTY_TYPE__PTY || inherited_terminal(r, e) >= 0))
		return give_settings(r, ti, fd);
	ti->job_fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	return ti->job_fd < 0 ? log_errno(-errno, "this terminal: fcntl(F_DUPFD_CLOEXEC)") : 0;
}

/* Up to here keys reach criu and its action scripts: the job stands still, and would have ^C for later. */
static int jobs_all_standing(struct restore *r)
{
	int err = 0;

	for (struct tty_info *ti = tty_restore_of(r)->infos; !err && ti; ti = ti->hh.next) {
		if (ti->job_fd < 0 || foreground_group(ti->job_fd) != getpgrp())
			continue;
		err = give_settings(r, ti, ti->job_fd) ?: set_job_foreground(r, ti->entry, ti->job_fd);
	}
	return err;
}

static void jobs_close(struct restore *r)
{
	for (struct tty_info *ti = tty_restore_of(r)->infos; ti; ti = ti->hh.next) {
		if (ti->job_fd >= 0)
			close(ti->job_fd);
		ti->job_fd = -1;
	}
}

const struct subsys tty_external_subsys = {
	.name = "terminals of jobs",
	.all_standing = jobs_all_standing,
	.done = jobs_close,
};
