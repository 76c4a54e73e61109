/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * In: two mappings are made by calls injected at a syscall instruction of the task's vDSO; the registers then enter the
 * agent. From the first changed register on there is a way back that works without criu: during an injected call a
 * signal frame lies below the task's stack, and once the agent runs it goes back by itself when the death word tells it
 * so.
 */
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "agent/agent.h"
#include "agent/code.h"
#include "agent/liveness.h"
#include "agent/infect.h"
#include "agent/inject.h"
#include "agent/layout.h"
#include "freeze/freeze.h"
#include "freeze/ptrace.h"
#include "arch/arch.h"
#include "arch_page.h"
#include "lib/clock.h"
#include "lib/fault.h"
#include "lib/log.h"
#include "proc/proc.h"
#include "tree/subsys.h"

#define ALL_SIGNALS (~0ULL)
/* Between the start of the stack mapping and the stack pointer, so that the frame is out of everybody's way. */
#define STACK_ROOM  (32UL << 10)

/* The agent's presence in one task; hangs off dump_task. */
struct entered {
	struct inject in;
	struct unfreezer unfreezer;
	struct thread_regs *scratch;
	struct layout layout;
	uint64_t size, common, region;
	void *common_local, *region_local;
	struct liveness *death;
	int undo;
	uint8_t *below, *frame; /* what was below the stack, and what we put there */
	size_t below_len;
	raddr_t below_at, note_at; /* note: room for a struct rlimit */
	struct rlimit space_limit; /* RLIMIT_AS as it was, when it is in the way */
	bool space_raised, mapped;
};

/* ---- the way back of an injected call ---- */

/* Code that was found in files that tasks have mapped. */
const struct subsys infect_subsys = { .name = "code", .state = { .dump = sizeof(struct code_cache *) } };

/*
 * Reads what is where a frame can be, in *at: at the low end of the stack, or above guard pages (MADV_GUARD_INSTALL)
 * that are there. -ENOSPC: there is no place.
 */
static int read_below(const struct task *t, const struct entered *e, raddr_t sp, raddr_t *at, uint8_t *buf, size_t len)
{
	raddr_t start = e->layout.stack_start, top = e->layout.stack_end;
	size_t room = len;
	int err;

	*at = round_up(start + PAGE_SIZE, 64);
	if (!start || !e->layout.sigreturn || len > STACK_ROOM)
		return -ENOSPC;
	if (sp >= start && sp < top) {
		top = sp;
		room = STACK_ROOM;
	}
	do {
		if (*at + room > top)
			return -ENOSPC;
		err = agent_read_task(t->pid, *at, buf, len);
		*at += err == -EFAULT ? PAGE_SIZE : 0;
	} while (err == -EFAULT);
	return err ? log_errno(err, "%s: reading the end of its stack", task_name(t)) : 0;
}

static int put_frame(struct dump *d, struct task *t, struct entered *e)
{
	const struct thread_regs *regs = t->threads[0].dump->regs;
	size_t frame_len = round_up(arch_sigframe_size(regs), 64), len = frame_len + 64;
	uint8_t *below = arena_alloc(d->arena, len);
	raddr_t at;
	int err = read_below(t, e, arch_regs_sp(regs), &at, below, len);

	if (err == -ENOSPC) {
		log_debug("%s: no place for a frame below its stack: it would not survive criu's death in the next "
		          "microseconds",
		          task_name(t));
		return 0;
	}
	if (err)
		return err;
	e->below = below;
	e->frame = arena_alloc(d->arena, len);
	e->below_len = len;
	e->below_at = at;
	e->note_at = at + frame_len;
	arch_sigframe_make(regs, t->threads[0].dump->sigmask, at, e->layout.sigreturn, e->frame);
	err = agent_write_task(t->pid, at, e->frame, len);
	if (err)
		return log_errno(err, "%s: writing a frame to the end of its stack", task_name(t));
	e->in.stack = at;
	return 0;
}

static int take_frame(struct task *t, struct entered *e)
{
	int err = e->below_len ? agent_write_task(t->pid, e->below_at, e->below, e->below_len) : 0;

	e->below_len = 0;
	return err ? log_errno(err, "%s: putting the end of its stack back", task_name(t)) : 0;
}

/* ---- the area ---- */

/* prlimit64(2) by the task itself, since from outside it would take CAP_SYS_RESOURCE: sets new if there is one, else
 * gets. */
