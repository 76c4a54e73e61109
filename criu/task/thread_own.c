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

#include "lib/kernel_view.h"
#include "lib/log.h"
#include "proc/ns_type.h"
#include "task/answer.h"

extern const struct task_part thread_own_part;

/* The namespaces of the leader of the task that was looked at last. */
struct leaders_ns {
	const struct task *task;
	bool alike; /* all threads have the same */
	uint64_t ino[NAMESPACE_TYPES], for_children[NAMESPACE_TYPES];
};

/* 0 where there is no such file, or nothing behind it yet. */
static uint64_t inode_of(int dir, const char *name)
{
	uint64_t ino = 0;

	return name && !ns_type_inode(dir, name, &ino) ? ino : 0;
}

/*
 * Each look into /proc takes 7 microseconds, and six of them would be most of what is done for a thread. Where there
 * are very many, the kernel's memory says at once whether all have the namespaces of their leader.
 */
#define MANY_THREADS 256

/* Where members lie: of task_struct, signal_struct and list_head. */
struct places {
	int signal, head, node, nsproxy, next;
};

static int find_places(const struct btf_types *b, struct places *k)
{
	k->signal = btf_offset(b, "task_struct", "signal");
	k->head = btf_offset(b, "signal_struct", "thread_head");
	k->node = btf_offset(b, "task_struct", "thread_node");
	k->nsproxy = btf_offset(b, "task_struct", "nsproxy");
	k->next = btf_offset(b, "list_head", "next");
	return k->signal < 0 || k->head < 0 || k->node < 0 || k->nsproxy < 0 || k->next < 0 ? -ENOENT : 0;
}

/* 1: all threads of a process, n of them, have one struct nsproxy; 0: not all; a negative errno: it cannot be told. */
static int compare_all(struct kernel_view *v, int pidfd, size_t n)
{
	kaddr_t leader, signal, head, at, first, other;
	struct places k;
	size_t seen = 0;
	int err = find_places(kernel_types(v), &k);

	err = err ?: kernel_task_of(v, pidfd, &leader);
	err = err ?: kernel_read_pointer(v, kaddr_plus(leader, k.nsproxy), &first);
	err = err ?: kernel_read_pointer(v, kaddr_plus(leader, k.signal), &signal);
	head = err ? 0 : kaddr_plus(signal, k.head);
	err = err ?: kernel_read_pointer(v, kaddr_plus(head, k.next), &at);
	for (; !err && at != head && seen < n; seen++) {
		err = kernel_read_pointer(v, at - (unsigned)k.node + (unsigned)k.nsproxy, &other);
		err = err ?: kernel_read_pointer(v, kaddr_plus(at, k.next), &at);
		if (!err && other != first)
			return 0;
	}
	return err ?: seen == n && at == head ? 1 : -EBADMSG;
}

static bool all_alike(const struct task *t)
{
	struct kernel_view *v;
	const char *call;
	int ret;

	if (t->n_threads <= MANY_THREADS || kernel_view_open(&v, &call))
		return false;
	ret = compare_all(v, t->dump->pidfd, t->n_threads);
	kernel_view_close(v);
	return ret == 1;
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
	l->alike = all_alike(t);
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

/* Goes on after a refusal, to find more. */
static int thread_own_dump(struct dump *d, struct thread *th, const struct answers *ans)
{
	const struct leaders_ns *l;
	char path[32];
	_cleanup_close_ int dir = -1;

	if (is_leader(th))
		return 0;
	l = ns_of_leader(d, th->task);
	if (!shares(th, KCMP_FILES))
		log_refusal(-EOPNOTSUPP,
		            "%s: has a descriptor table of its own (unshare with CLONE_FILES), which is not "
		            "supported; let the thread end before the dump",
		            task_thread_name(th));
	if (!shares(th, KCMP_SYSVSEM))
		log_refusal(-EOPNOTSUPP,
		            "%s: has semaphore operations of its own to undo (SEM_UNDO; unshare or clone without "
		            "CLONE_SYSVSEM), which is not supported; let the thread end before the dump",
		            task_thread_name(th));
	if (l->alike)
		return 0;
	snprintf(path, sizeof(path), "task/%d", th->tid);
	dir = openat(th->task->dump->proc_fd, path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return log_errno(-errno, "%s: open of /proc/%d/%s", task_thread_name(th), th->task->pid, path);
	refuse_ns(th, l, dir, !shares(th, KCMP_FS));
	return 0;
}

const struct task_part thread_own_part = {
	.name = "what a thread has of its own",
	.state = { .dump = sizeof(struct leaders_ns) },
	.per_thread = true,
	.dump = thread_own_dump,
};
