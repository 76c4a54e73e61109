/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * libcriu and the real criu: dump and restore by pid, as a child, of the caller itself, by the service, from several
 * threads; notifications and what refuses them; the errors that a caller tells apart.
 *
 * zdtm: driver
 * zdtm: needs-root
 */
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "criu.h"
#include "zdtm.h"

static const char *criu_binary;

/* ---- a victim, and its directory of images ---- */

struct victim {
	char dir[64];
	char go[80]; /* it ends when there is this file */
	int images;
	pid_t pid;
};

#define GOOD 7

/* Ends with GOOD where it is as it was. */
static _Noreturn void live(const struct victim *v, int out)
{
	int memory[1000], null = open("/dev/null", O_RDWR);
	pid_t pid = getpid();

	for (int i = 0; i < 1000; i++)
		memory[i] = i ^ pid;
	setsid();
	for (int fd = 0; fd < 3; fd++)
		dup2(fd == 1 && out >= 0 ? out : null, fd);
	close_range(3, ~0U, 0);
	while (access(v->go, F_OK))
		usleep(20000);
	if (write(1, "alive", 5) != 5)
		_exit(3);
	for (int i = 0; i < 1000; i++)
		if (memory[i] != (i ^ getpid()))
			_exit(4);
	_exit(getpid() == pid ? GOOD : 5);
}

