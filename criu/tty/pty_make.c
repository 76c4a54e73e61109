/* SPDX-License-Identifier: GPL-2.0-only */
/* Pseudo terminals at restore: their entries, and the pairs themselves. */
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/sysmacros.h>

#include "core/log.h"
#include "core/pathfile.h"
#include "tty/params.h"
#include "tty/pty.h"
#include "uapi/fcntl_bits.h"

/* How many pairs are opened in search of an index that is free. */
#define MAX_TRIES 1024

/* ---- entries ---- */

static struct pty *pty_of(struct restore *r, uint32_t index)
{
	struct tty_state *s = tty_state_of(r);
	struct arena *table_arena = r->arena;
	struct pty *p;

	HASH_FIND(hh, s->ptys, &index, sizeof(index), p);
	if (!p) {
		p = arena_new_of(r->arena, struct pty);
		p->index = index;
		p->master = p->slave = -1;
		HASH_ADD(hh, s->ptys, index, sizeof(p->index), p);
	}
	return p;
}

static int add_info(struct restore *r, const TtyInfoEntry *e)
{
	struct tty_state *s = tty_state_of(r);
	struct arena *table_arena = r->arena;
	struct tty_info *ti;

	HASH_FIND(hh, s->infos, &e->id, sizeof(e->id), ti);
	if (ti)
		return log_errno(-EINVAL, "tty-info.img: terminal %u is there twice", e->id);
	ti = arena_new_of(r->arena, struct tty_info);
	ti->id = e->id;
	ti->entry = e;
	if (e->type == TTY_TYPE__PTY) {
		if (!e->pty)
			return log_errno(-EINVAL, "tty-info.img: terminal %u has no index", e->id);
		ti->pty = pty_of(r, e->pty->index);
		ti->pty->info[pty_side_of(e)] = e;
	}
	HASH_ADD(hh, s->infos, id, sizeof(ti->id), ti);
	return 0;
}

int pty_read_infos(struct restore *r)
{
	_cleanup_image_ struct image *img = NULL;
	int err = image_open(r->dir, IMG_TTY_INFO, 0, &img);
	TtyInfoEntry *e;

	if (err)
		return err == -ENOENT ? 0 : err;
	while ((err = image_read(img, &tty_info_entry__descriptor, r->arena, &e)) > 0) {
		err = add_info(r, e);
		if (err)
			return err;
	}
	return err;
}

/* ---- pairs ---- */

static int open_master(struct restore *r, const RegFileEntry *path, uint32_t flags, unsigned *index)
{
	int fd = pathfile_open(r, path, flags), err;

	if (fd >= 0 && ioctl(fd, TIOCGPTN, index)) {
		err = log_errno(-errno, "%s: the number of a new terminal", path->name);
		close(fd);
		return err;
	}
	return fd;
}

/* The kernel hands out the lowest free index: lower ones are held until the one that is wanted comes, or is passed. */
static int open_at_index(struct restore *r, const RegFileEntry *path, uint32_t flags, struct pty *p)
{
	int *held = arena_array(r->arena, int, MAX_TRIES), fd;
	size_t n = 0;

	while ((fd = open_master(r, path, flags, &p->index_now)) >= 0 && p->index_now < p->index && n < MAX_TRIES)
		held[n++] = fd;
	/* Passed: the first that came is as good as any. */
	if (fd >= 0 && p->index_now != p->index && n) {
		close(fd);
		fd = held[0];
		held[0] = -1;
		if (ioctl(fd, TIOCGPTN, &p->index_now))
			p->index_now = 0;
	}
	for (size_t i = 0; i < n; i++)
		if (held[i] >= 0)
			close(held[i]);
	if (fd >= 0 && p->index_now != p->index)
		log_warn("the terminal /dev/pts/%u is taken here; what had it has /dev/pts/%u now", p->index,
		         p->index_now);
	return fd;
}

