/* SPDX-License-Identifier: GPL-2.0-only */
/* Pseudo terminals as pairs of a master and a slave: found at dump, made at restore. */
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>

#include "helper/ns_roots.h"
#include "lib/log.h"
#include "lib/lookup.h"
#include "path/pathfile.h"
#include "tree/pts_masters.h"
#include "tty/pty.h"
#include "tty/tty_queue.h"
#include "tty/tty_settings.h"
#include "uapi/fcntl_bits.h"

/* ---- dump: which slave is a master's ---- */

int pty_duplicate(const struct terminal *t)
{
	int fd = t->held >= 0 ? fcntl(t->held, F_DUPFD_CLOEXEC, 3)
	                      : (int)syscall(SYS_pidfd_getfd, t->task->dump->pidfd, t->number, 0);

	return fd < 0
	           ? log_errno(-errno, "%s: %s: duplicating it: fcntl(F_DUPFD_CLOEXEC) or pidfd_getfd", t->who, t->link)
	           : fd;
}

static void join_pair(struct tty_dump *td, struct terminal *master, struct terminal *slave)
{
	master->peer = slave;
	slave->peer = master;
	master->entry->has_pair = slave->entry->has_pair = true;
	master->entry->pair = slave->entry->pair = ++td->last_pair;
}

/*
 * Of the slaves with a master's index, the peer is the one of the master's devpts. Asked only where there is such a
 * slave in the tree: to open a slave that is not open would tell the master, when it is closed again, that it is gone.
 */
static int find_slave(struct tty_dump *td, struct terminal *master)
{
	_cleanup_close_ int fd = -1, peer = -1;
	struct stat st = { 0 };
	struct terminal *s;

	HASH_FIND(by_index, td->slaves, &master->index, sizeof(master->index), s);
	if (!s)
		return 0;
	fd = pty_duplicate(master);
	if (fd < 0)
		return fd;
	peer = ioctl(fd, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
	/* A terminal that is locked again cannot be opened: then the index alone decides. */
	if (peer >= 0 && fstat(peer, &st))
		return log_errno(-errno, "%s: fstat of its slave", master->who);
	while (s && (s->peer || (peer >= 0 && s->key.dev != st.st_dev)))
		s = s->same_index;
	if (s)
		join_pair(td, master, s);
	return 0;
}

int pty_find_pairs(struct dump *d)
{
	struct tty_dump *td = tty_dump_of(d);
	int err = 0;

	for (size_t i = 0; !err && i < td->n; i++)
		if (td->all[i]->master)
			err = find_slave(td, td->all[i]);
	return err;
}

/* ---- restore: masters ---- */

/* How many masters are opened and held beside those that are wanted, in search of indices that are free. */
#define MAX_HELD 4096

/* The masters of one devpts. The kernel gives a new one the lowest free index. */
struct master_group {
	const RegFileEntry *path;
	uint32_t flags;
	struct pty **wanted; /* by index */
	size_t n;
	int *held;
	size_t n_held;
};

static int open_master(struct restore *r, const struct master_group *g, unsigned *index)
{
	int fd = pathfile_open(r, g->path, g->flags), err;

	if (fd >= 0 && ioctl(fd, TIOCGPTN, index)) {
		err = log_errno(-errno, "%s: ioctl(TIOCGPTN) of a new terminal", g->path->name);
		close(fd);
		return err;
	}
	return fd;
}

static int compare_index(const void *a, const void *b)
{
	const struct pty *const *p = a, *const *q = b;

	return (*p)->index < (*q)->index ? -1 : (*p)->index > (*q)->index;
}

static struct pty *find_wanted(const struct master_group *g, unsigned index)
{
	struct pty key = { .index = index }, *keyp = &key, **p;

	p = bsearch(&keyp, g->wanted, g->n, sizeof(*g->wanted), compare_index);
	return p && (*p)->master < 0 ? *p : NULL;
}

static void set_master(struct pty *p, int fd, unsigned index)
{
	p->master = fd;
	p->index_now = index;
}

/* Of those that mounts show, the masters are open already. Returns how many. */
static size_t take_opened(struct restore *r, struct master_group *g)
{
	size_t found = 0;

	for (size_t i = 0; i < g->n; i++) {
		const TtyInfoEntry *e = g->wanted[i]->info[PTY_SLAVE];
		int fd = e && e->has_dev ? pts_masters_take(r, e->dev, g->wanted[i]->index) : -1;

		if (fd >= 0)
			set_master(g->wanted[i], fd, g->wanted[i]->index);
		found += fd >= 0;
	}
	return found;
}

/* A master that is not wanted is held open, so that the kernel gives the next one another index. */
static int open_wanted(struct restore *r, struct master_group *g)
{
	size_t found = take_opened(r, g);
	unsigned index = 0;

	while (found < g->n && index < g->wanted[g->n - 1]->index && g->n_held < MAX_HELD) {
		int fd = open_master(r, g, &index);
		struct pty *p;

		if (fd < 0)
			return fd;
		p = find_wanted(g, index);
		if (p) {
			set_master(p, fd, index);
			found++;
		} else {
			arena_push(r->arena, &g->held, &g->n_held, fd);
		}
	}
	return 0;
}

/* Of terminals whose indices are taken: any other index is as good. */
static int open_others(struct restore *r, struct master_group *g)
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
		set_master(p, fd, index);
		if (index != p->index)
			log_warn("/dev/pts/%u is in use here; tasks that had it get /dev/pts/%u", p->index, index);
	}
	return 0;
}