static int inject_limit(struct task *t, struct entered *e, const struct rlimit *new)
{
	int64_t ret = 0;
	int err = new ? agent_write_task(t->pid, e->note_at, new, sizeof(*new)) : 0;

	if (!err)
		err = inject_syscall(&e->in, e->scratch, SYS_prlimit64,
		                     (const uint64_t[6]) { 0, RLIMIT_AS, new ? e->note_at : 0, new ? 0 : e->note_at },
		                     &ret);
	if (!err && !ret && !new)
		err = agent_read_task(t->pid, e->note_at, &e->space_limit, sizeof(e->space_limit));
	return err ?: (int)ret;
}

/* What the task has may lie above its soft limit of address space; it is raised to the hard one while the area is
 * there. */
static int raise_space(struct task *t, struct entered *e)
{
	struct rlimit raised;
	int err = e->note_at ? inject_limit(t, e, NULL) : -ENOMEM;

	if (!err && e->space_limit.rlim_cur == e->space_limit.rlim_max)
		err = -ENOMEM;
	raised = (struct rlimit) { e->space_limit.rlim_max, e->space_limit.rlim_max };
	if (!err)
		err = inject_limit(t, e, &raised);
	e->space_raised = !err;
	return err;
}

static int inject_mmap(struct task *t, struct entered *e, raddr_t at, uint64_t len, int prot)
{
	int64_t ret = 0;
	int flags = MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE | MAP_NORESERVE, err;
	const uint64_t arg[6] = { at, len, (uint64_t)prot, (uint64_t)flags, (uint64_t)-1, 0 };

	err = inject_syscall(&e->in, e->scratch, SYS_mmap, arg, &ret);
	if (!err && ret == -ENOMEM && !raise_space(t, e))
		err = inject_syscall(&e->in, e->scratch, SYS_mmap, arg, &ret);
	if (!err && ret == -ENOMEM)
		return log_errno(-ENOMEM,
		                 "%s: no address space for the agent (%llu bytes); raise its limit, as with prlimit "
		                 "--pid %d --as=unlimited, or the number of mappings in /proc/sys/vm/max_map_count",
		                 e->in.who, (unsigned long long)len, t->pid);
	if (!err && ret == -EAGAIN)
		return log_errno(
		    -EAGAIN,
		    "%s: what it maps is locked (mlockall with MCL_FUTURE), and its limit leaves no room for "
		    "the agent (%llu bytes); raise it, as with prlimit --pid %d --memlock=unlimited",
		    e->in.who, (unsigned long long)len, t->pid);
	if (!err && ret != (int64_t)at)
		err = log_errno(ret < 0 ? (int)ret : -EEXIST, "%s: mapping the agent's area at %llx", e->in.who,
		                (unsigned long long)at);
	return err;
}

/* The same pages, here. proc_pid_map_files(5); needs CAP_CHECKPOINT_RESTORE or CAP_SYS_ADMIN. */
static int map_here(struct task *t, raddr_t at, uint64_t len, void **localp)
{
	char path[64];
	_cleanup_close_ int fd = -1;
	void *p;

	snprintf(path, sizeof(path), "/proc/%d/map_files/%llx-%llx", t->pid, (unsigned long long)at,
	         (unsigned long long)(at + len));
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return log_errno(-errno, "%s: open of %s (CAP_CHECKPOINT_RESTORE or CAP_SYS_ADMIN is needed)",
		                 task_name(t), path);
	p = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED)
		return log_errno(-errno, "%s: mmap of the agent's area in criu", task_name(t));
	*localp = p;
	return 0;
}

static int undo_area(const struct undo *u)
{
	return agent_remove_area(u->pid, u->addr, u->size);
}

static int make_area(struct dump *d, struct task *t, struct entered *e)
{
	struct undo u = {
		.type = UNDO_CALL,
		.call = undo_area,
		.fd = -1,
		.pid = t->pid,
		.addr = e->layout.hole,
		.size = e->size,
	};
	int err;

	u.start_time = t->dump->stat ? t->dump->stat->start_time : proc_start_time(t->pid);
	e->undo = guardian_note(d->guardian, &u);
	if (e->undo < 0)
		return e->undo;
	e->in.more = true;
	err = inject_mmap(t, e, e->layout.hole, e->common, PROT_READ | PROT_EXEC);
	e->in.more = false;
	e->mapped = !err;
	if (!err)
		err = inject_mmap(t, e, e->layout.hole + e->common, e->region, PROT_READ | PROT_WRITE);
	if (e->space_raised && inject_limit(t, e, &e->space_limit))
		err = err ?: log_errno(-EIO, "%s: putting its limit of address space back", task_name(t));
	if (!err)
		err = map_here(t, e->layout.hole, e->common, &e->common_local);
	if (!err)
		err = map_here(t, e->layout.hole + e->common, e->region, &e->region_local);
	if (!err)
		e->death = liveness_register(e->common_local);
	return err;
}

