/* SPDX-License-Identifier: GPL-2.0-only */
/* Whole descriptor tables put into a real task by its agent, the socket standing where a descriptor is wanted. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "agent/agent.h"
#include "agent/infect.h"
#include "files/fdpass.h"
#include "agent/inject.h"
#include "agent/send_fds.h"
#include "freeze/ptrace.h"
#include "arch/arch.h"
#include "proc/fdinfo.h"
#include "files/files.h"
#include "lib/log.h"

#define FILES_ID 2

struct world {
	char dir[64];
	struct dump d;
	struct restore r;
	struct options opts;
	struct task t, *list[1];
	struct thread th;
	struct dump_task dt;
	struct dump_thread dth;
	struct restore_task rt;
	TaskKobjIdsEntry ids;
};

static void start_victim(struct world *w, int sock_number)
{
	bool stop_came;
	int pair[2];
	char ready;

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	w->t.pid = fork();
	if (!w->t.pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (pair[1] != sock_number)
			dup2(pair[1], sock_number);
		setrlimit(RLIMIT_NOFILE, &(struct rlimit) { 64, 16384 });
		if (write(sock_number, "r", 1) != 1)
			_exit(1);
		for (;;)
			pause();
	}
	close(pair[1]);
	assert_int_equal(read(pair[0], &ready, 1), 1);
	w->t.vpid = VPID(w->t.pid);
	w->t.state = TASK_ALIVE;
	strcpy(w->t.comm, "victim");
	w->t.threads = &w->th;
	w->t.n_threads = 1;
	w->t.dump = &w->dt;
	w->t.ids = &w->ids;
	w->th = (struct thread) { .task = &w->t, .tid = w->t.pid, .vtid = w->t.vpid, .dump = &w->dth };
	assert_int_equal(ptrace_seize(w->t.pid, 0), 0);
	assert_int_equal(inject_stop_thread(w->t.pid, "victim", &stop_came, NULL), 0);
	w->dth.regs = arch_regs_get(w->d.arena, w->t.pid);
	assert_int_equal(ptrace_get_sigmask(w->t.pid, &w->dth.sigmask), 0);
	assert_int_equal(agent_infect(&w->d, &w->t), 0);
	assert_int_equal(agent_wait(w->dth.agent), 0);
	w->t.restore = &w->rt;
	w->rt = (struct restore_task) { .agent = w->dth.agent, .sock = pair[0], .task_sock = sock_number };
}

/* Descriptor wanted[i] is a file with position i; every third closes on exec. */
static void write_images(struct world *w, const int *wanted, size_t n)
{
	struct image *files, *fdinfo;
	struct image_dir *dir;

	assert_int_equal(image_dir_create(w->dir, &dir), 0);
	assert_int_equal(image_create(dir, IMG_FILES, 0, &files), 0);
	assert_int_equal(image_create(dir, IMG_FDINFO, FILES_ID, &fdinfo), 0);
	for (size_t i = 0; i < n; i++) {
		FownEntry fown = FOWN_ENTRY__INIT;
		RegFileEntry reg = REG_FILE_ENTRY__INIT;
		FileEntry fe = FILE_ENTRY__INIT;
		FdinfoEntry e = FDINFO_ENTRY__INIT;

		reg.id = fe.id = e.id = (uint32_t)i + 1;
		reg.pos = i;
		reg.fown = &fown;
		reg.name = (char *)"/etc/passwd";
		fe.type = e.type = FD_TYPES__REG;
		fe.reg = &reg;
		e.fd = (uint32_t)wanted[i];
		e.flags = i % 3 ? 0 : FD_CLOEXEC;
		assert_int_equal(image_write(files, &fe), 0);
		assert_int_equal(image_write(fdinfo, &e), 0);
	}
	assert_int_equal(image_close(files), 0);
	assert_int_equal(image_close(fdinfo), 0);
	assert_int_equal(image_dir_seal(dir), 0);
	image_dir_close(dir);
}

static void look(struct world *w, const int *wanted, size_t n)
{
	struct arena *a = w->d.arena;
	struct text_buf buf = { 0 };
	struct fdinfo fi;
	int *numbers, proc;
	size_t there;
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d", w->t.pid);
	proc = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(proc_read_fd_numbers(proc, a, &numbers, &there), 0);
	assert_int_equal(there, n);
	for (size_t i = 0; i < n; i++) {
		assert_int_equal(numbers[i], wanted[i]);
		snprintf(path, sizeof(path), "fdinfo/%d", wanted[i]);
		assert_int_equal(fdinfo_parse(proc_read_text(proc, path, a, &buf), &fi), 0);
		assert_int_equal(fi.pos, i);
		assert_int_equal(fi.cloexec, i % 3 == 0);
	}
	close(proc);
}

static int set_up(void **state)
{
	struct world *w = calloc(1, sizeof(*w));

	strcpy(w->dir, "/tmp/unit-fdpass-XXXXXX");
	assert_non_null(mkdtemp(w->dir));
	w->d = (struct dump) { .opts = &w->opts, .arena = arena_new() };
	w->r = (struct restore) { .opts = &w->opts, .arena = w->d.arena };
	w->r.tree = (struct tree) { .tasks = w->list, .n_tasks = 1 };
	w->list[0] = &w->t;
	task_kobj_ids_entry__init(&w->ids);
	w->ids.files_id = FILES_ID;
	assert_int_equal(guardian_start(&w->d.guardian), 0);
	*state = w;
	return 0;
}

static int tear_down(void **state)
{
	struct world *w = *state;
	char cmd[100];

	kill(w->t.pid, SIGKILL);
	waitpid(w->t.pid, NULL, 0);
	guardian_stop(w->d.guardian, false);
	image_dir_close(w->r.dir);
	arena_free(w->d.arena);
	snprintf(cmd, sizeof(cmd), "rm -rf %s", w->dir);
	free(w);
	return system(cmd);
}

extern const struct subsys files_restore_subsys;

static void through(struct world *w, const int *wanted, size_t n, int sock_number)
{
	int null = open("/dev/null", O_RDONLY | O_CLOEXEC), number = -1;

	start_victim(w, sock_number);
	write_images(w, wanted, n);
	assert_int_equal(image_dir_open(w->dir, false, &w->r.dir), 0);
	assert_int_equal(files_read(&w->r), 0);
	assert_int_equal(agent_send_fds(&w->t, &null, 1, &number), 0);
	assert_true(number >= 0);
	assert_int_equal(files_restore_subsys.create(&w->r), 0);
	assert_int_equal(files_restore_subsys.settle(&w->r), 0);
	files_restore_subsys.undo(&w->r);
	close(null);
	look(w, wanted, n);
}

static void small_table(void **state)
{
	const int wanted[] = { 0, 1, 2, 3, 12, 255 };

	through(*state, wanted, ARRAY_SIZE(wanted), 12);
}

static void empty_table(void **state)
{
	through(*state, (int[]) { 0 }, 0, 0);
}

/* More than the victim's soft limit, in several messages, with gaps, and the socket in the way. */
static void large_table(void **state)
{
	static int wanted[6000];

	for (int i = 0; i < 6000; i++)
		wanted[i] = i + i / 100 + (i > 5000 ? 9000 : 0);
	through(*state, wanted, 6000, 7);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(small_table, set_up, tear_down),
		cmocka_unit_test_setup_teardown(empty_table, set_up, tear_down),
		cmocka_unit_test_setup_teardown(large_table, set_up, tear_down),
	};

	log_init(-1, LOG_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
