/* SPDX-License-Identifier: GPL-2.0-only */
/* The guardian: a "tool" is forked, changes things, and is killed at one point or another. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ipc.h>
#include <sys/prctl.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#include "common.h"
#include "undo/guardian.h"
#include "proc/proc.h"

/* Where the tool of a test is killed. */
enum at { NOTED, CHANGED, DROPPED, COMMITTED, STOPPED, ROLLED_BACK, ENDS };

/* What tool and test share. */
struct shared {
	pid_t guardian, victim, innocent;
	uint64_t victim_start;
	int shm;
	pid_t area_pid;
	uint64_t area_addr, area_size;
};

static struct shared *shared;
static char dir[64], file[96], image[96], state_file[96];

static void put(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		_exit(90);
	close(fd);
}

static bool holds(const char *path, const char *text)
{
	char buf[64] = "";
	int fd = open(path, O_RDONLY);

	if (fd < 0 || read(fd, buf, sizeof(buf) - 1) < 0)
		return false;
	close(fd);
	return strcmp(buf, text) == 0;
}

static bool there(const char *path)
{
	return access(path, F_OK) == 0;
}

static int undo_area(const struct undo *u)
{
	shared->area_pid = u->pid;
	shared->area_addr = u->addr;
	shared->area_size = u->size;
	return u->data_len == 4 && !memcmp(u->data, "\0dat", 4) ? 0 : -EBADMSG;
}

static pid_t sleeper(void)
{
	pid_t pid = fork();

	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		while (true)
			pause();
	}
	return pid;
}

/* The only child of the caller, which knows of no other way to find it than everybody's. */
static pid_t find_guardian(void)
{
	DIR *d = opendir("/proc");
	struct dirent *e;
	pid_t found = 0;

	while ((e = readdir(d))) {
		char comm[16];
		pid_t pid = atoi(e->d_name);

		if (pid > 0 && proc_ppid(pid) == getpid() && proc_comm(pid, comm, sizeof(comm)) == 0 &&
		    strcmp(comm, "criu-guardian") == 0)
			found = pid;
	}
	closedir(d);
	return found;
}

static int note(struct guardian *g, struct undo u)
{
	int number = guardian_note(g, &u);

	if (number < 0)
		_exit(91);
	return number;
}

static int undo_write(const struct undo *u)
{
	int fd = open(u->path, O_WRONLY | O_TRUNC);
	ssize_t n = fd < 0 ? -1 : write(fd, u->text, strlen(u->text));

	return n < 0 || close(fd) ? -errno : 0;
}

static int undo_shm(const struct undo *u)
{
	return shmctl((int)u->addr, IPC_RMID, NULL) ? -errno : 0;
}

/* Everything that can be undone, noted and done. */
static void change(struct guardian *g, int numbers[7], enum at at, bool forward)
{
	int dir_fd = open(dir, O_RDONLY | O_DIRECTORY);
	char name[] = "image", written[] = "before";

	numbers[0] = note(g, (struct undo) { .type = UNDO_UNLINK, .path = file });
	numbers[1] = note(
	    g, (struct undo) { .type = UNDO_CALL, .call = undo_write, .fd = -1, .path = state_file, .text = written });
	numbers[2] = note(g, (struct undo) { .type = UNDO_UNLINK, .fd = dir_fd, .path = name });
	memset(name, 'x', sizeof(name) - 1); /* the log has copies */
	memset(written, 'x', sizeof(written) - 1);
	numbers[3] = note(g, (struct undo) { .type = forward ? FORWARD_KILL : UNDO_KILL,
	                                     .pid = shared->victim,
	                                     .start_time = shared->victim_start });
	numbers[4] = note(g, (struct undo) { .type = forward ? FORWARD_KILL : UNDO_KILL,
	                                     .pid = shared->innocent,
	                                     .start_time = shared->victim_start + 1000 });
	shared->shm = shmget(IPC_PRIVATE, 4096, IPC_CREAT | 0600);
	numbers[5] =
	    note(g, (struct undo) { .type = UNDO_CALL, .call = undo_shm, .fd = -1, .addr = (uint64_t)shared->shm });
	numbers[6] = note(g, (struct undo) { .type = UNDO_CALL,
	                                     .call = undo_area,
	                                     .pid = shared->innocent,
	                                     .addr = 0x7000,
	                                     .size = 77,
	                                     .data = "\0dat",
	                                     .data_len = 4,
	                                     .start_time = proc_start_time(shared->innocent) });
	if (at == NOTED)
		raise(SIGKILL);
	put(file, "x");
	put(state_file, "after");
	put(image, "x");
}

