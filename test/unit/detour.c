/* SPDX-License-Identifier: GPL-2.0-only */
/* Detours of an ordinary user's criu: the same work goes on in another process, and comes back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "helper/detour.h"
#include "helper/net_visit.h"
#include "unit_skip.h"

#define ORDINARY 1234
#define PASSED   7

/* A process in a user and a network namespace of the user's. */
static int open_net_of_another(void)
{
	int ready[2], fd;
	char path[64], byte;
	pid_t pid;

	if (pipe2(ready, O_CLOEXEC))
		return -1;
	pid = fork();
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (unshare(CLONE_NEWUSER | CLONE_NEWNET) || write(ready[1], "x", 1) != 1)
			_exit(1);
		pause();
	}
	close(ready[1]);
	if (read(ready[0], &byte, 1) != 1)
		return -1;
	close(ready[0]);
	snprintf(path, sizeof(path), "/proc/%d/ns/net", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	return fd;
}

static uint64_t net_now(void)
{
	struct stat st;

	return stat("/proc/thread-self/ns/net", &st) ? 0 : st.st_ino;
}

static uint64_t net_of(int fd)
{
	struct stat st;

	return fstat(fd, &st) ? 0 : st.st_ino;
}

/* As an ordinary user, in a process of its own. Returns its status. */
static int run_as_ordinary(bool (*fn)(void))
{
	int status;
	pid_t pid;

	if (geteuid())
		unit_skip("needs root");
	pid = fork();
	if (!pid) {
		if (setresgid(ORDINARY, ORDINARY, ORDINARY) || setresuid(ORDINARY, ORDINARY, ORDINARY))
			_exit(2);
		prctl(PR_SET_DUMPABLE, 1);
		_exit(fn() ? PASSED : 3);
	}
	waitpid(pid, &status, 0);
	return status;
}

static int go_deep(int fd, int depth)
{
	volatile char room[512];
	int ret;

	memset((char *)room, depth, sizeof(room));
	ret = depth ? go_deep(fd, depth - 1) : detour_go(fd);
	return ret || room[100] != depth ? -1 : 0;
}

/* What was on the stack, in memory and in the table of descriptors is there on both sides. */
static bool goes_and_comes(void)
{
	int fd = open_net_of_another(), opened;
	uint64_t home = net_now();
	pid_t pid = getpid();

	for (int i = 0; i < 50; i++) {
		if (go_deep(fd, i) || net_now() != net_of(fd) || getpid() == pid || detour_at() != fd ||
		    detour_uid() != ORDINARY || !detour_is_ordinary())
			return false;
		opened = open("/dev/null", O_RDONLY | O_CLOEXEC);
		if (go_deep(-1, 50 - i) || net_now() != home || getpid() != pid || detour_at() >= 0)
			return false;
		if (fcntl(opened, F_GETFD) != FD_CLOEXEC || close(opened) || prctl(PR_GET_DUMPABLE) != 1)
			return false;
	}
	return waitpid(-1, NULL, __WALL) < 0 && errno == ECHILD;
}

/* One inside of the other, and home in between. */
static bool visits_nest(void)
{
	int a = open_net_of_another(), b = open_net_of_another(), own = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	struct net_visit at_a = NET_VISIT_NONE, at_b = NET_VISIT_NONE, at_home = NET_VISIT_NONE;
	bool good;

	if (net_visit_begin(a, &at_a))
		return false;
	good = net_now() == net_of(a) && !net_visit_begin(b, &at_b) && net_now() == net_of(b);
	good = good && !net_visit_begin(own, &at_home) && net_now() == net_of(own) && detour_at() < 0;
	net_visit_end(&at_home);
	good = good && net_now() == net_of(b);
	net_visit_end(&at_b);
	good = good && net_now() == net_of(a);
	net_visit_end(&at_a);
	return good && net_now() == net_of(own);
}

static void *try_thread(void *arg)
{
	*(bool *)arg = detour_may_help(-EPERM);
	return NULL;
}

/* A stranger's namespace stays closed, and another thread than the main one stays where it is. */
static bool is_denied(void)
{
	int own = open("/proc/1/ns/net", O_RDONLY | O_CLOEXEC), mine = open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC);
	bool may = true;
	pthread_t t;

	if (detour_go(mine) || detour_at() >= 0 || (own >= 0 && !detour_go(own) && detour_at() >= 0))
		return false;
	if (pthread_create(&t, NULL, try_thread, &may) || pthread_join(t, NULL))
		return false;
	return !may && detour_may_help(-EPERM) && !detour_may_help(-EINVAL);
}

/* With the helper criu ends. */
static bool helper_is_killed(void)
{
	int fd = open_net_of_another();

	if (!detour_go(fd))
		kill(getpid(), SIGKILL);
	return false;
}

static void assert_passes(bool (*fn)(void))
{
	int status = run_as_ordinary(fn);

	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), PASSED);
}

static void test_there_and_back(void **state)
{
	assert_passes(goes_and_comes);
}

static void test_nested(void **state)
{
	assert_passes(visits_nest);
}

static void test_denied(void **state)
{
	assert_passes(is_denied);
}

static void test_killed(void **state)
{
	int status = run_as_ordinary(helper_is_killed);

	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGKILL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_there_and_back),
		cmocka_unit_test(test_nested),
		cmocka_unit_test(test_denied),
		cmocka_unit_test(test_killed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
