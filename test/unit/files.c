/* SPDX-License-Identifier: GPL-2.0-only */
/* Descriptors: the pure parts, and a process's descriptors dumped, read back and opened again in this one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "files/fdpass.h"
#include "path/buildid.h"
#include "proc/fdinfo.h"
#include "proc/proc.h"
#include "files/files.h"
#include "tree/kobj_ids.h"
#include "lib/log.h"
#include "tree/subsys.h"

extern const struct subsys files_dump_subsys, files_restore_subsys, fs_subsys;

/* ---- pure parts ---- */

static void fdinfo_text(void **state)
{
	struct fdinfo fi;

	assert_int_equal(fdinfo_parse("pos:\t4294967296\nflags:\t02102001\nmnt_id:\t27\nino:\t5\n", &fi), 0);
	assert_int_equal(fi.pos, 4294967296);
	assert_int_equal(fi.flags, O_WRONLY | O_APPEND | 0100000);
	assert_true(fi.cloexec);
	assert_int_equal(fi.mnt_id, 27);
	assert_int_equal(fdinfo_parse("new-key:\t1\npos:\t0\nflags:\t02\n", &fi), 0);
	assert_false(fi.cloexec);
	assert_int_equal(fi.mnt_id, -1);
	assert_int_equal(fdinfo_parse("pos:\t0\n", &fi), -EINVAL);
	assert_int_equal(fdinfo_parse("xpos:\t0\nflags\t02\n", &fi), -EINVAL);
	assert_int_equal(fdinfo_parse("", &fi), -EINVAL);
}

/* A descriptor table: which file (0: none) has which number. */
struct table {
	int file[600];
};

static int lowest_free(const struct table *t)
{
	int i = 0;

	while (t->file[i])
		i++;
	return i;
}

/* What files_install() has the agent do, on a table of our own. */
static void install(struct table *t, int *sock, const int *wanted, size_t n, size_t chunk)
{
	int arrived[600], gap = fdpass_gap(wanted, n);

	for (size_t i = 0; i < n; i++)
		if (wanted[i] == *sock) {
			t->file[gap] = t->file[*sock];
			t->file[*sock] = 0;
			*sock = gap;
			break;
		}
	for (size_t at = 0; at < n; at += chunk) {
		size_t m = MIN(n - at, chunk);

		for (size_t i = 0; i < m; i++) {
			arrived[i] = lowest_free(t);
			t->file[arrived[i]] = 1000 + wanted[at + i];
		}
		assert_int_equal(fdpass_check(arrived, wanted + at, m, *sock), 0);
		for (size_t i = m; i-- > 0;) {
			if (arrived[i] == wanted[at + i])
				continue;
			assert_int_equal(t->file[wanted[at + i]], 0);
			t->file[wanted[at + i]] = t->file[arrived[i]];
			t->file[arrived[i]] = 0;
		}
	}
}

static void installing(void **state)
{
	srand(1);
	for (int round = 0; round < 3000; round++) {
		struct table t = { { 0 } };
		int wanted[300], sock = rand() % 20, at = 0, below = rand() % 4 + 1;
		size_t n = 0, max = rand() % 120;

		t.file[sock] = 1;
		while (n < max) {
			at += n || rand() % 2 ? 1 + rand() % below : 0;
			wanted[n++] = at;
		}
		install(&t, &sock, wanted, n, round % 2 ? 7 : 250);
		assert_int_equal(t.file[sock], 1);
		t.file[sock] = 0;
		for (size_t i = 0; i < n; i++) {
			assert_int_equal(t.file[wanted[i]], 1000 + wanted[i]);
			t.file[wanted[i]] = 0;
		}
		for (size_t i = 0; i < ARRAY_SIZE(t.file); i++)
			assert_int_equal(t.file[i], 0);
	}
}

