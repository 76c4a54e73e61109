/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * pidfds: of processes and threads of the tree, and of those that are gone. The latter come back as pidfds of a process
 * that lives just long enough to be opened; those of the same one (equal inode) are of one process again.
 */
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "proc/fdinfo.h"
#include "files/files.h"
#include "helper/helper.h"
#include "lib/log.h"
#include "proc/proc.h"
#include "lib/arena_hash.h"
#include "pidfd.pb-c.h"
#include "uapi/pidfd_info.h"

extern const struct fd_kind pidfd_kind;

#define OPEN_FLAGS (O_EXCL | O_NONBLOCK) /* PIDFD_THREAD is O_EXCL; both as pidfd_open(2) takes them */

static bool pidfd_match(const struct fd_info *info)
{
	return !strcmp(info->link, "anon_inode:[pidfd]") || !strncmp(info->link, "pidfd:[", 7);
}

/* ---- dump ---- */

/* The number in images of a process or thread of the tree; 0: outside. */
static pid_t number_in_tree(const struct tree *tree, pid_t pid)
{
	const struct task *t = tree_find_ours(tree, pid);

	for (size_t i = 0; t && i < t->n_threads; i++)
		if (t->threads[i].tid == pid)
			return t->threads[i].vtid.v;
	return 0;
}

static int refuse_outside(const struct fd_info *info, pid_t pid)
{
	char comm[16];

	if (pid <= 0)
		log_refusal(-ENOTSUP,
		            "%s: a pidfd of a process that is not in criu's pid namespace; close it before the dump, "
		            "or run criu in a namespace that has it",
		            fd_name(info));
	else
		log_refusal(-ENOTSUP,
		            "%s: a pidfd of pid %d (%s), which is outside of the tree; close it before the dump, or "
		            "dump a tree that has both",
		            fd_name(info), pid, proc_comm(pid, comm, sizeof(comm)) < 0 ? "?" : comm);
	return DUMP_REFUSED;
}

static void add_exit_code(const struct fd_info *info, PidfdEntry *m)
{
	struct kernel_pidfd_info pi = { .mask = KERNEL_PIDFD_INFO_EXIT };

	if (ioctl(info->fd, KERNEL_PIDFD_GET_INFO, &pi) || !(pi.mask & KERNEL_PIDFD_INFO_EXIT))
		return;
	m->has_exit_code = true;
	m->exit_code = (uint32_t)pi.exit_code;
}

static int pidfd_dump(struct dump *d, const struct fd_info *info, void *msg)
{
	PidfdEntry *m = msg;
	int32_t pid, nspid;

	if (fdinfo_parse_pidfd(info->info, &pid, &nspid))
		return log_errno(-EBADMSG, "%s: no Pid and NSpid in the fdinfo of a pidfd", fd_name(info));
	m->flags = info->flags & ~(uint32_t)O_ACCMODE;
	m->ino = (uint32_t)info->st.st_ino;
	m->nspid = number_in_tree(&d->tree, pid);
	if (pid == -1) {
		m->nspid = -1;
		add_exit_code(info, m);
		return 0;
	}
	return m->nspid ? 0 : refuse_outside(info, pid);
}

/* ---- restore ---- */

/* A process that is gone, and its pidfds. */
struct gone {
	uint32_t ino;
	const PidfdEntry **pidfds;
	size_t n;
	UT_hash_handle hh;
};

struct all_gone {
	bool listed;
	struct gone *by_ino;
};

static int note_gone(struct restore *r, const void *msg, void *arg)
{
	struct all_gone *all = arg;
	const PidfdEntry *m = msg;
	struct gone *g;

	if (m->nspid != -1)
		return 0;
	HASH_FIND(hh, all->by_ino, &m->ino, sizeof(m->ino), g);
	if (!g) {
		g = arena_new_of(r->arena, struct gone);
		g->ino = m->ino;
		HASH_ADD_IN(r->arena, hh, all->by_ino, ino, sizeof(g->ino), g);
	}
	arena_push(r->arena, &g->pidfds, &g->n, m);
	return 0;
}

