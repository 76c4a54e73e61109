/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * User namespaces of the tree's own: other ids, the same ones, a single one, no map at all, one in another, one without
 * a task in between, one of an ordinary user; processes with several mapped ids, groups that have no number inside,
 * fewer capabilities, threads, a zombie, other namespaces that belong to the user namespace or to root outside. Each
 * process looks at itself, and does what only its rights allow.
 *
 * zdtm: needs-root
 * zdtm: iters 3
 * zdtm: no-userns makes maps of many ids
 * zdtm: victim points random
 */
#include <grp.h>
#include <linux/capability.h>
#include <linux/nsfs.h>
#include <pthread.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/utsname.h>

#include "zdtm.h"

#define KINDS  9
#define TEXT   4096
#define OTHERS "0 100000 65536\n"

/* What a process sees of itself. */
struct view {
	char uid_map[256], gid_map[256], setgroups[16], status[TEXT];
	uid_t uid[3], owner;
	gid_t gid[3], groups[64];
	int n_groups;
	struct __user_cap_data_struct caps[2];
	ino_t inner_of; /* 1: another user namespace is around its uts namespace */
};

static struct shared {
	int ready, asked, answered, end;
	struct view before[KINDS];
} * sh;

static void read_text(const char *path, char *text, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, text, size - 1);

	zdtm_check(n >= 0, "%s: %s", path, strerror(errno));
	text[n < 0 ? 0 : n] = 0;
	close(fd);
}

/* The lines that name rights. */
static void read_status(char *text)
{
	char all[TEXT], *line, *at = all;
	static const char *const wanted[] = { "Uid:", "Gid:", "Groups:", "Cap", "NoNewPrivs:", "Seccomp:" };

	read_text("/proc/self/status", all, sizeof(all));
	*text = 0;
	while ((line = strsep(&at, "\n")))
		for (size_t i = 0; i < sizeof(wanted) / sizeof(*wanted); i++)
			if (!strncmp(line, wanted[i], strlen(wanted[i])))
				strcat(strcat(text, line), "\n");
}

static int owns(const char *ns)
{
	int fd = open(ns, O_RDONLY | O_CLOEXEC), owner = ioctl(fd, NS_GET_USERNS);
	struct stat its, own = { 0 };
	int same = owner >= 0 && !fstat(owner, &its) && !stat("/proc/self/ns/user", &own) && its.st_ino == own.st_ino;

	close(fd);
	close(owner);
	return same;
}

static void look(struct view *v)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	int fd = open("/proc/self/ns/user", O_RDONLY | O_CLOEXEC);

	memset(v, 0, sizeof(*v));
	read_text("/proc/self/uid_map", v->uid_map, sizeof(v->uid_map));
	read_text("/proc/self/gid_map", v->gid_map, sizeof(v->gid_map));
	read_text("/proc/self/setgroups", v->setgroups, sizeof(v->setgroups));
	read_status(v->status);
	zdtm_check(!getresuid(&v->uid[0], &v->uid[1], &v->uid[2]) && !getresgid(&v->gid[0], &v->gid[1], &v->gid[2]),
	           "getresuid, getresgid");
	v->n_groups = getgroups(64, v->groups);
	zdtm_check(!syscall(SYS_capget, &head, v->caps), "capget");
	zdtm_check(!ioctl(fd, NS_GET_OWNER_UID, &v->owner), "NS_GET_OWNER_UID");
	v->inner_of = (ino_t)owns("/proc/self/ns/uts");
	close(fd);
}

static void compare(int kind)
{
	struct view now, *was = &sh->before[kind];

	look(&now);
	zdtm_check(!strcmp(now.uid_map, was->uid_map), "%d: uid_map is %s, was %s", kind, now.uid_map, was->uid_map);
	zdtm_check(!strcmp(now.gid_map, was->gid_map), "%d: gid_map is %s, was %s", kind, now.gid_map, was->gid_map);
	zdtm_check(!strcmp(now.setgroups, was->setgroups), "%d: setgroups: %s", kind, now.setgroups);
	zdtm_check(!strcmp(now.status, was->status), "%d: status is %s, was %s", kind, now.status, was->status);
	zdtm_check(!memcmp(&now, was, sizeof(now)), "%d: ids, groups, capabilities or owners: owner %u %u, uts %d %d",
	           kind, now.owner, was->owner, (int)now.inner_of, (int)was->inner_of);
}

/* ---- making ---- */

static void write_text(const char *format, pid_t pid, const char *text)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), format, pid);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	zdtm_must(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text) && !close(fd));
}