static void run_tool(enum at at, bool forward)
{
	struct guardian *g;
	int numbers[7];

	if (guardian_start(&g))
		_exit(92);
	while (!shared->guardian) /* it names itself when it runs */
		shared->guardian = find_guardian();
	if (waitpid(-1, NULL, WNOHANG) != -1 || errno != ECHILD)
		_exit(93);
	change(g, numbers, at, forward);
	if (at == CHANGED)
		raise(SIGKILL);
	if (at == DROPPED) {
		for (int i = 0; i < 7; i++)
			guardian_drop(g, numbers[i]);
		raise(SIGKILL);
	}
	if (at == COMMITTED) {
		guardian_commit(g);
		raise(SIGKILL);
	}
	guardian_stop(g, at == ROLLED_BACK);
	_exit(waitpid(-1, NULL, __WALL) == -1 && errno == ECHILD ? 0 : 94);
}

static void wait_gone(pid_t pid)
{
	for (int i = 0; i < 60000 && proc_alive(pid); i++)
		nanosleep(&(struct timespec) { .tv_nsec = 1000000 }, NULL);
	assert_false(proc_alive(pid));
}

static void run(enum at at, bool forward)
{
	int status;
	pid_t tool;

	memset(shared, 0, sizeof(*shared));
	unlink(file);
	unlink(image);
	put(state_file, "before");
	shared->victim = sleeper();
	shared->innocent = sleeper();
	shared->victim_start = proc_start_time(shared->victim);
	tool = fork();
	if (tool == 0)
		run_tool(at, forward);
	assert_int_equal(waitpid(tool, &status, 0), tool);
	if (at < STOPPED)
		assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	else
		assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	assert_true(shared->guardian > 0);
	wait_gone(shared->guardian);
	assert_true(proc_alive(shared->innocent));
}

static void end_victims(bool killed)
{
	int status;

	if (!killed)
		assert_true(proc_alive(shared->victim));
	if (!killed)
		kill(shared->victim, SIGTERM);
	assert_int_equal(waitpid(shared->victim, &status, 0), shared->victim);
	assert_int_equal(WTERMSIG(status), killed ? SIGKILL : SIGTERM);
	kill(shared->innocent, SIGKILL);
	waitpid(shared->innocent, NULL, 0);
}

static bool shm_there(void)
{
	struct shmid_ds ds;

	return shmctl(shared->shm, IPC_STAT, &ds) == 0;
}

static void check_undone(void)
{
	assert_false(there(file));
	assert_false(there(image));
	assert_true(holds(state_file, "before"));
	assert_false(shm_there());
	assert_int_equal(shared->area_pid, shared->innocent);
	assert_int_equal(shared->area_addr, 0x7000);
	assert_int_equal(shared->area_size, 77);
	end_victims(true);
}

static void check_kept(bool killed)
{
	assert_true(there(file));
	assert_true(there(image));
	assert_true(holds(state_file, "after"));
	assert_true(shm_there());
	shmctl(shared->shm, IPC_RMID, NULL);
	assert_int_equal(shared->area_pid, 0);
	end_victims(killed);
}

static void test_killed_noted(void **state)
{
	run(NOTED, false);
	check_undone();
}

static void test_killed_changed(void **state)
{
	run(CHANGED, false);
	check_undone();
}

static void test_killed_dropped(void **state)
{
	run(DROPPED, false);
	check_kept(false);
}

static void test_killed_committed(void **state)
{
	run(COMMITTED, true);
	check_kept(true);
}

/* Before the commit nothing goes forward. */
static void test_forward_needs_commit(void **state)
{
	run(CHANGED, true);
	assert_false(there(file));
	end_victims(false);
}

/* After it nothing is undone. */
static void test_commit_voids_undo(void **state)
{
	run(COMMITTED, false);
	check_kept(false);
}

static void test_stopped(void **state)
{
	run(STOPPED, false);
	check_kept(false);
}

static void test_rolled_back(void **state)
{
	run(ROLLED_BACK, false);
	check_undone();
}

