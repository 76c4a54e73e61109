/* SPDX-License-Identifier: GPL-2.0-only */
/* Every process but the root, by the agent of its creator: from the ELF, as a copy, or sharing memory. */
#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include "agent/send_fds.h"
#include "lib/fault.h"
#include "lib/log.h"
#include "proc/proc.h"
#include "restore/build_process.h"
#include "restore/pids.h"
#include "tree/pid_numbers.h"

#define SIBLINGS_MAX 16 /* that are created at once */
/* In a batch, for each child. */
#define CHILD_SPACE  (sizeof(struct clone_args) + 64 + PID_DEPTH_MAX * sizeof(pid_t))

/* The descriptor table that a node's creator has: a helper's is that of the task it came from. */
static struct task *table_of_node(const struct node *n)
{
	while (!n->task || n->ephemeral)
		n = n->creator;
	return n->task;
}

static uint64_t clone_flags(const struct node *n)
{
	const struct task *t = n->task, *c = n->creator->task;
	uint64_t flags = (n->clone_parent ? CLONE_PARENT : 0) | (n->space != n->creator->space ? CLONE_NEWPID : 0);

	/* Not the directories, too: a process that shares them enters no user namespace. */
	if (n->ephemeral)
		return flags | CLONE_VM | CLONE_FILES;
	if (n->birth != BIRTH_COPY)
		flags |= CLONE_VM;
	if (n->birth == BIRTH_EXEC || !c || !c->ids)
		return flags;
	if (t->ids->files_id == c->ids->files_id)
		flags |= CLONE_FILES;
	if (t->ids->fs_id == c->ids->fs_id)
		flags |= CLONE_FS;
	if (t->ids->sighand_id == c->ids->sighand_id && n->birth == BIRTH_SHARE)
		flags |= CLONE_SIGHAND;
	return flags;
}

static uint64_t exit_signal(const struct node *n)
{
	const TaskCoreEntry *tc = n->task ? n->task->threads[0].core->tc : NULL;

	if (n->clone_parent)
		return 0; /* the kernel takes the creator's */
	return tc && tc->has_exit_signal ? tc->exit_signal : SIGCHLD;
}

/* closed: a descriptor that the creator has no use for once the child has its copy; -1: none. */
static int add_clone(struct build *b, struct batch *batch, struct node *n, const struct agent *first, int closed)
{
	struct clone_args args = { .flags = clone_flags(n), .exit_signal = exit_signal(n) };
	uint64_t size;
	int op;

	if (n->pid.v) {
		args.set_tid = build_set_tid(b, batch, n->pid, &size);
		args.set_tid_size = size;
	}
	op = batch_clone(batch, &args, first, 0);
	if (closed >= 0)
		batch_call(batch, SYS_close, (uint64_t)closed);
	return op;
}

static int64_t clone_once(struct build *b, struct node *n, const struct agent *first, int closed)
{
	struct batch *batch = agent_batch(n->creator->agent, "creating a child");
	int op, err;

	batch_reserve(batch, 2, CHILD_SPACE);
	op = add_clone(b, batch, n, first, closed);
	err = batch_run(batch);
	return err ?: batch_ret(batch, op);
}

static int took_pid(struct build *b, struct node *n, int64_t pid)
{
	if (pid <= 0 || pid > INT32_MAX)
		return log_errno(pid < 0 ? (int)pid : -EPROTO, "pid %d (%s): clone3", n->pid.v,
		                 n->task ? n->task->comm : "helper");
	n->known = VPID(pid);
	fault_point("a process that is not noted");
	n->tid = build_child_of(b, n);
	return n->tid < 0 ? n->tid : build_note_task(b, n);
}

/* Clones n's process by its creator's agent; `first` is the agent in which it wakes. */
static int clone_by_creator(struct build *b, struct node *n, const struct agent *first)
{
	int64_t pid = clone_once(b, n, first, -1);
	unsigned tries = 0;

	while (pid == -EEXIST && !pids_wait_free(b->r, n->pid, &tries))
		pid = clone_once(b, n, first, -1);
	return took_pid(b, n, pid);
}

