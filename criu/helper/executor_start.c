/* SPDX-License-Identifier: GPL-2.0-only */
/* Executors, criu's side: how one is started. */
#include <dirent.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "helper/executor_parts.h"
#include "helper/helper.h"
#include "helper/run_program.h"
#include "proc/fdinfo.h"
#include "proc/ns_type.h"
#include "proc/proc.h"
#include "undo/guardian.h"

/* The kernel takes less than a page at once. */
#define ID_MAP_MAX 4096

/* ---- maps of a new user namespace ---- */

struct id_maps {
	pid_t pid;
	bool deny_setgroups;
	bool user_runs; /* criu is an ordinary user's, and writes itself */
	char uid[ID_MAP_MAX], gid[ID_MAP_MAX];
};

static int write_proc_file(pid_t pid, const char *name, const char *text)
{
	char path[64];
	_cleanup_close_ int fd = -1;
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/%d/%s", pid, name);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return log_errno(-errno, "%s: open", path);
	/* A namespace without a map has overflow ids; nothing is no map for the kernel. */
	n = *text ? write(fd, text, strlen(text)) : 0;
	if (n < 0 && errno == EPERM && geteuid())
		return -EPERM; /* there is another way: write_map() */
	return n < 0 ? log_errno(-errno, "%s: write", path) : 0;
}

#define ID_WORDS_MAX 1024 /* 340 lines of three numbers */

/* The ids of /etc/subuid and /etc/subgid are given by a program that may do so: newuidmap(1), newgidmap(1). */
static int run_map_program(const char *program, pid_t pid, const char *text)
{
	const char *argv[ID_WORDS_MAX + 3] = { program };
	_cleanup_free_ char *copy = strdup(text);
	char number[16], *save = NULL;
	size_t n = 2;
	int ret;

	if (!copy)
		return log_errno(-ENOMEM, "%s %d", program, pid);
	snprintf(number, sizeof(number), "%d", pid);
	argv[1] = number;
	for (char *w = strtok_r(copy, " \n", &save); w && n < ID_WORDS_MAX + 2; w = strtok_r(NULL, " \n", &save))
		argv[n++] = w;
	ret = run_program(argv, STDIN_FILENO, STDERR_FILENO, STDERR_FILENO, -1);
	if (ret < 0)
		return log_errno(ret, "running %s, which gives an ordinary user the ids of the tree", program);
	if (!ret)
		return 0;
	return log_errno(-EPERM,
	                 "%s ended with %d: the ids of the tree's user namespace have to be this user's in "
	                 "/etc/subuid and /etc/subgid",
	                 program, ret);
}

static int write_map(const struct id_maps *m, const char *name, const char *program, const char *text)
{
	int err = write_proc_file(m->pid, name, text);

	return err == -EPERM && m->user_runs ? run_map_program(program, m->pid, text) : err;
}

static int write_maps(const struct id_maps *m)
{
	int err = m->deny_setgroups ? write_proc_file(m->pid, "setgroups", "deny") : 0;

	if (err == -EPERM)
		log_errno(err, "executor: write of deny to /proc/%d/setgroups", m->pid);
	err = err ?: write_map(m, "uid_map", "newuidmap", m->uid);
	return err ?: write_map(m, "gid_map", "newgidmap", m->gid);
}

static int write_maps_job(struct executor_job *job)
{
	return write_maps(job->arg);
}

/* The kernel wants them written from the parent user namespace. */
static int give_maps(struct executor *e, const struct executor_spec *spec)
{
	struct id_maps m = { .pid = e->pid_there, .deny_setgroups = spec->deny_setgroups };
	int err;

	m.user_runs = !spec->from && geteuid() != 0;

	if (strlen(spec->uid_map) >= ID_MAP_MAX || strlen(spec->gid_map) >= ID_MAP_MAX)
		return log_errno(-E2BIG, "executor %d: a map of ids of more than %d bytes", e->pid, ID_MAP_MAX - 1);
	strcpy(m.uid, spec->uid_map);
	strcpy(m.gid, spec->gid_map);
	if (spec->from)
		err = executor_run(spec->from,
		                   &(struct executor_call) { .fn = write_maps_job, .arg = &m, .arg_len = sizeof(m) });
	else
		err = write_maps(&m);
	return err ?: executor_send(e, EXECUTOR_HAS_MAPS, NULL, 0);
}

