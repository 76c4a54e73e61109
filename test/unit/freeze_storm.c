/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Freezing what does not hold still: a tree that makes and ends processes and threads all the time, one to which
 * signals are sent meanwhile, and one with very many threads. FREEZE_ROUNDS and FREEZE_THREADS in the environment make
 * it harder.
 */
#include <dirent.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/syscall.h>

#include "freeze_util.h"

static unsigned from_env(const char *name, unsigned otherwise)
{
	const char *text = getenv(name);

	return text ? (unsigned)atoi(text) : otherwise;
}

/* ---- a storm ---- */

struct storm {
	atomic_uint forks, threads, orphans, execs, failures, stop;
};

static void failed(struct storm *s)
{
	atomic_fetch_add(&s->failures, 1);
}

static void *short_thread(void *arg)
{
	struct storm *s = arg;

	atomic_fetch_add(&s->threads, 1);
	return NULL;
}

static void *forking_thread(void *arg)
{
	struct storm *s = arg;
	pid_t pid = fork();

	atomic_fetch_add(&s->forks, 1);
	if (pid == 0)
		_exit(0);
	return (void *)(intptr_t)pid;
}

static void some_threads(struct storm *s)
{
	pthread_t a, b;
	void *ret;
	int status;

	if (pthread_create(&a, NULL, short_thread, s) || pthread_create(&b, NULL, forking_thread, s))
		_exit(1);
	pthread_join(a, NULL);
	pthread_join(b, &ret);
	if (waitpid((pid_t)(intptr_t)ret, &status, 0) < 0 || status)
		failed(s);
}

/* The child leaves a grandchild to the subreaper above. */
static void orphan(struct storm *s)
{
	if (fork() == 0) {
		atomic_fetch_add(&s->orphans, 1);
		some_threads(s);
		_exit(0);
	}
}

/* A thread that is not the leader executes a program: ids change. */
static void *exec_thread(void *arg)
{
	execl("/bin/true", "true", NULL);
	return NULL;
}

static void exec_from_thread(struct storm *s)
{
	pthread_t thread;

	atomic_fetch_add(&s->execs, 1);
	pthread_create(&thread, NULL, exec_thread, NULL);
	pthread_join(thread, NULL);
	_exit(1);
}

static void storm_worker(struct storm *s, unsigned seed)
{
	while (!s->stop) {
		int status = 0;
		pid_t pid = fork();

		atomic_fetch_add(&s->forks, 1);
		if (pid == 0) {
			seed = seed * 1103515245 + 12345;
			if (seed >> 16 & 1)
				some_threads(s);
			else if (seed >> 17 & 1)
				orphan(s);
			else if (seed >> 18 & 1)
				exec_from_thread(s);
			_exit(0);
		}
		seed++;
		if (pid < 0 || waitpid(pid, &status, 0) != pid || status)
			failed(s);
	}
	_exit(0);
}

static void storm(void *arg)
{
	struct storm *s = arg;

	prctl(PR_SET_CHILD_SUBREAPER, 1);
	for (unsigned i = 0; i < 4; i++)
		if (child() == 0)
			storm_worker(s, i * 7919);
	while (true) {
		int status;
		pid_t pid = waitpid(-1, &status, 0);

		if (pid > 0 && status)
			failed(s);
		if (pid < 0)
			_exit(errno == ECHILD && s->stop ? 0 : 1);
	}
}

/* All processes of the machine that are below root, seen from outside: each is in the tree, each thread stopped. */
static void check_all_below(struct arena *a, pid_t root, const struct tree *tree)
{
	DIR *d = opendir("/proc");
	struct dirent *e;
	size_t found = 0;

	while ((e = readdir(d))) {
		pid_t pid = atoi(e->d_name), up = pid, *tids = NULL;
		_cleanup_close_ int fd = -1;
		struct task *t;
		size_t n = 0;

		while (up > 0 && up != root)
			up = proc_ppid(up);
		if (pid <= 0 || up != root)
			continue;
		found++;
		t = tree_find(tree, VPID(pid));
		assert_non_null(t);
		fd = proc_open(pid);
		assert_int_equal(proc_read_threads(fd, a, &tids, &n), 0);
		assert_int_equal(n, t->n_threads);
		for (size_t i = 0; i < n; i++)
			assert_int_equal(state_of(tids[i]), t->state == TASK_DEAD ? 'Z' : 't');
	}
	closedir(d);
	assert_int_equal(found, tree->n_tasks);
}

