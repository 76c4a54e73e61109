/* SPDX-License-Identifier: GPL-2.0-only */
/* Processes: the root from here, all others by build_children.c; and what each becomes before its threads. */
#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include "agent/liveness.h"
#include "arch/arch_start.h"
#include "arch_page.h"
#include "helper/helper.h"
#include "helper/ns_enter.h"
#include "restore/build_process.h"
#include "restore/own_root.h"
#include "restore/pids.h"
#include "restore/sibling.h"
#include "lib/fault.h"
#include "lib/fiber.h"
#include "lib/io.h"
#include "lib/log.h"
#include "lib/memfd_exec.h"
#include "ns/ns.h"
#include "proc/own_rights.h"
#include "proc/pid_ns.h"
#include "proc/proc.h"
#include "tree/ns_ids.h"
#include "tree/pid_numbers.h"
#include "tree/subsys.h"
#include "tree/time_ns.h"

int build_open(struct restore *r, struct build *b)
{
	b->r = r;
	b->area_fd = memfd_create("criu-area", MFD_CLOEXEC);
	if (b->area_fd < 0 || ftruncate(b->area_fd, (off_t)b->plan->file_size))
		return log_errno(-errno, "memfd_create of %zu bytes for the agents", b->plan->file_size);
	b->area = mmap(NULL, b->plan->file_size, PROT_READ | PROT_WRITE, MAP_SHARED, b->area_fd, 0);
	if (b->area == MAP_FAILED) {
		b->area = NULL;
		return log_errno(-errno, "mmap of the agents' area");
	}
	b->death = liveness_register(b->area);
	return 0;
}

struct agent *build_make_agent(struct build *b, const struct node *n, struct family *f, size_t off, size_t size)
{
	struct thread *th = n->task ? &n->task->threads[0] : NULL;

	return agent_new(b->r->arena, th, build_local(b, f, off), build_remote(b, f, off), size,
	                 f->at + COMMON_LIVENESS, AGENT_DIE_EXIT);
}

int build_elf_file(struct build *b, struct node *n)
{
	struct family *f = n->family;
	struct start_params params = {
		.area_fd = (uint64_t)b->area_fd,
		.text_at = f->at,
		.text_len = b->plan->common,
		.slots_at = build_remote(b, f, 0),
		.slots_len = f->size,
		.slots_off = f->file_off,
		.entry = f->at + COMMON_ENTRY,
		.slot = n->agent->slot_at,
		.stack_top = n->agent->stack_top,
	};
	_cleanup_close_ int fd = memfd_exec("criu-agent", MFD_CLOEXEC);
	uint8_t elf[PAGE_SIZE];
	size_t len = arch_start_elf(f->at - PAGE_SIZE, &params, n->task && n->task->compat, elf);
	int err;

	if (fd < 0)
		return log_errno(fd, "memfd_create of the ELF that a process starts from%s",
		                 fd == -EACCES ? " (vm.memfd_noexec is 2)" : "");
	err = io_write_all(fd, elf, len);
	if (err)
		return log_errno(err, "write of the ELF that a process starts from");
	return move_fd(&fd);
}

int build_note_task(struct build *b, struct node *n)
{
	struct undo u = { .type = UNDO_KILL, .fd = -1, .pid = n->tid, .start_time = proc_start_time(n->tid) };
	int number = guardian_note(b->r->guardian, &u);

	return number < 0 ? number : 0;
}

void build_set_alive(struct build *b, struct node *n, pid_t pid)
{
	n->tid = pid;
	n->agent->tid = pid;
	if (!n->task)
		return;
	n->task->pid = pid;
	n->task->threads[0].tid = pid;
	n->task->restore->agent = n->agent;
	n->task->threads[0].restore->agent = n->agent;
}

/* ---- the root ---- */

struct root_start {
	struct restore *r;
	struct helper_spec spec;
	int elf, area, sock;
	char name[12], *argv[2];
	bool makes_time_ns, born_inside;
};

static int exec_root(void *arg)
{
	struct root_start *s = arg;

	if (s->makes_time_ns)
		time_ns_make(s->r);
	fcntl(s->area, F_SETFD, 0);
	fcntl(s->sock, F_SETFD, 0);
	own_rights_keep();
	syscall(SYS_execveat, s->elf, "", s->argv, s->argv + 1, AT_EMPTY_PATH);
	return 127;
}

/* The parent of the root task is this helper's. */
static int fork_root(void *arg)
{
	struct root_start *s = arg;
	int err;

	if (time_ns_wanted(s->r))
		time_ns_make(s->r);
	err = s->born_inside ? ns_become_root(s->r) : 0;
	return err ?: helper_start(&s->spec, exec_root, s);
}

