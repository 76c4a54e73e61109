/* SPDX-License-Identifier: GPL-2.0-only */
/* Threads, the rows of task_parts, and every thread's last instruction. */
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#include "agent/code.h"
#include "agent/liveness.h"
#include "agent/inject.h"
#include "freeze/ptrace.h"
#include "arch/arch.h"
#include "restore/build.h"
#include "restore/own_root.h"
#include "restore/pids.h"
#include "format.h"
#include "tree/beside.h"
#include "tree/kind.h"
#include "lib/fault.h"
#include "lib/fiber.h"
#include "lib/log.h"
#include "proc/proc.h"
#include "tree/ns_ids.h"

#define ALL (~0ULL)

static bool is_not_zombie(const struct task *t)
{
	return t->state != TASK_DEAD;
}

/* ---- threads ---- */

#define THREADS_AT_ONCE 128

static int add_thread(struct build *b, struct thread *th, struct batch *batch, bool with_number)
{
	struct node *n = th->task->restore->node;
	size_t off = n->region + AGENT_LARGE + (size_t)(th - th->task->threads - 1) * AGENT_SMALL;
	struct clone_args args = {
		.flags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM,
	};
	uint64_t set_tid_size = 0;

	if (with_number)
		args.set_tid = build_set_tid(b, batch, th->vtid, &set_tid_size);
	args.set_tid_size = set_tid_size;

	if (!th->restore->agent)
		th->restore->agent =
		    agent_new(b->r->arena, th, build_local(b, n->family, off), build_remote(b, n->family, off),
		              AGENT_SMALL, n->family->at + COMMON_LIVENESS, AGENT_DIE_EXIT);
	return batch_clone(batch, &args, th->restore->agent, 0);
}

static int set_thread(struct build *b, struct thread *th)
{
	pid_t tid = build_pid_of(b, th->vtid.v, th->task->pid);

	if (tid < 0)
		return tid;
	th->tid = th->restore->agent->tid = tid;
	return 0;
}

/* Creates those of a task's threads that are missing, from number *at on; *taken: one whose number is taken. */
static int create_some_threads(struct build *b, struct task *t, size_t *at, struct thread **taken)
{
	struct batch *batch = agent_batch(t->restore->node->agent, "creating its threads");
	struct thread *th[THREADS_AT_ONCE];
	int64_t rets[THREADS_AT_ONCE];
	int ops[THREADS_AT_ONCE], n = 0, err;

	for (; *at < t->n_threads && n < THREADS_AT_ONCE; ++*at) {
		if (t->threads[*at].tid)
			continue;
		th[n] = &t->threads[*at];
		ops[n] = add_thread(b, th[n], batch, true);
		n++;
	}
	err = batch_run(batch);
	for (int i = 0; i < n; i++)
		rets[i] = batch_ret(batch, ops[i]);
	for (int i = 0; !err && i < n; i++) {
		if (rets[i] == -EEXIST)
			*taken = th[i];
		else if (rets[i] == -EPERM)
			err = build_numbered_thread(b, th[i], add_thread) ?: set_thread(b, th[i]);
		else if (rets[i] < 0)
			err = log_errno((int)rets[i], "%s: clone3 of its thread %d", task_name(t), th[i]->vtid.v);
		else
			err = set_thread(b, th[i]);
	}
	return err;
}

static int create_threads(struct build *b, struct task *t)
{
	struct thread *taken;
	unsigned tries = 0;
	int err = 0;

	do {
		taken = NULL;
		for (size_t at = 1; !err && at < t->n_threads;)
			err = create_some_threads(b, t, &at, &taken);
	} while (!err && taken && !(err = pids_wait_free(b->r, taken->vtid, &tries)));
	for (size_t i = 1; !err && i < t->n_threads; i++)
		err = agent_wait(t->threads[i].restore->agent);
	return err;
}

/* ---- rows ---- */