/* Name of the slave now: the folder is the old one's. */
static void slave_name(const struct pty *p, const RegFileEntry *path, char *buf, size_t size)
{
	const char *slash = path ? strrchr(path->name, '/') : NULL;

	snprintf(buf, size, "%.*s/%u", slash ? (int)(slash - path->name) : 8, slash ? path->name : "/dev/pts",
	         p->index_now);
}

static const RegFileEntry *path_of(struct restore *r, const TtyFileEntry *m)
{
	return m ? pathfile_message(r, m->has_regf_id ? m->regf_id : m->id) : NULL;
}

/* A new slave belongs to whoever opens the master, with the group and mode that devpts is mounted with. */
static void set_owner(struct restore *r, struct pty *p)
{
	const RegFileEntry *path = path_of(r, p->file[PTY_SLAVE]);
	const TtyInfoEntry *e = p->info[PTY_SLAVE];
	struct stat st;
	char name[300];

	if (!path || !e)
		return;
	slave_name(p, path, name, sizeof(name));
	if (stat(name, &st) || !S_ISCHR(st.st_mode) || minor(st.st_rdev) != p->index_now)
		return;
	if (e->has_uid && e->has_gid && (st.st_uid != e->uid || st.st_gid != e->gid) && chown(name, e->uid, e->gid))
		log_warn("%s: belongs to %u:%u instead of %u:%u: %s", name, st.st_uid, st.st_gid, e->uid, e->gid,
		         strerror(errno));
	if (path->has_mode && ((st.st_mode ^ path->mode) & 07777) && chmod(name, path->mode & 07777))
		log_warn("%s: its mode is 0%o instead of 0%o: %s", name, st.st_mode & 07777, path->mode & 07777,
		         strerror(errno));
}

static int set_up(struct restore *r, struct pty *p, int fd)
{
	const TtyInfoEntry *e = p->info[PTY_SLAVE] ?: p->info[PTY_MASTER], *m = p->info[PTY_MASTER];
	int unlock = 0, on = 1, err;

	if (ioctl(fd, TIOCSPTLCK, &unlock))
		return log_errno(-errno, "terminal %u: unlocking it", p->index);
	err = tty_params_set_termios(fd, e);
	if (!err)
		err = tty_params_set_size(fd, e);
	if (err)
		return log_errno(err, "terminal %u: its settings", p->index);
	if (m && m->packet_mode && ioctl(fd, TIOCPKT, &on))
		return log_errno(-errno, "terminal %u: packet mode", p->index);
	set_owner(r, p);
	return 0;
}

int pty_make(struct restore *r, struct pty *p)
{
	const TtyFileEntry *m = p->file[PTY_MASTER];
	const RegFileEntry *path = path_of(r, m);
	_cleanup_close_ int fd = -1;
	int err;

	if (p->master >= 0)
		return 0;
	if (!path)
		return -EINVAL;
	fd = open_at_index(r, path, m->flags, p);
	if (fd < 0)
		return fd;
	err = set_up(r, p, fd);
	if (!err)
		p->master = move_fd(&fd);
	return err;
}

/* By its path where it was opened so (the flags show it), else through the master. */
int pty_open_slave(struct restore *r, struct pty *p, uint32_t flags)
{
	int how = (int)(flags & ~(uint32_t)(O_ASYNC | KERNEL_O_LARGEFILE)) | O_NOCTTY | O_CLOEXEC, fd;
	char name[300];
	struct stat st;

	if (flags & KERNEL_O_LARGEFILE) {
		slave_name(p, path_of(r, p->file[PTY_SLAVE]), name, sizeof(name));
		fd = open(name, how);
		if (fd >= 0 && !fstat(fd, &st) && S_ISCHR(st.st_mode) && minor(st.st_rdev) == p->index_now)
			return fd;
		if (fd >= 0)
			close(fd);
	}
	fd = ioctl(p->master, TIOCGPTPEER, how);
	return fd < 0 ? log_errno(-errno, "terminal %u: opening its slave with flags 0%o", p->index, flags) : fd;
}