static void impossible_numbers(void **state)
{
	const int wanted[] = { 0, 1, 5 };

	assert_int_equal(fdpass_check((int[]) { 0, 1, 3 }, wanted, 3, 2), 0);
	assert_int_equal(fdpass_check((int[]) { 0, 2, 3 }, wanted, 3, 4), -EBADMSG);
	assert_int_equal(fdpass_check((int[]) { 1, 0, 3 }, wanted, 3, 4), -EBADMSG);
	assert_int_equal(fdpass_check((int[]) { 0, 1, -1 }, wanted, 3, 4), -EBADMSG);
	assert_int_equal(fdpass_check((int[]) { 0, 1, 4 }, wanted, 3, 4), -EBADMSG);
	assert_int_equal(fdpass_gap(wanted, 3), 2);
	assert_int_equal(fdpass_gap(wanted, 0), 0);
}

static void build_ids(void **state)
{
	uint32_t words[BUILDID_WORDS];
	int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC), text = open("/etc/passwd", O_RDONLY | O_CLOEXEC);

	assert_int_equal(buildid_of_elf(fd, words), 5);
	assert_int_equal(buildid_of_elf(text, words), 0);
	close(fd);
	close(text);
}

/* ---- a round trip ---- */

struct world {
	char dir[64], images[80];
	struct dump d;
	struct restore r;
	struct stats stats;
	struct options opts;
	struct task tasks[2];
	struct thread threads[2];
	struct dump_task dt[2];
	struct dump_thread dth[2];
	struct proc_status status[2];
	struct restore_task rt[2];
	struct task *list[2];
};

enum {
	FD_REG = 10,
	FD_APPEND,
	FD_DIR,
	FD_PATH,
	FD_NULL,
	PIPE_R,
	PIPE_W,
	PACKET_R,
	PACKET_W,
	FIFO,
	REG_DUP,
	LONELY_W,
	REOPENED,
	EXTRA
};

static void to(int fd, int number, int flags)
{
	if (fd < 0 || dup3(fd, number, flags) < 0)
		_exit(2);
	close(fd);
}

static void make_descriptors(void)
{
	int p[2];

	to(open("reg", O_RDWR | O_CREAT | O_NONBLOCK, 0600), FD_REG, O_CLOEXEC);
	to(open("append", O_WRONLY | O_CREAT | O_APPEND, 0600), FD_APPEND, 0);
	to(open(".", O_RDONLY | O_DIRECTORY), FD_DIR, 0);
	to(open("reg", O_PATH), FD_PATH, 0);
	to(open("/dev/null", O_RDWR), FD_NULL, 0);
	if (write(FD_REG, "0123456789", 10) != 10 || write(FD_APPEND, "appended", 8) != 8 ||
	    lseek(FD_REG, 4, SEEK_SET) != 4)
		_exit(3);
	if (pipe2(p, O_NONBLOCK) || write(p[1], "queued", 6) != 6 || fcntl(p[1], F_SETPIPE_SZ, 131072) < 0)
		_exit(3);
	to(p[0], PIPE_R, 0);
	to(p[1], PIPE_W, O_CLOEXEC);
	if (pipe2(p, O_DIRECT) || write(p[1], "one", 3) != 3 || write(p[1], "three", 5) != 5)
		_exit(3);
	to(p[0], PACKET_R, 0);
	to(p[1], PACKET_W, 0);
	if (pipe(p) || write(p[1], "nobody reads", 12) != 12)
		_exit(3);
	to(p[1], LONELY_W, 0);
	close(p[0]);
	to(open("fifo", O_RDWR), FIFO, 0);
	if (write(FIFO, "in a fifo", 9) != 9 || dup2(FD_REG, REG_DUP) < 0)
		_exit(3);
	to(open("/proc/self/fd/15", O_RDONLY), REOPENED, 0);
	if (fcntl(PIPE_R, F_SETOWN, getpid()) || fcntl(PIPE_R, F_SETSIG, SIGUSR2) || fcntl(PIPE_R, F_SETFL, O_ASYNC))
		_exit(3);
}

