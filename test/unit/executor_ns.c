/* SPDX-License-Identifier: GPL-2.0-only */
/* Executors in namespaces of others and in new ones: functions that run there, and what they bring back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <linux/nsfs.h>
#include <linux/sched.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/wait.h>

#include "executor_util.h"
#include "lib/log.h"

/* ---- kinds of namespaces ---- */

#define N_KINDS  8
#define PID_KIND 1
#define ALL_KINDS                                                                                                      \
	((uint64_t)CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC |           \
	 CLONE_NEWCGROUP | CLONE_NEWTIME)

static const struct {
	uint64_t kind;
	const char *name;
} ns_kinds[N_KINDS] = { { CLONE_NEWUSER, "user" }, { CLONE_NEWPID, "pid" },      { CLONE_NEWNET, "net" },
	                { CLONE_NEWNS, "mnt" },    { CLONE_NEWUTS, "uts" },      { CLONE_NEWIPC, "ipc" },
	                { CLONE_NEWTIME, "time" }, { CLONE_NEWCGROUP, "cgroup" } };

struct ns_numbers {
	uint64_t ino[N_KINDS];
};

static uint64_t ns_number(pid_t pid, const char *name)
{
	char path[64];
	struct stat st;

	snprintf(path, sizeof(path), "/proc/%d/ns/%s", pid, name);
	return stat(path, &st) ? 0 : st.st_ino;
}

static struct ns_numbers numbers_of(pid_t pid)
{
	struct ns_numbers n;

	for (size_t i = 0; i < N_KINDS; i++)
		n.ino[i] = ns_number(pid, ns_kinds[i].name);
	return n;
}

static int open_ns(pid_t pid, const char *name)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/ns/%s", pid, name);
	return open(path, O_RDONLY | O_CLOEXEC);
}

/* ---- a task that holds namespaces ---- */

struct holder {
	pid_t pid, parent;
};

static void write_file(pid_t pid, const char *name, const char *text)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/%s", pid, name);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	close(fd);
}

/* How far a holder is, in memory that both share. */
struct progress {
	volatile pid_t pid;
	volatile bool made_user, has_ids, stands;
};

static void be_user(struct progress *at)
{
	if (unshare(CLONE_NEWUSER))
		_exit(1);
	at->made_user = true;
	while (!at->has_ids)
		usleep(50);
	if (syscall(SYS_setgroups, 0, NULL) || syscall(SYS_setresgid, 0, 0, 0) || syscall(SYS_setresuid, 0, 0, 0))
		_exit(1);
}

/* In its namespaces it does fn and waits. That of a user namespace is uid 0 there, 100000 outside. */
static void be_holder(struct progress *at, uint64_t kinds, void (*fn)(void))
{
	pid_t pid;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (kinds & CLONE_NEWUSER)
		be_user(at);
	if (unshare((int)(kinds & ~(uint64_t)CLONE_NEWUSER)))
		_exit(1);
	pid = fork();
	if (pid) {
		at->pid = pid;
		waitpid(pid, NULL, 0);
		_exit(0);
	}
	if (fn)
		fn();
	at->stands = true;
	for (;;)
		pause();
}

static struct holder hold(uint64_t kinds, void (*fn)(void))
{
	struct progress *at = mmap(NULL, sizeof(*at), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct holder h;

	assert_true(at != MAP_FAILED);
	h.parent = fork();
	if (!h.parent)
		be_holder(at, kinds, fn);
	while (!at->stands || !at->pid) {
		if (at->made_user && !at->has_ids) {
			write_file(h.parent, "uid_map", "0 100000 65536\n");
			write_file(h.parent, "gid_map", "0 100000 65536\n");
			at->has_ids = true;
		}
		assert_int_equal(waitpid(h.parent, NULL, WNOHANG), 0);
		usleep(50);
	}
	h.pid = at->pid;
	munmap(at, sizeof(*at));
	return h;
}

static void let_go(const struct holder *h)
{
	kill(h->pid, SIGKILL);
	assert_int_equal(waitpid(h->parent, NULL, 0), h->parent);
}

/* ---- looks at executors ---- */

static int tell_numbers(struct executor_job *job)
{
	struct ns_numbers n;
	char path[64];
	struct stat st;

	for (size_t i = 0; i < N_KINDS; i++) {
		snprintf(path, sizeof(path), "/proc/self/ns/%s", ns_kinds[i].name);
		n.ino[i] = stat(path, &st) ? 0 : st.st_ino;
	}
	memcpy(job->result, &n, sizeof(n));
	return 0;
}

/* The namespaces that functions see there. */
static struct ns_numbers numbers_in(struct executor *e)
{
	struct ns_numbers n;