/* The caller is in a new user namespace afterwards, whose maps a child of before has written. */
static void enter_new(uint64_t also, const char *uids, const char *gids, const char *setgroups)
{
	pid_t pid = getpid(), writer;
	int go[2], status;
	char c;

	zdtm_must(!pipe(go) && (writer = fork()) >= 0);
	if (!writer) {
		zdtm_must(read(go[0], &c, 1) == 1);
		if (setgroups)
			write_text("/proc/%d/setgroups", pid, setgroups);
		if (uids)
			write_text("/proc/%d/uid_map", pid, uids);
		if (gids)
			write_text("/proc/%d/gid_map", pid, gids);
		_exit(0);
	}
	zdtm_must(!unshare((int)(CLONE_NEWUSER | also)) && write(go[1], "", 1) == 1);
	zdtm_must(waitpid(writer, &status, 0) == writer && !status && !close(go[0]) && !close(go[1]));
}

static void become(uid_t uid, gid_t gid)
{
	zdtm_must(!setresgid(gid, gid, gid) && !setresuid(uid, uid, uid));
	zdtm_must(!prctl(PR_SET_DUMPABLE, 1));
}

/* ---- kinds ---- */

static void other_ids(void)
{
	static const gid_t groups[] = { 5, 6, 33 };

	enter_new(CLONE_NEWUTS, OTHERS, OTHERS, NULL);
	zdtm_must(!setgroups(3, groups) && !sethostname("inside", 6));
	become(0, 0);
}

static void one_of_many(void)
{
	enter_new(0, "0 100000 1000\n5000 300000 10\n", "7 200000 100\n", NULL);
	zdtm_must(!setgroups(0, NULL) && !setresgid(10, 11, 12));
	zdtm_must(!prctl(PR_SET_KEEPCAPS, 1) && !setresuid(5000, 5009, 3) && !prctl(PR_SET_DUMPABLE, 1));
}

static void no_map(void)
{
	enter_new(0, NULL, NULL, NULL);
}

static void ordinary(void)
{
	static const gid_t groups[] = { 27, 1000, 4000 };

	zdtm_must(!setgroups(3, groups));
	become(1000, 1000);
	zdtm_must(!unshare(CLONE_NEWUSER));
	write_text("/proc/%d/setgroups", getpid(), "deny");
	write_text("/proc/%d/uid_map", getpid(), "0 1000 1\n");
	write_text("/proc/%d/gid_map", getpid(), "0 1000 1\n");
}

/* Twice: the namespace in between has no process. */
static void nested_twice(void)
{
	ordinary();
	zdtm_must(!unshare(CLONE_NEWUSER));
	write_text("/proc/%d/setgroups", getpid(), "deny");
	write_text("/proc/%d/uid_map", getpid(), "42 0 1\n");
	write_text("/proc/%d/gid_map", getpid(), "43 0 1\n");
}

static void root_outside_owns_uts(void)
{
	zdtm_must(!unshare(CLONE_NEWUTS));
	enter_new(0, "0 0 1\n", "0 0 1\n", "deny");
}

static void without_caps(void)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2] = { { 1 << CAP_CHOWN, 1 << CAP_CHOWN | 1 << CAP_SETUID, 0 } };

	enter_new(0, OTHERS, OTHERS, NULL);
	zdtm_must(!setgroups(0, NULL));
	become(0, 0);
	zdtm_must(!prctl(PR_CAPBSET_DROP, CAP_SYS_ADMIN) && !prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
	zdtm_must(!syscall(SYS_capset, &head, data));
}

/* A child in a namespace of its own below its parent's. */
static void with_groups_outside(void)
{
	static const gid_t groups[] = { 100007, 27 };

	zdtm_must(!setgroups(2, groups));
	enter_new(0, OTHERS, OTHERS, NULL);
	zdtm_must(!setresgid(0, 0, 0) && !setresuid(0, 0, 0) && !prctl(PR_SET_DUMPABLE, 1));
}

static void the_same_ids(void)
{
	enter_new(0, "0 0 4294967295\n", "0 0 4294967295\n", NULL);
	become(1234, 5678);
}

static void (*const kinds[])(void) = { other_ids,    one_of_many,         no_map,
	                               ordinary,     nested_twice,        root_outside_owns_uts,
	                               without_caps, with_groups_outside, the_same_ids };

/* ---- what is done inside ---- */

static void *sleep_on(void *end)
{
	while (!__atomic_load_n((int *)end, __ATOMIC_SEQ_CST))
		zdtm_nap();
	return NULL;
}

