/* SPDX-License-Identifier: GPL-2.0-only */
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>

#include "agent/batch.h"
#include "agent/send_fds.h"
#include "arch/arch_abi.h"
#include "lib/log.h"
#include "options/stages.h"
#include "rpc.pb-c.h"
#include "tty/orphan_pts.h"
#include "tty/pty.h"
#include "tty/tty_external.h"

/* ---- which ---- */

/* /dev/pts/ptmx beside /dev/pts/0; /dev/ptmx beside a /dev/console that was bound from one. */
static RegFileEntry *make_path(struct restore *r, const RegFileEntry *slave)
{
	RegFileEntry *ptmx = arena_msg(r->arena, RegFileEntry, reg_file_entry);
	const char *slash = strrchr(slave->name, '/');
	int len = slash ? (int)(slash - slave->name) : 0;

	ptmx->name = arena_printf(r->arena, "%.*s/ptmx", len, slave->name);
	ptmx->has_mnt_id = slave->has_mnt_id;
	ptmx->mnt_id = slave->mnt_id;
	ptmx->flags = O_RDWR;
	return ptmx;
}

static void adopt_pty(struct restore *r, struct pty *p, const RegFileEntry *slave)
{
	TtyFileEntry *file = arena_msg(r->arena, TtyFileEntry, tty_file_entry);
	TtyInfoEntry *info = arena_memdup(r->arena, p->info[PTY_SLAVE], sizeof(*info));

	file->flags = O_RDWR;
	info->rdev = (uint32_t)makedev(5, 2);
	info->exclusive = info->locked = info->packet_mode = false;
	info->stopped = info->slave_gone = false;
	info->packet_status = 0;
	p->orphan = true;
	p->ptmx = make_path(r, slave);
	p->file[PTY_MASTER] = file;
	p->info[PTY_MASTER] = info;
}

void orphan_pts_adopt(struct restore *r)
{
	if (!r->opts->orphan_pts_master || r->opts->shell_job)
		return;
	for (struct pty *p = tty_restore_of(r)->ptys; p; p = p->hh.next) {
		const RegFileEntry *slave = p->file[PTY_SLAVE] ? tty_path_of(r, p->file[PTY_SLAVE]) : NULL;

		if (slave && p->info[PTY_SLAVE] && !p->file[PTY_MASTER] &&
		    !tty_external_is_inherited(r, p->info[PTY_SLAVE]))
			adopt_pty(r, p, slave);
	}
}

/* ---- the message ---- */

static size_t pack_notification(uint8_t *bytes)
{
	CriuNotify notify = CRIU_NOTIFY__INIT;
	CriuResp resp = CRIU_RESP__INIT;

	notify.script = (char *)stages_name(STAGE_ORPHAN_PTS_MASTER);
	resp.type = CRIU_REQ_TYPE__NOTIFY;
	resp.success = true;
	resp.notify = &notify;
	return criu_resp__pack(&resp, bytes);
}

static raddr_t put_message(struct batch *b, int master)
{
	struct arch_msghdr *mh;
	struct arch_iovec *iov;
	struct cmsghdr *control;
	uint8_t bytes[64];
	raddr_t at = batch_space(b, sizeof(*mh), &mh);

	mh->iov = batch_space(b, sizeof(*iov), &iov);
	mh->iovlen = 1;
	iov->len = pack_notification(bytes);
	iov->base = batch_data(b, bytes, iov->len);
	mh->control = batch_space(b, CMSG_SPACE(sizeof(int)), &control);
	mh->controllen = CMSG_SPACE(sizeof(int));
	control->cmsg_level = SOL_SOCKET;
	control->cmsg_type = SCM_RIGHTS;
	control->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(control), &master, sizeof(master));
	return at;
}

/* The socket is in the task for this one message. */
static int send_from_inside(struct restore *r, struct task *t, int master)
{
	const int fds[2] = { r->opts->client_socket, master };
	int numbers[2], err = agent_send_fds(t, fds, ARRAY_SIZE(fds), numbers);
	struct batch *b;

	if (err)
		return err;
	b = agent_batch(t->restore->agent, "sending a terminal's master to the client");
	batch_reserve(b, 3, 1024);
	batch_call(b, SYS_sendmsg, (uint64_t)numbers[0], put_message(b, numbers[1]), MSG_NOSIGNAL);
	batch_call(b, SYS_close, (uint64_t)numbers[0]);
	batch_call(b, SYS_close, (uint64_t)numbers[1]);
	return batch_run(b);
}

static int hand_over(struct restore *r, struct pty *p)
{
	int err = pty_make(r, p);

	if (!err)
		err = send_from_inside(r, r->tree.tasks[0], p->master);
	if (!err)
		err = stages_run(r->stages, STAGE_ORPHAN_PTS_MASTER, r->tree.tasks[0]->pid);
	return err;
}

/* All slaves are open: ours is not needed any more, and nor is the master when the client has taken it. */
static int orphan_settle(struct restore *r)
{
	int err = 0;

	for (struct pty *p = tty_restore_of(r)->ptys; p && !err; p = p->hh.next) {
		if (!p->orphan)
			continue;
		err = hand_over(r, p);
		pty_close(p);
	}
	return err;
}

const struct subsys orphan_pts_subsys = {
	.name = "masters of terminals for the client",
	.settle = orphan_settle,
};
