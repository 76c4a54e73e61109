/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Descriptors of /dev/tty. It resolves to the opener's controlling terminal, so a task of that session opens it and
 * criu takes a duplicate, for all tasks that had it.
 */
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>

#include "arch/arch_compat.h"
#include "agent/batch.h"
#include "files/files.h"
#include "lib/log.h"
#include "tty/ctty.h"
#include "tty/tty_session.h"
#include "uapi/fcntl_bits.h"

/* ---- dump ---- */

/* TIOCGDEV of /dev/tty gives the terminal to which it led when it was opened. */
int ctty_dump(struct dump *d, const struct fd_info *info, struct terminal *t)
{
	unsigned dev = 0;
	int err;

	if (ioctl(info->fd, TIOCGDEV, &dev))
		return log_errno(-errno, "%s: %s: ioctl(TIOCGDEV)", fd_name(info), info->link);
	err = tty_session_dump(d, t->entry, dev);
	if (err || t->entry->sid || tty_session_is_callers(d, dev))
		return err;
	log_refusal(
	    -ENOTSUP,
	    "%s: %s: leads to terminal %u:%u, which is no task's controlling terminal any more, so that it could not "
	    "be opened again; close it before the dump",
	    fd_name(info), info->link, major((dev_t)dev), minor((dev_t)dev));
	return DUMP_REFUSED;
}

/* ---- restore ---- */

bool ctty_is_job(const struct restore *r, const TtyInfoEntry *e)
{
	const struct task *leader = tree_find(&r->tree, VPID(e->sid));

	return e->type == TTY_TYPE__CTTY && r->opts->shell_job && (!leader || leader->vsid.v != leader->vpid.v);
}

int ctty_check(struct restore *r, const TtyInfoEntry *e, const char **why)
{
	const struct tty_info *ti = tty_of_session(r, e->sid);

	if (ctty_is_job(r, e) || (ti && (ti->entry->type != TTY_TYPE__PTY || (ti->pty && ti->pty->file[PTY_MASTER]))))
		return 0;
	*why =
	    arena_printf(r->arena, "/dev/tty: session %u has no controlling terminal that could be restored", e->sid);
	return -ENXIO;
}

static struct task *find_member(struct restore *r, uint32_t sid)
{
	for (size_t i = 0; i < r->tree.n_tasks; i++) {
		struct task *t = r->tree.tasks[i];

		if (t->state != TASK_DEAD && (uint32_t)t->vsid.v == sid)
			return t;
	}
	return NULL;
}

/* The agent's descriptor is closed again: tasks get theirs together with all others. */
static int open_in_task(struct task *t, uint32_t flags)
{
	_cleanup_close_ int pidfd = (int)syscall(SYS_pidfd_open, t->pid, 0);
	int how = (int)(flags & ~(uint32_t)(O_ASYNC | KERNEL_O_LARGEFILE | O_CREAT | O_EXCL | O_TRUNC)) | O_NOCTTY;
	struct batch *b = agent_batch(t->restore->agent, "opening /dev/tty");
	const uint64_t arg[6] = { (uint64_t)AT_FDCWD, batch_string(b, "/dev/tty"), (uint64_t)how };
	bool small = t->compat && !(flags & KERNEL_O_LARGEFILE);
	int op =
	    batch_add(b, small ? COMPAT_NR_OPENAT : SYS_openat, AGENT_OP_STOP | (small ? AGENT_OP_COMPAT : 0), arg);
	int err = batch_run(b), number, fd;

	if (err)
		return err;
	number = (int)batch_ret(b, op);
	fd = pidfd < 0 ? -1 : (int)syscall(SYS_pidfd_getfd, pidfd, number, 0);
	if (fd < 0)
		return log_errno(-errno, "%s: /dev/tty: pidfd_open or pidfd_getfd", task_name(t));
	b = agent_batch(t->restore->agent, "closing /dev/tty");
	batch_call(b, SYS_close, (uint64_t)number);
	err = batch_run(b);
	if (err)
		close(fd);
	return err ?: fd;
}

int ctty_prepare(struct restore *r, const TtyFileEntry *m)
{
	const struct tty_info *ti = tty_info_of(r, m->tty_info_id);
	struct task *t;
	int fd;

	if (!ti || ti->entry->type != TTY_TYPE__CTTY)
		return 0;
	t = find_member(r, ti->entry->sid);
	if (!t)
		return log_errno(-ESRCH, "/dev/tty of session %u: no task of that session is in the checkpoint",
		                 ti->entry->sid);
	fd = open_in_task(t, m->flags);
	if (fd < 0)
		return fd;
	files_set(r, m->id, fd);
	return 0;
}
