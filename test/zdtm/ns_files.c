/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Descriptors of namespaces: of every kind, two of one, with O_PATH, a child's, those of children to come, the links
 * themselves. One is entered afterwards.
 *
 * zdtm: flavour ns
 * zdtm: iters 2
 * zdtm: no-userns opens namespaces of root
 * zdtm: flavour no pidns
 */
#include <sched.h>
#include <sys/wait.h>

#include "zdtm.h"

static const char *const names[] = {
	"net", "mnt", "pid", "user", "ipc", "uts", "cgroup", "time", "pid_for_children", "time_for_children"
};

#define N (sizeof(names) / sizeof(*names))

static int open_ns(pid_t pid, const char *name, int flags)
{
	char path[60];

	snprintf(path, sizeof(path), "/proc/%d/ns/%s", pid, name);
	return open(path, flags);
}

static void check_same(int fd, pid_t pid, const char *name)
{
	int now = open_ns(pid, name, O_RDONLY);
	struct stat a, b;

	zdtm_check(now >= 0 && !fstat(fd, &a) && !fstat(now, &b) && a.st_ino == b.st_ino && a.st_dev == b.st_dev,
	           "%s is another namespace", name);
	close(now);
}

int main(void)
{
	int fd[N], path_fd, twice, nofollow, theirs;
	pid_t kid = fork();
	char link[100];
	struct stat st;
	ssize_t n;

	zdtm_must(kid >= 0);
	if (!kid)
		for (;;)
			pause();
	for (size_t i = 0; i < N; i++)
		fd[i] = open_ns(getpid(), names[i], O_RDONLY | O_CLOEXEC);
	zdtm_must(fd[0] >= 0 && (twice = dup(fd[0])) >= 0);
	zdtm_must((path_fd = open_ns(getpid(), "uts", O_PATH)) >= 0);
	zdtm_must((nofollow = open_ns(getpid(), "ipc", O_PATH | O_NOFOLLOW)) >= 0);
	zdtm_must((theirs = open_ns(kid, "net", O_RDONLY | O_NONBLOCK)) >= 0);
	/* The runner compares flags. */
	zdtm_must(open_ns(getpid(), "net", O_RDONLY | O_APPEND | O_NONBLOCK | O_NOATIME) >= 0);
	zdtm_ready();
	zdtm_wait();
	for (size_t i = 0; i < N; i++)
		if (fd[i] >= 0)
			check_same(fd[i], getpid(), names[i]);
	check_same(path_fd, getpid(), "uts");
	check_same(theirs, kid, "net");
	zdtm_check(fcntl(path_fd, F_GETFL) & O_PATH && fcntl(theirs, F_GETFL) & O_NONBLOCK, "flags");
	zdtm_check(fcntl(fd[0], F_GETFD) == FD_CLOEXEC && !fcntl(twice, F_GETFD), "close-on-exec");
	zdtm_check(!fstat(nofollow, &st) && S_ISLNK(st.st_mode), "the link");
	n = readlinkat(nofollow, "", link, sizeof(link) - 1);
	zdtm_check(n > 5 && !memcmp(link, "ipc:[", 5), "what the link says");
	/* In the namespace flavour it belongs to another user namespace. */
	zdtm_check(geteuid() || !setns(fd[5], CLONE_NEWUTS) || errno == EPERM, "entering: %s", strerror(errno));
	zdtm_check(!kill(kid, SIGKILL) && waitpid(kid, NULL, 0) == kid, "the end of the child");
	zdtm_pass();
}