static int seize_thread(struct thread *th)
{
	unsigned long options = PTRACE_O_EXITKILL | PTRACE_O_TRACESYSGOOD;
	const ThreadCoreEntry *tc = th->core->thread_core;
	int err;

	/* A filter is put in place before the last calls of ours; it bites from the release on. */
	if (tc->has_seccomp_mode && tc->seccomp_mode != SECCOMP_MODE__disabled)
		options |= PTRACE_O_SUSPEND_SECCOMP;
	err = ptrace_seize(th->tid, options);
	if (err)
		return log_errno(err, "%s: ptrace(PTRACE_SEIZE)", task_thread_name(th));
	th->restore->agent->traced = true;
	return 0;
}

/* Asks all rows, and sets the thread's agent to work without waiting for it. */
static int start_parts(struct build *b, struct thread *th)
{
	bool leader = th == th->task->threads;
	struct batch *batch = agent_batch(th->restore->agent, "");
	int err = 0;

	for (const struct task_part *const *p = task_parts; !err && *p; p++) {
		if (!(*p)->restore || (!leader && !(*p)->per_thread))
			continue;
		batch_what(batch, (*p)->name);
		fiber_hold();
		err = (*p)->restore(b->r, th, batch);
		fiber_release();
	}
	if (!err)
		batch_start(batch);
	return err;
}

static int finish_parts(struct thread *th)
{
	return batch_finish(&th->restore->agent->batch);
}

static int parts_of_some(struct build *b, struct task *t, size_t from, size_t to)
{
	int err = 0;

	for (size_t i = from; !err && i < to; i++) {
		log_about("core-%lu.img", (unsigned long)t->threads[i].vtid.v);
		err = start_parts(b, &t->threads[i]);
	}
	for (size_t i = from; !err && i < to; i++) {
		log_about("core-%lu.img", (unsigned long)t->threads[i].vtid.v);
		err = finish_parts(&t->threads[i]);
	}
	log_about(NULL, 0);
	return err;
}

/*
 * The leader first, whose filters may be for all; and the last one last, which arms the timers when all have their
 * signals. Rows are asked for one thread after the other; what is left in the others' batches then concerns nobody but
 * the thread, and is done side by side.
 */
static int restore_parts_of(void *arg, struct task *t)
{
	size_t last = t->n_threads - 1;
	int err = parts_of_some(arg, t, 0, 1);

	if (!err && last > 1)
		err = parts_of_some(arg, t, 1, last);
	return err || !last ? err : parts_of_some(arg, t, last, last + 1);
}

/*
 * Side by side with other tasks is only what a batch has left when all rows have been asked: calls that concern nobody
 * but the thread. Calls to which a row wants an answer are run while the rows are asked.
 */
static int restore_all_parts(struct build *b)
{
	struct beside s = { .fn = restore_parts_of, .arg = b };
	int err = 0;

	for (size_t i = 0; !err && i < b->r->tree.n_tasks; i++) {
		struct task *t = b->r->tree.tasks[i];

		if (!is_not_zombie(t))
			continue;
		log_task(t->vpid.v);
		err = beside_add(&s, t);
		if (!err && b->r->opts->log_pid) /* one log after the other */
			err = beside_run(&s);
		log_task(0);
	}
	return err ?: beside_run(&s);
}

static int each_thread(struct build *b, int (*fn)(struct build *, struct thread *))
{
	int err = 0;

	for (size_t i = 0; !err && i < b->r->tree.n_tasks; i++) {
		struct task *t = b->r->tree.tasks[i];

		log_task(t->vpid.v);
		for (size_t k = 0; !err && is_not_zombie(t) && k < t->n_threads; k++) {
			log_about("core-%lu.img", (unsigned long)t->threads[k].vtid.v);
			err = fn(b, &t->threads[k]);
		}
		log_about(NULL, 0);
		log_task(0);
	}
	return err;
}

/* ---- side by side: where one task has to be waited for, the next one is gone on with (lib/fiber.h) ---- */

struct side_by_side {
	struct build *b;
	int (*fn)(struct build *b, struct thread *th);
	struct thread *some[FIBERS_MAX];
	size_t n;
};

static int do_one(void *arg, size_t i)
{
	struct side_by_side *s = arg;

	return s->fn(s->b, s->some[i]);
}