static void test_storm(void **state)
{
	unsigned rounds = from_env("FREEZE_ROUNDS", 30);
	struct storm *s = share(sizeof(*s));
	pid_t pid = spawn(storm, s);
	double start = seconds(), frozen = 0;
	size_t tasks = 0;
	int status;

	for (unsigned i = 0; i < rounds; i++) {
		struct arena *a = arena_new();
		unsigned forks = s->forks;
		double from = seconds();
		struct tree tree;

		assert_int_equal(freeze(a, pid, &tree), 0);
		frozen += seconds() - from;
		check_all_below(a, pid, &tree);
		tasks += tree.n_tasks;
		assert_int_equal(thaw_tree(&tree, THAW_RUN), 0);
		arena_free(a);
		while (s->forks < forks + 20)
			nap(100);
	}
	print_message(
	    "%u rounds: %.2f s, freezing %.0f us and %.1f tasks each; %u forks, %u threads, %u execs, %u orphans\n",
	    rounds, seconds() - start, frozen / rounds * 1e6, (double)tasks / rounds, s->forks, s->threads, s->execs,
	    s->orphans);
	s->stop = 1;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_int_equal(s->failures, 0);
}

/* ---- signals ---- */

enum { TO_PROCESS, TO_THREAD, STREAMS };

struct signals {
	atomic_uint ready, wrong, interrupted;
	pid_t thread;
	atomic_uint got[STREAMS], switches, sent;
};

/* lint: global: a handler has no argument */
static struct signals *signals;

static void on_signal(int sig, siginfo_t *info, void *context)
{
	unsigned stream = sig == SIGRTMIN + 1 ? TO_PROCESS : TO_THREAD;

	/* Queued signals of one number come in order, each once, with its value. */
	if ((unsigned)info->si_value.sival_int != signals->got[stream])
		atomic_fetch_add(&signals->wrong, 1);
	atomic_fetch_add(&signals->got[stream], 1);
}

static void *signal_thread(void *arg)
{
	sigset_t set;

	/* The process's signals are the main thread's alone: two handlers side by side have no order. */
	sigemptyset(&set);
	sigaddset(&set, SIGRTMIN + 1);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	signals->thread = gettid();
	signals->ready = 1;
	while (true) {
		atomic_fetch_add(&signals->switches, 1);
		sched_yield();
	}
	return NULL;
}

static void signal_victim(void *arg)
{
	struct sigaction sa = { .sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_RESTART };
	pthread_t thread;
	int fds[2];
	char c;

	signals = arg;
	sigaction(SIGRTMIN + 1, &sa, NULL);
	sigaction(SIGRTMIN + 2, &sa, NULL);
	if (pipe(fds) || pthread_create(&thread, NULL, signal_thread, NULL))
		_exit(1);
	/* Sits in a read that is restarted and never ends. */
	if (read(fds[0], &c, 1) != 0)
		atomic_fetch_add(&signals->interrupted, 1);
	while (true)
		pause();
}

static void send_value(pid_t pid, pid_t tid, int sig, unsigned value)
{
	siginfo_t info = { .si_signo = sig, .si_code = SI_QUEUE };

	info.si_pid = getpid();
	info.si_value.sival_int = (int)value;
	while (syscall(SYS_rt_tgsigqueueinfo, pid, tid, sig, &info) && errno == EAGAIN)
		nap(100);
}

static void *send_signals(void *arg)
{
	struct signals *s = signals;
	pid_t pid = *(pid_t *)arg;

	for (unsigned i = 0; s->ready == 1; i++) {
		union sigval value = { .sival_int = (int)i };

		while (sigqueue(pid, SIGRTMIN + 1, value) && errno == EAGAIN)
			nap(100);
		send_value(pid, s->thread, SIGRTMIN + 2, i);
		if (i % 64 == 63)
			nap(50);
		s->sent = i + 1;
	}
	return NULL;
}