	assert_int_equal(call(e, tell_numbers, NULL, 0, &n, sizeof(n)), 0);
	return n;
}

/* What stands behind "key" in /proc/PID/status. */
static void status_line(pid_t pid, const char *key, char *text, size_t size)
{
	char path[64], line[256];
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	f = fopen(path, "re");
	assert_non_null(f);
	text[0] = 0;
	while (fgets(line, sizeof(line), f))
		if (!strncmp(line, key, strlen(key)))
			snprintf(text, size, "%.*s", (int)strcspn(line + strlen(key), "\n"), line + strlen(key));
	fclose(f);
}

/* ---- namespaces of others ---- */

static void check_in(struct executor *e, pid_t pid, uint64_t kinds)
{
	struct ns_numbers there = numbers_in(e), theirs = numbers_of(pid), ours = numbers_of(getpid());

	for (size_t i = 0; i < N_KINDS; i++) {
		assert_int_equal(there.ino[i], (ns_kinds[i].kind & kinds ? theirs : ours).ino[i]);
		if (ns_kinds[i].kind & kinds)
			assert_int_not_equal(there.ino[i], ours.ino[i]);
	}
}

static void each_kind_by_itself(void **state)
{
	struct holder h = hold(ALL_KINDS & ~(uint64_t)CLONE_NEWUSER, NULL);

	for (size_t i = 0; i < N_KINDS; i++) {
		uint64_t kind = ns_kinds[i].kind & ALL_KINDS & ~(uint64_t)CLONE_NEWUSER;
		struct executor *e = start((struct executor_spec) { .pid = h.pid, .enter = kind });

		check_in(e, h.pid, kind);
		executor_end(e);
	}
	let_go(&h);
	nothing_is_left();
}

static void all_kinds_at_once(void **state)
{
	struct holder h = hold(ALL_KINDS, NULL);
	struct executor *e = start((struct executor_spec) { .pid = h.pid, .enter = ALL_KINDS });
	char uids[64];

	check_in(e, h.pid, ALL_KINDS);
	assert_int_equal(call(e, own_pid, NULL, 0, NULL, 0), 2);
	assert_int_equal(call(e, own_uid, NULL, 0, NULL, 0), 0);
	status_line(executor_pid(e), "Uid:", uids, sizeof(uids));
	assert_string_equal(uids, "\t100000\t100000\t100000\t100000");
	status_line(executor_pid(e), "CapEff:", uids, sizeof(uids));
	assert_true(strspn(uids, "\t0123456789abcdef") == strlen(uids) && strtoull(uids, NULL, 16) > 0xffffffff);
	executor_end(e);
	let_go(&h);
	nothing_is_left();
}

/* By descriptors, of a task that is gone; some belong to the user namespace of before, some to the new one. */
static void by_descriptor(void **state)
{
	struct holder outer = hold(CLONE_NEWUTS | CLONE_NEWIPC, NULL), inner = hold(CLONE_NEWUSER | CLONE_NEWNET, NULL);
	struct ns_numbers there, utsipc = numbers_of(outer.pid), usernet = numbers_of(inner.pid);
	int ns[] = { open_ns(outer.pid, "uts"), open_ns(inner.pid, "net"), open_ns(inner.pid, "user"),
		     open_ns(outer.pid, "ipc"), open_ns(getpid(), "mnt") };
	struct executor *e;

	let_go(&outer);
	let_go(&inner);
	e = start((struct executor_spec) { .ns = ns, .n_ns = ARRAY_SIZE(ns) });
	there = numbers_in(e);
	for (size_t i = 0; i < N_KINDS; i++) {
		uint64_t kind = ns_kinds[i].kind;
		struct ns_numbers *from = kind & (CLONE_NEWUTS | CLONE_NEWIPC) ? &utsipc : &usernet;

		assert_int_equal(there.ino[i], from->ino[i]);
	}
	for (size_t i = 0; i < ARRAY_SIZE(ns); i++)
		close(ns[i]);
	executor_end(e);
	nothing_is_left();
}

/* Those that it is in already need no permission. */
static void own_namespaces(void **state)
{
	struct executor *e = start((struct executor_spec) { .pid = getpid(), .enter = ALL_KINDS });

	check_in(e, getpid(), 0);
	executor_end(e);
}

static void what_cannot_be(void **state)
{
	struct executor *e = NULL;
	struct holder h = hold(CLONE_NEWNET, NULL);
	int fd = open("/", O_PATH | O_CLOEXEC);

	assert_int_equal(executor_start(&(struct executor_spec) { .pid = getpid(), .enter = 1ULL << 40 }, &e), -EINVAL);
	assert_int_equal(executor_start(&(struct executor_spec) { .ns = &fd, .n_ns = 1 }, &e), -EBADF);
	assert_int_equal(executor_start(&(struct executor_spec) { .ns = &fd, .n_ns = 1000 }, &e), -EINVAL);
	assert_int_equal(executor_start(&(struct executor_spec) { .make = CLONE_NEWUSER | CLONE_VM }, &e), -EINVAL);
	let_go(&h);
	assert_int_equal(executor_start(&(struct executor_spec) { .pid = h.pid, .enter = CLONE_NEWNET }, &e), -ENOENT);
	assert_null(e);
	close(fd);
	nothing_is_left();
}

/* ---- what is done there ---- */

static int make_socket(struct executor_job *job)
{
	job->out[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	job->n_out = job->out[0] >= 0;
	return job->out[0] < 0 ? -errno : 0;
}

static bool loopback_is_up(int sock)
{
	struct ifreq r = { .ifr_name = "lo" };

	assert_int_equal(ioctl(sock, SIOCGIFFLAGS, &r), 0);
	return r.ifr_flags & IFF_UP;
}

static void loopback_up(void)
{
	int sock = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq r = { .ifr_name = "lo", .ifr_flags = IFF_UP };

	if (ioctl(sock, SIOCSIFFLAGS, &r))
		_exit(1);
	close(sock);
}

static void sockets_of_other_networks(void **state)
{
	struct holder h = hold(CLONE_NEWNET, loopback_up);
	struct executor *theirs = start((struct executor_spec) { .pid = h.pid, .enter = CLONE_NEWNET }),
	                *fresh = start((struct executor_spec) { .make = CLONE_NEWNET });
	int a = call_for_fd(theirs, make_socket), b = call_for_fd(fresh, make_socket), ns;
	struct stat st;

	assert_true(loopback_is_up(a));
	assert_false(loopback_is_up(b));
	ns = ioctl(a, SIOCGSKNS);
	assert_true(ns >= 0 && fstat(ns, &st) == 0);
	assert_int_equal(st.st_ino, ns_number(h.pid, "net"));
	close(ns);
	ns = ioctl(b, SIOCGSKNS);
	assert_true(ns >= 0 && fstat(ns, &st) == 0);
	assert_int_equal(st.st_ino, ns_number(executor_pid(fresh), "net"));
	close(ns);
	close(a);
	close(b);
	executor_end(theirs);
	executor_end(fresh);
	let_go(&h);
	nothing_is_left();
}

static int open_hidden(struct executor_job *job)
{
	job->out[0] = open(job->arg, O_RDONLY | O_CLOEXEC);
	job->n_out = job->out[0] >= 0;
	return job->out[0] < 0 ? -errno : 0;
}

static int open_there(struct executor *e, const char *path)
{
	int fd = -1, err;
	struct executor_call c = {
		.fn = open_hidden, .arg = path, .arg_len = strlen(path) + 1, .out = &fd, .n_out = 1
	};

	err = executor_run(e, &c);
	return err ?: fd;
}

static void mount_hidden(void)
{
	int fd;

	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) || mount("hidden", "/tmp", "tmpfs", 0, NULL) ||
	    mkdir("/tmp/root", 0755))
		_exit(1);
	fd = open("/tmp/root/file", O_WRONLY | O_CREAT, 0644);
	if (write(fd, "hidden", 6) != 6)
		_exit(1);
	close(fd);
}

