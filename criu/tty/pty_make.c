/* SPDX-License-Identifier: GPL-2.0-only */
/* Pseudo terminals at restore: the pairs themselves. */
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/sysmacros.h>

#include "lib/log.h"
#include "path/pathfile.h"
#include "tty/params.h"
#include "tty/pty.h"
#include "tty/queue_image.h"
#include "uapi/fcntl_bits.h"

/* How many masters are opened and held beside those that are wanted, in search of indices that are free. */
#define MAX_HELD 4096

/* ---- masters ---- */

/* Those of one devpts. The kernel hands out the lowest free index. */
struct group {
	const RegFileEntry *path;
	uint32_t flags;
	struct pty **wanted; /* by index */
	size_t n;
	int *held;
	size_t n_held;
};

static int open_master(struct restore *r, const struct group *g, unsigned *index)
{
	int fd = pathfile_open(r, g->path, g->flags), err;

	if (fd >= 0 && ioctl(fd, TIOCGPTN, index)) {
		err = log_errno(-errno, "%s: the number of a new terminal", g->path->name);
		close(fd);
		return err;
	}
	return fd;
}

static int by_index(const void *a, const void *b)
{
	const struct pty *const *p = a, *const *q = b;

	return (*p)->index < (*q)->index ? -1 : (*p)->index > (*q)->index;
}

static struct pty *find_wanted(const struct group *g, unsigned index)
{
	struct pty key = { .index = index }, *keyp = &key, **p;

	p = bsearch(&keyp, g->wanted, g->n, sizeof(*g->wanted), by_index);
	return p && (*p)->master < 0 ? *p : NULL;
}

static void give(struct pty *p, int fd, unsigned index)
{
	p->master = fd;
	p->index_now = index;
}

/* What is not wanted is held, so that the next one is another. */
static int open_wanted(struct restore *r, struct group *g)
{
	size_t found = 0;
	unsigned index = 0;

	while (found < g->n && index < g->wanted[g->n - 1]->index && g->n_held < MAX_HELD) {
		int fd = open_master(r, g, &index);
		struct pty *p;

		if (fd < 0)
			return fd;
		p = find_wanted(g, index);
		if (p) {
			give(p, fd, index);
			found++;
		} else {
			arena_push(r->arena, &g->held, &g->n_held, fd);
		}
	}
	return 0;
}

/* Their indices are taken: any other is as good. */
static int open_others(struct restore *r, struct group *g)
{
	for (size_t i = 0; i < g->n; i++) {
		struct pty *p = g->wanted[i];
		unsigned index;
		int fd;

		if (p->master >= 0)
			continue;
		fd = g->n_held ? g->held[--g->n_held] : open_master(r, g, &index);
		if (fd < 0)
			return fd;
		if (ioctl(fd, TIOCGPTN, &index))
			index = 0;
		give(p, fd, index);
		if (index != p->index)
			log_warn("the terminal /dev/pts/%u is taken here; what had it has /dev/pts/%u now", p->index,
			         index);
	}
	return 0;
}

static void release_held(struct group *g)
{
	while (g->n_held)
		close(g->held[--g->n_held]);
}

static bool is_in_group(struct restore *r, const struct group *g, const struct pty *p)
{
	const TtyFileEntry *m = p->file[PTY_MASTER];
	const RegFileEntry *path = p->master < 0 ? tty_path_of(r, m) : NULL;

	return path && !strcmp(path->name, g->path->name) && (m->flags & O_ACCMODE) == (g->flags & O_ACCMODE);
}

static int open_group(struct restore *r, const struct pty *first)
{
	const TtyFileEntry *m = first->file[PTY_MASTER];
	struct group g = { .path = tty_path_of(r, m), .flags = m->flags };
	int err;

	if (!g.path)
		return -EINVAL;
	for (struct pty *p = tty_state_of(r)->ptys; p; p = p->hh.next)
		if (is_in_group(r, &g, p))
			arena_push(r->arena, &g.wanted, &g.n, p);
	qsort(g.wanted, g.n, sizeof(*g.wanted), by_index);
	err = open_wanted(r, &g);
	if (!err)
		err = open_others(r, &g);
	release_held(&g);
	return err;
}

/* ---- slaves ---- */

/* Name of the slave now: the folder is the old one's. */
static void slave_name(const struct pty *p, const RegFileEntry *path, char *buf, size_t size)
{
	const char *slash = path ? strrchr(path->name, '/') : NULL;

	snprintf(buf, size, "%.*s/%u", slash ? (int)(slash - path->name) : 8, slash ? path->name : "/dev/pts",
	         p->index_now);
}

/* Not with O_CLOEXEC: the description would show that flag ever after, whatever its descriptors have. */
static int open_peer(const struct pty *p, int master, uint32_t flags)
{
	int how = (int)(flags & ~(uint32_t)(O_ASYNC | KERNEL_O_LARGEFILE | O_CLOEXEC)) | O_NOCTTY;
	int fd = ioctl(master, TIOCGPTPEER, how);

	if (fd < 0 || fcntl(fd, F_SETFD, FD_CLOEXEC))
		return log_errno(-errno, "terminal %u: opening its slave with flags 0%o", p->index, flags);
	return fd;
}