/* What a process with all rights in its namespace may do: become somebody else in it, and not outside. */
static void try_rights(void)
{
	pid_t pid = fork();
	int status;

	if (!pid) {
		zdtm_check(!sethostname("inside", 6), "sethostname");
		zdtm_check(!setresuid(33, 33, 33) && setresuid(0, 0, 0), "becoming user 33");
		zdtm_check(sethostname("x", 1), "sethostname by user 33");
		_exit(0);
	}
	zdtm_check(waitpid(pid, &status, 0) == pid && !status, "its rights: %x", status);
}

static void try_files(int kind, int file, const int ends[2])
{
	struct stat st;
	char path[40], c;
	int again;

	zdtm_check(!fstat(file, &st) && st.st_uid == geteuid() && st.st_gid == getegid() && !st.st_nlink,
	           "%d: a deleted file belongs to %u:%u", kind, st.st_uid, st.st_gid);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", ends[0]);
	again = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	zdtm_check(again >= 0 || kind == 2 || kind == 6, "%d: a pipe by its path: %s", kind, strerror(errno));
	zdtm_check(write(ends[1], "a", 1) == 1 && read(ends[0], &c, 1) == 1, "%d: the pipe", kind);
	close(again);
}

static void try_peer(int kind, int sock, const struct ucred *was)
{
	struct ucred now;
	socklen_t len = sizeof(now);

	zdtm_check(!getsockopt(sock, SOL_SOCKET, SO_PEERCRED, &now, &len) && !memcmp(&now, was, sizeof(now)),
	           "%d: SO_PEERCRED: %d %u:%u, was %d %u:%u", kind, now.pid, now.uid, now.gid, was->pid, was->uid,
	           was->gid);
}

static void answer(int kind, int *seen, int file, const int ends[2], int sock, const struct ucred *peer)
{
	int asked = __atomic_load_n(&sh->asked, __ATOMIC_SEQ_CST);

	if (asked == *seen)
		return;
	*seen = asked;
	compare(kind);
	try_files(kind, file, ends);
	try_peer(kind, sock, peer);
	if (kind == 0)
		try_rights();
	__atomic_add_fetch(&sh->answered, 1, __ATOMIC_SEQ_CST);
}

static void be(int kind)
{
	int seen = 0, ends[2], socks[2], file;
	struct ucred peer;
	socklen_t len = sizeof(peer);
	char name[16];
	pthread_t thread;

	kinds[kind]();
	snprintf(name, sizeof(name), "file-%d", kind);
	file = open(name, O_CREAT | O_RDWR | O_CLOEXEC, 0640);
	zdtm_must(!pipe2(ends, O_CLOEXEC) && file >= 0 && write(file, "text", 4) == 4 && !unlink(name));
	zdtm_must(!socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, socks));
	zdtm_must(!getsockopt(socks[0], SOL_SOCKET, SO_PEERCRED, &peer, &len));
	if (kind != 2 && !fork())
		_exit(3); /* a zombie */
	if (kind == 0 || kind == 3)
		zdtm_must(!pthread_create(&thread, NULL, sleep_on, &sh->end));
	look(&sh->before[kind]);
	__atomic_add_fetch(&sh->ready, 1, __ATOMIC_SEQ_CST);
	for (; !__atomic_load_n(&sh->end, __ATOMIC_SEQ_CST); zdtm_nap())
		answer(kind, &seen, file, ends, socks[0], &peer);
	if (kind == 0 || kind == 3)
		pthread_join(thread, NULL);
	_exit(0);
}

#define N ((int)(sizeof(kinds) / sizeof(*kinds)))

static void ask_all(void)
{
	__atomic_store_n(&sh->answered, 0, __ATOMIC_SEQ_CST);
	__atomic_add_fetch(&sh->asked, 1, __ATOMIC_SEQ_CST);
	while (__atomic_load_n(&sh->answered, __ATOMIC_SEQ_CST) < N)
		zdtm_nap();
}

int main(void)
{
	int status;

	umask(0);
	sh = mmap(NULL, sizeof(*sh), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	zdtm_must(sh != MAP_FAILED);
	for (int i = 0; i < N; i++) {
		pid_t pid = fork();

		zdtm_must(pid >= 0);
		if (!pid)
			be(i);
	}
	while (__atomic_load_n(&sh->ready, __ATOMIC_SEQ_CST) < N) {
		zdtm_must(!waitpid(-1, NULL, WNOHANG));
		zdtm_nap();
	}
	zdtm_ready();
	while (zdtm_asked()) {
		ask_all();
		zdtm_answer();
	}
	ask_all();
	__atomic_store_n(&sh->end, 1, __ATOMIC_SEQ_CST);
	for (int i = 0; i < N; i++)
		zdtm_check(wait(&status) > 0 && !status, "one has ended with %x", status);
	zdtm_pass();
}
