/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Controlling terminals of sessions: credentials(7), tty_ioctl(4). At dump TIOCGSID answers only to a process of the
 * session, /proc/PID/stat to all. At restore only the leader of a session can make a terminal its controlling one.
 */
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>

#include "agent/batch.h"
#include "agent/send_fds.h"
#include "lib/log.h"
#include "proc/proc.h"
#include "tree/pid_numbers.h"
#include "tty/pty.h"
#include "tty/tty_external.h"
#include "tty/tty_session.h"

extern const struct subsys tty_subsys;

/* ---- dump ---- */

/* A device, and the session whose controlling terminal it is. */
struct tty_session {
	uint32_t dev;
	uint32_t sid, pgrp;
	UT_hash_handle hh;
};

struct tty_sessions {
	struct tty_session *by_dev;
	bool read;
};

/* A process group by our number of it. */
struct session_group {
	int32_t pgrp;
	uint32_t vpgid;
	UT_hash_handle hh;
};

static int note_task_session(struct dump *d, struct tty_sessions *all, const struct task *t,
                             struct session_group **groups, int32_t *fg)
{
	struct tty_session *s;
	struct proc_stat st;
	struct session_group *g;
	uint32_t dev;
	int err = proc_read_stat(t->dump->proc_fd, 0, &st);

	if (err)
		return log_errno(err, "%s: reading /proc/%d/stat", task_name(t), t->pid);
	HASH_FIND(hh, *groups, &st.pgrp, sizeof(st.pgrp), g);
	if (!g) {
		g = arena_new_of(d->arena, struct session_group);
		g->pgrp = st.pgrp;
		g->vpgid = (uint32_t)t->vpgid.v;
		HASH_ADD_IN(d->arena, hh, *groups, pgrp, sizeof(g->pgrp), g);
	}
	*fg = st.tpgid;
	dev = (uint32_t)st.tty_nr;
	HASH_FIND(hh, all->by_dev, &dev, sizeof(dev), s);
	if (!dev || s)
		return 0;
	s = arena_new_of(d->arena, struct tty_session);
	s->dev = dev;
	s->sid = (uint32_t)t->vsid.v;
	HASH_ADD_IN(d->arena, hh, all->by_dev, dev, sizeof(s->dev), s);
	return 1;
}

/* keep: a foreground group outside of the tree (the shell of a job) keeps its number, which is one of the images. */
static void set_foreground_groups(struct tty_sessions *all, struct session_group *groups, const int32_t *fg, bool keep)
{
	size_t i = 0;

	for (struct tty_session *s = all->by_dev; s; s = s->hh.next) {
		int32_t pgrp = fg[i++];
		struct session_group *g;

		HASH_FIND(hh, groups, &pgrp, sizeof(pgrp), g);
		s->pgrp = g ? g->vpgid : keep ? (uint32_t)MAX(pgrp, 0) : 0;
	}
}

static int read_sessions(struct dump *d, struct tty_sessions *all)
{
	int32_t *fg = arena_array(d->arena, int32_t, d->tree.n_tasks + 1);
	struct session_group *groups = NULL;
	size_t n = 0;
	int err = 0;

	for (size_t i = 0; err >= 0 && i < d->tree.n_tasks; i++) {
		if (d->tree.tasks[i]->state == TASK_DEAD)
			continue;
		err = note_task_session(d, all, d->tree.tasks[i], &groups, &fg[n]);
		n += err > 0;
	}
	if (err >= 0)
		set_foreground_groups(all, groups, fg, !tree_has_own_pids(&d->tree));
	all->read = true;
	return MIN(err, 0);
}

int tty_session_dump(struct dump *d, TtyInfoEntry *e, uint32_t dev)
{
	struct tty_sessions *all = dump_state(d, &tty_subsys);
	int err = all->read ? 0 : read_sessions(d, all);
	struct tty_session *s;

	HASH_FIND(hh, all->by_dev, &dev, sizeof(dev), s);
	e->sid = s ? s->sid : 0;
	e->pgrp = s ? s->pgrp : 0;
	return err;
}

bool tty_session_is_callers(struct dump *d, uint32_t dev)
{
	struct tty_sessions *all = dump_state(d, &tty_subsys);
	struct tty_session *s;

	HASH_FIND(hh, all->by_dev, &dev, sizeof(dev), s);
	return s && !s->sid && d->opts->shell_job;
}

/* ---- restore ---- */

/*
 * The controlling terminal of a leader's session: a pair whose master is in the tree, a device, or one that was
 * inherited. NULL: it had none, or a slave whose master is not in the tree.
 */