/* Two processes, the second a fork of the first with a file more; their pids. */
static void start(const struct world *w, pid_t pids[2])
{
	int ready[2];

	assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
	pids[0] = fork();
	if (!pids[0]) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		to(ready[1], 40, O_CLOEXEC);
		syscall(SYS_close_range, 0, 39, 0);
		syscall(SYS_close_range, 41, ~0U, 0);
		if (chdir(w->dir) || mkfifo("fifo", 0600))
			_exit(2);
		umask(027);
		make_descriptors();
		pids[1] = fork();
		if (!pids[1]) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			to(open("reg", O_RDONLY), EXTRA, 0);
			pids[1] = getpid();
		}
		if (write(40, pids[1] == getpid() ? &pids[1] : &(pid_t) { 0 }, sizeof(pid_t)) != sizeof(pid_t))
			_exit(2);
		close(40);
		for (;;)
			pause();
	}
	close(ready[1]);
	pids[1] = 0;
	for (pid_t pid; read(ready[0], &pid, sizeof(pid)) == sizeof(pid);)
		pids[1] = pid ? pid : pids[1];
	close(ready[0]);
	assert_int_not_equal(pids[1], 0);
}

static void make_task(struct world *w, int i, pid_t pid, bool dump)
{
	struct task *t = &w->tasks[i];
	char path[32];

	memset(t, 0, sizeof(*t));
	t->pid = pid;
	t->vpid = t->vpgid = t->vsid = VPID(pid);
	t->state = TASK_ALIVE;
	strcpy(t->comm, "victim");
	w->threads[i] = (struct thread) { .task = t, .tid = pid, .vtid = VPID(pid) };
	t->threads = &w->threads[i];
	t->n_threads = 1;
	snprintf(path, sizeof(path), "/proc/%d", pid);
	if (dump) {
		t->dump = &w->dt[i];
		t->dump->proc_fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
		t->dump->pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
		w->threads[i].dump = &w->dth[i];
		w->threads[i].dump->status = &w->status[i];
		assert_int_equal(proc_read_status(t->dump->proc_fd, 0, NULL, &w->status[i]), 0);
	} else {
		t->restore = &w->rt[i];
	}
	w->list[i] = t;
}

static int set_up(void **state)
{
	struct world *w = calloc(1, sizeof(*w));

	log_init(-1, LOG_ERROR);
	strcpy(w->dir, "/tmp/unit-files-XXXXXX");
	assert_non_null(mkdtemp(w->dir));
	snprintf(w->images, sizeof(w->images), "%s/images", w->dir);
	assert_int_equal(mkdir(w->images, 0700), 0);
	w->d = (struct dump) { .opts = &w->opts, .arena = arena_new(), .stats = &w->stats };
	w->r = (struct restore) { .opts = &w->opts, .arena = arena_new(), .stats = &w->stats };
	w->d.tree = w->r.tree = (struct tree) { .tasks = w->list, .n_tasks = 2 };
	*state = w;
	return 0;
}

static int tear_down(void **state)
{
	struct world *w = *state;
	char cmd[100];

	arena_free(w->d.arena);
	arena_free(w->r.arena);
	snprintf(cmd, sizeof(cmd), "rm -rf %s", w->dir);
	free(w);
	return system(cmd);
}

/* The descriptor as we have it now has what the dumped one had. */
static void compare(pid_t pid, int number, int fd)
{
	struct arena *a = arena_new();
	struct text_buf b1 = { 0 }, b2 = { 0 };
	char path[64], link1[200] = "", link2[200] = "";
	struct fdinfo f1, f2;
	struct stat s1, s2;

	snprintf(path, sizeof(path), "/proc/%d/fdinfo/%d", pid, number);
	assert_int_equal(fdinfo_parse(proc_read_text(AT_FDCWD, path, a, &b1), &f1), 0);
	snprintf(path, sizeof(path), "/proc/%d/fd/%d", pid, number);
	assert_true(readlink(path, link1, sizeof(link1) - 1) > 0);
	assert_int_equal(stat(path, &s1), 0);
	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	assert_int_equal(fdinfo_parse(proc_read_text(AT_FDCWD, path, a, &b2), &f2), 0);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	assert_true(readlink(path, link2, sizeof(link2) - 1) > 0);
	assert_int_equal(fstat(fd, &s2), 0);
	if (f1.flags != (f2.flags | (number == PIPE_R ? O_ASYNC : 0)) || f1.pos != f2.pos)
		fail_msg("fd %d (%s): flags 0%o pos %lu, but 0%o pos %lu", number, link1, f1.flags, f1.pos, f2.flags,
		         f2.pos);
	assert_int_equal(s1.st_mode, s2.st_mode);
	assert_int_equal(s1.st_rdev, s2.st_rdev);
	if (link1[0] == '/')
		assert_string_equal(link1, link2);
	arena_free(a);
}

