/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The small things: name, personality, signal mask, exit signal, oom_score_adj, loginuid, timer slack, subreaper,
 * registrations for membarrier(2), and permission for large register state.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <string.h>
#include <sys/personality.h>
#include <sys/syscall.h>

#include "arch/arch.h"
#include "lib/log.h"
#include "proc/proc.h"
#include "task/answer.h"
#include "uapi/prctl_new.h"

#define NAME_LEN        16
#define PERSONALITY_ASK 0xffffffffU

/* ---- dump ---- */

struct asked {
	char name[NAME_LEN];
	uint64_t perm;
	int32_t subreaper;
};

enum { ASK_NAME, ASK_SLACK, ASK_PERSONALITY, ASK_SUBREAPER, ASK_MEMBARRIER, ASK_PERM };

static int misc_ask(struct dump *d, struct thread *th, struct batch *b, void **datap)
{
	raddr_t at = batch_space(b, sizeof(struct asked), datap);
	struct arch_call call;

	batch_ask(b, SYS_prctl, PR_GET_NAME, at);
	batch_ask(b, SYS_prctl, PR_GET_TIMERSLACK);
	if (!is_leader(th))
		return 0;
	batch_ask(b, SYS_personality, PERSONALITY_ASK);
	batch_ask(b, SYS_prctl, PR_GET_CHILD_SUBREAPER, at + offsetof(struct asked, subreaper));
	batch_ask(b, SYS_membarrier, MEMBARRIER_GET_REGISTRATIONS);
	if (arch_perm_ask(at + offsetof(struct asked, perm), &call))
		batch_add(b, (unsigned)call.nr, 0, call.arg);
	return 0;
}

/* A number in a file of /proc/PID. */
static int read_number(int proc_fd, const char *name, int64_t *value)
{
	_cleanup_free_ char *text = NULL;
	char *end;
	int err = proc_read(proc_fd, name, &text, NULL);

	if (err)
		return err;
	errno = 0;
	*value = strtoll(text, &end, 10);
	return errno || end == text ? -EBADMSG : 0;
}

static int dump_from_proc(struct thread *th, TaskCoreEntry *tc)
{
	int fd = th->task->dump->proc_fd;
	struct proc_stat st;
	int64_t value;
	int err = proc_read_stat(fd, 0, &st);

	if (err)
		return log_errno(err, "%s: reading /proc/%d/stat", task_name(th->task), th->task->pid);
	tc->flags = st.flags;
	if (st.exit_signal != SIGCHLD && st.exit_signal >= 0 && st.exit_signal < NSIG) {
		tc->has_exit_signal = true;
		tc->exit_signal = (uint32_t)st.exit_signal;
	}
	err = read_number(fd, "oom_score_adj", &value);
	if (err)
		return log_errno(err, "%s: reading its oom_score_adj", task_name(th->task));
	tc->has_oom_score_adj = true;
	tc->oom_score_adj = (int32_t)value;
	if (!read_number(fd, "loginuid", &value)) { /* a kernel may be without audit */
		tc->has_loginuid = true;
		tc->loginuid = (uint32_t)value;
	}
	return 0;
}

static int dump_leader(struct dump *d, struct thread *th, const struct answers *ans, const struct asked *asked)
{
	TaskCoreEntry *tc = th->core->tc;
	int64_t persona = answer_ret(ans, ASK_PERSONALITY), barrier = answer_ret(ans, ASK_MEMBARRIER);

	if (persona < 0 || answer_ret(ans, ASK_SUBREAPER))
		return log_errno(-EPROTO, "%s: its personality or subreaper attribute could not be read",
		                 task_name(th->task));
	tc->personality = (uint32_t)persona;
	tc->comm = th->core->thread_core->comm;
	tc->blk_sigset = th->dump->sigmask;
	tc->has_child_subreaper = true;
	tc->child_subreaper = asked->subreaper != 0;
	if (barrier > 0) {
		tc->has_membarrier_registration_mask = true;
		tc->membarrier_registration_mask = (uint32_t)barrier;
	}
	arch_perm_to_core(d->arena, th->core, asked->perm);
	return dump_from_proc(th, tc);
}

static int misc_dump(struct dump *d, struct thread *th, const struct answers *ans)
{
	struct asked asked = *(const struct asked *)ans->data;
	ThreadCoreEntry *core = th->core->thread_core;
	int64_t slack = answer_ret(ans, ASK_SLACK);

	if (answer_ret(ans, ASK_NAME))
		return log_errno(-EPROTO, "%s: its name could not be read", task_thread_name(th));
	asked.name[NAME_LEN - 1] = 0;
	core->comm = arena_strdup(d->arena, asked.name);
	/* 0: a real-time thread, which has none. */
	core->has_timer_slack_ns = slack > 0;
	core->timer_slack_ns = slack > 0 ? (uint64_t)slack : 0;
	if (is_leader(th))
		return dump_leader(d, th, ans, &asked);
	core->has_blk_sigset = true;
	core->blk_sigset = th->dump->sigmask;
	return 0;
}

/* ---- restore ---- */

