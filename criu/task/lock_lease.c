/* SPDX-License-Identifier: GPL-2.0-only */
#include <fcntl.h>
#include <string.h>
#include <sys/syscall.h>

#include "agent/batch.h"
#include "files/fown.h"
#include "format.h"
#include "lib/log.h"
#include "proc/proc_maps.h"
#include "task/lock_lease.h"

bool lock_lease_is_breaking(const FileLockEntry *e)
{
	return e->flag == LOCK_LEASE && e->type & LOCK_TYPE_BREAKING;
}

static int lease_becomes(const FileLockEntry *e)
{
	return (int)(e->type & ~(uint32_t)LOCK_TYPE_BREAKING);
}

bool lock_lease_is_known(const FileLockEntry *e)
{
	int to = lease_becomes(e);

	if (lock_lease_is_breaking(e))
		return to == F_RDLCK || to == F_UNLCK;
	return to == F_RDLCK || to == F_WRLCK;
}

/* Where the file is open for reading alone, either kind may have been there: the holder cannot tell them apart now. */
int lock_lease_before(const FileLockEntry *e, uint32_t flags)
{
	return lease_becomes(e) == F_UNLCK && (flags & O_ACCMODE) == O_RDONLY ? F_RDLCK : F_WRLCK;
}

/* An open that the lease is in the way of: EWOULDBLOCK says that it is being broken now. */
static int begin_break(const struct task *t, const FileLockEntry *e)
{
	_cleanup_close_ int fd = -1;
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/fd/%d", t->pid, e->fd);
	fd = open(path, (lease_becomes(e) == F_UNLCK ? O_WRONLY : O_RDONLY) | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (fd >= 0 || errno == EWOULDBLOCK)
		return 0;
	return log_errno(-errno, "%s: fd %d: open to break its lease again", task_name(t), e->fd);
}

int lock_lease_break(struct restore *r, const struct task *t, const FileLockEntry *e, const FownEntry *fown)
{
	_cleanup_close_ int pidfd = (int)syscall(SYS_pidfd_open, t->pid, 0);
	_cleanup_close_ int fd = pidfd < 0 ? -1 : (int)syscall(SYS_pidfd_getfd, pidfd, e->fd, 0);
	struct f_owner_ex owner, none = { .type = F_OWNER_PID };
	int err;

	if (fd < 0)
		return log_errno(-errno, "%s: fd %d: pidfd_open or pidfd_getfd", task_name(t), e->fd);
	/* A file without an owner signals nobody. */
	if (fcntl(fd, F_GETOWN_EX, &owner) || fcntl(fd, F_SETOWN_EX, &none))
		return log_errno(-errno, "%s: fd %d: fcntl(F_GETOWN_EX, F_SETOWN_EX)", task_name(t), e->fd);
	err = begin_break(t, e);
	if (err)
		return err;
	if (fown && fown->pid)
		return fown_restore(r, fd, fown, 0);
	return fcntl(fd, F_SETOWN_EX, &owner)
	           ? log_errno(-errno, "%s: fd %d: fcntl(F_SETOWN_EX), back", task_name(t), e->fd)
	           : 0;
}

int lock_lease_over(const struct task *t, struct batch *b, const FileLockEntry *e)
{
	bool read = false;
	int op, err = 0;

	if (lease_becomes(e) == F_RDLCK) {
		batch_reserve(b, 1, 0);
		op = batch_ask(b, SYS_fcntl, (uint64_t)e->fd, F_SETLEASE, F_RDLCK);
		err = batch_run(b);
		read = !err && !batch_ret(b, op);
	}
	if (!err)
		log_warn("%s: fd %d: its lease was being broken by a process that has opened the file since: now %s",
		         task_name(t), e->fd, read ? "it is a read lease" : "the lease is gone");
	return err;
}

bool lock_lease_is_mapped(const struct tree *tree, const struct lock_line *line)
{
	if (line->kind != LOCK_LEASE || line->type != F_WRLCK || line->breaking)
		return false;
	for (size_t i = 0; i < tree->n_tasks; i++) {
		const struct task *t = tree->tasks[i];
		const struct task_maps *maps = t->state == TASK_DEAD ? NULL : &t->dump->maps;

		for (size_t k = 0; maps && k < maps->n; k++)
			if (maps->v[k].ino == line->ino && maps->v[k].major == line->dev_major &&
			    maps->v[k].minor == line->dev_minor)
				return true;
	}
	return false;
}
