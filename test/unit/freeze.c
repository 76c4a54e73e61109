/* SPDX-License-Identifier: GPL-2.0-only */
/* Freezing and thawing: each kind of task once. */
#include <pthread.h>
#include <sched.h>
#include <sys/ptrace.h>

#include "freeze_util.h"
#include "tree/pid_numbers.h"

struct counts {
	volatile unsigned n[8];
};

static void count_forever(volatile unsigned *n)
{
	while (true) {
		++*n;
		nap(100);
	}
}

static void *count_thread(void *arg)
{
	count_forever(arg);
	return NULL;
}

/* A parent with a thread, and two children, one of which has a child. */
static void family(void *arg)
{
	struct counts *c = arg;
	pthread_t thread;

	pthread_create(&thread, NULL, count_thread, (void *)&c->n[1]);
	if (child() == 0) {
		if (child() == 0)
			count_forever(&c->n[4]);
		count_forever(&c->n[3]);
	}
	if (child() == 0) {
		setpgid(0, 0);
		count_forever(&c->n[2]);
	}
	count_forever(&c->n[0]);
}

static void check_tree(const struct tree *tree)
{
	for (size_t i = 0; i < tree->n_tasks; i++) {
		const struct task *t = tree->tasks[i];

		assert_true((i == 0) == (t->parent == NULL));
		assert_true(t->n_threads >= 1 && t->threads[0].tid == t->pid);
		assert_int_equal(t->threads[0].vtid.v, t->vpid.v);
		assert_int_equal(proc_ppid(t->pid), t->parent ? t->parent->pid : getpid());
		for (size_t k = 0; k < t->n_children; k++)
			assert_ptr_equal(t->children[k]->parent, t);
		for (size_t k = 0; k < i; k++)
			assert_true(tree->tasks[k]->parent != t);
		for (size_t k = 0; t->state != TASK_DEAD && k < t->n_threads; k++)
			assert_int_equal(state_of(t->threads[k].tid), 't');
	}
}

static pid_t start_family(struct counts *c)
{
	pid_t pid = spawn(family, c);

	for (int i = 0; i < 5; i++)
		wait_progress(&c->n[i]);
	return pid;
}

static void test_family(void **state)
{
	struct counts *c = share(sizeof(*c)), before;
	pid_t pid = start_family(c);
	struct tree tree;
	double start = seconds();

	assert_int_equal(freeze(*state, pid, &tree), 0);
	print_message("frozen in %.0f us\n", (seconds() - start) * 1e6);
	assert_int_equal(tree.n_tasks, 4);
	check_tree(&tree);
	assert_int_equal(tree.tasks[0]->n_threads, 2);
	assert_int_equal(tree.tasks[0]->n_children, 2);
	for (size_t i = 0; i < 4; i++) {
		const struct task *t = tree.tasks[i];

		assert_int_equal(t->state, TASK_ALIVE);
		assert_int_equal(t->vsid.v, pid);
		assert_int_equal(t->vpid.v, t->pid);
		assert_true(t->vpgid.v == pid || t->vpgid.v == t->pid);
		assert_string_equal(t->comm, "freeze");
		assert_ptr_equal(tree_find(&tree, t->vpid), t);
	}
	before = *c;
	nap(30000);
	assert_memory_equal((void *)&before, c, sizeof(before));
	assert_int_equal(thaw_tree(&tree, THAW_RUN), 0);
	for (int i = 0; i < 5; i++)
		wait_progress(&c->n[i]);
	assert_int_equal(freeze(*state, pid, &tree), 0);
	assert_int_equal(thaw_tree(&tree, THAW_KILL), 0);
	for (size_t i = 0; i < 4; i++)
		assert_false(proc_alive(tree.tasks[i]->pid));
}