static int do_some(struct side_by_side *s)
{
	int errs[FIBERS_MAX], err = 0;

	fiber_run(s->n, do_one, s, errs);
	for (size_t i = 0; i < s->n; i++)
		err = err ?: errs[i];
	s->n = 0;
	return err;
}

/* For what does not matter to other threads: fn is called for up to FIBERS_MAX at a time. */
static int each_beside(struct build *b, bool only_spaces, int (*fn)(struct build *, struct thread *))
{
	const struct tree *tree = &b->r->tree;
	struct side_by_side s = { .b = b, .fn = fn };
	int err = 0;

	for (size_t i = 0; !err && i < tree->n_tasks; i++) {
		struct task *t = tree->tasks[i];
		size_t n = only_spaces ? tree_first_vm(tree, t) == t : t->n_threads;

		for (size_t k = 0; !err && is_not_zombie(t) && k < n; k++) {
			s.some[s.n++] = &t->threads[k];
			if (s.n == FIBERS_MAX)
				err = do_some(&s);
		}
	}
	return err ?: do_some(&s);
}

static int seize_one(struct build *b, struct thread *th)
{
	return seize_thread(th);
}

int build_tasks(struct build *b)
{
	int err = 0;

	/* Before descriptors: a pidfd or a file in /proc may be a thread's. */
	for (size_t i = 0; !err && i < b->r->tree.n_tasks; i++)
		if (is_not_zombie(b->r->tree.tasks[i]))
			err = create_threads(b, b->r->tree.tasks[i]);
	if (!err)
		err = subsys_run(prepare, b->r);
	if (!err)
		err = subsys_run(create, b->r);
	if (!err)
		err = subsys_run(settle, b->r);
	own_root_is_task(b->r);
	if (!err)
		err = each_thread(b, seize_one);
	return err ?: restore_all_parts(b);
}

/* ---- the last instruction ---- */

static int interrupt_one(struct build *b, struct thread *th)
{
	return inject_interrupt(th->tid, task_thread_name(th));
}

/* All have been interrupted: most stand by now. */
static int stop_one(struct build *b, struct thread *th)
{
	const char *name =
	    arena_strdup(b->r->arena, task_thread_name(th)); /* the ring of names is for fewer than fibers */

	return inject_await_stop(th->tid, name, &th->restore->agent->stop_came, NULL);
}

static uint64_t final_mask(const struct thread *th)
{
	const CoreEntry *c = th->core;

	if (c->thread_core->has_blk_sigset)
		return c->thread_core->blk_sigset;
	return c->tc ? c->tc->blk_sigset : 0;
}

static raddr_t find_syscall(const struct task *t)
{
	raddr_t ip = 0;

	for (size_t i = 0; !ip && i < t->mm->n_vmas; i++)
		if (t->mm->vmas[i]->status & VMA_VDSO)
			ip = code_find_syscall(t->pid, t->compat, t->mm->vmas[i]->start,
			                       t->mm->vmas[i]->end - t->mm->vmas[i]->start);
	for (size_t i = 0; !ip && i < t->mm->n_vmas; i++)
		if (t->mm->vmas[i]->prot & PROT_EXEC)
			ip = code_find_syscall(t->pid, t->compat, t->mm->vmas[i]->start,
			                       t->mm->vmas[i]->end - t->mm->vmas[i]->start);
	return ip;
}

/* All of the address space's threads stand in their last stop: the area is not needed any more. */
static int drop_area(struct build *b, struct thread *leader)
{
	struct task *t = leader->task;
	const struct family *f = t->restore->node->family;
	struct thread_regs *scratch = arch_regs_get(b->r->arena, t->pid);
	struct inject in = { .who = arena_strdup(b->r->arena, task_name(t)),
		             .tid = t->pid,
		             .syscall_ip = find_syscall(t) };
	int64_t ret = 0;
	int err;

	if (!scratch)
		return -ESRCH;
	arch_regs_set_compat(scratch, t->compat);
	if (!in.syscall_ip)
		return log_errno(-ENOEXEC, "%s: no code from which a system call could be made", task_name(t));
	err = inject_syscall(&in, scratch, SYS_munmap, (const uint64_t[6]) { f->at, b->plan->common + f->size }, &ret);
	if (!err && ret)
		err = log_errno((int)ret, "%s: unmapping the agent's area", task_name(t));
	t->threads[0].restore->agent->stop_came |= in.stop_came;
	return err;
}