static void close_held(struct master_group *g)
{
	while (g->n_held)
		close(g->held[--g->n_held]);
}

static const RegFileEntry *master_path(struct restore *r, const struct pty *p)
{
	return p->ptmx ?: tty_path_of(r, p->file[PTY_MASTER]);
}

static bool is_in_group(struct restore *r, const struct master_group *g, const struct pty *p)
{
	const TtyFileEntry *m = p->file[PTY_MASTER];
	const RegFileEntry *path = p->master < 0 ? master_path(r, p) : NULL;

	return path && !strcmp(path->name, g->path->name) && path->mnt_id == g->path->mnt_id &&
	       (m->flags & O_ACCMODE) == (g->flags & O_ACCMODE);
}

static int open_group(struct restore *r, const struct pty *first)
{
	const TtyFileEntry *m = first->file[PTY_MASTER];
	struct master_group g = { .path = master_path(r, first), .flags = m->flags };
	int err;

	if (!g.path)
		return -EINVAL;
	for (struct pty *p = tty_restore_of(r)->ptys; p; p = p->hh.next)
		if (is_in_group(r, &g, p))
			arena_push(r->arena, &g.wanted, &g.n, p);
	qsort(g.wanted, g.n, sizeof(*g.wanted), compare_index);
	err = open_wanted(r, &g);
	if (!err)
		err = open_others(r, &g);
	close_held(&g);
	return err;
}

/* ---- restore: slaves ---- */

/* The name of a slave now, in the folder of the old one. */
static void slave_name(const struct pty *p, const RegFileEntry *path, char *buf, size_t size)
{
	const char *slash = path ? strrchr(path->name, '/') : NULL;

	snprintf(buf, size, "%.*s/%u", slash ? (int)(slash - path->name) : 8, slash ? path->name : "/dev/pts",
	         p->index_now);
}

/* Not with O_CLOEXEC: the open file would show that flag ever after, whatever flags its descriptors have. */
static int open_peer(const struct pty *p, int master, uint32_t flags)
{
	int how = (int)(flags & ~(uint32_t)(O_ASYNC | KERNEL_O_LARGEFILE | O_CLOEXEC)) | O_NOCTTY;
	int fd = ioctl(master, TIOCGPTPEER, how);

	if (fd < 0 || fcntl(fd, F_SETFD, FD_CLOEXEC))
		return log_errno(-errno, "terminal %u: opening its slave with flags 0%o: ioctl(TIOCGPTPEER)", p->index,
		                 flags);
	return fd;
}