static struct tty_info *leader_terminal(struct restore *r, const struct task *leader)
{
	struct tty_info *ti = tty_of_session(r, (uint32_t)leader->vpid.v);

	if (!ti || (ti->pty && ti->pty->file[PTY_MASTER]) || ti->entry->type != TTY_TYPE__PTY)
		return ti;
	log_warn("%s: its session's terminal was outside of the tree: restored without a controlling terminal",
	         task_name(leader));
	return NULL;
}

/* Gives the leader a descriptor of the terminal. A device or a terminal from outside is opened once more for that. */
static int send_terminal(struct restore *r, struct tty_info *ti, struct task *leader, int *number)
{
	struct pty *p = ti->pty;
	int fd, err;

	if (p && p->slave < 0)
		p->slave = pty_open_slave(r, p, O_RDWR);
	fd = p ? p->slave : tty_external_open_any(r, ti);
	if (fd < 0)
		return fd;
	err = agent_send_fds(leader, &fd, 1, number);
	if (!p)
		close(fd);
	return err;
}

/*
 * Right after a session leader has made its session, before it has children, which inherit the terminal (later the
 * kernel gives it to the leader alone): makes the session's pseudo terminal, if its master is in the tree, and has the
 * leader take it (TIOCSCTTY, ioctl_tty(2)). A terminal from outside may be another session's; then it stays so.
 */
static int take_terminal(struct restore *r, struct task *leader)
{
	struct tty_info *ti = leader_terminal(r, leader);
	int number, err, op;
	struct batch *b;

	if (!ti)
		return 0;
	err = ti->pty ? pty_make(r, ti->pty) : 0;
	if (!err)
		err = send_terminal(r, ti, leader, &number);
	if (err)
		return err;
	b = agent_batch(leader->restore->agent, "taking its controlling terminal");
	batch_reserve(b, 2, 0);
	op = batch_ask(b, SYS_ioctl, (uint64_t)number, TIOCSCTTY, 0);
	batch_call(b, SYS_close, (uint64_t)number);
	err = batch_run(b);
	if (err || batch_ret(b, op) >= 0)
		return err;
	if (ti->pty)
		return log_errno((int)batch_ret(b, op), "%s: ioctl(TIOCSCTTY) of terminal %u", task_name(leader),
		                 ti->pty->index);
	log_warn("%s: its terminal is another session's here: restored without a controlling terminal",
	         task_name(leader));
	ti->foreign = true;
	return 0;
}

/*
 * For the same task when all tasks have their descriptors and process groups, before files_post_open(): makes the
 * process group that was the foreground one at dump the foreground one again.
 */
static int restore_foreground(struct restore *r, struct task *leader)
{
	struct tty_info *ti = leader_terminal(r, leader);
	int number, pgrp = ti ? (int)ti->entry->pgrp : 0, op, err;
	struct batch *b;

	/* Taking it has made the leader's own group the foreground one. */
	if (!ti || !pgrp || pgrp == leader->vpid.v || ti->foreign)
		return 0;
	pgrp = pid_number_for(&r->tree, leader, VPID(pgrp));
	err = send_terminal(r, ti, leader, &number);
	if (err)
		return err;
	b = agent_batch(leader->restore->agent, "its terminal's foreground group");
	batch_reserve(b, 2, sizeof(pgrp));
	op = batch_ask(b, SYS_ioctl, (uint64_t)number, TIOCSPGRP, batch_data(b, &pgrp, sizeof(pgrp)));
	batch_call(b, SYS_close, (uint64_t)number);
	err = batch_run(b);
	if (!err && batch_ret(b, op) < 0)
		log_warn("%s: ioctl(TIOCSPGRP) of its terminal: process group %d does not become the foreground one "
		         "(error %d)",
		         task_name(leader), pgrp, (int)-batch_ret(b, op));
	return err;
}

static int restore_all_foreground(struct restore *r)
{
	int err = 0;

	for (size_t i = 0; !err && i < r->tree.n_tasks; i++) {
		struct task *t = r->tree.tasks[i];

		if (t->state != TASK_DEAD && t->vsid.v == t->vpid.v)
			err = restore_foreground(r, t);
	}
	return err;
}

static int tty_at_birth(struct restore *r, struct task *t)
{
	return t->vsid.v == t->vpid.v ? take_terminal(r, t) : 0;
}

const struct subsys tty_subsys = {
	.name = "controlling terminals",
	.state = { .dump = sizeof(struct tty_sessions) },
	.at_birth = tty_at_birth,
	.settle = restore_all_foreground,
};