/* What enters a user namespace makes our common memory undumpable. */
static pid_t start_between(struct root_start *s)
{
	const struct helper_spec between = { .flags = CLONE_VM };
	int dumpable = prctl(PR_GET_DUMPABLE);
	pid_t pid;

	s->makes_time_ns = false;
	s->spec.flags = CLONE_PARENT | (s->spec.flags & CLONE_NEWPID);
	s->spec.exit_signal = 0; /* clone3(2) takes none then; execve(2) makes it SIGCHLD */
	pid = helper_run(&between, fork_root, s);
	if (dumpable == 1)
		prctl(PR_SET_DUMPABLE, 1);
	return pid;
}

/* Before Linux 6.3 only a fork brings a process into a new time namespace, and only criu's own child can be forked so.
 */
static pid_t start_root(struct root_start *s)
{
	bool sibling = s->spec.flags & CLONE_PARENT;

	s->makes_time_ns = time_ns_wanted(s->r);
	if (s->r->sibling_sock >= 0)
		return sibling_start(s->r, s->elf, s->area, s->sock);
	if (s->born_inside)
		return start_between(s);
	if (!s->makes_time_ns || sibling || time_ns_moves_by_exec())
		return helper_start(&s->spec, exec_root, s);
	return start_between(s);
}

/* setns(2) with a pid namespace changes where children are born, and those of the calling thread alone. */
static pid_t start_root_in_place(const struct restore *r, struct root_start *s)
{
	int given = ns_ids_given_pids(r), err;
	_cleanup_close_ int own = given < 0 ? -1 : open("/proc/thread-self/ns/pid", O_RDONLY | O_CLOEXEC);
	pid_t pid;

	if (given < 0)
		return start_root(s);
	if (own < 0)
		return log_errno(-errno, "open of /proc/thread-self/ns/pid");
	err = ns_enter_thread(given, CLONE_NEWPID);
	if (err)
		return err;
	pid = start_root(s);
	err = ns_enter_thread(own, CLONE_NEWPID);
	if (err)
		abort(); /* all that criu makes would be born in there: its guardian takes all back */
	return pid;
}

/* No signal ends criu between the process and its note: nobody else knows that this child is the root task. */
static pid_t start_noted_root(struct build *b, struct node *n, struct root_start *s)
{
	pid_t pid;
	int err;

	guardian_hold_end(b->r->guardian);
	pid = start_root_in_place(b->r, s);
	n->tid = pid;
	err = pid < 0 ? 0 : build_note_task(b, n);
	guardian_allow_end(b->r->guardian);
	return err ?: pid;
}

static pid_t start_root_with_pid(struct build *b, struct node *n, struct root_start *s)
{
	pid_t pid = start_noted_root(b, n, s);
	unsigned tries = 0;

	while (pid == -EEXIST && !pids_wait_free(b->r, n->pid, &tries))
		pid = start_noted_root(b, n, s);
	return pid;
}

int build_socket_pair(struct node *n, int pair[2])
{
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
		return log_errno(-errno, "pid %d: socketpair for passing descriptors", n->pid.v);
	n->task->restore->sock = pair[0];
	return 0;
}

static int open_pid_ns(struct build *b, const struct node *root)
{
	b->r->pid_ns = pid_ns_open(root->tid);
	return b->r->pid_ns < 0 ? log_errno(b->r->pid_ns, "open of /proc/%d/ns/pid", root->tid) : 0;
}

static int create_root(struct build *b, struct node *n)
{
	struct root_start start = {
		.r = b->r,
		.spec = { .flags = CLONE_VM, .pid = n->pid.v, .outlives = true, .exit_signal = SIGCHLD },
		.area = b->area_fd,
		.name = "criu-agent",
		.argv = { start.name },
		.born_inside = ns_root_is_born_inside(b->r),
	};
	int pair[2], err = build_socket_pair(n, pair);
	_cleanup_close_ int theirs = err ? -1 : pair[1];
	_cleanup_close_ int elf = -1;
	pid_t pid;

	if (err)
		return err;
	n->agent = build_make_agent(b, n, n->family, n->region, AGENT_LARGE);
	elf = build_elf_file(b, n);
	if (elf < 0)
		return elf;
	start.elf = elf;
	start.sock = theirs;
	n->task->restore->task_sock = theirs;
	if (b->r->opts->restore_sibling) {
		start.spec.flags |= CLONE_PARENT;
		start.spec.exit_signal = 0;
	}
	if (ns_ids_own_pids(b->r) && ns_ids_given_pids(b->r) < 0)
		start.spec.flags |= CLONE_NEWPID;
	if (b->r->own_root) {
		pid = own_root_start(b->r, elf, b->area_fd, theirs);
		if (pid < 0)
			return pid;
		n->tid = pid;
		err = build_note_task(b, n);
	} else {
		pid = start_root_with_pid(b, n, &start);
		if (pid < 0)
			return log_errno(pid, "pid %d (%s): clone3 with this pid", n->pid.v, n->task->comm);
	}
	build_set_alive(b, n, pid);
	fault_point("root created");
	/* Before its execve(2) an ordinary user may not open what /proc has of a process in a user namespace. */
	err = err ?: agent_wait(n->agent);
	if (!err && ns_ids_own_pids(b->r))
		err = open_pid_ns(b, n);
	return err ?: time_ns_report(b->r, pid);
}

