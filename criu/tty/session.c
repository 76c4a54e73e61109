/* SPDX-License-Identifier: GPL-2.0-only */
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>

#include "agent/batch.h"
#include "agent/send_fds.h"
#include "lib/log.h"
#include "tty/pty.h"
#include "tree/subsys.h"

/*
 * The terminal of a session: a pair whose master is in the tree, a device, or one that was handed in. NULL: none, or
 * one that is not there any more.
 */
static struct tty_info *terminal_of(struct restore *r, const struct task *leader)
{
	struct tty_info *ti = tty_of_session(r, (uint32_t)leader->vpid.v);

	if (!ti || (ti->pty && ti->pty->file[PTY_MASTER]) || ti->entry->type != TTY_TYPE__PTY)
		return ti;
	log_warn("%s: its session's terminal was outside of the tree; it goes on without a controlling terminal",
	         task_name(leader));
	return NULL;
}

/* A descriptor of the terminal in the leader. Of a device or a terminal from outside it is opened once more for that.
 */
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
 * Right after a session leader has made its session, before it has children in it (they inherit the terminal; later on
 * the kernel lets nobody but the leader have it): makes the session's pseudo terminal, if its master is in the tree,
 * and has the leader take it (TIOCSCTTY, ioctl_tty(2)). Nothing happens where there is none. 0 or a negative errno
 * (logged). A terminal from
 * outside may be another session's; then it stays so.
 */
static int take_terminal(struct restore *r, struct task *leader)
{
	struct tty_info *ti = terminal_of(r, leader);
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
		return log_errno((int)batch_ret(b, op), "%s: taking terminal %u as its controlling terminal",
		                 task_name(leader), ti->pty->index);
	log_warn("%s: its terminal is another session's here; it goes on without a controlling terminal",
	         task_name(leader));
	ti->foreign = true;
	return 0;
}

/*
 * For the same task when all tasks have their descriptors and process groups, before files_post_open(): puts the
 * process group that was the foreground one there again.
 */
static int set_foreground(struct restore *r, struct task *leader)
{
	struct tty_info *ti = terminal_of(r, leader);
	int number, pgrp = ti ? (int)ti->entry->pgrp : 0, op, err;
	struct batch *b;

	/* Taking it has made the leader's own group the foreground one. */
	if (!ti || !pgrp || pgrp == leader->vpid.v || ti->foreign)
		return 0;
	err = send_terminal(r, ti, leader, &number);
	if (err)
		return err;
	b = agent_batch(leader->restore->agent, "its terminal's foreground group");
	batch_reserve(b, 2, sizeof(pgrp));
	op = batch_ask(b, SYS_ioctl, (uint64_t)number, TIOCSPGRP, batch_data(b, &pgrp, sizeof(pgrp)));
	batch_call(b, SYS_close, (uint64_t)number);
	err = batch_run(b);
	if (!err && batch_ret(b, op) < 0)
		log_warn("%s: process group %d could not become the foreground one of its terminal (error %d)",
		         task_name(leader), pgrp, (int)-batch_ret(b, op));
	return err;
}

static int set_all_foreground(struct restore *r)
{
	int err = 0;

	for (size_t i = 0; !err && i < r->tree.n_tasks; i++) {
		struct task *t = r->tree.tasks[i];

		if (t->state != TASK_DEAD && t->vsid.v == t->vpid.v)
			err = set_foreground(r, t);
	}
	return err;
}

static int tty_at_birth(struct restore *r, struct task *t)
{
	return t->vsid.v == t->vpid.v ? take_terminal(r, t) : 0;
}

const struct subsys tty_subsys = {
	.name = "controlling terminals",
	.at_birth = tty_at_birth,
	.settle = set_all_foreground,
};
