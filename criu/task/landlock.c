/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Landlock: no interface tells whether a thread has restricted itself, and with which rules; after a restore it would
 * be free. But the kernel keeps whoever has from looking (ptrace(2)) at processes outside of its domain, which else it
 * may at one with its own user and group and no capabilities. Such a one is made to be looked at, one for each user and
 * group: it has ended and is not waited for, so that there is nothing in it to be had. Threads with CAP_SYS_PTRACE may
 * look at any process, and look at criu. What runs in the same domain as criu may look, and has that again at restore.
 */
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/close_range.h>
#include <linux/landlock.h>
#include <linux/securebits.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "arch/arch_start.h"
#include "arch_page.h"
#include "helper/helper.h"
#include "lib/io.h"
#include "lib/log.h"
#include "lib/memfd_exec.h"
#include "proc/proc.h"
#include "task/answer.h"
#include "task/creds.h"
#include "tree/ns_ids.h"
#include "tree/subsys.h"

extern const struct subsys landlock_subsys;

struct corpse {
	uint32_t uid, gid;
	pid_t pid;   /* 0: cannot be made */
	int program; /* while it is made */
};

#define NOT_MADE   99
#define PROGRAM_AT (1UL << 20)

struct landlock_state {
	bool asked, has_landlock;
	pid_t self;
	struct corpse *list;
	size_t n;
};

static struct landlock_state *landlock_of(struct dump *d)
{
	struct landlock_state *s = dump_state(d, &landlock_subsys);

	if (!s->asked)
		s->has_landlock = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION) >= 1;
	if (!s->asked)
		s->self = getpid();
	s->asked = true;
	return s;
}

/*
 * In a fork: the calling thread alone changes, and executes a program that ends at once. So nothing of criu is in it
 * when others may look at it, and the kernel takes it for an ordinary process. (Since 2026 it remembers of one that has
 * ended whether it was.) For root execve(2) would bring all capabilities back.
 */
static int become_corpse(void *arg)
{
	const struct corpse *c = arg;
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct none[2] = {};
	char *const argv[] = { NULL }, *const envp[] = { NULL };

	if ((syscall(SYS_setgroups, 0, NULL) && errno != EPERM) || syscall(SYS_setresgid, c->gid, c->gid, c->gid) ||
	    (!c->uid && prctl(PR_SET_SECUREBITS, SECBIT_NOROOT)) || syscall(SYS_setresuid, c->uid, c->uid, c->uid) ||
	    syscall(SYS_capset, &head, none) || syscall(SYS_close_range, 0, ~0U, CLOSE_RANGE_CLOEXEC))
		return NOT_MADE;
	syscall(SYS_execveat, c->program, "", argv, envp, AT_EMPTY_PATH);
	return NOT_MADE;
}

/* The program with which restored processes begin finds no area, and ends with status 1. */
static int make_program(void)
{
	const struct start_params nothing = { .area_fd = (uint64_t)-1 };
	_cleanup_close_ int fd = memfd_exec("criu-landlock", MFD_CLOEXEC);
	uint8_t elf[PAGE_SIZE];
	size_t len = arch_start_elf(PROGRAM_AT, &nothing, false, elf);
	int err = fd < 0 ? fd : io_write_all(fd, elf, len);

	return err ?: move_fd(&fd);
}

static pid_t corpse_of(struct dump *d, struct landlock_state *s, uint32_t uid, uint32_t gid)
{
	struct corpse c = { .uid = uid, .gid = gid };
	_cleanup_close_ int program = -1;
	siginfo_t info = { 0 };

	for (size_t i = 0; i < s->n; i++)
		if (s->list[i].uid == uid && s->list[i].gid == gid)
			return s->list[i].pid;
	c.program = program = make_program();
	c.pid = program < 0 ? 0 : helper_start(&(struct helper_spec) { 0 }, become_corpse, &c);
	if (c.pid < 0)
		c.pid = 0;
	if (c.pid && (waitid(P_PID, (id_t)c.pid, &info, WEXITED | WNOWAIT | __WALL) || info.si_code != CLD_EXITED ||
	              info.si_status != 1)) {
		log_debug("a process with uid %u and gid %u to be looked at cannot be made", uid, gid);
		helper_kill(c.pid);
		c.pid = 0;
	}
	arena_push(d->arena, &s->list, &s->n, c);
	return c.pid;
}

/* The numbers and users that criu knows are those of the task. */
static bool is_in_our_namespaces(const struct task *t)
{
	TaskKobjIdsEntry own = TASK_KOBJ_IDS_ENTRY__INIT;

	ns_ids_of_criu(&own);
	return t->ids && t->ids->pid_ns_id == own.pid_ns_id && t->ids->user_ns_id == own.user_ns_id;
}

/* A pid of 0 is the thread itself, which may always look at itself. */
static int landlock_ask(struct dump *d, struct thread *th, struct batch *b, void **datap)
{
	const struct proc_status *st = th->dump->status;
	struct landlock_state *s = landlock_of(d);
	raddr_t at = batch_space(b, 2 * sizeof(uint64_t), datap);
	pid_t whom = 0;

	if (s->has_landlock && is_in_our_namespaces(th->task))
		whom = st->cap_eff & CREDS_CAP_BIT(CAP_SYS_PTRACE)
		           ? s->self
		           : corpse_of(d, s, st->uid[CREDS_REAL], st->gid[CREDS_REAL]);
	batch_ask(b, SYS_get_robust_list, (uint64_t)whom, at, at + sizeof(uint64_t));
	return 0;
}

/* Another security module may be what forbids it. */
static bool has_label(const struct thread *th)
{
	char path[64], text[64] = "";
	_cleanup_close_ int fd = -1;

	snprintf(path, sizeof(path), "task/%d/attr/current", th->tid);
	fd = openat(th->task->dump->proc_fd, path, O_RDONLY | O_CLOEXEC);
	return fd >= 0 && read(fd, text, sizeof(text) - 1) > 0 && strncmp(text, "unconfined", 10) != 0;
}

static int landlock_dump(struct dump *d, struct thread *th, const struct answers *ans)
{
	if (answer_ret(ans, 0) != -EPERM || has_label(th))
		return 0;
	log_refusal(-EOPNOTSUPP,
	            "%s: is restricted by Landlock (it may not look at a process of its own user), and the "
	            "kernel does not show its rules: the thread would be free after a restore; start the "
	            "program without it to dump it",
	            task_thread_name(th));
	return 0; /* there may be more reasons */
}

static void bury(struct dump *d)
{
	struct landlock_state *s = dump_state(d, &landlock_subsys);

	for (size_t i = 0; i < s->n; i++)
		if (s->list[i].pid)
			helper_wait(s->list[i].pid);
	s->n = 0;
}

static int landlock_collect(struct dump *d)
{
	bury(d);
	return 0;
}

const struct task_part landlock_part = {
	.name = "Landlock",
	.per_thread = true,
	.ask = landlock_ask,
	.dump = landlock_dump,
};

const struct subsys landlock_subsys = {
	.name = "Landlock",
	.state = { .dump = sizeof(struct landlock_state) },
	.collect = landlock_collect,
	.end = bury,
};