/* A socket of its own, unless the descriptor table is its creator's; its number there is in task_sock. */
static int give_socket(struct build *b, struct node *n, int extra, int *extra_number)
{
	struct restore_task *rt = n->task->restore;
	struct task *from = table_of_node(n->creator);
	int pair[2], fds[2], numbers[2], err;
	_cleanup_close_ int theirs = -1;

	if (clone_flags(n) & CLONE_FILES) {
		rt->sock = from->restore->sock;
		rt->task_sock = from->restore->task_sock;
		return 0;
	}
	err = build_socket_pair(n, pair);
	if (err)
		return err;
	theirs = pair[1];
	fds[0] = theirs;
	fds[1] = extra;
	err = agent_send_fds(from, fds, extra >= 0 ? 2 : 1, numbers);
	rt->task_sock = numbers[0];
	*extra_number = numbers[1];
	return err;
}

/* What the creator has no use for once the child has its copies. */
static int close_in_creator(struct build *b, struct node *n, int sock, int extra)
{
	struct batch *batch = agent_batch(table_of_node(n->creator)->restore->agent, "closing a child's descriptors");

	batch_call(batch, SYS_close, (uint64_t)sock);
	batch_call(batch, SYS_close, (uint64_t)extra);
	return batch_run(batch);
}

/* From its small slot in its creator's memory the new process execs the ELF and wakes in a memory of its own. */
static int exec_child(struct build *b, struct node *n, struct agent *first, int elf_number)
{
	struct batch *batch = agent_batch(first, "starting from the ELF");
	uint64_t argv[2] = { batch_string(batch, "criu-agent"), 0 };
	raddr_t vector = batch_data(batch, argv, sizeof(argv)), empty = batch_string(batch, "");
	int err, op;

	batch_call(batch, SYS_fcntl, (uint64_t)n->task->restore->task_sock, F_SETFD, 0);
	op = batch_ask(batch, SYS_execveat, (uint64_t)elf_number, empty, vector, vector + 8, AT_EMPTY_PATH);
	build_set_alive(b, n, n->tid);
	batch_start(batch);
	while (!__atomic_load_n(&n->agent->slot->done, __ATOMIC_ACQUIRE)) {
		if (__atomic_load_n(&first->slot->done, __ATOMIC_ACQUIRE)) {
			err = batch_finish(batch);
			return err ?: log_errno((int)batch_ret(batch, op), "pid %d: starting from the ELF", n->pid.v);
		}
		if (!proc_alive(n->tid))
			return log_errno(-ESRCH, "pid %d (%s): died while it was started", n->pid.v, n->task->comm);
		sched_yield();
	}
	return 0;
}

static int create_exec(struct build *b, struct node *n)
{
	struct agent *first = build_make_agent(b, n, n->creator->family, n->first_slot, AGENT_SMALL);
	_cleanup_close_ int elf = -1;
	int elf_number, err;

	n->agent = build_make_agent(b, n, n->family, n->region, AGENT_LARGE);
	elf = build_elf_file(b, n);
	if (elf < 0)
		return elf;
	err = give_socket(b, n, elf, &elf_number);
	if (!err)
		err = clone_by_creator(b, n, first);
	fault_point("process cloned");
	first->tid = n->tid;
	if (!err)
		err = agent_wait(first);
	if (!err)
		err = close_in_creator(b, n, n->task->restore->task_sock, elf_number);
	return err ?: exec_child(b, n, first, elf_number);
}

static int64_t fork_with_socket(struct build *b, struct node *n)
{
	bool own_table = !(clone_flags(n) & CLONE_FILES);
	int unused, err = give_socket(b, n, -1, &unused);

	return err ?: clone_once(b, n, n->agent, own_table ? n->task->restore->task_sock : -1);
}

/* Its socket is closed in the creator by the call behind the clone, whatever comes of that one. */
static int clone_with_socket(struct build *b, struct node *n)
{
	int64_t pid = fork_with_socket(b, n);
	unsigned tries = 0;

	while (pid == -EEXIST && !pids_wait_free(b->r, n->pid, &tries)) {
		if (!(clone_flags(n) & CLONE_FILES))
			close(n->task->restore->sock);
		pid = fork_with_socket(b, n);
	}
	return took_pid(b, n, pid);
}

/*
 * A copy that creates nothing and makes no session: nothing that is done to it matters to others, but for what it
 * enters (born, grown).
 */
bool build_is_plain_copy(const struct node *n)
{
	return n->birth == BIRTH_COPY && !n->n_created && n->task && !n->ephemeral && n->task->state != TASK_DEAD &&
	       n->sid.v != n->pid.v;
}

