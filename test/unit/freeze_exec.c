/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Freezing a process that executes programs from a thread that is not its leader, over and over: the thread does away
 * with all others, takes over the leader's id, and goes on. What had been seized under that id may be dead by then, and
 * who has it now may never have been seized. FREEZE_ROUNDS in the environment makes it longer.
 */
#include <pthread.h>
#include <stdatomic.h>

#include "freeze_util.h"

#define SIBLINGS 4

struct chain {
	atomic_uint execs, ticks, dead_leaders;
};

struct runner {
	struct chain *chain;
	const char *fd, *mode;
};

static void *tick(void *arg)
{
	struct chain *c = arg;

	while (true) {
		atomic_fetch_add(&c->ticks, 1);
		nap(20);
	}
	return NULL;
}

static void *exec_again(void *arg)
{
	struct runner *r = arg;

	nap(r->chain->execs * 37 % 400);
	execl("/proc/thread-self/exe", "freeze_exec", r->mode, r->fd, NULL); /* a dead leader has no exe */
	abort();
}

/* One link: siblings that run, a thread that executes this program anew, and a leader that waits or has exited. */
static int link_main(const char *mode, const char *fd)
{
	struct chain *c = mmap(NULL, sizeof(*c), PROT_READ | PROT_WRITE, MAP_SHARED, atoi(fd), 0);
	struct runner r = { .chain = c, .fd = fd, .mode = mode };
	unsigned n = atomic_fetch_add(&c->execs, 1);
	pthread_t thread;

	/* What the parent's death does is a thread's, and the last image's was another. */
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) || getppid() == 1)
		return 1;
	for (unsigned i = 0; i < n % SIBLINGS; i++)
		if (pthread_create(&thread, NULL, tick, c))
			return 1;
	if (pthread_create(&thread, NULL, exec_again, &r))
		return 1;
	if (!strcmp(mode, "leader-exits") && n % 3 == 0) {
		atomic_fetch_add(&c->dead_leaders, 1);
		pthread_exit(NULL);
	}
	tick(c);
	return 0;
}

static pid_t spawn_chain(const char *mode, int fd)
{
	char text[16];
	pid_t pid = child();

	snprintf(text, sizeof(text), "%d", fd);
	if (pid == 0) {
		execl("/proc/self/exe", "freeze_exec", mode, text, NULL);
		_exit(1);
	}
	assert_true(pid > 0);
	return pid;
}

/* What is frozen holds still: each thread that /proc has is in the tree and stopped, and nothing is counted. */
static void check_still(struct arena *a, pid_t pid, const struct tree *tree, const struct chain *c)
{
	_cleanup_close_ int fd = proc_open(pid);
	unsigned execs = c->execs, ticks = c->ticks;
	pid_t *tids = NULL;
	size_t n = 0;

	assert_int_equal(tree->n_tasks, 1);
	assert_int_equal(tree->tasks[0]->state, TASK_ALIVE);
	assert_int_equal(proc_read_threads(fd, a, &tids, &n), 0);
	assert_int_equal(n, tree->tasks[0]->n_threads + (tree->tasks[0]->dead_leader != 0));
	for (size_t i = 0; i < n; i++)
		assert_int_equal(state_of(tids[i]), tids[i] == tree->tasks[0]->dead_leader ? 'Z' : 't');
	nap(200);
	assert_int_equal(c->execs, execs);
	assert_int_equal(c->ticks, ticks);
}

static void run_chain(const char *mode)
{
	const char *env = getenv("FREEZE_ROUNDS");
	unsigned rounds = (env ? (unsigned)atoi(env) : 30) * 4, dead = 0;
	int fd = memfd_create("chain", 0);
	struct chain *c;
	pid_t pid;

	assert_int_equal(ftruncate(fd, sizeof(*c)), 0);
	c = mmap(NULL, sizeof(*c), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_true(c != MAP_FAILED);
	pid = spawn_chain(mode, fd);
	wait_progress((const volatile unsigned *)&c->execs);
	for (unsigned i = 0; i < rounds; i++) {
		struct arena *a = arena_new();
		struct tree tree;

		assert_int_equal(freeze(a, pid, &tree), 0);
		dead += tree.tasks[0]->dead_leader != 0;
		check_still(a, pid, &tree, c);
		assert_int_equal(thaw_tree(&tree, THAW_RUN), 0);
		arena_free(a);
		wait_progress((const volatile unsigned *)&c->execs);
		nap(i * 53 % 700);
	}
	print_message("%s: %u rounds, %u execs, %u frozen without a leader, %u leaders exited\n", mode, rounds,
	              c->execs, dead, c->dead_leaders);
	end_child(pid);
	munmap(c, sizeof(*c));
	close(fd);
}

static void test_exec_from_thread(void **state)
{
	run_chain("leader-lives");
}

/* A leader that has exited, and one whose id was taken over meanwhile. */
static void test_exec_after_leader(void **state)
{
	run_chain("leader-exits");
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_exec_from_thread),
		cmocka_unit_test(test_exec_after_leader),
	};

	if (argc == 3)
		return link_main(argv[1], argv[2]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