/* ---- starting ---- */

/* Opened before the birth. The first ones in the list of descriptors are ours to close. */
struct prepared {
	struct executor_birth birth;
	size_t n_own;
};

static int open_namespaces(const struct executor_spec *spec, struct prepared *p)
{
	struct executor_birth *b = &p->birth;
	uint64_t unknown = spec->enter | spec->make;
	char path[64];

	for (size_t i = 0; i < NAMESPACE_TYPES; i++) {
		uint64_t kind = ns_types[i].flag;
		int fd;

		unknown &= ~kind;
		if (!(spec->enter & kind))
			continue;
		snprintf(path, sizeof(path), "/proc/%d/ns/%s", spec->pid, ns_types[i].name);
		fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd < 0)
			return log_errno(-errno, "%s: open", path);
		b->fd[p->n_own++] = fd;
		b->n_ns++;
	}
	if (unknown || b->n_ns + spec->n_ns > EXECUTOR_NS_MAX)
		return log_errno(-EINVAL, "executor: %zu namespaces, unknown kinds 0x%llx", b->n_ns + spec->n_ns,
		                 (unsigned long long)unknown);
	if (spec->n_ns)
		memcpy(b->fd + BIRTH_NS + b->n_ns, spec->ns, spec->n_ns * sizeof(int));
	b->n_ns += spec->n_ns;
	return 0;
}

static int own_fd(struct prepared *p, int fd)
{
	if (fd >= 0)
		p->birth.fd[p->n_own++] = fd;
	return fd;
}

/* In the order of the list: the socket, the area, criu's pidfd, namespaces, the root. */
static int prepare_birth(const struct executor_spec *spec, struct executor *e, struct prepared *p)
{
	int pair[2], area, err;

	p->birth.make = spec->make;
	p->birth.has_owner = spec->owner != NULL;
	p->birth.owner = spec->owner ? *spec->owner : 0;
	p->birth.wants_maps = (spec->make & CLONE_NEWUSER) && spec->uid_map;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
		return log_errno(-errno, "executor: socketpair");
	e->sock = pair[0];
	own_fd(p, pair[1]);
	area = own_fd(p, memfd_create("criu-executor", MFD_CLOEXEC));
	if (area < 0 || ftruncate(area, sizeof(*e->area)))
		return log_errno(-errno, "executor: memfd_create of %zu bytes", sizeof(*e->area));
	e->area = mmap(NULL, sizeof(*e->area), PROT_READ | PROT_WRITE, MAP_SHARED, area, 0);
	if (e->area == MAP_FAILED) {
		e->area = NULL;
		return log_errno(-errno, "executor: mmap");
	}
	if (own_fd(p, (int)syscall(SYS_pidfd_open, getpid(), 0)) < 0)
		return log_errno(-errno, "executor: pidfd_open");
	err = open_namespaces(spec, p);
	if (err)
		return err;
	p->birth.has_root = spec->root > 0;
	p->birth.fd[BIRTH_NS + p->birth.n_ns] = spec->root;
	return 0;
}

/* The thread that takes signals holds no lock of the C library's, but where it ends criu: a fork needs nothing of it.
 */
static bool is_signal_thread(const char *tid)
{
	_cleanup_free_ char *comm = NULL;
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/task/%.20s/comm", tid);
	return !proc_read(AT_FDCWD, path, &comm, NULL) && !strcmp(comm, GUARDIAN_SIGNAL_THREAD "\n");
}