/* By its path where it was opened by a path (the flags show that), else through the master. */
int pty_open_slave(struct restore *r, struct pty *p, uint32_t flags)
{
	int how = (int)(flags & ~(uint32_t)(O_ASYNC | KERNEL_O_LARGEFILE)) | O_NOCTTY | O_CLOEXEC, fd;
	const RegFileEntry *path = p->file[PTY_SLAVE] ? tty_path_of(r, p->file[PTY_SLAVE]) : NULL;
	_cleanup_lookup_ const struct lookup_root *before = lookup_now();
	char name[300];
	struct stat st;

	lookup_in(path ? ns_roots_of_message(r, path) : NULL);
	if (flags & KERNEL_O_LARGEFILE) {
		slave_name(p, path, name, sizeof(name));
		fd = lookup_open(name, how, 0);
		if (fd >= 0 && !fstat(fd, &st) && S_ISCHR(st.st_mode) && minor(st.st_rdev) == p->index_now)
			return fd;
		if (fd >= 0)
			close(fd);
	}
	return open_peer(p, p->master, flags);
}

/* A new slave belongs to the user that opens the master, with the group and mode that devpts is mounted with. */
static void restore_owner(struct restore *r, struct pty *p)
{
	const RegFileEntry *path = tty_path_of(r, p->file[PTY_SLAVE]);
	_cleanup_lookup_ const struct lookup_root *before = lookup_now();
	const TtyInfoEntry *e = p->info[PTY_SLAVE];
	struct stat st;
	char name[300];

	if (!path || !e)
		return;
	slave_name(p, path, name, sizeof(name));
	lookup_in(ns_roots_of_message(r, path));
	if (lookup_stat(name, &st) || !S_ISCHR(st.st_mode) || minor(st.st_rdev) != p->index_now)
		return;
	if (e->has_uid && e->has_gid && (st.st_uid != e->uid || st.st_gid != e->gid) &&
	    chown(lookup_path(name), e->uid, e->gid))
		log_warn("%s: belongs to %u:%u instead of %u:%u: %s", name, st.st_uid, st.st_gid, e->uid, e->gid,
		         strerror(errno));
	if (path->has_mode && ((st.st_mode ^ path->mode) & 07777) && chmod(lookup_path(name), path->mode & 07777))
		log_warn("%s: its mode is 0%o instead of 0%o: %s", name, st.st_mode & 07777, path->mode & 07777,
		         strerror(errno));
}

/* ---- restore: settings and queues ---- */

/* A slave that was never open is not opened: its master would see it being closed. */
static bool had_slave(const struct pty *p)
{
	const TtyInfoEntry *m = p->info[PTY_MASTER];

	return p->info[PTY_SLAVE] || m->slave_gone || p->data[PTY_MASTER];
}

static int fill_pair(struct restore *r, struct pty *p)
{
	const TtyInfoEntry *e = p->info[PTY_SLAVE] ?: p->info[PTY_MASTER], *m = p->info[PTY_MASTER];
	struct tty_queue *q = calloc(1, sizeof(*q));
	_cleanup_free_ __attribute__((unused)) void *owner = q;
	struct tty_ends ends = { .master = p->master };
	struct tty_mode mode = { .packet = 0 };
	int err;

	if (!q)
		return log_errno(-ENOMEM, "terminal %u: out of memory for its queues", p->index);
	ends.slave = p->slave = pty_open_slave(r, p, O_RDWR | O_NONBLOCK);
	if (p->slave < 0)
		return p->slave;
	err = tty_queue_from_data(p->data[PTY_MASTER], p->data[PTY_SLAVE], q);
	if (err)
		return err;
	q->stopped = m->stopped;
	q->packet_status = (uint8_t)m->packet_status;
	err = tty_mode_read(&ends, &mode);
	tty_settings_to_mode(e, &mode);
	mode.packet = m->packet_mode;
	if (!err)
		err = tty_queue_put(&ends, &mode, q);
	return err ? log_errno(err, "terminal %u: restoring its settings and queues", p->index) : 0;
}

