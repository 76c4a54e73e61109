/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Files in /proc: of itself, of its parent and child, of threads, of a zombie, directories, positions, O_PATH links; of
 * processes and a thread of one that are gone, two descriptions and a duplicate; of the machine and of the network.
 *
 * zdtm: flavour ns
 * zdtm: iters 2
 * zdtm: flavour no pidns
 */
#include <dirent.h>
#include <pthread.h>

#include "zdtm.h"

#define TEXT 20000

static int proc(pid_t pid, pid_t tid, const char *name, int flags)
{
	char path[80];
	int fd;

	if (tid)
		snprintf(path, sizeof(path), "/proc/%d/task/%d/%s", pid, tid, name);
	else
		snprintf(path, sizeof(path), "/proc/%d/%s", pid, name);
	fd = open(path, flags);
	zdtm_must(fd >= 0);
	return fd;
}

static int link_of(int fd, char *link)
{
	char path[40];
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	n = readlink(path, link, 199);
	link[n < 0 ? 0 : n] = 0;
	return n > 0;
}

static int value_of(int fd, const char *key)
{
	static char text[TEXT];
	ssize_t n = pread(fd, text, sizeof(text) - 1, 0);
	char *at;

	text[n < 0 ? 0 : n] = 0;
	at = strstr(text, key);
	return at ? atoi(at + strlen(key)) : -1;
}

static int is_gone(int fd)
{
	char c;

	return pread(fd, &c, 1, 0) == -1 && errno == ESRCH;
}

static int has_entry(int dir, const char *name)
{
	struct stat st;

	return !fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW);
}

static struct {
	pid_t tid;
	int end;
} threads[2];

static void *thread(void *arg)
{
	int i = (int)(intptr_t)arg;

	__atomic_store_n(&threads[i].tid, (pid_t)syscall(SYS_gettid), __ATOMIC_RELEASE);
	while (!__atomic_load_n(&threads[i].end, __ATOMIC_ACQUIRE))
		zdtm_nap();
	return NULL;
}

static pthread_t start_thread(int i)
{
	pthread_t t;

	zdtm_must(!pthread_create(&t, NULL, thread, (void *)(intptr_t)i));
	while (!__atomic_load_n(&threads[i].tid, __ATOMIC_ACQUIRE))
		zdtm_nap();
	return t;
}

static int let_go[2];

/* Looks at its parent, by a descriptor that only it has. */
static pid_t make_child(void)
{
	pid_t parent = getpid(), pid;
	char c;
	int fd;

	zdtm_must(!pipe2(let_go, O_CLOEXEC) && (pid = fork()) >= 0);
	if (pid)
		return pid;
	close(let_go[1]);
	fd = proc(parent, 0, "status", O_RDONLY);
	zdtm_touch("child ready");
	zdtm_wait();
	zdtm_check(value_of(fd, "\nPid:\t") == parent, "the parent's status in the child");
	zdtm_check(read(let_go[0], &c, 1) == 0, "the child's pipe");
	_exit(0);
}

/* A process that has a second thread, whose number it tells. */
static pid_t make_mortal(pid_t *tid)
{
	int pipes[2];
	pid_t pid;

	zdtm_must(!pipe(pipes));
	pid = fork();
	zdtm_must(pid >= 0);
	if (!pid) {
		start_thread(1);
		zdtm_must(write(pipes[1], &threads[1].tid, sizeof(*tid)) == sizeof(*tid));
		for (;;)
			pause();
	}
	zdtm_must(read(pipes[0], tid, sizeof(*tid)) == sizeof(*tid));
	close(pipes[0]);
	close(pipes[1]);
	return pid;
}

static int status, statm, again, maps, mem, dir, fds, task, cmdline, exe, thread_stat, kid_dir, undead, oom;
static int gone, gone2, gone_dup, gone_dir, gone_fds, gone_thread, gone_path;
static int uptime, sysctl, tcp, net_dir, sys_dir, root;
static char before[24][200];
static int *const all[] = { &status, &statm,   &again,   &maps,      &mem,     &dir,         &fds,      &task,
	                    &exe,    &kid_dir, &undead,  &gone,      &gone2,   &gone_dir,    &gone_fds, &gone_thread,
	                    &uptime, &sysctl,  &net_dir, &gone_path, &sys_dir, &thread_stat, &cmdline,  &root };

static void open_living(pid_t kid, pid_t zombie)
{
	status = proc(getpid(), 0, "status", O_RDONLY | O_CLOEXEC);
	statm = open("/proc/self/statm", O_RDONLY | O_NONBLOCK);
	again = open("/proc/self/status", O_RDONLY);
	zdtm_must(lseek(again, 6, SEEK_SET) == 6);
	maps = open("/proc/self/maps", O_RDONLY);
	mem = open("/proc/self/mem", O_RDWR);
	zdtm_must(lseek(mem, (off_t)(uintptr_t)&status, SEEK_SET) > 0);
	dir = open("/proc/self", O_RDONLY | O_DIRECTORY);
	fds = open("/proc/self/fd", O_RDONLY | O_DIRECTORY);
	task = open("/proc/self/task", O_RDONLY | O_DIRECTORY);
	cmdline = open("/proc/thread-self/cmdline", O_RDONLY);
	exe = open("/proc/self/exe", O_PATH | O_NOFOLLOW);
	thread_stat = proc(getpid(), threads[0].tid, "stat", O_RDONLY);
	kid_dir = proc(kid, 0, "", O_PATH);
	undead = proc(zombie, 0, "status", O_RDONLY);
	oom = proc(kid, 0, "oom_score_adj", O_RDWR);
}