static int misc_check(struct restore *r, const struct thread *th)
{
	const TaskCoreEntry *tc = th->core->tc;
	long supported;

	if (!is_leader(th))
		return 0;
	if (tc->has_exit_signal && tc->exit_signal >= NSIG)
		return log_errno(-EINVAL, "%s: its image names signal %u for its end", task_name(th->task),
		                 tc->exit_signal);
	if (!tc->membarrier_registration_mask)
		return 0;
	supported = syscall(SYS_membarrier, MEMBARRIER_CMD_QUERY, 0, 0);
	if (supported < 0 || (tc->membarrier_registration_mask & ~(uint32_t)supported))
		return log_refusal(-EOPNOTSUPP,
		                   "%s: it is registered for membarrier(2) commands %x; this kernel has %lx",
		                   task_name(th->task), tc->membarrier_registration_mask, supported);
	return 0;
}

static void restore_name(const struct thread *th, struct batch *b)
{
	/* The leader's name stands twice; tc's is the one that everybody shows and edits. */
	const char *own = th->core->thread_core->comm, *comm = own && !is_leader(th) ? own : tc_of(th)->comm;
	char name[NAME_LEN] = "";

	memcpy(name, comm, MIN(strlen(comm), sizeof(name) - 1));
	batch_call(b, SYS_prctl, PR_SET_NAME, batch_data(b, name, sizeof(name)));
}

/* The permission is the process's; any of its threads may be the one that says so. */
static void restore_perm(const struct task *t, struct batch *b)
{
	struct arch_call call;

	for (size_t i = 0; i < t->n_threads; i++) {
		if (!arch_perm_request(t->threads[i].core, &call))
			continue;
		batch_add(b, (unsigned)call.nr, AGENT_OP_STOP, call.arg);
		return;
	}
}

/* Only the task itself may write it, and only once without CAP_AUDIT_CONTROL. */
static int restore_loginuid(struct thread *th, struct batch *b)
{
	const TaskCoreEntry *tc = th->core->tc;
	_cleanup_close_ int proc_fd = proc_open(th->tid);
	int64_t now;
	char text[16];
	int fd, written, err;

	if (!tc->has_loginuid || proc_fd < 0 || read_number(proc_fd, "loginuid", &now) || (uint32_t)now == tc->loginuid)
		return 0;
	snprintf(text, sizeof(text), "%u", tc->loginuid);
	batch_reserve(b, 3, 64);
	fd = batch_ask(b, SYS_openat, (uint64_t)AT_FDCWD, batch_string(b, "/proc/self/loginuid"), O_WRONLY);
	written = batch_ask(b, SYS_write, 0, batch_string(b, text), strlen(text));
	batch_ref(b, 0, fd);
	batch_ask(b, SYS_close, 0);
	batch_ref(b, 0, fd);
	err = batch_run(b);
	if (!err && batch_ret(b, written) < 0)
		log_warn("%s: its loginuid stays %u, it was %u (CAP_AUDIT_CONTROL is needed to change it)",
		         task_name(th->task), (uint32_t)now, tc->loginuid);
	return err;
}

static int restore_leader(struct thread *th, struct batch *b)
{
	const TaskCoreEntry *tc = th->core->tc;

	restore_perm(th->task, b);
	batch_call(b, SYS_prctl, PR_SET_CHILD_SUBREAPER, tc->child_subreaper);
	for (unsigned bit = 0; bit < 32; bit++)
		if (tc->membarrier_registration_mask & (1U << bit))
			batch_call(b, SYS_membarrier, 1U << bit);
	return restore_loginuid(th, b);
}

static int misc_restore(struct restore *r, struct thread *th, struct batch *b)
{
	const ThreadCoreEntry *core = th->core->thread_core;
	int err = is_leader(th) ? restore_leader(th, b) : 0;

	restore_name(th, b);
	batch_call(b, SYS_personality, tc_of(th)->personality);
	if (core->has_timer_slack_ns)
		batch_call(b, SYS_prctl, PR_SET_TIMERSLACK, core->timer_slack_ns);
	if (arch_state_is_large(th->core))
		batch_add(b, 0, AGENT_OP_TOUCH, (const uint64_t[6]) { 0 });
	return err;
}

static int misc_finish(struct restore *r, struct thread *th)
{
	const TaskCoreEntry *tc = th->core->tc;
	_cleanup_close_ int proc_fd = -1;
	_cleanup_close_ int fd = -1;
	int64_t now;

	if (!is_leader(th) || !tc->has_oom_score_adj)
		return 0;
	proc_fd = proc_open(th->tid);
	if (proc_fd < 0 || read_number(proc_fd, "oom_score_adj", &now))
		return log_errno(-ESRCH, "%s: reading its oom_score_adj", task_name(th->task));
	if (now == tc->oom_score_adj)
		return 0;
	fd = openat(proc_fd, "oom_score_adj", O_WRONLY | O_CLOEXEC);
	if (fd < 0 || dprintf(fd, "%d", tc->oom_score_adj) < 0)
		log_warn("%s: its oom_score_adj stays %" PRId64 ", it was %d (%m)", task_name(th->task), now,
		         tc->oom_score_adj);
	return 0;
}

const struct task_part attrs_part = {
	.name = "name and small attributes",
	.per_thread = true,
	.ask = misc_ask,
	.dump = misc_dump,
	.check = misc_check,
	.restore = misc_restore,
	.finish = misc_finish,
};
