/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What a thread may have apart from its process, by unshare(2), setns(2) or a clone(2) of its own, and the format has
 * for a process alone: a descriptor table, namespaces, what SEM_UNDO is to undo. Refused by name. (Its own working
 * directory: task/fs.c.)
 */
#include <fcntl.h>
#include <linux/kcmp.h>
#include <linux/sched.h>
#include <string.h>
#include <sys/syscall.h>

#include "lib/log.h"
#include "proc/ns_type.h"
#include "task/answer.h"

extern const struct task_part thread_own_part;

/* The namespaces of the leader of the task that was looked at last. */
struct leaders_ns {
	const struct task *task;
	uint64_t ino[NAMESPACE_TYPES], for_children[NAMESPACE_TYPES];
};

/* 0 where there is no such file, or nothing behind it yet. */
static uint64_t inode_of(int dir, const char *name)
{
	uint64_t ino = 0;

	return name && !ns_type_inode(dir, name, &ino) ? ino : 0;
}

/*
 * Of its own: a thread of several has the user, pid and time namespaces of its process, and changes the mount namespace
 * only with a root of its own.
 */
static bool may_differ(const struct ns_type *type, bool own_fs)
{
	return type->flag == CLONE_NEWNS
	           ? own_fs
	           : !(type->flag & (CLONE_NEWUSER | CLONE_NEWPID)) && type->flag != CLONE_NEWTIME;
}

static void refuse_ns(const struct thread *th, const struct leaders_ns *l, int dir, bool own_fs)
{
	for (size_t i = 0; i < NAMESPACE_TYPES; i++) {
		const struct ns_type *type = &ns_types[i];
		bool own = may_differ(type, own_fs) && inode_of(dir, type->name) != l->ino[i];

		if (own || inode_of(dir, type->for_children) != l->for_children[i])
			log_refusal(
			    -EOPNOTSUPP,
			    "%s: is in another %s namespace than its process%s, which is not supported; let the "
			    "thread end, or go back (setns), before the dump",
			    task_thread_name(th), type->name, own ? "" : " (for its children)");
	}
}

static const struct leaders_ns *ns_of_leader(struct dump *d, const struct task *t)
{
	struct leaders_ns *l = dump_state(d, &thread_own_part);

	if (l->task == t)
		return l;
	l->task = t;
	for (size_t i = 0; i < NAMESPACE_TYPES; i++) {
		l->ino[i] = inode_of(t->dump->proc_fd, ns_types[i].name);
		l->for_children[i] = inode_of(t->dump->proc_fd, ns_types[i].for_children);
	}
	return l;
}

static bool shares(const struct thread *th, int type)
{
	return syscall(SYS_kcmp, th->task->threads[0].tid, th->tid, type, 0, 0) <= 0;
}

static int look_at_ns(struct dump *d, const struct thread *th)
{
	char path[32];
	_cleanup_close_ int dir = -1;

	snprintf(path, sizeof(path), "task/%d", th->tid);
	dir = openat(th->task->dump->proc_fd, path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return log_errno(-errno, "%s: open of /proc/%d/%s", task_thread_name(th), th->task->pid, path);
	refuse_ns(th, ns_of_leader(d, th->task), dir, !shares(th, KCMP_FS));
	return 0;
}

/* Goes on after a refusal, to find more. */
static int thread_own_dump(struct dump *d, struct thread *th, const struct answers *ans)
{
	unsigned alike = th->task->dump->alike;

	if (is_leader(th))
		return 0;
	if (!(alike & ALIKE_FILES) && !shares(th, KCMP_FILES))
		log_refusal(-EOPNOTSUPP,
		            "%s: has a descriptor table of its own (unshare with CLONE_FILES), which is not "
		            "supported; let the thread end before the dump",
		            task_thread_name(th));
	if (!(alike & ALIKE_UNDO) && !shares(th, KCMP_SYSVSEM))
		log_refusal(-EOPNOTSUPP,
		            "%s: has semaphore operations of its own to undo (SEM_UNDO; unshare or clone without "
		            "CLONE_SYSVSEM), which is not supported; let the thread end before the dump",
		            task_thread_name(th));
	return alike & ALIKE_NS ? 0 : look_at_ns(d, th);
}

const struct task_part thread_own_part = {
	.name = "what a thread has of its own",
	.state = { .dump = sizeof(struct leaders_ns) },
	.per_thread = true,
	.dump = thread_own_dump,
};