static void make_place(struct victim *v, const char *name)
{
	snprintf(v->dir, sizeof(v->dir), "%s.imgs", name);
	snprintf(v->go, sizeof(v->go), "%s/go", v->dir);
	zdtm_must(!mkdir(v->dir, 0700));
	v->images = open(v->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	zdtm_must(v->images >= 0);
}

static void make_victim(struct victim *v, const char *name, int out)
{
	make_place(v, name);
	v->pid = fork();
	zdtm_must(v->pid >= 0);
	if (!v->pid)
		live(v, out);
	/* It has a session of its own when it begins to wait. */
	while (getsid(v->pid) != v->pid)
		usleep(1000);
	usleep(50000);
}

static criu_opts *opts_of(const struct victim *v, const char *log)
{
	criu_opts *o = NULL;

	zdtm_must(!criu_local_init_opts(&o) && !criu_local_set_service_binary(o, criu_binary));
	if (v) {
		criu_local_set_images_dir_fd(o, v->images);
		criu_local_set_log_level(o, CRIU_LOG_DEBUG);
		criu_local_set_log_file(o, log);
		if (v->pid)
			criu_local_set_pid(o, v->pid);
	}
	return o;
}

/* How a child of ours has ended, as an exit status or a negative signal. */
static int ended(pid_t pid)
{
	int status = 0;
	pid_t got;

	while ((got = waitpid(pid, &status, 0)) < 0 && errno == EINTR)
		;
	if (got != pid)
		return -1000 - errno;
	return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

static void let_end(const struct victim *v)
{
	close(open(v->go, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
}

/* A line of /proc/PID/status, without its name; "" where there is none. */
static const char *status_line(pid_t pid, const char *name)
{
	static char line[200];
	size_t n = strlen(name);
	char path[40];
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f) && strncmp(line, name, n))
		line[0] = 0;
	if (f)
		fclose(f);
	return f && line[0] ? line + n : "";
}

static pid_t parent_of(pid_t pid)
{
	return atoi(status_line(pid, "PPid:"));
}

/* Of a process that is somebody else's child. */
static void await_end_of(pid_t pid)
{
	const char *state;

	do {
		usleep(5000);
		state = status_line(pid, "State:");
	} while (*state && !strchr(state, 'Z') && !strchr(state, 'X'));
}

static void dumped(struct victim *v)
{
	criu_opts *o = opts_of(v, "dump.log");
	int ret = criu_local_dump(o);

	zdtm_check(ret == 0, "dump of pid %d to %s: %d (%s)", v->pid, v->dir, ret, strerror(errno));
	zdtm_check(ended(v->pid) == -SIGKILL, "pid %d has not been killed", v->pid);
	criu_local_free_opts(o);
}

static void restored_as_child(struct victim *v, criu_opts *o)
{
	int ret = criu_local_restore_child(o), how;

	zdtm_check(ret == v->pid, "restore_child of pid %d: %d (%s)", v->pid, ret, strerror(errno));
	if (ret <= 0)
		return;
	zdtm_check(parent_of(ret) == getpid(), "its parent is %d", parent_of(ret));
	let_end(v);
	how = ended(ret);
	zdtm_check(how == GOOD, "pid %d ends with %d", ret, how);
}

static int open_ones(void)
{
	int n = 0;

	for (int fd = 0; fd < 1000; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

/* ---- questions ---- */

static void questions(void)
{
	struct criu_feature_check f = { .mem_track = true, .lazy_pages = true, .pidfd_store = true };
	criu_opts *o = opts_of(NULL, NULL);
	int ret = criu_local_get_version(o);
	char command[PATH_MAX + 40];

	zdtm_check(ret == 40200, "version %d", ret);
	zdtm_check(criu_local_check_version(o, 40200) == 1 && criu_local_check_version(o, 40201) == 0, "check_version");
	ret = criu_local_feature_check(o, &f, sizeof(f));
	zdtm_check(ret == 0, "feature_check: %d", ret);
	f = (struct criu_feature_check) { .mem_track = false };
	ret = criu_local_feature_check(o, &f, sizeof(f));
	zdtm_check(ret == 0 && !f.mem_track && !f.lazy_pages && !f.pidfd_store, "a feature that was not asked for: %d",
	           ret);
	snprintf(command, sizeof(command), "%s check >/dev/null 2>&1", criu_binary);
	ret = criu_local_check(o);
	zdtm_check(ret == (system(command) ? -EBADE : 0), "check: %d", ret);
	criu_local_free_opts(o);
}

/* ---- by pid ---- */

static void by_pid(void)
{
	struct victim v = { .pid = 0 };
	int before = open_ones(), ret;
	criu_opts *o;

	make_victim(&v, "by_pid", -1);
	o = opts_of(&v, "running.log");
	criu_local_set_leave_running(o, true);
	ret = criu_local_dump(o);
	zdtm_check(ret == 0 && !kill(v.pid, 0), "dump that leaves it running: %d (%s)", ret, strerror(errno));
	criu_local_free_opts(o);
	dumped(&v);
	o = opts_of(&v, "restore.log");
	restored_as_child(&v, o);
	criu_local_free_opts(o);
	close(v.images);
	zdtm_check(open_ones() == before, "%d descriptors, %d before", open_ones(), before);
	zdtm_check(waitpid(-1, NULL, WNOHANG) < 0, "a child is left");
}

/* Not as a child: somebody else waits for it. */
static void by_pid_of_others(void)
{
	struct victim v = { .pid = 0 };
	criu_opts *o;
	int ret;

	make_victim(&v, "others", -1);
	dumped(&v);
	o = opts_of(&v, "restore.log");
	ret = criu_local_restore(o);
	zdtm_check(ret == v.pid, "restore: %d (%s)", ret, strerror(errno));
	zdtm_check(waitpid(v.pid, NULL, WNOHANG) < 0 && errno == ECHILD, "it is our child");
	zdtm_check(parent_of(v.pid) > 0 && parent_of(v.pid) != getpid(), "its parent is %d", parent_of(v.pid));
	criu_local_free_opts(o);
	let_end(&v);
	await_end_of(v.pid);
	close(v.images);
}

/* ---- errors ---- */

static void errors(void)
{
	struct victim v = { .pid = 0 }, none = { .pid = 0 };
	criu_opts *o;
	int ret;

	make_victim(&v, "errors", -1);
	make_place(&none, "none");
	none.pid = 4000000; /* above pid_max, or at least nobody's */
	o = opts_of(&none, "dump.log");
	ret = criu_local_dump(o);
	zdtm_check(ret == -EBADE && errno == ESRCH, "dump of nobody: %d (%s)", ret, strerror(errno));
	criu_local_free_opts(o);

	o = opts_of(NULL, NULL);
	criu_local_set_pid(o, v.pid);
	ret = criu_local_dump(o);
	zdtm_check(ret == -EBADE && errno == EBADRQC, "no directory: %d (%s)", ret, strerror(errno));
	criu_local_free_opts(o);

	o = opts_of(&v, "a/log");
	ret = criu_local_dump(o);
	zdtm_check(ret == -EBADE && errno == EBADRQC, "a log elsewhere: %d (%s)", ret, strerror(errno));
	criu_local_free_opts(o);

	none.pid = 0;
	o = opts_of(&none, "restore.log");
	ret = criu_local_restore(o);
	zdtm_check(ret == -EBADE, "restore of nothing: %d (%s)", ret, strerror(errno));
	criu_local_free_opts(o);

	o = opts_of(&v, "dump.log");
	criu_local_set_leave_running(o, true);
	ret = criu_local_dump(o);
	zdtm_check(ret == 0, "dump: %d (%s)", ret, strerror(errno));
	ret = criu_local_restore_child(o);
	zdtm_check(ret == -EBADE && errno == EEXIST, "restore of what lives: %d (%s)", ret, strerror(errno));
	criu_local_free_opts(o);
	let_end(&v);
	ret = ended(v.pid);
	zdtm_check(ret == GOOD, "the victim ends with %d", ret);
	zdtm_check(waitpid(-1, NULL, WNOHANG) < 0, "a child is left");
	close(v.images);
	close(none.images);
}

/* ---- notifications ---- */

static char told[400];
static const char *refused;
static pid_t told_of;

static int tell(char *action, criu_notify_arg_t na)
{
	size_t n = strlen(told);

	snprintf(told + n, sizeof(told) - n, "%s%s ", action, criu_notify_pid(na) == told_of ? "(pid)" : "");
	return refused && !strcmp(refused, action) ? -1 : 0;
}

static void heard(const char *what, int ret, int wanted, const char *words)
{
	zdtm_check(ret == wanted, "%s: %d, not %d (%s)", what, ret, wanted, strerror(errno));
	zdtm_check(!strcmp(told, words), "%s: heard \"%s\", not \"%s\"", what, told, words);
	told[0] = 0;
}

static void notifications(void)
{
	struct victim v = { .pid = 0 };
	criu_opts *o;
	int ret;

	make_victim(&v, "notified", -1);
	told_of = v.pid;
	o = opts_of(&v, "notify.log");
	criu_local_set_notify_cb(o, tell);
	refused = "post-dump";
	ret = criu_local_dump(o);
	heard("refused dump", ret, -EBADE, "pre-dump query-ext-files post-dump ");
	zdtm_check(!kill(v.pid, 0) && waitpid(v.pid, NULL, WNOHANG) == 0, "a dump that was refused has killed it");
	refused = NULL;
	ret = criu_local_dump(o);
	heard("dump", ret, 0, "pre-dump query-ext-files post-dump ");
	zdtm_check(ended(v.pid) == -SIGKILL, "it has not been killed");
	refused = "post-restore";
	ret = criu_local_restore_child(o);
	heard("refused restore", ret, -EBADE, "pre-restore post-restore(pid) ");
	/* It was to be a child of ours, so it is for us to wait for what criu has killed. */
	ret = ended(v.pid);
	zdtm_check(ret == -SIGKILL || ret == -1000 - ECHILD, "a restore that was refused has left a child: %d", ret);
	zdtm_check(waitpid(-1, NULL, WNOHANG) < 0, "a restore that was refused has left something");
	refused = "post-resume"; /* too late */
	restored_as_child(&v, o);
	heard("restore", 0, 0, "pre-restore post-restore(pid) pre-resume post-resume ");
	refused = NULL;
	criu_local_free_opts(o);
	close(v.images);
}

/* ---- the caller itself ---- */

/* Runs in a child: 1 and 0 come back, and say how it ends. */
static _Noreturn void dump_myself(struct victim *v, bool leave_running, bool by_name)
{
	int null = open("/dev/null", O_RDWR), fd = dup(null), ret;
	criu_opts *o;

	setsid();
	for (int i = 0; i < 3; i++)
		dup2(null, i);
	v->pid = by_name ? getpid() : 0;
	o = opts_of(v, "self.log");
	criu_local_set_leave_running(o, leave_running);
	ret = criu_local_dump(o);
	if (ret < 0)
		_exit(100 + (errno < 100 ? errno : 99));
	/* All of it is there, and the library is good for more. */
	if (fcntl(fd, F_GETFD) < 0 || fcntl(v->images, F_GETFD) < 0)
		_exit(90);
	if (criu_local_get_version(o) != 40200)
		_exit(91);
	if (waitpid(-1, NULL, WNOHANG) >= 0)
		_exit(92);
	criu_local_free_opts(o);
	_exit(40 + ret);
}

static void itself(const char *name, bool by_name)
{
	struct victim v = { .pid = 0 };
	criu_opts *o;
	int ret;

	make_place(&v, name);
	for (int leave = 1; leave >= 0; leave--) {
		pid_t pid = fork();

		if (!pid)
			dump_myself(&v, leave, by_name);
		ret = ended(pid);
		zdtm_check(ret == (leave ? 40 : -SIGKILL), "%s: the one that %s ends with %d", name,
		           leave ? "goes on" : "is dumped", ret);
		o = opts_of(&v, "restore.log");
		ret = criu_local_restore_child(o);
		zdtm_check(ret == pid, "%s: restore_child: %d (%s)", name, ret, strerror(errno));
		ret = ret > 0 ? ended(ret) : -1;
		zdtm_check(ret == 41, "%s: the restored one ends with %d", name, ret);
		criu_local_free_opts(o);
	}
	close(v.images);
}

/* ---- descriptors that are inherited ---- */

static void inherited(void)
{
	struct victim v = { .pid = 0 };
	int before[2], after[2];
	char key[40], words[8] = "";
	struct stat st;
	criu_opts *o;
	int ret;

	zdtm_must(!pipe2(before, O_CLOEXEC) && !pipe2(after, O_CLOEXEC) && !fstat(before[1], &st));
	make_victim(&v, "inherited", before[1]);
	snprintf(key, sizeof(key), "pipe:[%lu]", (unsigned long)st.st_ino);
	o = opts_of(&v, "pipe.log");
	criu_local_add_external(o, key);
	ret = criu_local_dump(o);
	zdtm_check(ret == 0, "dump: %d (%s)", ret, strerror(errno));
	zdtm_check(ended(v.pid) == -SIGKILL, "it has not been killed");
	criu_local_free_opts(o);
	o = opts_of(&v, "restore.log");
	criu_local_add_inherit_fd(o, after[1], key);
	restored_as_child(&v, o);
	zdtm_check(read(after[0], words, 5) == 5 && !strcmp(words, "alive"), "it has written \"%s\"", words);
	criu_local_free_opts(o);
	for (int i = 0; i < 2; i++) {
		close(before[i]);
		close(after[i]);
	}
	close(v.images);
}

/* ---- the service ---- */

static pid_t start_service(const char *address)
{
	pid_t pid = fork();

	if (!pid) {
		execl(criu_binary, criu_binary, "service", "--address", address, "-o", zdtm_path("service.log"), "-v4",
		      NULL);
		_exit(127);
	}
	while (access(address, F_OK) && !waitpid(pid, NULL, WNOHANG))
		usleep(5000);
	return pid;
}

static void by_service(void)
{
	struct victim v = { .pid = 0 };
	pid_t service = start_service("service.sock");
	criu_opts *o;
	int ret;

	make_victim(&v, "service", -1);
	o = opts_of(&v, "dump.log");
	criu_local_set_service_address(o, "service.sock");
	ret = criu_local_get_version(o);
	zdtm_check(ret == 40200, "version of the service: %d (%s)", ret, strerror(errno));
	ret = criu_local_dump(o);
	zdtm_check(ret == 0, "dump by the service: %d (%s)", ret, strerror(errno));
	zdtm_check(ended(v.pid) == -SIGKILL, "it has not been killed");
	criu_local_set_log_file(o, "restore.log");
	ret = criu_local_restore(o);
	zdtm_check(ret == v.pid, "restore by the service: %d (%s)", ret, strerror(errno));
	criu_local_free_opts(o);
	let_end(&v);
	await_end_of(v.pid);
	kill(service, SIGTERM);
	ended(service);
	close(v.images);
}

/* ---- threads ---- */

#define THREADS 4

static void *one_of_many(void *arg)
{
	struct victim *v = arg;

	for (int round = 0; round < 2; round++) {
		criu_opts *o = opts_of(v, "restore.log");
		int ret;

		dumped(v);
		ret = criu_local_restore_child(o);
		zdtm_check(ret == v->pid, "restore_child in a thread: %d (%s)", ret, strerror(errno));
		criu_local_free_opts(o);
	}
	let_end(v);
	zdtm_check(ended(v->pid) == GOOD, "%s: the victim is not as it was", v->dir);
	return NULL;
}

static void in_threads(void)
{
	static const char *const names[THREADS] = { "thread0", "thread1", "thread2", "thread3" };
	struct victim v[THREADS] = { { .pid = 0 } };
	pthread_t thread[THREADS];

	for (int i = 0; i < THREADS; i++)
		make_victim(&v[i], names[i], -1);
	for (int i = 0; i < THREADS; i++)
		zdtm_must(!pthread_create(&thread[i], NULL, one_of_many, &v[i]));
	for (int i = 0; i < THREADS; i++) {
		pthread_join(thread[i], NULL);
		close(v[i].images);
	}
}

int main(void)
{
	criu_binary = getenv("CRIU");
	zdtm_must(criu_binary);
	questions();
	by_pid();
	by_pid_of_others();
	errors();
	notifications();
	itself("itself", false);
	itself("by_name", true);
	inherited();
	by_service();
	in_threads();
	zdtm_pass();
}