static void test_leave_stopped(void **state)
{
	struct counts *c = share(sizeof(*c)), before;
	pid_t pid = start_family(c);
	struct tree tree;

	assert_int_equal(freeze(*state, pid, &tree), 0);
	before = *c;
	assert_int_equal(thaw_tree(&tree, THAW_STOP), 0);
	for (size_t i = 0; i < tree.n_tasks; i++)
		for (size_t k = 0; k < tree.tasks[i]->n_threads; k++)
			wait_state(tree.tasks[i]->threads[k].tid, 'T');
	assert_memory_equal((void *)&before, c, sizeof(before));
	/* Stopped tasks stay so through another round. */
	assert_int_equal(freeze(*state, pid, &tree), 0);
	for (size_t i = 0; i < tree.n_tasks; i++) {
		assert_int_equal(tree.tasks[i]->state, TASK_STOPPED);
		assert_int_equal(tree.tasks[i]->stop_signo, SIGSTOP);
	}
	check_tree(&tree);
	assert_int_equal(thaw_tree(&tree, THAW_RUN), 0);
	for (size_t i = 0; i < tree.n_tasks; i++)
		for (size_t k = 0; k < tree.tasks[i]->n_threads; k++)
			wait_state(tree.tasks[i]->threads[k].tid, 'T');
	assert_memory_equal((void *)&before, c, sizeof(before));
	for (size_t i = 0; i < tree.n_tasks; i++)
		kill(tree.tasks[i]->pid, SIGCONT);
	for (int i = 0; i < 5; i++)
		wait_progress(&c->n[i]);
	for (size_t i = tree.n_tasks; i-- > 0;)
		kill(tree.tasks[i]->pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

/* n[0]: SIGCHLDs; n[1]: the stopped child; n[2]: the zombie; n[3]: ready. */
static volatile unsigned *chld_count;

static void on_chld(int sig)
{
	++*chld_count;
}

static void stopped_and_zombie(void *arg)
{
	struct counts *c = arg;
	pid_t stopped, zombie;
	siginfo_t info;

	chld_count = &c->n[0];
	signal(SIGCHLD, on_chld);
	stopped = child();
	if (stopped == 0) {
		raise(SIGSTOP);
		_exit(0);
	}
	waitpid(stopped, NULL, WUNTRACED);
	zombie = child();
	if (zombie == 0)
		_exit(42);
	waitid(P_PID, (id_t)zombie, &info, WEXITED | WNOWAIT);
	c->n[1] = (unsigned)stopped;
	c->n[2] = (unsigned)zombie;
	c->n[3] = 1;
	while (true)
		pause();
}

static void test_stopped_and_zombie(void **state)
{
	struct counts *c = share(sizeof(*c));
	pid_t pid = spawn(stopped_and_zombie, c);
	TaskCoreEntry core = TASK_CORE_ENTRY__INIT;
	unsigned chlds;
	struct tree tree;

	while (!c->n[3])
		nap(100);
	nap(10000);
	chlds = c->n[0];
	for (int i = 0; i < 10; i++) {
		const struct task *stopped, *zombie;

		assert_int_equal(freeze(*state, pid, &tree), 0);
		check_tree(&tree);
		assert_int_equal(tree.n_tasks, 3);
		stopped = tree_find(&tree, VPID(c->n[1]));
		zombie = tree_find(&tree, VPID(c->n[2]));
		assert_int_equal(stopped->state, TASK_STOPPED);
		assert_int_equal(stopped->stop_signo, SIGSTOP);
		assert_int_equal(zombie->state, TASK_DEAD);
		assert_int_equal(zombie->n_threads, 1);
		assert_int_equal(task_read_zombie(zombie->pid, &core), 0);
		assert_int_equal(core.exit_code, 42 << 8);
		assert_int_equal(thaw_tree(&tree, THAW_RUN), 0);
		wait_state(stopped->pid, 'T');
		wait_state(pid, 'S');
	}
	/* The parent was told nothing new. */
	assert_int_equal(c->n[0], chlds);
	assert_int_equal(freeze(*state, pid, &tree), 0);
	assert_int_equal(thaw_tree(&tree, THAW_KILL), 0);
}

static void *exit_late(void *arg)
{
	while (true)
		pause();
	return NULL;
}

static void dead_leader(void *arg)
{
	pthread_t thread;

	pthread_create(&thread, NULL, exit_late, NULL);
	pthread_exit(NULL);
}

static void test_dead_leader(void **state)
{
	pid_t pid = spawn(dead_leader, NULL);
	struct tree tree;

	wait_state(pid, 'Z');
	for (int i = 0; i < 3; i++) {
		const struct task *t;

		assert_int_equal(freeze(*state, pid, &tree), 0);
		assert_int_equal(tree.n_tasks, 1);
		t = tree.tasks[0];
		assert_int_equal(t->state, TASK_ALIVE);
		assert_int_equal(t->dead_leader, pid);
		assert_int_equal(task_id(t), pid);
		assert_int_equal(t->vpid.v, pid);
		assert_int_equal(t->n_threads, 1);
		assert_true(t->pid > 0 && t->pid != pid && t->threads[0].tid == t->pid);
		assert_int_equal(t->threads[0].vtid.v, t->pid);
		assert_int_equal(state_of(t->pid), 't');
		assert_int_equal(thaw_tree(&tree, i < 2 ? THAW_RUN : THAW_KILL), 0);
	}
	end_child(pid);
}

static void sleep_forever(void *arg)
{
	while (true)
		pause();
}

static void test_traced(void **state)
{
	pid_t pid = spawn(sleep_forever, NULL), tracer = child();
	char text[64];
	struct tree tree;

	if (tracer == 0) {
		ptrace(PTRACE_SEIZE, pid, 0, 0);
		prctl(PR_SET_NAME, "tracer");
		sleep_forever(NULL);
	}
	for (char comm[16] = ""; strcmp(comm, "tracer");)
		proc_comm(tracer, comm, sizeof(comm));
	log_init(-1, LOG_ERROR);
	assert_int_equal(freeze(*state, pid, &tree), -EBUSY);
	snprintf(text, sizeof(text), "is traced by pid %d (tracer)", tracer);
	assert_non_null(strstr(log_first_text(), text));
	end_child(tracer);
	assert_int_equal(freeze(*state, pid, &tree), 0);
	assert_int_equal(thaw_tree(&tree, THAW_RUN), 0);
	end_child(pid);
}

/* n[0]: the child of vfork(); n[1]: it may go on; n[2]: the parent is back. */
static void vfork_parent(void *arg)
{
	struct counts *c = arg;

	/* lint: allow: the child shares the memory on purpose, and only touches what is shared anyway */
	if (vfork() == 0) {
		c->n[0] = (unsigned)getpid();
		while (!c->n[1])
			nap(1000);
		_exit(0);
	}
	c->n[2] = 1;
	sleep_forever(NULL);
}

static void test_vfork(void **state)
{
	struct counts *c = share(sizeof(*c));
	pid_t pid = spawn(vfork_parent, c), releaser;
	const struct options o = { .timeout = 1 };
	char text[64];
	struct tree tree;

	while (!c->n[0])
		nap(100);
	log_init(-1, LOG_ERROR);
	assert_int_equal(freeze_tree(&o, NULL, *state, pid, &tree), -ETIMEDOUT);
	snprintf(text, sizeof(text), "is in vfork() and waits for its child %u (freeze)", c->n[0]);
	assert_non_null(strstr(log_first_text(), text));
	assert_true(proc_alive((pid_t)c->n[0]));
	releaser = child();
	if (releaser == 0) {
		nap(100000);
		c->n[1] = 1;
		_exit(0);
	}
	/* It comes to its stop when the child is done, which it gets the time for. */
	assert_int_equal(freeze(*state, pid, &tree), 0);
	assert_int_equal(c->n[2], 0);
	assert_int_equal(thaw_tree(&tree, THAW_RUN), 0);
	while (!c->n[2])
		nap(100);
	end_child(pid);
	waitpid(releaser, NULL, 0);
}

static void test_bad_roots(void **state)
{
	struct counts *c = share(sizeof(*c));
	pid_t pid = start_family(c), *tids = NULL, zombie;
	_cleanup_close_ int fd = proc_open(pid);
	struct tree tree;
	siginfo_t info;
	size_t n = 0;

	log_init(-1, LOG_ERROR);
	assert_int_equal(proc_read_threads(fd, *state, &tids, &n), 0);
	assert_int_equal(freeze(*state, tids[1], &tree), -EINVAL);
	assert_int_equal(freeze(*state, 4194303, &tree), -ESRCH);
	assert_int_equal(freeze(*state, getpid(), &tree), -EDEADLK);
	zombie = child();
	if (zombie == 0)
		_exit(0);
	waitid(P_PID, (id_t)zombie, &info, WEXITED | WNOWAIT);
	assert_int_equal(freeze(*state, zombie, &tree), -ESRCH);
	waitpid(zombie, NULL, 0);
	assert_int_equal(freeze(*state, pid, &tree), 0);
	assert_int_equal(thaw_tree(&tree, THAW_KILL), 0);
}

/* Below the root's pid namespace: images have the numbers of the root's, and those of inside beside them. */
static void in_namespace(void *arg)
{
	if (unshare(CLONE_NEWPID))
		_exit(1);
	if (child() == 0)
		family(arg);
	sleep_forever(NULL);
}

static void test_namespace(void **state)
{
	struct counts *c = share(sizeof(*c));
	pid_t pid = spawn(in_namespace, c);
	const struct task *init;
	struct tree tree;
	pid_t tid;

	for (int i = 0; i < 5; i++)
		wait_progress(&c->n[i]);
	assert_int_equal(freeze(*state, pid, &tree), 0);
	assert_int_equal(tree.n_tasks, 5);
	init = tree.tasks[1];
	assert_int_equal(init->vpid.v, init->pid);
	assert_int_equal(pid_number_for(&tree, init, init->vpid), 1);
	assert_int_equal(init->n_threads, 2);
	assert_int_equal(init->threads[1].vtid.v, init->threads[1].tid);
	tid = pid_number_for(&tree, init, init->threads[1].vtid);
	assert_true(tid > 1 && tid < 6);
	assert_int_equal(init->vsid.v, getsid(pid));
	assert_int_equal(pid_number_for(&tree, init, init->vsid), 0);
	assert_int_equal(tree.tasks[0]->vpid.v, pid);
	assert_int_equal(thaw_tree(&tree, THAW_KILL), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_family),
		cmocka_unit_test(test_leave_stopped),
		cmocka_unit_test(test_stopped_and_zombie),
		cmocka_unit_test(test_dead_leader),
		cmocka_unit_test(test_traced),
		cmocka_unit_test(test_vfork),
		cmocka_unit_test(test_bad_roots),
		cmocka_unit_test(test_namespace),
	};

	return cmocka_run_group_tests(tests, arena_setup, arena_teardown);
}