static FdinfoEntry *entry(const struct task *t, int number)
{
	for (size_t i = 0; i < t->n_fds; i++)
		if ((int)t->fds[i]->fd == number)
			return t->fds[i];
	fail_msg("no fd %d", number);
	return NULL;
}

static void expect_bytes(struct restore *r, const struct task *t, int number, const char *bytes)
{
	int fd = files_open(r, entry(t, number)->id);
	char path[32], buf[100] = "";

	assert_true(fd >= 0);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	assert_true(fd >= 0);
	/* One read(2) a piece. */
	for (size_t len; *bytes; bytes += len + (bytes[len] == '|')) {
		len = strcspn(bytes, "|");
		assert_int_equal(read(fd, buf, sizeof(buf) - 1), len);
		assert_memory_equal(buf, bytes, len);
	}
	assert_int_equal(read(fd, buf, sizeof(buf)), -1);
	close(fd);
}

static void check_ids(const struct world *w)
{
	const struct task *a = &w->tasks[0], *b = &w->tasks[1];

	assert_int_equal(a->n_fds + 1, b->n_fds);
	for (size_t i = 0; i < a->n_fds; i++)
		assert_int_equal(a->fds[i]->id, b->fds[i]->id);
	for (size_t i = 0; i < a->n_fds; i++)
		for (size_t k = 0; k < i; k++)
			assert_true((a->fds[i]->id == a->fds[k]->id) ==
			            (a->fds[i]->fd == REG_DUP && a->fds[k]->fd == FD_REG));
	assert_int_not_equal(entry(b, EXTRA)->id, entry(b, FD_REG)->id);
	assert_int_equal(entry(a, FD_REG)->flags, FD_CLOEXEC);
	assert_int_equal(entry(a, REG_DUP)->flags, 0);
	assert_int_equal(a->ids->files_id, 2);
	assert_int_equal(b->ids->files_id, 3);
}

static void dump_both(struct world *w, const pid_t pids[2])
{
	int pending;

	assert_int_equal(image_dir_create(w->images, &w->d.dir), 0);
	for (int i = 0; i < 2; i++)
		make_task(w, i, pids[i], true);
	assert_int_equal(kobj_ids_dump(&w->d), 0);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(files_dump_subsys.dump_task(&w->d, &w->tasks[i]), 0);
		assert_int_equal(fs_subsys.dump_task(&w->d, &w->tasks[i]), 0);
		assert_int_equal(w->tasks[i].fs->umask, 027);
	}
	assert_int_equal(log_refusals(), 0);
	assert_int_equal(files_dump_subsys.collect(&w->d), 0);
	assert_int_equal(files_dump_subsys.write_images(&w->d), 0);
	/* Nothing was taken out. */
	pending = (int)syscall(SYS_pidfd_getfd, w->dt[0].pidfd, PIPE_R, 0);
	assert_int_equal(ioctl(pending, FIONREAD, &(int) { 0 }), 0);
	assert_int_equal(ioctl(pending, FIONREAD, &w->opts.timeout), 0);
	assert_int_equal(w->opts.timeout, 6);
	close(pending);
	check_ids(w);
	assert_int_equal(image_dir_seal(w->d.dir), 0);
	image_dir_close(w->d.dir);
}