static void read_hidden(int fd)
{
	char text[8] = "";

	assert_true(fd >= 0);
	assert_int_equal(read(fd, text, sizeof(text)), 6);
	assert_string_equal(text, "hidden");
	close(fd);
}

static void files_of_other_mounts(void **state)
{
	struct holder h = hold(CLONE_NEWNS, mount_hidden);
	struct executor_spec spec = { .pid = h.pid, .enter = CLONE_NEWNS };
	struct executor *e = start(spec), *below;
	char path[64];

	assert_int_equal(open("/tmp/root/file", O_RDONLY), -1);
	read_hidden(open_there(e, "/tmp/root/file"));
	assert_int_equal(open_there(e, "/file"), -ENOENT);
	snprintf(path, sizeof(path), "/proc/%d/root/tmp/root", h.pid);
	spec.root = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	below = start(spec);
	read_hidden(open_there(below, "/file"));
	read_hidden(open_there(below, "file"));
	assert_int_equal(open_there(below, "/tmp"), -ENOENT);
	assert_int_equal(descriptors_of(below), bare_descriptors);
	close(spec.root);
	executor_end(below);
	executor_end(e);
	let_go(&h);
	nothing_is_left();
}

static int set_hostname(struct executor_job *job)
{
	return sethostname(job->arg, job->arg_len) ? -errno : 0;
}

