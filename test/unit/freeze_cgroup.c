/* SPDX-License-Identifier: GPL-2.0-only */
/* --freeze-cgroup with both versions; skipped where a hierarchy is not mounted or not ours to use. */
#include <errno.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "undo/guardian.h"
#include "freeze_util.h"
#include "unit_skip.h"

struct cgroup {
	const char *parent, *file, *frozen, *thawed;
	char path[96], state[128];
	bool there;
};

static void put(const char *path, const char *text)
{
	_cleanup_close_ int fd = open(path, O_WRONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
}

static bool says(const struct cgroup *c, const char *text)
{
	char buf[64] = "";
	_cleanup_close_ int fd = open(c->state, O_RDONLY | O_CLOEXEC);

	return fd >= 0 && read(fd, buf, sizeof(buf) - 1) > 0 && strncmp(buf, text, strlen(text)) == 0;
}

static void wait_says(const struct cgroup *c, const char *text)
{
	for (int i = 0; i < 3000 && !says(c, text); i++)
		nap(1000);
	assert_true(says(c, text));
}

static void make_cgroup(struct cgroup *c)
{
	snprintf(c->path, sizeof(c->path), "%s/unit-XXXXXX", c->parent);
	c->there = mkdtemp(c->path);
	snprintf(c->state, sizeof(c->state), "%s/%s", c->path, c->file);
	if (c->there && access(c->state, W_OK)) {
		rmdir(c->path);
		c->there = false;
	}
}

static void remove_cgroup(struct cgroup *c)
{
	for (int i = 0; i < 3000 && rmdir(c->path) && errno == EBUSY; i++)
		nap(1000);
	assert_int_equal(access(c->path, F_OK), -1);
}

/* n[0], n[1]: counters of parent and child; n[2]: a stopped child. */
static void victim(void *arg)
{
	volatile unsigned *n = arg;
	pid_t stopped = child();

	if (stopped == 0) {
		raise(SIGSTOP);
		_exit(0);
	}
	waitpid(stopped, NULL, WUNTRACED);
	n[2] = (unsigned)stopped;
	if (child() == 0)
		for (;; nap(100))
			++n[1];
	for (;; nap(100))
		++n[0];
}

static void move(const struct cgroup *c, pid_t pid)
{
	char path[128], text[16];

	snprintf(path, sizeof(path), "%s/cgroup.procs", c->path);
	snprintf(text, sizeof(text), "%d", pid);
	put(path, text);
}

static pid_t start(const struct cgroup *c, volatile unsigned *n)
{
	pid_t pid = spawn(victim, (void *)n), *pids = NULL;
	_cleanup_close_ int fd = proc_open(pid);
	struct arena *a = arena_new();
	size_t count = 0;

	wait_progress(&n[0]);
	wait_progress(&n[1]);
	move(c, pid);
	assert_int_equal(proc_read_children(fd, pid, a, &pids, &count), 0);
	assert_int_equal(count, 2);
	for (size_t i = 0; i < count; i++)
		move(c, pids[i]);
	arena_free(a);
	return pid;
}

static void run(struct arena *a, struct cgroup *c, bool frozen_before)
{
	volatile unsigned *n = share(4096);
	const struct options o = { .timeout = 5, .freeze_cgroup = c->path };
	pid_t pid = start(c, n);
	unsigned before[2];
	struct tree tree;

	if (frozen_before) {
		put(c->state, c->frozen);
		nap(50000);
	}
	assert_int_equal(freeze_tree(&o, NULL, a, pid, &tree), 0);
	assert_true(says(c, c->thawed));
	assert_int_equal(tree.n_tasks, 3);
	for (size_t i = 0; i < 3; i++) {
		assert_int_equal(state_of(tree.tasks[i]->pid), 't');
		assert_int_equal(tree.tasks[i]->state, tree.tasks[i]->pid == (pid_t)n[2] ? TASK_STOPPED : TASK_ALIVE);
	}
	before[0] = n[0];
	before[1] = n[1];
	nap(20000);
	assert_int_equal(thaw_tree(&tree, THAW_RUN), 0);
	if (frozen_before) {
		nap(20000);
		wait_says(c, c->frozen);
		/* They did not run in between. */
		assert_true(n[0] == before[0] && n[1] == before[1]);
		put(c->state, c->thawed);
	}
	assert_true(says(c, c->thawed));
	wait_progress(&n[0]);
	wait_progress(&n[1]);
	wait_state((pid_t)n[2], 'T');
	assert_int_equal(freeze_tree(&o, NULL, a, pid, &tree), 0);
	assert_int_equal(thaw_tree(&tree, THAW_KILL), 0);
	assert_true(says(c, c->thawed));
}

/* A cgroup that holds the tool is refused; nothing is frozen by it. */
static void run_own(struct arena *a, struct cgroup *c)
{
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		const struct options o = { .timeout = 5, .freeze_cgroup = c->path };
		struct tree tree;
		pid_t victim_pid = child();

		if (victim_pid == 0)
			for (;;)
				pause();
		alarm(60);
		close(STDERR_FILENO);
		move(c, getpid());
		_exit(freeze_tree(&o, NULL, a, victim_pid, &tree) == -EDEADLK ? 0 : 1);
	}
	waitpid(pid, &status, 0);
	assert_int_equal(status, 0);
	assert_true(says(c, c->thawed));
}