/* ---- what it becomes ---- */

/* A helper between a session and its member exits, so that the member moves up; its own parent reaps it. */
static int leave_orphans(struct node *n)
{
	struct batch *batch;

	for (size_t i = 0; i < n->n_created; i++)
		if (n->created[i]->orphaned)
			break;
		else if (i + 1 == n->n_created)
			return 0;
	if (!n->n_created)
		return 0;
	n->gone = true;
	batch = agent_batch(n->agent, "leaving an orphan");
	batch_ask(batch, SYS_exit_group, 0);
	batch_start(batch);
	batch = agent_batch(n->creator->agent, "reaping a helper");
	batch_call(batch, SYS_wait4, (uint64_t)n->known.v, 0, 0, 0);
	return batch_run(batch);
}

/* criu's own process may have been given one. */
static int make_session(struct build *b, struct node *n)
{
	struct batch *batch = agent_batch(n->agent, "making a session");

	if (b->r->own_root && !n->creator && getsid(n->tid) == n->tid)
		return 0;
	batch_call(batch, SYS_setsid);
	return batch_run(batch);
}

/* The init of a new pid namespace does not see the leader, and cannot join its group later. */
static bool leads_group_into_namespace(const struct node *n)
{
	bool leads = false;

	for (size_t i = 0; i < n->n_created; i++)
		leads |= n->created[i]->space != n->space && n->created[i]->pgid.v == n->pgid.v;
	return leads && n->pgid.v == n->pid.v && n->sid.v != n->pid.v;
}

static int populate_node(struct build *b, struct node *n)
{
	bool own_mm = n->birth != BIRTH_SHARE;
	const struct family *f = n->family;
	int err = build_is_plain_copy(n) ? agent_wait(n->agent) : 0;

	if (!err && n->task && !n->ephemeral && n->task->state != TASK_DEAD)
		err = subsys_run(born, b->r, n->task);
	if (!err && own_mm) {
		log_about("mm-%lu.img, or files.img", (unsigned long)n->task->vpid.v);
		err = subsys_space()->map(b->r, n->task, f->at, b->plan->common + f->size);
		log_about(NULL, 0);
	}
	if (!err)
		err = build_children(b, n, true);
	if (!err && n->sid.v && n->sid.v == n->pid.v) {
		err = make_session(b, n);
		/* Children of the session inherit its terminal. */
		if (!err && n->task && n->task->state != TASK_DEAD)
			err = subsys_run(at_birth, b->r, n->task);
	}
	if (!err && leads_group_into_namespace(n))
		err = build_set_group(b, n, VPID(0));
	if (!err)
		err = build_children(b, n, false);
	if (!err)
		err = leave_orphans(n);
	if (!err && own_mm) {
		log_about("mm-%lu.img, or files.img", (unsigned long)n->task->vpid.v);
		err = subsys_space()->seal(b->r, n->task);
		log_about(NULL, 0);
	}
	if (!err && n->task)
		err = subsys_run(grown, b->r, n->task);
	return err;
}

struct copies {
	struct build *b;
	struct node *const *nodes;
};

static int populate_copy(void *arg, size_t i)
{
	struct copies *c = arg;
	struct node *n = c->nodes[i];
	int err;

	log_about("mm-%lu.img, or files.img", (unsigned long)n->task->vpid.v);
	err = subsys_space()->map(c->b->r, n->task, n->family->at, c->b->plan->common + n->family->size);
	return err ?: subsys_space()->seal(c->b->r, n->task);
}

/* The memories of n of them side by side (lib/fiber.h). */
static int populate_copies(struct build *b, struct node *const *nodes, size_t n)
{
	struct copies c = { b, nodes };
	int errs[FIBERS_MAX], err = 0;

	for (size_t i = 0; !err && i < n; i++)
		err = agent_wait(nodes[i]->agent) ?: subsys_run(born, b->r, nodes[i]->task);
	if (err)
		return err;
	fiber_run(n, populate_copy, &c, errs);
	for (size_t i = 0; i < n; i++)
		err = err ?: errs[i];
	for (size_t i = 0; !err && i < n; i++)
		err = subsys_run(grown, b->r, nodes[i]->task);
	return err;
}

/* With --log-pid, what concerns a task goes into its own log. */
static int in_its_log(struct build *b, struct node *n)
{
	int err;

	log_task(n->pid.v);
	err = populate_node(b, n);
	log_task(0);
	return err;
}

int build_processes(struct build *b)
{
	int err = create_root(b, b->plan->nodes[0]);

	for (size_t i = 0, n; !err && i < b->plan->n_nodes; i += MAX(n, 1)) {
		struct node *const *nodes = b->plan->nodes + i;

		for (n = 0; !b->r->opts->log_pid && n < FIBERS_MAX && i + n < b->plan->n_nodes; n++)
			if (!build_is_plain_copy(nodes[n]))
				break;
		err = n > 1 ? populate_copies(b, nodes, n) : in_its_log(b, *nodes);
	}
	return err;
}