static void round_trip(void **state)
{
	struct world *w = *state;
	pid_t pids[2];
	struct f_owner_ex owner;
	int fd;

	start(w, pids);
	dump_both(w, pids);
	assert_int_equal(image_dir_open(w->images, true, &w->r.dir), 0);
	for (int i = 0; i < 2; i++) {
		TaskKobjIdsEntry *ids = w->tasks[i].ids;
		FsEntry *fs = w->tasks[i].fs;

		make_task(w, i, pids[i], false);
		w->tasks[i].ids = ids;
		w->tasks[i].fs = fs;
	}
	assert_int_equal(files_read(&w->r), 0);
	assert_int_equal(files_check(&w->r), 0);
	for (int i = 0; i < 2; i++)
		for (size_t k = 0; k < w->tasks[i].n_fds; k++) {
			fd = files_open(&w->r, w->tasks[i].fds[k]->id);
			assert_true(fd >= 0);
			compare(pids[i], (int)w->tasks[i].fds[k]->fd, fd);
		}
	assert_int_equal(fcntl(files_open(&w->r, entry(w->tasks, PIPE_W)->id), F_GETPIPE_SZ), 131072);
	expect_bytes(&w->r, w->tasks, PIPE_R, "queued");
	expect_bytes(&w->r, w->tasks, PACKET_R, "one|three");
	expect_bytes(&w->r, w->tasks, LONELY_W, "nobody reads");
	/* files_post_open() closes what all tables have: keep one for a look. */
	fd = dup(files_open(&w->r, entry(w->tasks, PIPE_R)->id));
	assert_int_equal(files_post_open(&w->r), 0);
	assert_int_equal(fcntl(fd, F_GETOWN_EX, &owner), 0);
	assert_int_equal(owner.pid, pids[0]);
	assert_int_equal(fcntl(fd, F_GETSIG), SIGUSR2);
	assert_true(fcntl(fd, F_GETFL) & O_ASYNC);
	close(fd);
	files_restore_subsys.undo(&w->r);
	image_dir_close(w->r.dir);
	for (int i = 1; i >= 0; i--)
		kill(pids[i], SIGKILL);
	waitpid(pids[0], NULL, 0);
}

static void missing_and_grown(void **state)
{
	struct world *w = *state;
	char path[100];
	pid_t pids[2];

	start(w, pids);
	dump_both(w, pids);
	assert_int_equal(image_dir_open(w->images, true, &w->r.dir), 0);
	for (int i = 0; i < 2; i++)
		w->tasks[i].restore = &w->rt[i];
	assert_int_equal(files_read(&w->r), 0);
	snprintf(path, sizeof(path), "%s/append", w->dir);
	assert_int_equal(truncate(path, 1), 0); /* a log: only a line */
	assert_int_equal(files_check(&w->r), 0);
	snprintf(path, sizeof(path), "%s/reg", w->dir);
	assert_int_equal(truncate(path, 100), 0); /* only a warning */
	assert_int_equal(files_check(&w->r), 0);
	assert_int_equal(truncate(path, 1), 0);
	memset(&w->r.states, 0, sizeof(w->r.states));
	log_init(open("/dev/null", O_WRONLY | O_CLOEXEC), LOG_WARN);
	assert_int_equal(files_read(&w->r), 0);
	assert_int_equal(files_check(&w->r), -ENOENT);
	assert_int_equal(log_refusals(), 7); /* three descriptors of the one task, four of the other */
	image_dir_close(w->r.dir);
	for (int i = 1; i >= 0; i--)
		kill(pids[i], SIGKILL);
	waitpid(pids[0], NULL, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(fdinfo_text),
		cmocka_unit_test(installing),
		cmocka_unit_test(impossible_numbers),
		cmocka_unit_test(build_ids),
		cmocka_unit_test_setup_teardown(round_trip, set_up, tear_down),
		cmocka_unit_test_setup_teardown(missing_and_grown, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