/* A tool without a guardian does not go on. */
static void test_guardian_killed(void **state)
{
	pid_t tool = fork();
	int status;

	if (tool == 0) {
		struct undo u = { .type = UNDO_UNLINK, .path = "/nonexistent/file" };
		struct guardian *g;
		pid_t pid;

		close(STDERR_FILENO);
		if (guardian_start(&g) || guardian_note(g, &u) != 0 || guardian_check(g))
			_exit(1);
		while (!(pid = find_guardian()))
			;
		kill(pid, SIGTERM); /* this one it does not mind */
		nanosleep(&(struct timespec) { .tv_nsec = 20000000 }, NULL);
		if (guardian_check(g))
			_exit(2);
		kill(pid, SIGKILL);
		proc_wait_gone(pid);
		if (guardian_check(g) != -ESRCH || guardian_note(g, &u) != -ESRCH)
			_exit(3);
		guardian_stop(g, true);
		_exit(0);
	}
	waitpid(tool, &status, 0);
	assert_int_equal(status, 0);
}

static pid_t tracer(void)
{
	FILE *f = fopen("/proc/self/status", "r");
	char line[200];
	int pid = -1;

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "TracerPid: %d", &pid) == 1)
			break;
	if (f)
		fclose(f);
	return pid;
}

static int nothing(const struct undo *u)
{
	return 0;
}

/* What is to be taken back while the tool is stopped is not noted before the guardian can stop it. */
static void test_watches(void **state)
{
	struct undo u = { .type = UNDO_CALL, .call = nothing, .while_stopped = true };

	for (int i = 0; i < 20; i++) {
		struct guardian *g;
		pid_t pid;

		assert_int_equal(guardian_start(&g), 0);
		assert_int_equal(guardian_note(g, &u), 0);
		pid = tracer();
		guardian_stop(g, false);
		assert_int_not_equal(pid, 0);
	}
}

/* Many entries; numbers that were dropped are used again, others keep theirs. */
static void test_many(void **state)
{
	enum { MANY = 200000 };
	struct undo u = { .type = UNDO_CALL, .call = undo_write, .fd = -1, .path = state_file, .text = "many" };
	struct guardian *g;
	struct timespec a, b;

	put(state_file, "before");
	clock_gettime(CLOCK_MONOTONIC, &a);
	assert_int_equal(guardian_start(&g), 0);
	clock_gettime(CLOCK_MONOTONIC, &b);
	print_message("guardian_start: %ld us\n", (b.tv_sec - a.tv_sec) * 1000000 + (b.tv_nsec - a.tv_nsec) / 1000);
	for (int i = 0; i < MANY; i++)
		assert_int_equal(guardian_note(g, &u), i);
	for (int i = 1; i < MANY; i++)
		guardian_drop(g, i);
	assert_int_equal(guardian_note(g, &u), 1);
	for (int i = 0; i < 10 * MANY; i++) {
		assert_int_equal(guardian_note(g, &u), 2);
		guardian_drop(g, 2);
	}
	for (int i = 2;; i++) {
		int number = guardian_note(g, &u);

		if (number < 0) {
			assert_int_equal(number, -ENOSPC);
			break;
		}
		assert_int_equal(number, i);
	}
	guardian_stop(g, false);
	assert_true(holds(state_file, "before"));
}

static int setup(void **state)
{
	snprintf(dir, sizeof(dir), "/tmp/unit-guardian.XXXXXX");
	if (!mkdtemp(dir))
		return 1;
	snprintf(file, sizeof(file), "%s/file", dir);
	snprintf(image, sizeof(image), "%s/image", dir);
	snprintf(state_file, sizeof(state_file), "%s/state", dir);
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	return shared == MAP_FAILED;
}

static int teardown(void **state)
{
	unlink(file);
	unlink(image);
	unlink(state_file);
	return rmdir(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_killed_noted),
		cmocka_unit_test(test_killed_changed),
		cmocka_unit_test(test_killed_dropped),
		cmocka_unit_test(test_killed_committed),
		cmocka_unit_test(test_forward_needs_commit),
		cmocka_unit_test(test_commit_voids_undo),
		cmocka_unit_test(test_stopped),
		cmocka_unit_test(test_rolled_back),
		cmocka_unit_test(test_guardian_killed),
		cmocka_unit_test(test_watches),
		cmocka_unit_test(test_many),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
