/* SPDX-License-Identifier: GPL-2.0-only */
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>

#include "agent/batch.h"
#include "agent/fdpass.h"
#include "core/log.h"
#include "tty/pty.h"
#include "tty/tty.h"

static const TtyInfoEntry *info_with_session(const struct pty *p)
{
	if (p->info[PTY_SLAVE] && p->info[PTY_SLAVE]->sid)
		return p->info[PTY_SLAVE];
	return p->info[PTY_MASTER];
}

/* The terminal of a session: a pair whose master is in the tree, or NULL. */
static struct pty *pty_of_session(struct restore *r, const struct task *leader)
{
	for (struct pty *p = tty_state_of(r)->ptys; p; p = p->hh.next) {
		const TtyInfoEntry *e = info_with_session(p);

		if (!e || e->sid != (uint32_t)leader->vpid.v)
			continue;
		if (p->file[PTY_MASTER])
			return p;
		log_warn(
		    "%s: its session's terminal was outside of the tree; it goes on without a controlling terminal",
		    task_name(leader));
	}
	return NULL;
}

static int send_slave(struct restore *r, struct pty *p, struct task *leader, int *number)
{
	if (p->slave < 0)
		p->slave = pty_open_slave(r, p, O_RDWR);
	return p->slave < 0 ? p->slave : files_send(r, leader, &p->slave, 1, number);
}

int tty_take_terminal(struct restore *r, struct task *leader)
{
	struct pty *p = pty_of_session(r, leader);
	struct batch *b;
	int number, err;

	if (!p)
		return 0;
	err = pty_make(r, p);
	if (!err)
		err = send_slave(r, p, leader, &number);
	if (err)
		return err;
	b = agent_batch(leader->restore->agent, "taking its controlling terminal");
	batch_call(b, SYS_ioctl, (uint64_t)number, TIOCSCTTY, 0);
	batch_call(b, SYS_close, (uint64_t)number);
	return batch_run(b);
}

int tty_restore_sessions(struct restore *r, struct task *leader)
{
	struct pty *p = pty_of_session(r, leader);
	const TtyInfoEntry *e = p ? info_with_session(p) : NULL;
	int number, pgrp = e ? (int)e->pgrp : 0, op, err;
	struct batch *b;

	/* Taking it has made the leader's own group the foreground one. */
	if (!p || !pgrp || pgrp == leader->vpid.v)
		return 0;
	err = send_slave(r, p, leader, &number);
	if (err)
		return err;
	b = agent_batch(leader->restore->agent, "its terminal's foreground group");
	batch_reserve(b, 2, sizeof(pgrp));
	op = batch_ask(b, SYS_ioctl, (uint64_t)number, TIOCSPGRP, batch_data(b, &pgrp, sizeof(pgrp)));
	batch_call(b, SYS_close, (uint64_t)number);
	err = batch_run(b);
	if (!err && batch_ret(b, op) < 0)
		log_warn("%s: process group %d could not become the foreground one of terminal %u (error %d)",
		         task_name(leader), pgrp, p->index, (int)-batch_ret(b, op));
	return err;
}