/* The tool is killed while the cgroup is frozen: the guardian thaws it. */
static void run_killed(struct arena *a, struct cgroup *c, bool frozen_before)
{
	volatile unsigned *n = share(4096);
	pid_t pid = start(c, n), tool;
	int status, fds[2];
	char drop;

	if (frozen_before)
		put(c->state, c->frozen);
	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	tool = fork();
	if (tool == 0) {
		const struct options o = { .timeout = 5, .freeze_cgroup = c->path };
		struct undo u = { .type = UNDO_CGROUP_THAW, .fd = -1, .path = c->state, .text = c->thawed };
		struct guardian *g;
		struct tree tree;

		if (guardian_start(&g))
			_exit(1);
		if (frozen_before) {
			if (freeze_tree(&o, g, a, pid, &tree))
				_exit(2);
		} else {
			guardian_note(g, &u);
			put(c->state, c->frozen);
		}
		raise(SIGKILL);
	}
	waitpid(tool, &status, 0);
	assert_int_equal(status, SIGKILL);
	/* The guardian, which shares the tool's descriptors, ends when its work is done. */
	close(fds[1]);
	assert_int_equal(read(fds[0], &drop, 1), 0);
	close(fds[0]);
	wait_says(c, frozen_before ? c->frozen : c->thawed);
	put(c->state, c->thawed);
	wait_progress(&n[0]);
	wait_progress(&n[1]);
	end_child(pid);
}

static void test_version(void **state, struct cgroup *c)
{
	make_cgroup(c);
	if (!c->there)
		unit_skip("%s is not to be used here", c->parent);
	run(*state, c, false);
	run(*state, c, true);
	run_own(*state, c);
	run_killed(*state, c, false);
	run_killed(*state, c, true);
	remove_cgroup(c);
}

static void test_v1(void **state)
{
	struct cgroup c = {
		.parent = "/sys/fs/cgroup/freezer", .file = "freezer.state", .frozen = "FROZEN", .thawed = "THAWED"
	};

	test_version(state, &c);
}

static void test_v2(void **state)
{
	struct cgroup c = { .parent = "/sys/fs/cgroup/unified", .file = "cgroup.freeze", .frozen = "1", .thawed = "0" };

	if (access(c.parent, F_OK))
		c.parent = "/sys/fs/cgroup";
	test_version(state, &c);
}

static void test_none(void **state)
{
	const struct options o = { .timeout = 5, .freeze_cgroup = "/tmp" };
	pid_t pid = child();
	struct tree tree;

	if (pid == 0)
		for (;;)
			pause();
	assert_int_equal(freeze_tree(&o, NULL, *state, pid, &tree), -ENOENT);
	end_child(pid);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_v1),
		cmocka_unit_test(test_v2),
		cmocka_unit_test(test_none),
	};

	return cmocka_run_group_tests(tests, arena_setup, arena_teardown);
}
