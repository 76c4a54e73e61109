/* SPDX-License-Identifier: GPL-2.0-only */
/* Helpers: what they return, what they share, how they end, and that nothing is left of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <dirent.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>

#include "helper/helper.h"
#include "helper/run_program.h"

static const struct helper_spec fork_spec, vm_spec = { .flags = CLONE_VM };
static const struct helper_spec *const ways[] = { &fork_spec, &vm_spec };

static int entries(const char *path)
{
	DIR *dir = opendir(path);
	int n = 0;

	assert_non_null(dir);
	while (readdir(dir))
		n++;
	closedir(dir);
	return n;
}

static int mappings(void)
{
	FILE *f = fopen("/proc/self/maps", "r");
	int n = 0, c;

	assert_non_null(f);
	while ((c = fgetc(f)) != EOF)
		n += c == '\n';
	fclose(f);
	return n;
}

static void no_child_is_left(void)
{
	assert_int_equal(waitpid(-1, NULL, __WALL | WNOHANG), -1);
	assert_int_equal(errno, ECHILD);
}

static int pidfd_of(pid_t pid)
{
	return (int)syscall(SYS_pidfd_open, pid, 0);
}

/* Whether a process ends within this time. */
static bool ends_in(int pidfd, int ms)
{
	struct pollfd p = { .fd = pidfd, .events = POLLIN };

	return poll(&p, 1, ms) == 1;
}

/* ---- what fn returns, and how it ends ---- */

static int give(void *arg)
{
	return *(int *)arg;
}

static void returns_what_fn_returned(void **state)
{
	const int wanted[] = { 0, 1, 255, 256, 123456, -1, -ENOENT, -EKEYREJECTED, -524 };

	for (size_t w = 0; w < ARRAY_SIZE(ways); w++)
		for (size_t i = 0; i < ARRAY_SIZE(wanted); i++)
			assert_int_equal(helper_run(ways[w], give, (void *)&wanted[i]), wanted[i]);
	no_child_is_left();
}

static int crash(void *arg)
{
	kill((pid_t)syscall(SYS_getpid), *(int *)arg);
	return 0;
}

static int leave(void *arg)
{
	_exit(*(int *)arg);
}

static void an_end_without_a_result_is_an_error(void **state)
{
	int signals[] = { SIGKILL, SIGUSR1, SIGTERM }, codes[] = { 0, 1, 255 };

	for (size_t w = 0; w < ARRAY_SIZE(ways); w++)
		for (size_t i = 0; i < ARRAY_SIZE(signals); i++) {
			assert_int_equal(helper_run(ways[w], crash, &signals[i]), -EFAULT);
			assert_int_equal(helper_run(ways[w], leave, &codes[i]), -ECANCELED);
		}
	no_child_is_left();
}

static int tell_pid(void *arg)
{
	return (int)syscall(SYS_getpid);
}

static void has_the_pid_that_it_should(void **state)
{
	for (size_t w = 0; w < ARRAY_SIZE(ways); w++) {
		struct helper_spec spec = *ways[w];
		pid_t free_pid = helper_run(&fork_spec, tell_pid, NULL);

		spec.pid = free_pid;
		assert_int_equal(helper_run(&spec, tell_pid, NULL), free_pid);
		spec.pid = getpid();
		assert_int_equal(helper_run(&spec, tell_pid, NULL), -EEXIST);
	}
}

/* ---- what it shares ---- */

static int variable;

static int change_variable(void *arg)
{
	variable = 7;
	return 0;
}

static int close_and_move(void *arg)
{
	close(*(int *)arg);
	return chdir("/proc") ? -errno : 0;
}