static void names_of_hosts(void **state)
{
	struct executor *e = start((struct executor_spec) { .make = CLONE_NEWUTS });
	struct utsname before, after;

	uname(&before);
	assert_int_equal(call(e, set_hostname, "elsewhere", 9, NULL, 0), 0);
	uname(&after);
	assert_string_equal(before.nodename, after.nodename);
	executor_end(e);
}

/* ---- user namespaces ---- */

static int read_own_map(struct executor_job *job)
{
	int fd = open("/proc/self/uid_map", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, job->result, job->result_len - 1);

	close(fd);
	return n < 0 ? -errno : 0;
}

static void check_map(struct executor *e, unsigned inside, unsigned outside, unsigned count)
{
	char text[256];
	unsigned a, b, n;

	assert_int_equal(call(e, read_own_map, NULL, 0, text, sizeof(text)), 0);
	assert_int_equal(sscanf(text, "%u %u %u", &a, &b, &n), 3);
	assert_true(a == inside && b == outside && n == count);
}

/* Which user namespace owns one of e's namespaces. */
static uint64_t owner_of(struct executor *e, const char *name)
{
	int fd = open_ns(executor_pid(e), name), owner = ioctl(fd, NS_GET_USERNS);
	struct stat st;

	assert_true(owner >= 0 && fstat(owner, &st) == 0);
	close(owner);
	close(fd);
	return st.st_ino;
}

static void new_user_namespaces_nested(void **state)
{
	struct executor_spec spec = { .make = CLONE_NEWUSER | CLONE_NEWNET, .uid_map = "0 100000 65536\n" };
	struct executor *one, *two, *three;
	char uids[64];

	spec.gid_map = spec.uid_map;
	one = start(spec);
	spec.from = one;
	spec.uid_map = spec.gid_map = "0 1000 1000\n2000 5 1\n";
	two = start(spec);
	spec.from = two;
	spec.uid_map = spec.gid_map = "0 10 10\n";
	spec.deny_setgroups = true;
	three = start(spec);
	check_map(one, 0, 100000, 65536);
	check_map(two, 0, 1000, 1000);
	check_map(three, 0, 10, 10);
	assert_int_equal(call(three, own_uid, NULL, 0, NULL, 0), 0);
	status_line(executor_pid(three), "Uid:", uids, sizeof(uids));
	assert_string_equal(uids, "\t101010\t101010\t101010\t101010");
	status_line(executor_pid(three), "Gid:", uids, sizeof(uids));
	assert_string_equal(uids, "\t101010\t101010\t101010\t101010");
	assert_int_equal(owner_of(three, "net"), ns_number(executor_pid(three), "user"));
	assert_int_equal(owner_of(two, "net"), ns_number(executor_pid(two), "user"));
	assert_int_not_equal(owner_of(two, "net"), owner_of(three, "net"));
	executor_end(one);
	assert_int_equal(call(three, own_uid, NULL, 0, NULL, 0), 0);
	executor_end(three);
	executor_end(two);
	nothing_is_left();
}