static void open_gone(void)
{
	pid_t tid, mortal = make_mortal(&tid), other = make_mortal(&tid);

	gone = proc(mortal, 0, "status", O_RDONLY);
	zdtm_must(lseek(gone, 3, SEEK_SET) == 3);
	gone2 = proc(mortal, 0, "maps", O_RDONLY | O_CLOEXEC);
	gone_dup = dup(gone);
	gone_dir = proc(mortal, 0, "", O_RDONLY | O_DIRECTORY);
	gone_fds = proc(mortal, 0, "fd", O_RDONLY | O_DIRECTORY);
	gone_path = proc(mortal, 0, "cmdline", O_PATH);
	gone_thread = proc(other, tid, "stat", O_RDONLY);
	zdtm_must(!kill(mortal, SIGKILL) && !kill(other, SIGKILL));
	zdtm_must(waitpid(mortal, NULL, 0) == mortal && waitpid(other, NULL, 0) == other);
}

static void open_others(void)
{
	uptime = open("/proc/uptime", O_RDONLY);
	sysctl = open("/proc/sys/kernel/ostype", O_RDONLY);
	sys_dir = open("/proc/sys/net", O_RDONLY | O_DIRECTORY);
	tcp = open("/proc/net/dev", O_RDONLY);
	net_dir = open("/proc/net", O_RDONLY | O_DIRECTORY);
	root = open("/proc", O_RDONLY | O_DIRECTORY);
	zdtm_must(uptime >= 0 && sysctl >= 0 && tcp >= 0 && net_dir >= 0 && sys_dir >= 0 && root >= 0);
}

static void check_living(pid_t kid, pid_t zombie)
{
	char buf[200];
	int word = 0;

	zdtm_check(value_of(status, "\nPid:\t") == getpid(), "its own status");
	zdtm_check(fcntl(status, F_GETFD) == FD_CLOEXEC && fcntl(statm, F_GETFL) & O_NONBLOCK, "flags");
	zdtm_check(lseek(again, 0, SEEK_CUR) == 6 && read(again, buf, 4) == 4 && !memcmp(buf, "proc", 4),
	           "the comm at position 6: %.4s", buf);
	zdtm_must(lseek(again, 6, SEEK_SET) == 6);
	zdtm_check(pread(maps, buf, 100, 0) > 20, "maps");
	zdtm_check(read(mem, &word, sizeof(word)) == sizeof(word) && word == status, "its memory");
	zdtm_must(lseek(mem, (off_t)(uintptr_t)&status, SEEK_SET) > 0);
	zdtm_check(has_entry(dir, "oom_adj") && has_entry(fds, "0"), "its directories");
	snprintf(buf, sizeof(buf), "%d/stat", threads[0].tid);
	zdtm_check(has_entry(task, buf), "its threads");
	zdtm_check(value_of(thread_stat, "") == threads[0].tid, "the thread's stat");
	zdtm_check(readlinkat(exe, "", buf, sizeof(buf)) > 0, "the link to its executable");
	zdtm_check(pread(cmdline, buf, sizeof(buf), 0) > 0, "its command line");
	snprintf(buf, sizeof(buf), "/proc/%d", kid);
	zdtm_check(has_entry(kid_dir, "fd/0"), "the child's directory");
	zdtm_check(value_of(undead, "\nPid:\t") == zombie, "the zombie's status");
	zdtm_check(pwrite(oom, "17", 2, 0) == 2 && value_of(oom, "") == 17, "the child's oom_score_adj");
}

static void check_gone(void)
{
	char c;

	zdtm_check(is_gone(gone) && is_gone(gone_dup) && is_gone(gone_thread), "a process that is gone is there");
	zdtm_check(pread(gone2, &c, 1, 0) <= 0, "mappings of a process that is gone");
	zdtm_check(!has_entry(gone_dir, "stat") && !has_entry(gone_fds, "0"), "its directories");
	zdtm_check(!syscall(SYS_kcmp, getpid(), getpid(), 0, gone, gone_dup), "what is shared");
}

int main(void)
{
	pid_t kid, zombie;
	siginfo_t si;
	char link[200];
	pthread_t t = start_thread(0);
	int wstatus;

	open_gone();
	kid = make_child();
	while (access("child ready", F_OK))
		zdtm_nap();
	zdtm_must((zombie = fork()) >= 0);
	if (!zombie)
		_exit(0);
	zdtm_must(!waitid(P_PID, zombie, &si, WEXITED | WNOWAIT));
	open_living(kid, zombie);
	open_others();
	for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++)
		zdtm_must(link_of(*all[i], before[i]));
	zdtm_ready();
	zdtm_wait();
	for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++)
		zdtm_check(link_of(*all[i], link) && !strcmp(link, before[i]), "was %s, is %s", before[i], link);
	check_living(kid, zombie);
	check_gone();
	zdtm_check(pread(uptime, link, 5, 0) == 5 && pread(sysctl, link, 6, 0) == 6 && !memcmp(link, "Linux", 5),
	           "others");
	zdtm_check(pread(tcp, link, 10, 0) == 10 && has_entry(net_dir, "tcp") && has_entry(sys_dir, "core"), "network");
	close(let_go[1]);
	zdtm_check(waitpid(kid, &wstatus, 0) == kid && !wstatus, "the child: %x", wstatus);
	zdtm_check(waitpid(zombie, &wstatus, 0) == zombie && value_of(undead, "Pid:") == -1 && has_entry(root, "self"),
	           "the zombie's status when it is reaped");
	threads[0].end = 1;
	pthread_join(t, NULL);
	zdtm_pass();
}