static bool ends_again(const struct thread *th)
{
	return th == th->task->threads && th->core->tc->has_leader_exit_code;
}

/* A leader that had ended while others lived: its last instruction is its end. All its signals are blocked. */
static int prepare_end(struct thread *th, struct thread_regs *regs)
{
	const uint64_t code[6] = { th->core->tc->leader_exit_code >> 8 & 0xff };

	arch_regs_syscall_at(regs, find_syscall(th->task), 0, SYS_exit, code);
	return arch_regs_set_general(th->tid, regs) ?: ptrace_set_sigmask(th->tid, ALL);
}

static int finish_thread(struct build *b, struct thread *th)
{
	struct thread_regs *regs = arch_regs_from_core(b->r->arena, th->core);
	int err;

	if (!regs)
		return -EINVAL;
	err = arch_regs_set(th->tid, regs);
	if (!err)
		err = ends_again(th) ? prepare_end(th, regs) : ptrace_set_sigmask(th->tid, final_mask(th));
	if (err)
		return log_errno(err, "%s: setting its registers", task_thread_name(th));
	for (const struct task_part *const *p = task_parts; !err && *p; p++)
		if ((*p)->finish && (th == th->task->threads || (*p)->per_thread))
			err = (*p)->finish(b->r, th);
	return err;
}

int build_finish(struct build *b)
{
	int err = each_thread(b, interrupt_one);

	if (!err)
		err = each_beside(b, false, stop_one);
	if (!err)
		err = each_beside(b, true, drop_area);
	return err ?: each_thread(b, finish_thread);
}

/* ---- letting go ---- */

static const struct thread *first_living(const struct task *t)
{
	return &t->threads[t->threads[0].restore->ended];
}

/* The signal that stopped it, where it would do so again; SIGSTOP else, which does in any case. */
static int own_stop(const struct task *t, bool by_us)
{
	const TaskCoreEntry *tc = t->threads[0].core->tc;
	int sig = tc->has_stop_signo && !by_us ? (int)tc->stop_signo : SIGSTOP;
	_cleanup_close_ int proc = proc_open(t->pid);
	struct proc_status st;

	if ((sig != SIGTSTP && sig != SIGTTIN && sig != SIGTTOU) || proc < 0 || proc_read_status(proc, 0, NULL, &st))
		return SIGSTOP;
	return (st.sig_caught | st.sig_ignored | st.sig_pending | st.shared_pending) >> (sig - 1) & 1 ? SIGSTOP : sig;
}

/*
 * At the delivery of our SIGSTOP its own signal takes that one's place. In an orphaned process group that does nothing:
 * the interrupt that is noted before stops it then, and the next SIGSTOP stays one.
 */
static int go_on_stopping(struct task *t, int status, int *sig)
{
	int got = WSTOPSIG(status);
	pid_t tid = first_living(t)->tid;

	if (stop_event(status)) {
		if (stop_event(status) == PTRACE_EVENT_STOP && got == SIGTRAP && *sig != SIGSTOP) {
			*sig = SIGSTOP;
			if (kill(t->pid, SIGSTOP))
				return -errno;
		}
		return ptrace_cont(tid, 0);
	}
	if (got != SIGSTOP || *sig == SIGSTOP)
		return ptrace_cont(tid, got);
	if (ptrace(PTRACE_INTERRUPT, tid, NULL, NULL))
		return -errno;
	return ptrace_cont(tid, *sig);
}