/* ---- threads ---- */

static struct agent *thread_agent(struct dump *d, struct thread *th, struct entered *e)
{
	size_t i = (size_t)(th - th->task->threads);
	size_t off = i ? AGENT_LARGE + (i - 1) * AGENT_SMALL : 0;
	struct agent *a = agent_new(d->arena, th, (char *)e->region_local + off, e->layout.hole + e->common + off,
	                            i ? AGENT_SMALL : AGENT_LARGE, e->layout.hole + COMMON_LIVENESS, AGENT_DIE_RESUME);

	a->tid = th->tid;
	a->traced = true;
	a->unfreezer = &e->unfreezer;
	arch_regs_to_resume(th->dump->regs, a->slot->regs);
	a->slot->sigmask = th->dump->sigmask;
	return a;
}

static int start_thread_agent(struct dump *d, struct thread *th, struct entered *e)
{
	struct agent *a = thread_agent(d, th, e);
	int err;

	/* Its own, or an agent that goes back by itself would leave it with another thread's fs base. */
	arch_regs_copy_general(e->scratch, th->dump->regs);
	arch_regs_enter_agent(e->scratch, e->layout.hole + COMMON_ENTRY, a->slot_at, a->stack_top);
	th->dump->agent = a;
	err = arch_regs_set_general(th->tid, e->scratch);
	if (!err)
		err = ptrace_set_sigmask(th->tid, ALL_SIGNALS);
	if (!err)
		err = ptrace_cont(th->tid, 0);
	return err ? log_errno(err, "%s: entering the agent", task_thread_name(th)) : 0;
}

static int trace_options(struct dump *d, struct task *t)
{
	int err = 0;

	for (size_t i = 0; !err && i < t->n_threads; i++) {
		const struct proc_status *status = t->threads[i].dump->status; /* NULL: it was not asked for */
		unsigned long options = PTRACE_O_TRACESYSGOOD;

		/*
		 * Filters are each thread's own. Only where it is needed: it is refused to a criu that is filtered
		 * itself, as in many containers.
		 */
		if (status && status->seccomp)
			options |= PTRACE_O_SUSPEND_SECCOMP;
		else if (i) /* calls are injected into the leader alone */
			continue;
		err = ptrace_set_options(t->threads[i].tid, options);
	}
	return err ? log_errno(err, "%s: setting the options of ptrace", task_name(t)) : 0;
}

/* In its mappings as they were read right before; one whose memory another task has is looked at here. */
static int find_layout(struct dump *d, const struct task *t, const char *who, uint64_t size, struct layout *l)
{
	struct task_maps maps = t->dump->maps;
	int err = maps.n ? 0 : layout_read_maps(d->arena, t->pid, &maps);

	if (err)
		return log_errno(err, "%s: reading /proc/%d/maps", who, t->pid);
	return layout_find(d->arena, t->pid, arch_regs_is_compat(t->threads[0].dump->regs), &maps, who, size,
	                   dump_state(d, &infect_subsys), l);
}

static int prepare_injection(struct dump *d, struct task *t, struct entered *e)
{
	struct thread *leader = &t->threads[0];
	int err;

	e->undo = -1;
	e->common = liveness_common_size();
	e->region = AGENT_LARGE + t->n_threads * AGENT_SMALL; /* the last one for agent_spare() */
	e->size = e->common + e->region;
	e->scratch = arch_regs_dup(d->arena, leader->dump->regs);
	e->unfreezer = (struct unfreezer) { .tree = &d->tree, .guardian = d->guardian, .arena = d->arena };
	e->unfreezer.kills = d->opts && dump_kills_tree(d);
	e->in = (struct inject) {
		.who = arena_strdup(d->arena, task_name(t)),
		.tid = t->pid,
		.unfreezer = d->guardian ? &e->unfreezer : NULL,
	};
	err = find_layout(d, t, e->in.who, e->size, &e->layout);
	if (err)
		return err;
	e->in.syscall_ip = e->layout.syscall_ip;
	if (!e->in.syscall_ip)
		return log_refusal(-ENOEXEC, "%s: no code in it from which a system call could be made", task_name(t));
	return trace_options(d, t);
}

