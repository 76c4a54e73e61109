/* SPDX-License-Identifier: GPL-2.0-only */
#include <fcntl.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "files/files.h"
#include "files/fown.h"
#include "lib/log.h"
#include "uapi/fcntl_bits.h"

/* The number that an owner, as we see it, has in its own pid namespace; 0: not in the tree. */
static pid_t owner_to_vpid(const struct tree *tree, int type, pid_t pid)
{
	for (size_t i = 0; i < tree->n_tasks; i++) {
		const struct task *t = tree->tasks[i];

		if (type == F_OWNER_PID && task_id(t) == pid)
			return t->vpid.v;
		if (type == F_OWNER_PGRP && t->pid && getpgid(t->pid) == pid)
			return t->vpgid.v;
		for (size_t k = 0; type == F_OWNER_TID && k < t->n_threads; k++)
			if (t->threads[k].tid == pid)
				return t->threads[k].vtid.v;
	}
	return 0;
}

/* The reverse: the number that we see. */
static pid_t owner_from_vpid(const struct tree *tree, int type, pid_t pid)
{
	for (size_t i = 0; i < tree->n_tasks; i++) {
		const struct task *t = tree->tasks[i];

		if (type == F_OWNER_PID && t->vpid.v == pid)
			return t->pid;
		if (type == F_OWNER_PGRP && t->vpgid.v == pid && t->pid)
			return getpgid(t->pid);
		for (size_t k = 0; type == F_OWNER_TID && k < t->n_threads; k++)
			if (t->threads[k].vtid.v == pid)
				return t->threads[k].tid;
	}
	return 0;
}

int fown_dump(struct dump *d, struct fd_info *info)
{
	FownEntry *fown = info->fown = arena_msg(d->arena, FownEntry, fown_entry);
	struct f_owner_ex owner = { 0 };
	uid_t uids[2] = { 0, 0 };
	int sig;

	if (info->flags & O_PATH || info->fd < 0)
		return 0;
	sig = fcntl(info->fd, F_GETSIG);
	if (sig < 0 || fcntl(info->fd, F_GETOWN_EX, &owner) < 0)
		return log_errno(-errno, "%s: fcntl(F_GETSIG, F_GETOWN_EX)", fd_name(info));
	fown->signum = sig;
	if (!owner.pid)
		return 0;
	if (fcntl(info->fd, F_GETOWNER_UIDS, uids) < 0)
		log_warn("%s: this kernel does not tell as which user its owner is signalled (F_GETOWNER_UIDS); root "
		         "is noted",
		         fd_name(info));
	fown->uid = uids[0];
	fown->euid = uids[1];
	fown->pid_type = owner.type;
	fown->pid = owner_to_vpid(&d->tree, owner.type, owner.pid);
	if (!fown->pid) {
		fown->pid = tree_has_own_pids(&d->tree) ? 0 : owner.pid; /* another's number in there */
		log_warn("%s: signals %s %d, which is not in the tree", fd_name(info),
		         owner.type == F_OWNER_PGRP ? "process group" : "pid", owner.pid);
	}
	return 0;
}

bool fown_is_set(const FownEntry *fown, uint32_t flags)
{
	return (flags & O_ASYNC) || (fown && (fown->pid || fown->signum));
}

/* Of this thread alone (setresuid(3) would change all threads); the saved id stays, to change back. */
static int become_user(uid_t uid, uid_t euid)
{
	return syscall(SYS_setresuid, uid, euid, (uid_t)-1) ? -errno : 0;
}

static int set_file_owner(int fd, const struct f_owner_ex *owner, const FownEntry *fown)
{
	uid_t uid = getuid(), euid = geteuid();
	bool other = fown->uid != uid || fown->euid != euid;
	int dumpable = prctl(PR_GET_DUMPABLE), err = 0;

	if (other && become_user(fown->uid, fown->euid)) {
		log_warn("setresuid to %u: a file's owner is signalled as user %u instead", fown->uid, uid);
		other = false;
	}
	if (fcntl(fd, F_SETOWN_EX, owner))
		err = -errno;
	if (!other)
		return err;
	if (become_user(uid, euid))
		return log_errno(-errno, "setresuid, back to %u", uid);
	prctl(PR_SET_DUMPABLE, dumpable); /* a change of the effective id resets it */
	return err;
}

int fown_restore(struct restore *r, int fd, const FownEntry *fown, uint32_t flags)
{
	struct f_owner_ex owner = { 0 };
	int err;

	if (fown && fown->pid) {
		owner.type = fown->pid_type;
		owner.pid = owner_from_vpid(&r->tree, fown->pid_type, fown->pid);
		if (!owner.pid)
			log_warn("a file signalled pid %d outside of the tree; it signals nothing now", (int)fown->pid);
		err = owner.pid ? set_file_owner(fd, &owner, fown) : 0;
		if (err)
			return log_errno(err, "fcntl(F_SETOWN_EX) to %u %u", fown->pid_type, fown->pid);
	}
	if (fown && fown->signum && fcntl(fd, F_SETSIG, fown->signum))
		return log_errno(-errno, "fcntl(F_SETSIG) to %u", fown->signum);
	if ((flags & O_ASYNC) && fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_ASYNC))
		return log_errno(-errno, "fcntl(F_SETFL) of O_ASYNC");
	return 0;
}
