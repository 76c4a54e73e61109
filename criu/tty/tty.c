/* SPDX-License-Identifier: GPL-2.0-only */
/* The row of terminals. */
#include <fcntl.h>
#include <sys/ioctl.h>

#include "files/files.h"
#include "lib/log.h"
#include "path/pathfile.h"
#include "tty/pty.h"
#include "tty/tty_dump.h"

static int note_file(struct restore *r, const void *msg, void *arg)
{
	const TtyFileEntry *m = msg;
	struct tty_info *ti = tty_info_of(r, m->tty_info_id);
	enum pty_side side;

	if (!ti)
		return log_errno(-EINVAL, "tty-info.img has no terminal %u, which file %u names", m->tty_info_id,
		                 m->id);
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
	int err = tty_read_infos(r);

	return err ?: files_all(r, &tty_kind, note_file, NULL);
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

static int tty_open(struct restore *r, const void *msg)
{
	const TtyFileEntry *m = msg;
	const struct tty_info *ti = tty_info_of(r, m->tty_info_id);
	int err, fd;

	if (!ti || ti->entry->type == TTY_TYPE__CTTY)
		return log_errno(-EINVAL, "file %u is a terminal that is opened by nobody", m->id);
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
	return fd < 0 ? log_errno(-errno, "terminal %u: its master", ti->pty->index) : fd;
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
	const TtyFileEntry *m = msg;
	struct tty_info *ti = tty_info_of(r, m->tty_info_id);
	const TtyInfoEntry *e = ti->entry;
	int on = 1;

	if (e->hung_up)
		return 0;
	if (tty_external_is_mine(ti) || ctty_is_job(r, e))
		return tty_external_late(r, ti, fd);
	if (!ti->pty)
		return 0;
	if (e->exclusive && ioctl(fd, TIOCEXCL))
		return log_errno(-errno, "terminal %u: exclusive mode", ti->pty->index);
	if (pty_side_of(e) == PTY_SLAVE)
		return 0;
	if (e->locked && ioctl(fd, TIOCSPTLCK, &on))
		return log_errno(-errno, "terminal %u: locking it", ti->pty->index);
	return close_pair(ti->pty);
}

static void tty_resource(struct restore *r, const void *msg, char *buf, size_t size, bool *marked)
{
	const struct tty_info *ti = tty_info_of(r, ((const TtyFileEntry *)msg)->tty_info_id);

	if (ti && tty_external_is_mine(ti))
		tty_external_name(ti->entry, buf, size);
}

const struct fd_kind tty_kind = {
	.name = "terminal",
	.state = { .dump = sizeof(struct tty_dump), .restore = sizeof(struct tty_state) },
	.type = FD_TYPES__TTY,
	.field = 19,
	.pb = &tty_file_entry__descriptor,
	.match = tty_match,
	.dump = tty_dump,
	.all_collected = tty_collected,
	.check = tty_check,
	.resource = tty_resource,
	.inherits_itself = true,
	.prepare = ctty_prepare,
	.open = tty_open,
	.post_open = tty_late,
	.read_images = tty_read_images,
};
