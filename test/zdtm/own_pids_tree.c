/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A tree that has every number from its root's on, 35 of them, as after a boot or in a container: processes with and
 * without a group of their own, threads, zombies, and a session whose leader is gone. Only two numbers in the middle
 * are free, ROOM and ROOM + 1 after the root's, for a criu that restores it. Of its own namespace of pids: own_pids.py.
 *
 * zdtm: no-userns writes to ns_last_pid
 */
#include <arpa/inet.h>
#include <pthread.h>
#include <sys/prctl.h>

#include "zdtm.h"

#define NUMBERS 35
#define ROOM    17
#define BYTES   (3 << 20)

enum { CHILD, THREAD, LEADER, ZOMBIE, KINDS };

static pid_t root;
static unsigned char *memory;

static void next_is(pid_t pid)
{
	int fd = open("/proc/sys/kernel/ns_last_pid", O_WRONLY | O_CLOEXEC);

	zdtm_must(fd >= 0 && dprintf(fd, "%d", pid - 1) > 0);
	close(fd);
}

static void look_and_end(int sig)
{
	unsigned char want = (unsigned char)getpid();

	for (size_t i = 0; i < BYTES; i += 4096)
		if (memory[i] != want)
			_exit(1);
	_exit(want & 0x7f);
}

static void live(void)
{
	signal(SIGTERM, look_and_end);
	for (size_t i = 0; i < BYTES; i += 4096)
		memory[i] = (unsigned char)getpid();
	for (;;)
		pause();
}

static void *thread(void *arg)
{
	*(pid_t *)arg = (pid_t)syscall(SYS_gettid);
	for (;;)
		pause();
	return NULL;
}

static void make(pid_t pid, int kind)
{
	static pid_t tids[NUMBERS];
	pid_t *tid = &tids[pid - root], made;
	pthread_t t;

	next_is(pid);
	if (kind == THREAD) {
		zdtm_must(!pthread_create(&t, NULL, thread, tid));
		while (!__atomic_load_n(tid, __ATOMIC_ACQUIRE))
			zdtm_nap();
		zdtm_must(*tid == pid);
		return;
	}
	made = fork();
	if (!made && kind == ZOMBIE)
		_exit(pid & 0x7f);
	if (!made && kind == LEADER)
		setpgid(0, 0);
	if (!made)
		live();
	zdtm_must(made == pid);
}

/* Its leader has the first number and is gone; its member, with the second, has come to the root. */
static void make_session(pid_t leader)
{
	pid_t made;

	next_is(leader);
	made = fork();
	if (!made) {
		setsid();
		next_is(leader + 1);
		made = fork();
		if (!made)
			live();
		_exit(made != leader + 1);
	}
	zdtm_must(made == leader);
	zdtm_must(waitpid(made, &(int) { 0 }, 0) == leader);
	zdtm_must(getsid(leader + 1) == leader);
}

static void connect_to(int port)
{
	struct sockaddr_in to = { .sin_family = AF_INET,
		                  .sin_port = htons((uint16_t)port),
		                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	zdtm_must(fd >= 0 && !connect(fd, (struct sockaddr *)&to, sizeof(to)));
}

static int kind_of(pid_t pid)
{
	return (pid - root) % KINDS;
}

static int is_room(pid_t pid)
{
	return pid == root + ROOM || pid == root + ROOM + 1;
}

static void look(pid_t pid)
{
	int kind = kind_of(pid), status = 0, wanted = pid & 0x7f;

	if (kind == THREAD) {
		zdtm_check(!syscall(SYS_tgkill, root, pid, 0), "thread %d: %s", pid, strerror(errno));
		return;
	}
	zdtm_check(getpgid(pid) == (kind == LEADER ? pid : root), "pid %d is in group %d", pid, getpgid(pid));
	if (kind != ZOMBIE)
		kill(pid, SIGTERM);
	zdtm_check(waitpid(pid, &status, 0) == pid, "pid %d: %s", pid, strerror(errno));
	zdtm_check(WIFEXITED(status) && WEXITSTATUS(status) == wanted, "pid %d: status 0x%x", pid, status);
}

int main(int argc, char **argv)
{
	int status = 0;

	root = getpid();
	memory = malloc(BYTES);
	zdtm_must(memory && !prctl(PR_SET_CHILD_SUBREAPER, 1));
	if (argc > 1)
		connect_to(atoi(argv[1]));
	make_session(root + 1);
	for (pid_t pid = root + 3; pid < root + NUMBERS; pid++)
		if (!is_room(pid))
			make(pid, kind_of(pid));
	usleep(50000);
	zdtm_ready();
	zdtm_wait();
	zdtm_check(!alarm(0), "it has an alarm of criu's caller");
	zdtm_check(getsid(root + 2) == root + 1, "pid %d is in session %d", root + 2, getsid(root + 2));
	kill(root + 2, SIGTERM);
	zdtm_check(waitpid(root + 2, &status, 0) == root + 2 && status == ((root + 2) & 0x7f) << 8, "status 0x%x",
	           status);
	for (pid_t pid = root + 3; pid < root + NUMBERS; pid++)
		if (!is_room(pid))
			look(pid);
	zdtm_pass();
}