static void test_signals(void **state)
{
	unsigned rounds = from_env("FREEZE_ROUNDS", 30) * 10;
	struct signals *s = signals = share(sizeof(*s));
	pid_t pid = spawn(signal_victim, s);
	pthread_t sender;

	while (!s->ready)
		nap(100);
	pthread_create(&sender, NULL, send_signals, &pid);
	for (unsigned i = 0; i < rounds; i++) {
		struct arena *a = arena_new();
		struct tree tree;

		assert_int_equal(freeze(a, pid, &tree), 0);
		assert_int_equal(tree.n_tasks, 1);
		assert_int_equal(tree.tasks[0]->state, TASK_ALIVE);
		assert_int_equal(thaw_tree(&tree, THAW_RUN), 0);
		arena_free(a);
	}
	s->ready = 2;
	pthread_join(sender, NULL);
	for (int i = 0; i < 60000 && s->got[TO_PROCESS] + s->got[TO_THREAD] < 2 * s->sent; i++)
		nap(1000);
	print_message("%u rounds, %u and %u signals\n", rounds, s->got[TO_PROCESS], s->got[TO_THREAD]);
	assert_int_equal(s->got[TO_PROCESS], s->sent);
	assert_int_equal(s->got[TO_THREAD], s->sent);
	assert_int_equal(s->wrong, 0);
	assert_int_equal(s->interrupted, 0);
	end_child(pid);
}

/* SIGSTOP and SIGCONT in turn, while it is frozen and thawed: at the end it is what the last one said. */
static void test_stop_and_continue(void **state)
{
	unsigned rounds = from_env("FREEZE_ROUNDS", 30) * 10;
	struct signals *s = signals = share(sizeof(*s));
	pid_t pid = spawn(signal_victim, s), sender;
	int status;

	while (!s->ready)
		nap(100);
	sender = child();
	if (sender == 0) {
		while (s->ready == 1) {
			kill(pid, SIGSTOP);
			nap(150);
			kill(pid, SIGCONT);
			nap(150);
		}
		_exit(0);
	}
	for (unsigned i = 0; i < rounds; i++) {
		struct arena *a = arena_new();
		struct tree tree;

		assert_int_equal(freeze(a, pid, &tree), 0);
		assert_int_equal(tree.tasks[0]->n_threads, 2);
		assert_int_equal(thaw_tree(&tree, THAW_RUN), 0);
		arena_free(a);
	}
	s->ready = 2;
	waitpid(sender, &status, 0);
	wait_state(pid, 'S');
	s->switches = 0;
	for (int i = 0; i < 60000 && !s->switches; i++)
		nap(1000);
	assert_true(s->switches > 0);
	assert_int_equal(s->interrupted, 0);
	end_child(pid);
}

/* ---- many threads ---- */

struct many {
	unsigned n;
	atomic_uint started, failed;
};

static void *idle(void *arg)
{
	struct many *m = arg;

	atomic_fetch_add(&m->started, 1);
	while (true)
		pause();
	return NULL;
}

static void many_threads(void *arg)
{
	struct many *m = arg;
	pthread_attr_t attr;

	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, 65536);
	pthread_attr_setguardsize(&attr, 0);
	for (unsigned i = 0; i < m->n; i++) {
		pthread_t thread;

		if (pthread_create(&thread, &attr, idle, m))
			m->failed = 1;
	}
	while (true)
		pause();
}

static double cpu_seconds(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec * 1e-9;
}

static double time_threads(unsigned n)
{
	struct many *m = share(sizeof(*m));
	struct arena *a = arena_new();
	double start, frozen, thawed, cpu;
	struct tree tree;
	pid_t pid;

	m->n = n;
	pid = spawn(many_threads, m);
	while (m->started < n && !m->failed)
		nap(1000);
	assert_int_equal(m->failed, 0);
	start = seconds();
	cpu = cpu_seconds();
	assert_int_equal(freeze(a, pid, &tree), 0);
	frozen = seconds() - start;
	cpu = cpu_seconds() - cpu;
	assert_int_equal(tree.tasks[0]->n_threads, n + 1);
	start = seconds();
	assert_int_equal(thaw_tree(&tree, THAW_RUN), 0);
	thawed = seconds() - start;
	assert_int_equal(freeze(a, pid, &tree), 0);
	start = seconds();
	assert_int_equal(thaw_tree(&tree, THAW_KILL), 0);
	print_message("%u threads: frozen in %.1f ms (%.1f ms of our CPU time), let go in %.1f ms, killed in %.1f ms\n",
	              n, frozen * 1e3, cpu * 1e3, thawed * 1e3, (seconds() - start) * 1e3);
	arena_free(a);
	return cpu;
}

static void test_threads(void **state)
{
	unsigned n = from_env("FREEZE_THREADS", 2000);
	double few = time_threads(n / 10), many = time_threads(n);

	assert_true(many < few * 10 * 3 + 0.02); /* linear; what the kernel does is noisy */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_storm),
		cmocka_unit_test(test_signals),
		cmocka_unit_test(test_stop_and_continue),
		cmocka_unit_test(test_threads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
