/* SPDX-License-Identifier: GPL-2.0-only */
/* The agent's way into a stopped process, a batch there, and the way out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#include <cmocka.h>

#include "agent/agent.h"
#include "agent/infect.h"
#include "agent/inject.h"
#include "agent/layout.h"
#include "freeze/ptrace.h"
#include "arch/arch.h"
#include "lib/log.h"

struct victim {
	struct dump d;
	struct task t;
	struct dump_task dt;
	struct dump_thread dth;
	struct thread th;
	int pipe[2];
};

static void victim_main(int fd)
{
	volatile double x = 1.5;
	struct timespec ts = { .tv_nsec = 300 * 1000 * 1000 };
	char ok;

	prctl(PR_SET_NAME, "victim");
	ok = nanosleep(&ts, NULL) == 0 && x == 1.5;

	if (write(fd, &ok, 1) != 1)
		_exit(1);
	pause();
	_exit(0);
}

static char *maps_of(pid_t pid)
{
	static char buf[2][65536];
	static int which;
	char path[32], *text = buf[which ^= 1];
	FILE *f;
	size_t n;

	snprintf(path, sizeof(path), "/proc/%d/maps", pid);
	f = fopen(path, "re");
	assert_non_null(f);
	n = fread(text, 1, sizeof(buf[0]) - 1, f);
	text[n] = '\0';
	fclose(f);
	return text;
}

static int setup(void **state)
{
	struct victim *v = calloc(1, sizeof(*v));
	bool stop_came;

	assert_int_equal(pipe(v->pipe), 0);
	v->d.arena = arena_new();
	assert_int_equal(guardian_start(&v->d.guardian), 0);
	v->t.pid = fork();
	if (!v->t.pid)
		victim_main(v->pipe[1]);
	usleep(50000); /* into its nanosleep */
	v->t.vpid = VPID(v->t.pid);
	strcpy(v->t.comm, "victim");
	v->t.threads = &v->th;
	v->t.n_threads = 1;
	v->t.dump = &v->dt;
	v->th = (struct thread) { .task = &v->t, .tid = v->t.pid, .vtid = v->t.vpid, .dump = &v->dth };
	assert_int_equal(ptrace_seize(v->t.pid, 0), 0);
	assert_int_equal(inject_stop_thread(v->t.pid, "victim", &stop_came, NULL), 0);
	v->dth.regs = arch_regs_get(v->d.arena, v->t.pid);
	assert_non_null(v->dth.regs);
	assert_int_equal(ptrace_get_sigmask(v->t.pid, &v->dth.sigmask), 0);
	*state = v;
	return 0;
}

static int teardown(void **state)
{
	struct victim *v = *state;

	kill(v->t.pid, SIGKILL);
	waitpid(v->t.pid, NULL, 0);
	guardian_stop(v->d.guardian, false);
	arena_free(v->d.arena);
	close(v->pipe[0]);
	close(v->pipe[1]);
	free(v);
	return 0;
}

static void test_round_trip(void **state)
{
	struct victim *v = *state;
	char *before = maps_of(v->t.pid), ok = 0;
	struct batch *b;
	char *name;
	int pid, comm, bad, ref;
	raddr_t at;

	assert_int_equal(agent_infect(&v->d, &v->t), 0);
	assert_int_equal(agent_wait(v->dth.agent), 0);
	assert_string_not_equal(before, maps_of(v->t.pid));
	b = agent_batch(v->dth.agent, "a test");
	pid = batch_ask(b, SYS_getpid);
	at = batch_space(b, 16, &name);
	comm = batch_ask(b, SYS_prctl, PR_GET_NAME, at);
	bad = batch_ask(b, SYS_close, 9999);
	ref = batch_ask(b, SYS_kill, 0, 0);
	batch_ref(b, 0, pid);
	assert_int_equal(batch_run(b), 0);
	assert_int_equal(batch_ret(b, pid), v->t.pid);
	assert_int_equal(batch_ret(b, comm), 0);
	assert_string_equal(name, "victim");
	assert_int_equal(batch_ret(b, bad), -EBADF);
	assert_int_equal(batch_ret(b, ref), 0);
	for (int i = 0; i < 5000; i++) /* more than fits at once */
		batch_call(b, SYS_getppid);
	assert_int_equal(batch_run(b), 0);
	batch_call(b, SYS_close, 9999);
	assert_int_equal(batch_run(b), -EBADF);
	assert_int_equal(agent_cure(&v->d, &v->t), 0);
	assert_string_equal(before, maps_of(v->t.pid));
	assert_int_equal(ptrace_detach(v->t.pid, 0), 0);
	/* Its nanosleep goes on and returns 0: the kernel restarted it. */
	assert_int_equal(read(v->pipe[0], &ok, 1), 1);
	assert_int_equal(ok, 1);
}

static void test_many_times(void **state)
{
	struct victim *v = *state;

	for (int i = 0; i < 200; i++) {
		assert_int_equal(agent_infect(&v->d, &v->t), 0);
		assert_int_equal(agent_wait(v->dth.agent), 0);
		assert_int_equal(agent_cure(&v->d, &v->t), 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_round_trip, setup, teardown),
		cmocka_unit_test_setup_teardown(test_many_times, setup, teardown),
	};

	log_init(-1, LOG_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