static int set_up_pair(struct restore *r, struct pty *p)
{
	const TtyInfoEntry *e = p->info[PTY_SLAVE] ?: p->info[PTY_MASTER], *m = p->info[PTY_MASTER];
	uint32_t status = p->file[PTY_MASTER]->flags & ~(uint32_t)(O_ASYNC | O_ACCMODE);
	int unlock = 0, on = 1, err;

	if (fcntl(p->master, F_SETFL, status | O_NONBLOCK) || ioctl(p->master, TIOCSPTLCK, &unlock))
		return log_errno(-errno, "terminal %u: its master: fcntl(F_SETFL) or ioctl(TIOCSPTLCK)", p->index);
	err = tty_settings_set_size(p->master, e);
	if (err)
		return log_errno(err, "terminal %u: ioctl(TIOCSWINSZ)", p->index);
	if (had_slave(p)) {
		err = fill_pair(r, p);
		if (!err && fcntl(p->master, F_SETFL, status))
			err = log_errno(-errno, "terminal %u: its master: fcntl(F_SETFL)", p->index);
		return err;
	}
	err = fcntl(p->master, F_SETFL, status) ? -errno : tty_settings_set_termios(p->master, e);
	if (!err && m->packet_mode && ioctl(p->master, TIOCPKT, &on))
		err = -errno;
	return err ? log_errno(err, "terminal %u: restoring its settings", p->index) : 0;
}

static int make_all_pairs(struct restore *r)
{
	int err = 0;

	for (struct pty *p = tty_restore_of(r)->ptys; p && !err; p = p->hh.next)
		if (p->file[PTY_MASTER] && !p->made && p->master < 0)
			err = open_group(r, p);
	for (struct pty *p = tty_restore_of(r)->ptys; p && !err; p = p->hh.next) {
		if (!p->file[PTY_MASTER] || p->made)
			continue;
		p->made = true;
		err = set_up_pair(r, p);
		if (!err)
			restore_owner(r, p);
	}
	return err;
}

int pty_make(struct restore *r, struct pty *wanted)
{
	return wanted->made ? 0 : make_all_pairs(r);
}

/*
 * The master is closed again at once, which hangs the slave up. Under the old index if that is free, after all pairs
 * have theirs: one of them may have had the same index later.
 */
int pty_open_hung_up(struct restore *r, const TtyFileEntry *m, const TtyInfoEntry *e)
{
	RegFileEntry ptmx = REG_FILE_ENTRY__INIT;
	struct pty p = { .index = e->pty ? e->pty->index : 0, .master = -1, .slave = -1 }, *wanted = &p;
	struct master_group g = { .path = &ptmx, .flags = O_RDWR, .wanted = &wanted, .n = 1 };
	_cleanup_close_ int master = -1;
	const RegFileEntry *slave = tty_path_of(r, m);
	int unlock = 0, err = make_all_pairs(r);

	ptmx.name = (char *)"/dev/ptmx";
	ptmx.has_mnt_id = slave && slave->has_mnt_id;
	ptmx.mnt_id = slave ? slave->mnt_id : -1;
	if (!err)
		err = open_wanted(r, &g);
	if (!err)
		err = open_others(r, &g);
	close_held(&g);
	master = p.master;
	if (err)
		return err;
	if (ioctl(master, TIOCSPTLCK, &unlock))
		return log_errno(-errno, "ioctl(TIOCSPTLCK) of a terminal that is to be hung up");
	return open_peer(&p, master, m->flags);
}

void pty_close(struct pty *p)
{
	if (p->master >= 0)
		close(p->master);
	if (p->slave >= 0)
		close(p->slave);
	p->master = p->slave = -1;
}
