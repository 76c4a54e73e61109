/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A program that dumps itself as OpenJ9 does: libcriu.so by dlopen(3), in a thread that is not the first, while others
 * work and take signals; restored by criu's command line, and dumped again from there.
 *
 * zdtm: driver
 * zdtm: needs-root
 */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "lib/openj9_calls.h"
#include "zdtm.h"

#define WORKERS 6

static const char *criu_binary;
static int images;

static atomic_int turns[WORKERS], interrupted;

static void on_signal(int sig)
{
	interrupted++;
}

static void *work(void *arg)
{
	atomic_int *mine = arg;

	for (;;) {
		++*mine;
		usleep(1000);
	}
	return NULL;
}

/* Signals come at the thread in criu_dump(), as a collector's or a profiler's do. */
static void *disturb(void *arg)
{
	pthread_t victim = *(pthread_t *)arg;

	for (;;) {
		pthread_kill(victim, SIGUSR1);
		usleep(3000);
	}
	return NULL;
}

static void all_work_on(void)
{
	for (int i = 0; i < WORKERS; i++) {
		int before = turns[i];

		while (turns[i] == before)
			usleep(1000);
	}
}

/* Goes on once, is dumped and restored twice; its exit status tells how far it has come. */
static void *dump_thread(void *arg)
{
	char library[PATH_MAX];
	pthread_t self = pthread_self(), thread;
	int ret;

	snprintf(library, sizeof(library), "%s/../../libcriu.so", getenv("TESTS"));
	pthread_create(&thread, NULL, disturb, &self);
	ret = openj9_dump(library, criu_binary, images, true);
	all_work_on();
	if (ret)
		_exit(ret < -999 ? 30 - ret - 1000 : 20);
	for (int round = 0; round < 2; round++) {
		ret = openj9_dump(library, criu_binary, images, false);
		all_work_on();
		if (ret != 1)
			_exit(10 + round);
	}
	_exit(interrupted > 10 ? 0 : 40);
}

static _Noreturn void machine(void)
{
	struct sigaction act = { .sa_handler = on_signal, .sa_flags = SA_RESTART };
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	pthread_t thread;

	for (int fd = 0; fd < 3; fd++)
		dup2(null, fd);
	sigaction(SIGUSR1, &act, NULL);
	for (int i = 0; i < WORKERS; i++)
		pthread_create(&thread, NULL, work, &turns[i]);
	pthread_create(&thread, NULL, dump_thread, NULL);
	pthread_join(thread, NULL);
	_exit(50);
}

/* As `criu restore -D DIR --shell-job` from a shell. criu has the status of the job. */
static int restore(void)
{
	int status;
	pid_t pid = fork();

	if (!pid) {
		execl(criu_binary, criu_binary, "restore", "-D", zdtm_path("imgs"), "--shell-job", "-o", "restore.log",
		      "-v2", NULL);
		_exit(127);
	}
	zdtm_must(waitpid(pid, &status, 0) == pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

int main(void)
{
	int status, ret;
	pid_t pid;

	criu_binary = getenv("CRIU");
	zdtm_must(criu_binary && getenv("TESTS") && !mkdir("imgs", 0700));
	images = open("imgs", O_RDONLY | O_DIRECTORY);
	pid = fork();
	if (!pid)
		machine();
	zdtm_must(waitpid(pid, &status, 0) == pid);
	zdtm_check(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL, "it ends with 0x%x before it is dumped", status);
	ret = restore();
	zdtm_check(ret == -SIGKILL, "the restored one ends with %d before it is dumped again", ret);
	ret = restore();
	zdtm_check(ret == 0, "the one that was restored twice ends with %d", ret);
	zdtm_pass();
}