/* Not later: a task may be stopped again when others are let go, and this thread would not come to its end then. */
static int end_leader(struct task *t)
{
	const struct timespec pause = { .tv_nsec = 1000000 };
	struct thread *th = &t->threads[0];
	int err = ptrace_detach(th->tid, 0);
	struct proc_stat st;

	th->restore->ended = true;
	if (err)
		return log_errno(err, "%s: ptrace(PTRACE_DETACH) of its leader", task_name(t));
	for (int i = 0; i < 10000; i++) {
		err = proc_stat_of(t->pid, &st);
		if (err || st.state == 'Z')
			break;
		nanosleep(&pause, NULL);
	}
	if (!err && st.state != 'Z')
		err = -ETIMEDOUT;
	return err ? log_errno(err, "%s: its leader, which had ended, does not end again", task_name(t)) : 0;
}

/*
 * A task that was stopped is stopped again before it runs: its leader takes a SIGSTOP, which puts the others under a
 * group stop that they enter when they are detached.
 */
static int stop_again(struct task *t, bool by_us)
{
	const struct thread *th = first_living(t);
	uint64_t mask = final_mask(th);
	int status, sig = own_stop(t, by_us);
	int err = ptrace_set_sigmask(th->tid, sig == SIGSTOP ? ALL : ALL & ~(1ULL << (sig - 1)));

	if (!err && kill(t->pid, SIGSTOP))
		err = -errno;
	if (!err)
		err = ptrace_cont(th->tid, 0);
	while (!err) {
		err = ptrace_wait(th->tid, 10000, &status);
		if (err || (stop_event(status) == PTRACE_EVENT_STOP &&
		            (WSTOPSIG(status) == SIGSTOP || WSTOPSIG(status) == sig)))
			break;
		err = go_on_stopping(t, status, &sig);
	}
	if (!err)
		err = ptrace_set_sigmask(th->tid, mask);
	return err ? log_errno(err, "%s: cannot be stopped again", task_name(t)) : 0;
}

static int clear_exitkill(struct build *b, struct thread *th)
{
	int err = th->restore->ended ? 0 : ptrace_set_options(th->tid, 0);

	return err ? log_errno(err, "%s: died before it could be resumed", task_thread_name(th)) : 0;
}

static int detach_thread_again(struct build *b, struct thread *th)
{
	int err = th->restore->ended ? 0 : ptrace_detach(th->tid, 0);

	return err && err != -ESRCH ? log_errno(err, "%s: ptrace(PTRACE_DETACH)", task_thread_name(th)) : 0;
}

/* A stopped thread that is let go wakes and stops again. Not longer than a moment: another process may continue it. */
static void await_stop(const struct thread *th)
{
	const struct timespec pause = { .tv_nsec = 1000000 };
	_cleanup_close_ int proc = proc_open(th->tid);
	struct proc_stat st;

	for (int i = 0; i < 200 && proc >= 0 && !proc_read_stat(proc, 0, &st); i++) {
		if (st.state != 'R' && st.state != 't')
			return;
		nanosleep(&pause, NULL);
	}
}

/* When criu has ended, what is stopped is seen to be stopped. */
static void await_stops(const struct build *b, bool all)
{
	for (size_t i = 0; i < b->r->tree.n_tasks; i++) {
		const struct task *t = b->r->tree.tasks[i];

		for (size_t j = 0; j < t->n_threads && (t->state == TASK_STOPPED || (all && is_not_zombie(t))); j++)
			await_stop(&t->threads[j]);
	}
}

int build_release(struct build *b, bool stop)
{
	int err = 0;

	for (size_t i = 0; !err && i < b->r->tree.n_tasks; i++)
		if (is_not_zombie(b->r->tree.tasks[i]) && ends_again(b->r->tree.tasks[i]->threads))
			err = end_leader(b->r->tree.tasks[i]);
	for (size_t i = 0; !err && i < b->r->tree.n_tasks; i++) {
		struct task *t = b->r->tree.tasks[i];

		if (is_not_zombie(t) && (stop || t->state == TASK_STOPPED))
			err = stop_again(t, stop && t->state != TASK_STOPPED);
	}
	if (!err)
		err = each_thread(b, clear_exitkill);
	if (err)
		return err;
	fault_point("exitkill cleared");
	err = guardian_check(b->r->guardian);
	if (err)
		return err;
	guardian_commit(b->r->guardian);
	fault_point("restore committed");
	subsys_tell(committed, b->r);
	liveness_forget(b->death);
	b->death = NULL;
	err = each_thread(b, detach_thread_again);
	await_stops(b, stop);
	return err;
}

