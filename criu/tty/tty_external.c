/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Terminals that are there already: the one of whoever restores (--shell-job), those that are handed in (--inherit-fd),
 * and devices: consoles, virtual terminals, serial lines. They get the tree's settings, and keep theirs when the
 * restore fails.
 */
#include <asm/termbits.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>

#include "options/inherited.h"
#include "files/files.h"
#include "lib/fault.h"
#include "lib/log.h"
#include "path/pathfile.h"
#include "tty/params.h"
#include "tty/pty.h"
#include "uapi/fcntl_bits.h"

/* (termios.h and asm/termbits.h do not go together) */
static int foreground(int fd)
{
	int pgrp = -1;

	return ioctl(fd, TIOCGPGRP, &pgrp) ? -1 : pgrp;
}

bool tty_external_is_mine(const struct tty_info *ti)
{
	const TtyInfoEntry *e = ti->entry;

	if (e->hung_up || e->type == TTY_TYPE__CTTY)
		return false;
	return e->type != TTY_TYPE__PTY || (pty_side_of(e) == PTY_SLAVE && !ti->pty->file[PTY_MASTER]);
}

/* ---- which it is ---- */

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

void tty_external_name(const TtyInfoEntry *e, char *buf, size_t size)
{
	snprintf(buf, size, "tty[%x:%x]", e->rdev, e->dev);
}

static int handed_in(struct restore *r, const TtyInfoEntry *e)
{
	char key[64];

	tty_external_name(e, key, sizeof(key));
	return inherited_fd(r->opts, key);
}

static int check_external(struct restore *r, const TtyInfoEntry *e, const char **why)
{
	int fd = handed_in(r, e);

	if (fd >= 0 && isatty(fd))
		return 0;
	*why = arena_printf(r->arena,
	                    fd < 0 ? "an external terminal: hand one in with --inherit-fd 'fd[N]:tty[%x:%x]'"
	                           : "what --inherit-fd hands in for tty[%x:%x] is no terminal",
	                    e->rdev, e->dev);
	return -ENOTTY;
}

int tty_external_check(struct restore *r, const TtyFileEntry *m, const struct tty_info *ti, const char **why)
{
	const RegFileEntry *path = tty_path_of(r, m);
	const TtyInfoEntry *e = ti->entry;

	if (e->type == TTY_TYPE__EXT_TTY || (e->type == TTY_TYPE__PTY && handed_in(r, e) >= 0))
		return check_external(r, e, why);
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
	*why = arena_printf(r->arena, "%s: --shell-job puts the tool's own terminal in its place, but it has none",
	                    path->name);
	return -ENOTTY;
}

/* ---- opening ---- */

/* Opened anew, so that O_NONBLOCK and the like are not others' too. A master can only be duplicated. */
static int reopen(int fd, uint32_t flags)
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
	int there = e->type == TTY_TYPE__EXT_TTY || e->type == TTY_TYPE__PTY ? handed_in(r, e) : -1, fd;

	if (there < 0 && e->type == TTY_TYPE__PTY)
		there = own_terminal(r);
	/* A serial line may wait for a carrier; the core sets the flag that it had. */
	if (there < 0 && e->type != TTY_TYPE__PTY && e->type != TTY_TYPE__EXT_TTY)
		return pathfile_open(r, tty_path_of(r, m), m->flags | O_NOCTTY | O_NONBLOCK);
	if (there < 0)
		return log_errno(-ENOTTY, "there is no terminal here to take the place of the one at dump");
	fd = reopen(there, m->flags);
	return fd < 0 ? log_errno(-errno, "opening this terminal with flags 0%o", m->flags) : fd;
}

int tty_external_open_any(struct restore *r, const struct tty_info *ti)
{
	TtyFileEntry m = TTY_FILE_ENTRY__INIT;

	if (!ti->file)
		return log_errno(-ENOENT, "terminal %u: no file leads to it", ti->id);
	m = *ti->file;
	m.flags = O_RDWR;
	return tty_external_open(r, &m, ti);
}

/* ---- settings ---- */

struct before {
	struct termios2 termios;
	struct winsize size;
	int pgrp;
};

/* SIGTTOU would stop whoever does this from the background. The guardian's session is another: it cannot set the group.
 */
static int undo_settings(const struct undo *u)
{
	struct before b;

	if (u->data_len != sizeof(b))
		return -EINVAL;
	memcpy(&b, u->data, sizeof(b));
	if (ioctl(u->fd, TCSETS2, &b.termios) || ioctl(u->fd, TIOCSWINSZ, &b.size))
		return -errno;
	if (b.pgrp > 0 && foreground(u->fd) != b.pgrp)
		ioctl(u->fd, TIOCSPGRP, &b.pgrp);
	return 0;
}

/* The entry's descriptor is the tool's for as long as the restore lasts: it is closed when the tool ends. */
static int note_settings(struct restore *r, int fd)
{
	struct before b = { .pgrp = foreground(fd) };
	struct undo u = { .type = UNDO_CALL, .call = undo_settings, .data = &b, .data_len = sizeof(b) };
	int number;

	if (ioctl(fd, TCGETS2, &b.termios) || ioctl(fd, TIOCGWINSZ, &b.size))
		return log_errno(-errno, "reading this terminal's settings");
	u.fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	if (u.fd < 0)
		return log_errno(-errno, "duplicating this terminal's descriptor");
	number = guardian_note(r->guardian, &u);
	return MIN(number, 0);
}

/* If the job was in the foreground and so are we, it is again. The shell takes it back when it sees us end. */
static int set_foreground(struct restore *r, const TtyInfoEntry *e, int fd)
{
	for (size_t i = 0; i < r->tree.n_tasks; i++) {
		const struct task *t = r->tree.tasks[i];
		int pgrp;

		if (t->state == TASK_DEAD || (uint32_t)t->vpgid.v != e->pgrp || getsid(t->pid) != getsid(0))
			continue;
		pgrp = getpgid(t->pid);
		return ioctl(fd, TIOCSPGRP, &pgrp)
		           ? log_errno(-errno, "%s: making its process group the foreground one", task_name(t))
		           : 0;
	}
	return 0;
}

/* Of a serial line and a virtual terminal, whatever its user has set is the device's. */
int tty_external_late(struct restore *r, struct tty_info *ti, int fd)
{
	const TtyInfoEntry *e = ti->entry;
	bool job = e->type == TTY_TYPE__CTTY || (e->type == TTY_TYPE__PTY && handed_in(r, e) < 0);
	int err;

	if (ti->set || (job && foreground(fd) != getpgrp()))
		return 0;
	ti->set = true;
	err = note_settings(r, fd);
	if (err)
		return err;
	fault_point("terminal noted");
	err = tty_params_set_termios(fd, e);
	if (!err && e->type == TTY_TYPE__SERIAL)
		err = tty_params_set_size(fd, e);
	if (!err && e->exclusive && ioctl(fd, TIOCEXCL))
		err = -errno;
	if (err)
		return log_errno(err, "setting terminal %u as the one at dump was", ti->id);
	fault_point("terminal set");
	return job ? set_foreground(r, e, fd) : 0;
}