/* By its path where it was opened so (the flags show it), else through the master. */
int pty_open_slave(struct restore *r, struct pty *p, uint32_t flags)
{
	int how = (int)(flags & ~(uint32_t)(O_ASYNC | KERNEL_O_LARGEFILE)) | O_NOCTTY | O_CLOEXEC, fd;
	char name[300];
	struct stat st;

	if (flags & KERNEL_O_LARGEFILE) {
		slave_name(p, tty_path_of(r, p->file[PTY_SLAVE]), name, sizeof(name));
		fd = open(name, how);
		if (fd >= 0 && !fstat(fd, &st) && S_ISCHR(st.st_mode) && minor(st.st_rdev) == p->index_now)
			return fd;
		if (fd >= 0)
			close(fd);
	}
	return open_peer(p, p->master, flags);
}

/* A new slave belongs to whoever opens the master, with the group and mode that devpts is mounted with. */
static void set_owner(struct restore *r, struct pty *p)
{
	const RegFileEntry *path = tty_path_of(r, p->file[PTY_SLAVE]);
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

/* ---- what they hold ---- */

/* A slave that was never open is not opened: its master would see it go. */
static bool had_slave(const struct pty *p)
{
	const TtyInfoEntry *m = p->info[PTY_MASTER];

	return p->info[PTY_SLAVE] || m->slave_gone || p->data[PTY_MASTER];
}

static int fill(struct restore *r, struct pty *p)
{
	const TtyInfoEntry *e = p->info[PTY_SLAVE] ?: p->info[PTY_MASTER], *m = p->info[PTY_MASTER];
	struct tty_queue *q = calloc(1, sizeof(*q));
	_cleanup_free_ __attribute__((unused)) void *owner = q;
	struct tty_ends ends = { .master = p->master };
	struct tty_mode mode = { .packet = 0 };
	int err;

	if (!q)
		return log_errno(-ENOMEM, "terminal %u: memory for its queues", p->index);
	ends.slave = p->slave = pty_open_slave(r, p, O_RDWR | O_NONBLOCK);
	if (p->slave < 0)
		return p->slave;
	err = queue_from_data(p->data[PTY_MASTER], p->data[PTY_SLAVE], q);
	if (err)
		return err;
	q->stopped = m->stopped;
	q->packet_status = (uint8_t)m->packet_status;
	err = tty_mode_read(&ends, &mode);
	tty_params_mode(e, &mode);
	mode.packet = m->packet_mode;
	if (!err)
		err = queue_put(&ends, &mode, q);
	return err ? log_errno(err, "terminal %u: its settings and queues", p->index) : 0;
}

static int set_up(struct restore *r, struct pty *p)
{
	const TtyInfoEntry *e = p->info[PTY_SLAVE] ?: p->info[PTY_MASTER], *m = p->info[PTY_MASTER];
	uint32_t status = p->file[PTY_MASTER]->flags & ~(uint32_t)(O_ASYNC | O_ACCMODE);
	int unlock = 0, on = 1, err;

	if (fcntl(p->master, F_SETFL, status | O_NONBLOCK) || ioctl(p->master, TIOCSPTLCK, &unlock))
		return log_errno(-errno, "terminal %u: unlocking it", p->index);
	err = tty_params_set_size(p->master, e);
	if (err)
		return log_errno(err, "terminal %u: its size", p->index);
	if (had_slave(p)) {
		err = fill(r, p);
		if (!err && fcntl(p->master, F_SETFL, status))
			err = log_errno(-errno, "terminal %u: flags of its master", p->index);
		return err;
	}
	err = fcntl(p->master, F_SETFL, status) ? -errno : tty_params_set_termios(p->master, e);
	if (!err && m->packet_mode && ioctl(p->master, TIOCPKT, &on))
		err = -errno;
	return err ? log_errno(err, "terminal %u: its settings", p->index) : 0;
}

static int make_all(struct restore *r)
{
	int err = 0;

	for (struct pty *p = tty_state_of(r)->ptys; p && !err; p = p->hh.next)
		if (p->file[PTY_MASTER] && !p->made && p->master < 0)
			err = open_group(r, p);
	for (struct pty *p = tty_state_of(r)->ptys; p && !err; p = p->hh.next) {
		if (!p->file[PTY_MASTER] || p->made)
			continue;
		p->made = true;
		err = set_up(r, p);
		if (!err)
			set_owner(r, p);
	}
	return err;
}

int pty_make(struct restore *r, struct pty *wanted)
{
	return wanted->made ? 0 : make_all(r);
}

/*
 * Its master is closed again at once, which hangs it up. Under its old index if that is free, after all others have
 * theirs: one of them may have had it too.
 */
int pty_open_hung_up(struct restore *r, const TtyFileEntry *m, const TtyInfoEntry *e)
{
	RegFileEntry ptmx = REG_FILE_ENTRY__INIT;
	struct pty p = { .index = e->pty ? e->pty->index : 0, .master = -1, .slave = -1 }, *wanted = &p;
	struct group g = { .path = &ptmx, .flags = O_RDWR, .wanted = &wanted, .n = 1 };
	_cleanup_close_ int master = -1;
	int unlock = 0, err = make_all(r);

	ptmx.name = (char *)"/dev/ptmx";
	if (!err)
		err = open_wanted(r, &g);
	if (!err)
		err = open_others(r, &g);
	release_held(&g);
	master = p.master;
	if (err)
		return err;
	if (ioctl(master, TIOCSPTLCK, &unlock))
		return log_errno(-errno, "a terminal for one that was hung up");
	return open_peer(&p, master, m->flags);
}