/*
 * If it is let go from here it returns through the frame, which brings its registers and mask back. rt_sigreturn is
 * what every filter allows that lets handlers return; the return address in front of the frame counts as taken.
 */
static int stand_before_call(struct task *t, struct entered *e)
{
	if (!e->frame)
		return 0;
	arch_regs_syscall_at(e->scratch, e->in.syscall_ip, e->in.stack + arch_sigframe_taken(e->scratch),
	                     SYS_rt_sigreturn, (const uint64_t[6]) {});
	return arch_regs_set_general(t->pid, e->scratch);
}

int agent_infect(struct dump *d, struct task *t)
{
	struct entered *e = arena_new_of(d->arena, struct entered);
	int err = prepare_injection(d, t, e);

	t->dump->entered = e;
	if (!err)
		err = put_frame(d, t, e);
	fault_point("frame in place");
	/* Registers first: with only the mask set, a task whose tool died now would keep it. */
	if (!err)
		err = stand_before_call(t, e);
	fault_point("registers set");
	if (!err)
		err = ptrace_set_sigmask(t->pid, ALL_SIGNALS);
	fault_point("signals blocked");
	if (!err)
		err = make_area(d, t, e);
	fault_point("area mapped");
	if (!err)
		err = start_thread_agent(d, &t->threads[0], e);
	return err;
}

int agent_infect_thread(struct dump *d, struct thread *th)
{
	return start_thread_agent(d, th, th->task->dump->entered);
}

struct agent *agent_spare(struct dump *d, struct task *t)
{
	struct entered *e = t->dump->entered;
	size_t off = e->region - AGENT_SMALL;
	struct agent *a = agent_new(d->arena, NULL, (char *)e->region_local + off, e->layout.hole + e->common + off,
	                            AGENT_SMALL, e->layout.hole + COMMON_LIVENESS, AGENT_DIE_EXIT);

	a->traced = true;
	a->unfreezer = &e->unfreezer;
	return a;
}

int agent_clean_copy(const struct task *t, pid_t copy)
{
	const struct entered *e = t->dump->entered;

	return e->below_len ? agent_write_task(copy, e->below_at, e->below, e->below_len) : 0;
}

raddr_t agent_area(const struct task *t, uint64_t *size)
{
	*size = t->dump->entered->size;
	return t->dump->entered->layout.hole;
}

/* ---- out ---- */

/* A SIGCONT that came after the last SIGSTOP: else the kernel would have dropped that SIGCONT. */
static bool was_continued(const struct task *t)
{
	struct proc_status st;

	return !proc_read_status(t->dump->proc_fd, 0, NULL, &st) &&
	       (st.sig_pending | st.shared_pending) >> (SIGCONT - 1) & 1;
}

static int stop_thread(struct thread *th, struct entered *e)
{
	struct agent *a = th->dump->agent;
	const char *name = arena_strdup(e->unfreezer.arena, task_thread_name(th)); /* see build_finish.c, stop_one() */
	int err = inject_stop_thread(th->tid, name, &e->in.stop_came, &e->unfreezer);

	e->in.stop_came |= a->stop_came;
	return err;
}

static int unmap_area(struct task *t, struct entered *e)
{
	int64_t ret = 0;
	int err;

	arch_regs_copy_general(e->scratch, t->threads[0].dump->regs);
	err = inject_syscall(&e->in, e->scratch, SYS_munmap, (const uint64_t[6]) { e->layout.hole, e->size }, &ret);

	if (!err && ret)
		err = log_errno((int)ret, "%s: unmapping the agent's area", task_name(t));
	return err;
}

/* Mask first, then registers: the other way round left signals blocked when criu died in between. */
static int restore_registers(struct thread *th)
{
	int err = ptrace_set_sigmask(th->tid, th->dump->sigmask);

	if (!err)
		err = arch_regs_set_general(th->tid, th->dump->regs);
	return err ? log_errno(err, "%s: putting its registers back", task_thread_name(th)) : 0;
}

/*
 * Stops all agents; the threads but the leader have their registers then: no thread may be in the area when it goes.
 * One that does not stop keeps what it has: its agent brings its registers back when criu ends.
 */