static bool has_signal_thread(void)
{
	DIR *dir = opendir("/proc/self/task");
	const struct dirent *e;
	bool found = false;

	while (dir && !found && (e = readdir(dir)))
		found = *e->d_name != '.' && is_signal_thread(e->d_name);
	if (dir)
		closedir(dir);
	return found;
}

/* A thread that was joined may still be on its way out. */
static int wait_until_alone(void)
{
	struct stat st;

	for (int tries = 0; tries < 1000; tries++) {
		if (stat("/proc/self/task", &st) || st.st_nlink <= 3 || (st.st_nlink == 4 && has_signal_thread()))
			return 0;
		usleep(100);
	}
	return log_errno(-EBUSY, "executor: criu has %lu threads: only an executor can fork one now",
	                 (unsigned long)st.st_nlink - 2);
}

/* In the executor that forks one. Returns the pid as it is here, and a pidfd. */
static int fork_job(struct executor_job *job)
{
	struct executor_birth b = *(const struct executor_birth *)job->arg;
	struct helper_spec spec = { .flags = CLONE_PARENT, .pidfd = job->out, .outlives = true };
	pid_t pid;

	memcpy(b.fd, job->fds, job->n_fds * sizeof(int));
	pid = helper_start(&spec, executor_main, &b);
	if (pid < 0)
		return log_errno(pid, "executor %d: clone3", getpid());
	job->n_out = 1;
	return pid;
}

static int fork_executor(const struct executor_spec *spec, struct executor *e, struct executor_birth *b)
{
	struct helper_spec here = { .pidfd = &e->pidfd, .outlives = true };
	struct executor_call there = {
		.fn = fork_job,
		.arg = b,
		.arg_len = sizeof(*b),
		.fds = b->fd,
		.n_fds = executor_birth_fds(b),
		.out = &e->pidfd,
		.n_out = 1,
	};
	int err = spec->from ? 0 : wait_until_alone();

	if (err)
		return err;
	e->pid_there = spec->from ? executor_run(spec->from, &there) : helper_start(&here, executor_main, b);
	if (e->pid_there < 0 && !spec->from)
		return log_errno(e->pid_there, "executor: clone3");
	return MIN(e->pid_there, 0);
}

static int find_pid(struct executor *e)
{
	char path[64], text[1024];
	_cleanup_close_ int fd = -1;
	int32_t inner;
	ssize_t n;
	int err;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", e->pidfd);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
	if (n < 0)
		return log_errno(-errno, "executor: read of %s", path);
	text[n] = 0;
	err = fdinfo_parse_pidfd(text, &e->pid, &inner);
	return err ? log_errno(err, "executor: %s: no pid", path) : 0;
}

/* What stands in a pid namespace is another process than the one that we know: that one ends. */
static int await_standing(struct executor *e, const struct executor_spec *spec)
{
	int pidfd = -1, word, err = find_pid(e);
	size_t n = 1;

	if (err)
		return err;
	word = executor_receive(e, 0, &pidfd, &n);
	if (word == EXECUTOR_WANTS_MAPS) {
		err = give_maps(e, spec);
		n = 1;
		word = err ?: executor_receive(e, 0, &pidfd, &n);
	}
	if (word < 0 || e->area->ret < 0)
		return MIN(word, e->area->ret);
	if (!n)
		return 0;
	executor_reap(e);
	e->pidfd = pidfd;
	return find_pid(e);
}

int executor_start(const struct executor_spec *spec, struct executor **ep)
{
	struct executor *e = calloc(1, sizeof(*e));
	struct prepared p = { 0 };
	int err;

	if (!e)
		return log_errno(-ENOMEM, "executor");
	e->sock = e->pidfd = -1;
	err = prepare_birth(spec, e, &p);
	err = err ?: fork_executor(spec, e, &p.birth);
	for (size_t i = 0; i < p.n_own; i++)
		close(p.birth.fd[i]);
	err = err ?: await_standing(e, spec);
	if (err) {
		executor_end(e);
		return err;
	}
	*ep = e;
	return 0;
}