static void shares_what_the_flags_say(void **state)
{
	struct helper_spec files = { .flags = CLONE_VM | CLONE_FILES };
	int fd = open("/", O_PATH | O_CLOEXEC);
	char before[PATH_MAX], after[PATH_MAX];

	assert_non_null(getcwd(before, sizeof(before)));
	variable = 1;
	assert_int_equal(helper_run(&fork_spec, change_variable, NULL), 0);
	assert_int_equal(variable, 1);
	assert_int_equal(helper_run(&vm_spec, change_variable, NULL), 0);
	assert_int_equal(variable, 7);
	for (size_t w = 0; w < ARRAY_SIZE(ways); w++)
		assert_int_equal(helper_run(ways[w], close_and_move, &fd), 0);
	assert_true(fcntl(fd, F_GETFD) >= 0);
	assert_int_equal(helper_run(&files, close_and_move, &fd), 0);
	assert_int_equal(fcntl(fd, F_GETFD), -1);
	assert_non_null(getcwd(after, sizeof(after)));
	assert_string_equal(before, after);
}

/* ls(1) -i of a namespace, as far as an int has room. */
static int ns_number(void *name)
{
	struct stat st;

	return stat(name, &st) ? -errno : (int)(st.st_ino & 0x7fffffff);
}

static void new_namespaces(void **state)
{
	char net[] = "/proc/self/ns/net", uts[] = "/proc/self/ns/uts";

	for (size_t w = 0; w < ARRAY_SIZE(ways); w++) {
		struct helper_spec spec = *ways[w];
		int inside;

		assert_int_equal(helper_run(&spec, ns_number, net), ns_number(net));
		spec.flags |= CLONE_NEWNET;
		inside = helper_run(&spec, ns_number, net);
		assert_true(inside > 0 && inside != ns_number(net));
		assert_int_equal(helper_run(&spec, ns_number, uts), ns_number(uts));
	}
}

static int is_first(void *arg)
{
	return tell_pid(NULL) == 1 && syscall(SYS_getppid) == 0;
}

/* Only one that does not want to see its parent. */
static void a_new_pid_namespace(void **state)
{
	struct helper_spec spec = { .flags = CLONE_NEWPID };

	assert_int_equal(helper_run(&spec, is_first, NULL), -EINVAL);
	assert_int_equal(helper_run(&(struct helper_spec) { .flags = CLONE_PARENT }, is_first, NULL), -EINVAL);
	spec.outlives = true;
	assert_int_equal(helper_run(&spec, is_first, NULL), 1);
}

/* ---- the caller's stack ---- */

static int use_stack(void *arg)
{
	volatile char much[100000];

	memset((char *)much, 0x55, sizeof(much));
	if ((uintptr_t)__builtin_frame_address(0) % 16)
		return -EINVAL;
	return snprintf((char *)much, sizeof(much), "%.3f", *(double *)arg) == 7 && much[0] == '1' ? much[999] : -EIO;
}

static void the_callers_frames_stay(void **state)
{
	volatile unsigned char mine[4096];
	double number = 123.456;

	for (size_t i = 0; i < sizeof(mine); i++)
		mine[i] = (unsigned char)i;
	for (size_t w = 0; w < ARRAY_SIZE(ways); w++)
		assert_int_equal(helper_run(ways[w], use_stack, &number), 0x55);
	for (size_t i = 0; i < sizeof(mine); i++)
		assert_int_equal(mine[i], (unsigned char)i);
}

/* ---- signals ---- */

static volatile sig_atomic_t n_signals;

static void count_signal(int sig)
{
	n_signals++;
}

static int sleep_a_while(void *arg)
{
	usleep(*(useconds_t *)arg);
	return 5;
}

static void a_signal_does_not_end_the_wait(void **state)
{
	struct itimerval often = { { 0, 2000 }, { 0, 2000 } }, never = { 0 };
	struct sigaction count = { .sa_handler = count_signal }, old;
	useconds_t us = 60000;

	sigaction(SIGALRM, &count, &old);
	n_signals = 0;
	setitimer(ITIMER_REAL, &often, NULL);
	for (size_t w = 0; w < ARRAY_SIZE(ways); w++)
		assert_int_equal(helper_run(ways[w], sleep_a_while, &us), 5);
	setitimer(ITIMER_REAL, &never, NULL);
	sigaction(SIGALRM, &old, NULL);
	assert_true(n_signals > 3);
}