static int stop_agents(struct task *t, struct entered *e)
{
	int err = 0;

	for (size_t i = t->n_threads; i-- > 0;) {
		struct thread *th = &t->threads[i];
		int part = th->dump->agent ? stop_thread(th, e) : 0;

		if (!part && i && th->dump->agent)
			part = restore_registers(th);
		if (i)
			th->dump->agent = NULL;
		err = err ?: part;
	}
	return err;
}

/* As long as the death word is registered, the kernel has to find it. */
static void drop_area(struct entered *e)
{
	if (e->common_local && !e->death)
		munmap(e->common_local, e->common);
	if (e->region_local)
		munmap(e->region_local, e->region);
}

/*
 * A leader that does not come to a stop keeps all: the frame below its stack or the agent brings its registers back
 * when criu ends, and the guardian removes the area then.
 */
int agent_cure(struct dump *d, struct task *t)
{
	struct entered *e = t->dump->entered;
	int err = stop_agents(t, e), part, stuck;

	fault_point("agents stopped");
	stuck = inject_settle(&e->in);
	if (!err && !stuck && e->mapped)
		err = unmap_area(t, e);
	stuck = stuck ?: inject_settle(&e->in);
	if (!stuck && !ptrace_is_stopped(t->pid))
		stuck = -ESRCH;
	fault_point("area unmapped");
	if (e->death && !stuck) {
		liveness_forget(e->death);
		e->death = NULL;
	}
	if (!stuck) {
		part = restore_registers(&t->threads[0]) ?: take_frame(t, e);
		err = err ?: part;
	}
	t->threads[0].dump->agent = NULL;
	err = err ?: stuck;
	if (e->in.stop_came && !was_continued(t))
		kill(t->pid, SIGSTOP);
	if (!err && e->undo >= 0)
		guardian_drop(d->guardian, e->undo);
	drop_area(e);
	t->dump->entered = NULL;
	return err;
}

/* ---- after criu's death, in the guardian ---- */

#define REMOVE_MS 60000
#define NO_CALL   (-1L)

/* A call that a task makes which runs: when no thread of it is in an agent's area. */
struct late_call {
	raddr_t area;
	uint64_t size;
	pid_t release; /* a dead tracee of ours that its parent is given when that stands; 0: none */
	long nr;       /* NO_CALL: it is only waited for that */
	uint64_t arg[6];
};

/* A filter of the task's would see our call, and may end the task for it. */
static int read_filtered(struct dump *d, struct thread *th)
{
	struct proc_status *status = arena_new_of(d->arena, struct proc_status);
	int err = proc_read_status(th->task->dump->proc_fd, th->tid, d->arena, status);

	th->dump->status = status;
	return err;
}

static int seize_threads(struct dump *d, struct task *t)
{
	int err = 0;

	t->n_threads = 0;
	err = task_list_threads(d->arena, t);
	for (size_t i = 0; !err && i < t->n_threads; i++) {
		struct thread *th = &t->threads[i];

		th->dump = arena_new_of(d->arena, struct dump_thread);
		err = ptrace_seize(th->tid, PTRACE_O_TRACESYSGOOD);
		if (!err)
			err = inject_stop_running(th->tid, "a task that is entered once more");
		th->dump->regs = err ? NULL : arch_regs_get(d->arena, th->tid);
		if (!err)
			err = ptrace_get_sigmask(th->tid, &th->dump->sigmask);
		if (!err)
			err = read_filtered(d, th);
	}
	return err;
}

static bool is_inside_area(const struct task *t, raddr_t addr, uint64_t size)
{
	for (size_t i = 0; i < t->n_threads; i++) {
		const struct thread_regs *regs = t->threads[i].dump->regs;
		raddr_t ip = regs ? arch_regs_ip(regs) : 0, sp = regs ? arch_regs_sp(regs) : 0;

		/* By its stack: in a handler that came between the agent's last call and its last instruction. */
		if ((ip >= addr && ip < addr + size) || (sp >= addr && sp < addr + size))
			return true;
	}
	return false;
}

/* Its registers are set for a call of criu's, and it has not made it yet: the area may come any moment. */
static bool about_to_call(struct dump *d, const struct task *t, uint64_t size)
{
	struct layout l = {};

	return !find_layout(d, t, "it", size, &l) && l.syscall_ip &&
	       arch_regs_ip(t->threads[0].dump->regs) == l.syscall_ip;
}