/* The first word of a plain copy is waited for when it is populated: the next one is created meanwhile. */
static int create_fork(struct build *b, struct node *n)
{
	int err;

	n->agent = build_make_agent(b, n, n->family, n->region, n->ephemeral ? AGENT_SMALL : AGENT_LARGE);
	if (n->birth == BIRTH_COPY)
		n->task->restore->copied = true;
	if (n->ephemeral && n->task)
		n->task->restore->lender = table_of_node(n->creator);
	err = n->ephemeral ? clone_by_creator(b, n, n->agent) : clone_with_socket(b, n);
	if (err)
		return err;
	build_set_alive(b, n, n->tid);
	return build_is_plain_copy(n) ? 0 : agent_wait(n->agent);
}

static int create_process(struct build *b, struct node *n)
{
	int err;

	log_debug("creating pid %d: %s", n->pid.v,
	          n->birth == BIRTH_EXEC   ? "from the ELF"
	          : n->birth == BIRTH_COPY ? "as a copy"
	                                   : "sharing memory");
	if (n->orphaned) {
		/* The parent takes in what its helper leaves. attrs_part sets the attribute for good. */
		struct batch *batch = agent_batch(n->parent->agent, "becoming a subreaper for a while");

		batch_call(batch, SYS_prctl, PR_SET_CHILD_SUBREAPER, 1);
		err = batch_run(batch);
		if (err)
			return err;
	}
	return n->birth == BIRTH_EXEC ? create_exec(b, n) : create_fork(b, n);
}

static int give_sockets(struct node *const *nodes, size_t n)
{
	int pair[2], theirs[SIBLINGS_MAX], numbers[SIBLINGS_MAX] = { 0 }, err = 0;
	size_t made = 0;

	for (; !err && made < n; made += !err) {
		err = build_socket_pair(nodes[made], pair);
		theirs[made] = pair[1];
	}
	err = err ?: agent_send_fds(table_of_node(nodes[0]->creator), theirs, n, numbers);
	for (size_t i = 0; i < made; i++) {
		nodes[i]->task->restore->task_sock = numbers[i];
		close(theirs[i]);
	}
	return err;
}

/* All that were created are noted, whatever became of others; a number that is not free yet is waited for. */
static int take_copies(struct build *b, struct node *const *nodes, size_t n, const int64_t *pids)
{
	int err = 0;

	for (size_t i = 0; i < n; i++) {
		int one = pids[i] == -EEXIST ? 0 : took_pid(b, nodes[i], pids[i]);

		err = err ?: one;
	}
	for (size_t i = 0; !err && i < n; i++) {
		if (pids[i] == -EEXIST) {
			close(nodes[i]->task->restore->sock);
			err = clone_with_socket(b, nodes[i]);
		}
		build_set_alive(b, nodes[i], nodes[i]->tid);
	}
	return err;
}

/* Siblings that are plain copies: one conversation with their creator for all sockets, one for all children. */
static int create_copies(struct build *b, struct node *const *nodes, size_t n)
{
	int ops[SIBLINGS_MAX], err = give_sockets(nodes, n);
	int64_t pids[SIBLINGS_MAX];
	struct batch *batch;

	if (err)
		return err;
	log_debug("creating pid %d and the %zu behind it as copies", nodes[0]->pid.v, n - 1);
	batch = agent_batch(nodes[0]->creator->agent, "creating children");
	batch_reserve(batch, (unsigned)(2 * n), n * CHILD_SPACE);
	for (size_t i = 0; i < n; i++) {
		nodes[i]->agent = build_make_agent(b, nodes[i], nodes[i]->family, nodes[i]->region, AGENT_LARGE);
		nodes[i]->task->restore->copied = true;
		ops[i] = add_clone(b, batch, nodes[i], nodes[i]->agent, nodes[i]->task->restore->task_sock);
	}
	err = batch_run(batch);
	for (size_t i = 0; !err && i < n; i++)
		pids[i] = batch_ret(batch, ops[i]);
	return err ?: take_copies(b, nodes, n, pids);
}

int build_children(struct build *b, struct node *n, bool early)
{
	int err = 0;

	for (size_t i = 0, k; !err && i < n->n_created; i += MAX(k, 1)) {
		struct node *const *nodes = n->created + i;

		for (k = 0; k < SIBLINGS_MAX && i + k < n->n_created && nodes[k]->early == early; k++)
			if (!build_is_plain_copy(nodes[k]) || nodes[k]->orphaned || clone_flags(nodes[k]) & CLONE_FILES)
				break;
		if (k > 1)
			err = create_copies(b, nodes, k);
		else if (nodes[0]->early == early)
			err = create_process(b, nodes[0]);
	}
	return err;
}