static void gives_no_signal_unless_it_should(void **state)
{
	struct sigaction count = { .sa_handler = count_signal }, ignore = { .sa_handler = SIG_IGN }, old;
	struct helper_spec loud = { .exit_signal = SIGCHLD };
	int zero = 0, three = 3;
	pid_t pid;

	sigaction(SIGCHLD, &count, &old);
	n_signals = 0;
	for (size_t w = 0; w < ARRAY_SIZE(ways); w++)
		assert_int_equal(helper_run(ways[w], give, &zero), 0);
	assert_int_equal(n_signals, 0);
	pid = helper_start(&loud, give, &three);
	assert_true(pid > 0);
	assert_int_equal(helper_wait(pid), 3 << 8);
	assert_int_equal(n_signals, 1);
	sigaction(SIGCHLD, &ignore, NULL);
	for (size_t w = 0; w < ARRAY_SIZE(ways); w++)
		assert_int_equal(helper_run(ways[w], give, &three), 3);
	sigaction(SIGCHLD, &old, NULL);
}

/* ---- those that live longer ---- */

static int sleep_long(void *arg)
{
	for (;;)
		pause();
	return 0;
}

static void started_waited_for_and_killed(void **state)
{
	int three = 3, sig = SIGUSR1, pidfd = -1, fds = entries("/proc/self/fd");
	pid_t pid = helper_start(&fork_spec, give, &three);

	assert_true(pid > 0);
	assert_int_equal(helper_wait(pid), 3 << 8);
	assert_int_equal(helper_wait(pid), -ECHILD);
	pid = helper_start(&fork_spec, crash, &sig);
	assert_int_equal(helper_wait(pid), SIGUSR1);
	pid = helper_start(&(struct helper_spec) { .pidfd = &pidfd }, sleep_long, NULL);
	assert_true(pid > 0 && pidfd >= 0);
	assert_false(ends_in(pidfd, 20));
	helper_kill(pid);
	assert_true(ends_in(pidfd, 0));
	close(pidfd);
	assert_int_equal(entries("/proc/self/fd"), fds);
	no_child_is_left();
}

/* ---- criu dies: a child that stands for it is killed ---- */

struct shared {
	volatile pid_t helper;
	volatile bool lives;
};

static struct shared *shared;

static int say_and_sleep(void *arg)
{
	shared->helper = tell_pid(NULL);
	shared->lives = true;
	return sleep_long(NULL);
}

/* Returns a pidfd of the helper of a process that was killed. */
static int helper_of_killed(const struct helper_spec *spec, bool start)
{
	pid_t criu;
	int pidfd;

	shared->lives = false;
	criu = fork();
	if (!criu) {
		if (start)
			helper_start(spec, say_and_sleep, NULL);
		else
			helper_run(spec, say_and_sleep, NULL);
		sleep_long(NULL);
	}
	while (!shared->lives)
		usleep(100);
	pidfd = pidfd_of(shared->helper);
	assert_true(pidfd >= 0);
	assert_false(ends_in(pidfd, 10));
	kill(criu, SIGKILL);
	assert_int_equal(waitpid(criu, NULL, 0), criu);
	return pidfd;
}

static void dies_with_criu(void **state)
{
	struct helper_spec outlives = { .outlives = true };
	int pidfd;

	for (size_t i = 0; i < 3; i++) {
		pidfd = helper_of_killed(ways[i % 2], i == 2);
		assert_true(ends_in(pidfd, 10000));
		close(pidfd);
	}
	pidfd = helper_of_killed(&outlives, true);
	assert_false(ends_in(pidfd, 100));
	syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, NULL, 0);
	assert_true(ends_in(pidfd, 10000));
	close(pidfd);
}