static bool has_area(struct dump *d, const struct task *t, raddr_t addr)
{
	struct task_maps maps;

	return !layout_read_maps(d->arena, t->pid, &maps) && layout_has_area(&maps, addr);
}

static int call_now(struct dump *d, struct task *t, const struct late_call *c)
{
	struct entered *e = arena_new_of(d->arena, struct entered);
	int64_t ret = 0;
	int err = prepare_injection(d, t, e), part;

	if (!err)
		err = put_frame(d, t, e);
	if (!err)
		err = ptrace_set_sigmask(t->pid, ALL_SIGNALS);
	if (!err)
		arch_regs_copy_general(e->scratch, t->threads[0].dump->regs);
	if (!err)
		err = inject_syscall(&e->in, e->scratch, c->nr, c->arg, &ret);
	if (!err && ret < 0)
		err = log_errno((int)ret, "%s: system call %ld once more", task_name(t), c->nr);
	part = inject_settle(&e->in) ?: restore_registers(&t->threads[0]) ?: take_frame(t, e);
	if (e->in.stop_came && !was_continued(t))
		kill(t->pid, SIGSTOP);
	return err ?: part;
}

/* All its threads stand. -EAGAIN: the agent has not left, or its area is about to come. */
static int call_stopped(struct dump *d, struct task *t, const struct late_call *c)
{
	if (c->size && about_to_call(d, t, c->size))
		return -EAGAIN;
	if (c->nr == SYS_munmap && !has_area(d, t, c->area))
		return -ENOENT;
	if (is_inside_area(t, c->area, c->size))
		return -EAGAIN;
	if (c->release)
		while (ptrace_wait(c->release, 0, &(int) { 0 }) == 0)
			;
	return c->nr == NO_CALL ? 0 : call_now(d, t, c);
}

static int call_when_left(pid_t pid, const struct late_call *c)
{
	uint64_t until = clock_now_us() + REMOVE_MS * 1000;
	int err = -EAGAIN;

	while (err == -EAGAIN && clock_now_us() < until) {
		struct dump d = { .arena = arena_new() };
		struct dump_task dt = { .pidfd = -1, .proc_fd = proc_open(pid) };
		struct task t = { .pid = pid, .vpid = VPID(pid), .dump = &dt };

		if (!d.arena)
			return -ENOMEM;
		/* Stopped first: the call that maps it may just be under way. */
		err = dt.proc_fd < 0 ? -ESRCH : seize_threads(&d, &t);
		if (!err)
			err = call_stopped(&d, &t, c);
		for (size_t k = 0; k < t.n_threads; k++)
			ptrace_detach(t.threads[k].tid, 0);
		cleanup_close(&dt.proc_fd);
		arena_free(d.arena);
		if (err == -EAGAIN)
			usleep(1000);
	}
	return err == -ENOENT ? 0 : err;
}

/*
 * A frozen task is thawed for it, with all others in its cgroup held, and frozen again. (The task itself may run for
 * about a millisecond: between its agent's last step and the next look.)
 */
static int call_thawed(pid_t pid, const struct late_call *c)
{
	struct tree tree = {};
	struct unfreezer u = { .tree = &tree, .arena = arena_new(), .spare = pid };
	int err;

	if (!u.arena)
		return -ENOMEM;
	err = MIN(freeze_thaw_cgroups(&u, pid, pid, NULL), 0);
	if (!err)
		err = call_when_left(pid, c);
	freeze_take_back(&tree);
	arena_free(u.arena);
	return err;
}

int agent_remove_area(pid_t pid, raddr_t addr, uint64_t size)
{
	const struct late_call c = { .area = addr, .size = size, .nr = SYS_munmap, .arg = { addr, size } };

	return call_thawed(pid, &c);
}

int agent_await_left(pid_t pid, raddr_t addr, uint64_t size)
{
	const struct late_call c = { .area = addr, .size = size, .nr = NO_CALL };

	return call_thawed(pid, &c);
}

int agent_reap(pid_t pid, pid_t child, pid_t release, raddr_t addr, uint64_t size)
{
	const struct late_call c = {
		.area = addr,
		.size = size,
		.release = release,
		.nr = SYS_wait4,
		.arg = { (uint64_t)child, 0, __WALL | WNOHANG, 0 },
	};

	return call_thawed(pid, &c);
}