/* Listed when the first is opened: by then all kinds have pinned the files that are in flight. */
static const struct gone *gone_of(struct restore *r, const PidfdEntry *m)
{
	struct all_gone *all = restore_state(r, &pidfd_kind);
	const struct gone *g;

	if (!all->listed)
		files_each(r, &pidfd_kind, note_gone, all);
	all->listed = true;
	HASH_FIND(hh, all->by_ino, &m->ino, sizeof(m->ino), g);
	return g;
}

static int pidfd_check(struct restore *r, const void *msg, const char **why)
{
	const PidfdEntry *m = msg;

	if (m->nspid == -1 || (m->nspid > 0 && tree_find(&r->tree, VPID(m->nspid))))
		return 0;
	*why = arena_printf(r->arena, "a pidfd of pid %d, which is not in the checkpoint", m->nspid);
	return -ESRCH;
}

static int make_pidfd(pid_t pid, const PidfdEntry *m)
{
	_cleanup_close_ int fd = (int)syscall(SYS_pidfd_open, pid, m->flags & OPEN_FLAGS);

	if (fd < 0)
		return log_errno(-errno, "pid %d: pidfd_open with flags 0%o", pid, m->flags & OPEN_FLAGS);
	/* O_ASYNC comes with the owner; without an owner it would have no effect. */
	if (fcntl(fd, F_SETFL, m->flags & ~(uint32_t)(O_ASYNC | O_EXCL | O_CLOEXEC)))
		return log_errno(-errno, "pid %d: fcntl(F_SETFL) 0%o of its pidfd", pid, m->flags);
	return move_fd(&fd);
}

/* A copy of criu, which must not stand in a core file either. */
static int exit_with(void *arg)
{
	const uint32_t code = *(const uint32_t *)arg;
	struct sigaction dfl = { .sa_handler = SIG_DFL };
	int sig = code & 0x7f;
	sigset_t set;

	if (sig) {
		prctl(PR_SET_DUMPABLE, 0);
		sigaction(sig, &dfl, NULL);
		sigfillset(&set);
		syscall(SYS_kill, syscall(SYS_getpid), sig);
		sigprocmask(SIG_UNBLOCK, &set, NULL);
	}
	return (int)(code >> 8) & 0xff;
}

/* All pidfds of the process at once: when it is reaped, no more can be opened. Returns that of m. */
static int open_gone(struct restore *r, const struct gone *g, const PidfdEntry *m)
{
	uint32_t code = m->has_exit_code ? m->exit_code : 0;
	pid_t pid = helper_start(&(struct helper_spec) { .flags = CLONE_FILES }, exit_with, &code);
	int err = 0, ours = -1;

	if (pid < 0)
		return log_errno(pid, "making a process for pidfds of one that is gone: clone3");
	for (size_t i = 0; !err && i < g->n; i++) {
		int fd = make_pidfd(pid, g->pidfds[i]);

		if (fd < 0)
			err = fd;
		else if (g->pidfds[i] == m)
			ours = fd;
		else
			files_set(r, g->pidfds[i]->id, fd);
	}
	helper_wait(pid);
	if (err && ours >= 0)
		close(ours);
	return err ?: ours;
}

static int pidfd_open(struct restore *r, const void *msg)
{
	const PidfdEntry *m = msg;
	const struct task *t;
	const struct gone *g;

	if (m->nspid == -1) {
		g = gone_of(r, m);
		return g ? open_gone(r, g, m)
		         : log_errno(-ENOENT, "pidfd %u: nothing in the checkpoint wants it", m->id);
	}
	t = tree_find(&r->tree, VPID(m->nspid));
	for (size_t i = 0; t && i < t->n_threads; i++)
		if (t->threads[i].vtid.v == m->nspid)
			return make_pidfd(i ? t->threads[i].tid : t->pid, m);
	return log_errno(-ESRCH, "a pidfd of pid %d, which was not restored", m->nspid);
}

const struct fd_kind pidfd_kind = {
	.name = "pidfd",
	.state = { .restore = sizeof(struct all_gone) },
	.type = FD_TYPES__PIDFD,
	.field = 22,
	.pb = &pidfd_entry__descriptor,
	.match = pidfd_match,
	.dump = pidfd_dump,
	.check = pidfd_check,
	.open = pidfd_open,
};