/* As criu of an ordinary user does it. */
static void rootless(void **state)
{
	pid_t pid = fork();
	int status;

	if (!pid) {
		struct executor_spec spec = { .make = CLONE_NEWUSER | CLONE_NEWNET | CLONE_NEWNS };
		struct executor *e;

		syscall(SYS_setgroups, 0, NULL);
		if (syscall(SYS_setresgid, 65534, 65534, 65534) || syscall(SYS_setresuid, 65534, 65534, 65534))
			_exit(1);
		spec.uid_map = spec.gid_map = "0 65534 1\n";
		spec.deny_setgroups = true;
		if (executor_start(&spec, &e) || call(e, own_uid, NULL, 0, NULL, 0) != 0)
			_exit(2);
		close(call_for_fd(e, make_socket));
		executor_end(e);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

/* A copy of a mount namespace under another user namespace: only an executor in the first one can make it. */
static void a_mount_namespace_under_another_user(void **state)
{
	struct holder h = hold(CLONE_NEWNS, mount_hidden);
	struct executor *outer = start((struct executor_spec) { .pid = h.pid, .enter = CLONE_NEWNS }), *inner;
	struct executor_spec spec = { .from = outer, .make = CLONE_NEWUSER | CLONE_NEWNS };

	spec.uid_map = spec.gid_map = "0 100000 65536\n";
	inner = start(spec);
	read_hidden(open_there(inner, "/tmp/root/file"));
	assert_int_equal(owner_of(inner, "mnt"), ns_number(executor_pid(inner), "user"));
	assert_int_not_equal(ns_number(executor_pid(inner), "mnt"), ns_number(h.pid, "mnt"));
	executor_end(outer);
	executor_end(inner);
	let_go(&h);
	nothing_is_left();
}

/* ---- pid namespaces ---- */

static void pid_namespaces_nested(void **state)
{
	struct executor *first = start((struct executor_spec) { .make = CLONE_NEWPID }), *one, *two, *e = NULL;
	char pids[64];
	int err;

	assert_int_equal(call(first, own_pid, NULL, 0, NULL, 0), 1);
	assert_int_equal(executor_start(&(struct executor_spec) { .from = first }, &e), -EINVAL);
	one = start((struct executor_spec) { .pid = executor_pid(first), .enter = CLONE_NEWPID });
	assert_int_equal(call(one, own_pid, NULL, 0, NULL, 0), 2);
	two = start((struct executor_spec) { .from = one, .make = CLONE_NEWPID });
	assert_int_equal(call(two, own_pid, NULL, 0, NULL, 0), 1);
	status_line(executor_pid(two), "NSpid:", pids, sizeof(pids));
	assert_int_equal(atoi(pids + 1), executor_pid(two));
	assert_string_equal(strrchr(pids, '\t'), "\t1");
	assert_int_equal(ns_number(executor_pid(two), "pid"), numbers_in(two).ino[PID_KIND]);
	executor_end(two);
	/* All in the namespace are killed with its first process, which is gone when they have been waited for. */
	kill(executor_pid(first), SIGKILL);
	while ((err = call(one, own_pid, NULL, 0, NULL, 0)) == 2)
		usleep(100);
	assert_int_equal(err, -EFAULT);
	executor_end(one);
	executor_end(first);
	nothing_is_left();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_kind_by_itself),
		cmocka_unit_test(all_kinds_at_once),
		cmocka_unit_test(by_descriptor),
		cmocka_unit_test(own_namespaces),
		cmocka_unit_test(what_cannot_be),
		cmocka_unit_test(sockets_of_other_networks),
		cmocka_unit_test(files_of_other_mounts),
		cmocka_unit_test(names_of_hosts),
		cmocka_unit_test(new_user_namespaces_nested),
		cmocka_unit_test(rootless),
		cmocka_unit_test(a_mount_namespace_under_another_user),
		cmocka_unit_test(pid_namespaces_nested),
	};

	log_init(-1, 0);
	own_descriptors = descriptors_of_ours();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