/* Killed at any instant, also while a helper is being born: none is left. */
static void dies_with_criu_at_any_instant(void **state)
{
	for (int i = 0; i < 200; i++) {
		pid_t criu = fork();

		if (!criu)
			for (;;) {
				helper_start(&fork_spec, sleep_long, NULL);
				helper_run(&vm_spec, tell_pid, NULL);
			}
		usleep((useconds_t)(i * 13 % 700));
		kill(criu, SIGKILL);
		assert_int_equal(waitpid(criu, NULL, 0), criu);
	}
	/* Orphans come to us: the subreaper. All of them end. */
	for (int tries = 0; waitpid(-1, NULL, __WALL | WNOHANG) >= 0; tries++) {
		assert_true(tries < 100000);
		usleep(100);
	}
	assert_int_equal(errno, ECHILD);
}

/* ---- many ---- */

static void a_thousand_in_a_row(void **state)
{
	int fds = entries("/proc/self/fd"), maps = mappings();

	for (int i = 0; i < 1000; i++)
		assert_int_equal(helper_run(ways[i % 2], give, &i), i);
	assert_int_equal(entries("/proc/self/fd"), fds);
	assert_int_equal(mappings(), maps);
	no_child_is_left();
}

static void *run_many(void *arg)
{
	int base = *(int *)arg;
	size_t wrong = 0;

	for (int i = 0; i < 250; i++) {
		int n = base + i;

		wrong += helper_run(&vm_spec, give, &n) != n;
	}
	return (void *)wrong;
}

static void by_several_threads(void **state)
{
	int bases[4] = { 1000, 2000, 3000, 4000 };
	pthread_t threads[4];
	void *wrong;

	for (size_t i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, run_many, &bases[i]), 0);
	for (size_t i = 0; i < 4; i++) {
		pthread_join(threads[i], &wrong);
		assert_null(wrong);
	}
	no_child_is_left();
}

/* ---- programs ---- */

static int run_shell(const char *text, int out)
{
	const char *argv[] = { "sh", "-c", text, NULL };
	int in = open("/dev/null", O_RDONLY | O_CLOEXEC), ret = run_program(argv, in, out, -1, -1);

	close(in);
	return ret;
}

static void programs(void **state)
{
	const char *none[] = { "no-such-program", NULL };
	int out = memfd_create("out", MFD_CLOEXEC), fds = entries("/proc/self/fd");
	char said[16] = "";

	assert_int_equal(run_shell("echo out; echo err >&2", out), 0);
	assert_int_equal(pread(out, said, sizeof(said), 0), 8);
	assert_string_equal(said, "out\nerr\n");
	assert_int_equal(run_shell("exit 3", out), 3);
	assert_int_equal(run_shell("kill -TERM $$", out), 128 + SIGTERM);
	assert_int_equal(run_program(none, out, out, -1, -1), -ENOENT);
	assert_int_equal(entries("/proc/self/fd"), fds);
	close(out);
	no_child_is_left();
}

static int set_up(void **state)
{
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	return shared == MAP_FAILED || prctl(PR_SET_CHILD_SUBREAPER, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(returns_what_fn_returned),
		cmocka_unit_test(an_end_without_a_result_is_an_error),
		cmocka_unit_test(has_the_pid_that_it_should),
		cmocka_unit_test(shares_what_the_flags_say),
		cmocka_unit_test(new_namespaces),
		cmocka_unit_test(a_new_pid_namespace),
		cmocka_unit_test(the_callers_frames_stay),
		cmocka_unit_test(a_signal_does_not_end_the_wait),
		cmocka_unit_test(gives_no_signal_unless_it_should),
		cmocka_unit_test(started_waited_for_and_killed),
		cmocka_unit_test(dies_with_criu),
		cmocka_unit_test(dies_with_criu_at_any_instant),
		cmocka_unit_test(a_thousand_in_a_row),
		cmocka_unit_test(by_several_threads),
		cmocka_unit_test(programs),
	};

	return cmocka_run_group_tests(tests, set_up, NULL);
}