/* Whether the end of a thread that criu traces is still to come, or to be waited for. */
static bool is_unreaped(const struct thread *th)
{
	pid_t pid;
	int status;

	if (th->tid <= 0 || !th->restore->agent->traced)
		return false;
	while ((pid = waitpid(th->tid, &status, __WALL | WNOHANG)) == th->tid && WIFSTOPPED(status))
		;
	return pid == 0;
}

static bool has_unreaped(const struct task *t)
{
	bool has = false;

	for (size_t k = 1; k < t->n_threads; k++)
		has |= is_unreaped(&t->threads[k]);
	return has;
}

/*
 * A process ends when its threads have, and those that criu traces wait for criu. Ten seconds at most: a thread may
 * sleep in a call that cannot be killed.
 */
static void await_end(const struct task *t)
{
	const struct timespec pause = { .tv_nsec = 1000000 };

	for (int i = 0; i < 10000 && has_unreaped(t); i++)
		nanosleep(&pause, NULL);
	proc_wait_gone(t->pid);
}

/* By its agent, or, when it stands at its last instruction, from outside. */
static bool start_exit(struct build *b, struct task *t)
{
	struct agent *agent = t->restore->agent;
	struct batch *batch = agent_batch(agent, "ending");
	const uint64_t status[6] = { 1 };
	struct thread_regs *regs;

	if (__atomic_load_n(&agent->slot->done, __ATOMIC_ACQUIRE) && !ptrace_is_stopped(t->pid)) {
		batch_ask(batch, SYS_exit_group, status[0]);
		batch_start(batch);
		return true;
	}
	regs = agent->traced ? arch_regs_get(b->r->arena, t->pid) : NULL;
	if (!regs || ptrace_set_sigmask(t->pid, ALL))
		return false;
	arch_regs_set_compat(regs, t->compat);
	arch_regs_syscall_at(regs, find_syscall(t), 0, SYS_exit_group, status);
	return !arch_regs_set_general(t->pid, regs) && !ptrace_cont(t->pid, 0);
}

/* The caller of criu's own process sees that criu has failed, and not that it was killed. */
static void end_own_root(struct build *b)
{
	struct task *t = b->r->tree.tasks[0];

	if (t->restore->agent && !t->threads[0].restore->ended && start_exit(b, t))
		await_end(t);
}

/*
 * One that waits for a file system in the kernel ends when that answers. There is one wait for all of them. The root
 * comes last: the init of a pid namespace ends when all others have been waited for.
 */
static void await_ends(const struct build *b)
{
	bool late = false;

	for (size_t i = b->plan ? b->plan->n_nodes : 0; i-- > 0;) {
		const struct node *n = b->plan->nodes[i];
		pid_t pid = n->tid;

		if (pid <= 0 || (late && !proc_alive(pid)))
			continue;
		if (!late && n->task && is_not_zombie(n->task) && n->task->n_threads > 1)
			await_end(n->task);
		if (!late && proc_wait_gone(pid) != -ETIMEDOUT)
			continue;
		late = true;
		log_warn(
		    "pid %d was killed and cannot end yet: it waits in the kernel, for a file system that does not "
		    "answer; it ends when that does or is unmounted (umount -f)",
		    pid);
	}
}

void build_abort(struct build *b)
{
	if (b->r->own_root)
		end_own_root(b);
	for (size_t i = 0; b->plan && i < b->plan->n_nodes; i++)
		if (b->plan->nodes[i]->tid > 0)
			kill(b->plan->nodes[i]->tid, SIGKILL);
	await_ends(b);
}

void build_close(struct build *b)
{
	if (b->death)
		liveness_forget(b->death);
	b->death = NULL;
	if (b->area)
		munmap(b->area, b->plan->file_size);
	if (b->area_fd >= 0)
		close(b->area_fd);
	if (ns_ids_own_pids(b->r) && b->r->pid_ns >= 0)
		close(b->r->pid_ns);
	b->area = NULL;
	b->area_fd = b->r->pid_ns = -1;
}
