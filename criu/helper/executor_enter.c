/* SPDX-License-Identifier: GPL-2.0-only */
/* The one place from which setns(2) is called. */
#include <linux/nsfs.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "helper/executor_parts.h"
#include "proc/ns_type.h"

const char *executor_ns_name(uint64_t kind)
{
	const struct ns_type *type = ns_type_of_flag(kind);

	return type ? type->name : "?";
}

/* ---- entering ---- */

struct wanted {
	int fd;
	uint64_t kind;
	bool done;
};

/* Where /proc cannot tell, it is tried. */
static bool are_in(const struct wanted *w)
{
	struct stat its, ours;
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/ns/%s", executor_ns_name(w->kind));
	return !fstat(w->fd, &its) && !stat(path, &ours) && its.st_dev == ours.st_dev && its.st_ino == ours.st_ino;
}

int executor_join(uint64_t kind, int fd)
{
	if (kind == CLONE_NEWUSER)
		prctl(PR_SET_DUMPABLE, 0); /* as in executor_enter() */
	return setns(fd, (int)kind) ? log_errno(-errno, "setns(%s)", executor_ns_name(kind)) : 0;
}

static int enter_one(struct wanted *w, bool may_be_denied)
{
	if (w->done)
		return 0;
	w->done = setns(w->fd, (int)w->kind) == 0;
	if (w->done || (errno == EPERM && may_be_denied))
		return 0;
	return log_errno(-errno, "executor %d: setns(%s)", getpid(), executor_ns_name(w->kind));
}

static int enter_kinds(struct wanted *w, size_t n, bool user, bool may_be_denied)
{
	int err = 0;

	for (size_t i = 0; !err && i < n; i++)
		if ((w[i].kind == CLONE_NEWUSER) == user)
			err = enter_one(&w[i], may_be_denied);
	return err;
}

/* The user who made a namespace has all capabilities in it, seen from the namespace around. */
static bool owns(int user_ns)
{
	uid_t owner;

	return !ioctl(user_ns, NS_GET_OWNER_UID, &owner) && owner == geteuid();
}

/* An ordinary user may enter only what belongs to a user namespace of that user's, and from inside of that. */
static int enter_owner(const struct wanted *w, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		_cleanup_close_ int owner = w[i].done ? -1 : ioctl(w[i].fd, NS_GET_USERNS);

		if (owner < 0 || !owns(owner))
			continue;
		prctl(PR_SET_DUMPABLE, 0);
		if (setns(owner, CLONE_NEWUSER))
			return log_errno(-errno, "executor %d: setns(user), into the owner of a %s namespace", getpid(),
			                 executor_ns_name(w[i].kind));
		executor_become_root();
		return 0;
	}
	return 0;
}

/*
 * Which of them we are in already is looked up before any is entered: /proc may be another one afterwards. Namespaces
 * of the user namespace from which we come can be entered only before that is left; where we have no capabilities in
 * the new one from outside, its own only afterwards. Root in there must not get at a copy of criu by ptrace(2).
 */
int executor_enter(const int *fds, size_t n, uint64_t *entered)
{
	struct wanted w[EXECUTOR_NS_MAX];
	int err;

	*entered = 0;
	for (size_t i = 0; i < n; i++) {
		int kind = ioctl(fds[i], NS_GET_NSTYPE);

		if (kind < 0)
			return log_errno(-errno, "executor %d: descriptor %zu of its namespaces: NS_GET_NSTYPE",
			                 getpid(), i);
		w[i] = (struct wanted) { .fd = fds[i], .kind = (uint32_t)kind };
		w[i].done = are_in(&w[i]);
		*entered |= w[i].done ? 0 : w[i].kind;
	}
	if (*entered & CLONE_NEWUSER)
		prctl(PR_SET_DUMPABLE, 0);
	err = enter_kinds(w, n, false, true);
	err = err ?: *entered & CLONE_NEWUSER ? enter_kinds(w, n, true, false) : enter_owner(w, n);
	if (!err && (*entered & CLONE_NEWUSER))
		executor_become_root();
	return err ?: enter_kinds(w, n, false, false);
}

int executor_set_thread(int fd, uint64_t flag)
{
	if (!setns(fd, (int)flag))
		return 0;
	return log_errno(-errno, "setns(%s)", executor_ns_name(flag));
}

int executor_enter_net(int fd)
{
	return setns(fd, CLONE_NEWNET) ? -errno : 0;
}

int executor_enter_time(int fd)
{
	_cleanup_close_ int owner = -1;

	if (!setns(fd, CLONE_NEWTIME))
		return 0;
	owner = errno == EPERM ? ioctl(fd, NS_GET_USERNS) : -1;
	return owner < 0 || setns(owner, CLONE_NEWUSER) || setns(fd, CLONE_NEWTIME) ? -errno : 0;
}

bool executor_is_in(int fd)
{
	int kind = ioctl(fd, NS_GET_NSTYPE);

	return kind >= 0 && are_in(&(struct wanted) { .fd = fd, .kind = (uint32_t)kind });
}

int executor_enter_as_we_are(int fd)
{
	_cleanup_close_ int owner = ioctl(fd, NS_GET_USERNS);

	if (owner < 0)
		return -errno;
	prctl(PR_SET_DUMPABLE, 0);
	if (setns(owner, CLONE_NEWUSER) || setns(fd, 0))
		return -errno;
	return prctl(PR_SET_PDEATHSIG, SIGKILL) ? -errno : 0;
}

/* ---- making ---- */

int executor_unshare(uint64_t made)
{
	if (!made || unshare((int)made) == 0)
		return 0;
	return log_errno(-errno, "executor %d: unshare(0x%llx)", getpid(), (unsigned long long)made);
}

/* ---- ids ---- */

/* Where the namespace denies setgroups(2) the groups of before stay. */
void executor_become_root(void)
{
	if (syscall(SYS_setgroups, 0, NULL))
		log_debug("executor %d: setgroups: errno %d", getpid(), errno);
	if (syscall(SYS_setresgid, 0, 0, 0) || syscall(SYS_setresuid, 0, 0, 0))
		log_debug("executor %d: uid 0 or gid 0 is not mapped in its user namespace", getpid());
	prctl(PR_SET_DUMPABLE, 0);
}
