/* SPDX-License-Identifier: GPL-2.0-only */
/* Readers of /proc/PID, and single facts of a task. */
#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "proc/proc.h"

/* The largest status has 65,536 groups; no task can make one of these files larger. */
#define PROC_TEXT_MAX (16UL << 20)

#define LIST_SIZE     (32UL << 10) /* about 1,000 numbers */

int proc_open(pid_t pid)
{
	char path[32];
	int fd;

	snprintf(path, sizeof(path), "/proc/%d", pid);
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

/* 1 at the end of the file, 0 when the buffer is full. at_once: a read that does not fill it is the last. */
static int read_whole_file(int fd, bool at_once, char *buf, size_t size, size_t *used)
{
	while (*used < size) {
		ssize_t n = read(fd, buf + *used, size - *used);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n ? -errno : 1;
		*used += (size_t)n;
		if (at_once && *used < size)
			return 1;
	}
	return 0;
}

static int read_text_of(int fd, bool at_once, char **textp, size_t *len)
{
	_cleanup_free_ char *text = NULL;
	size_t size = 2048, used = 0;
	int err = 0;

	while (err == 0) {
		char *larger;

		size *= 2;
		larger = size > PROC_TEXT_MAX ? NULL : realloc(text, size + 1);
		if (!larger)
			return -ENOMEM;
		text = larger;
		err = read_whole_file(fd, at_once, text, size, &used);
	}
	if (err < 0)
		return err;
	text[used] = '\0';
	if (len)
		*len = used;
	*textp = move_ptr(text);
	return 0;
}

static int read_text(int dir_fd, const char *path, bool at_once, char **textp, size_t *len)
{
	_cleanup_close_ int fd = openat(dir_fd, path, O_RDONLY | O_CLOEXEC);

	return fd < 0 ? -errno : read_text_of(fd, at_once, textp, len);
}

int proc_read_again(int fd, char **textp)
{
	return lseek(fd, 0, SEEK_SET) < 0 ? -errno : read_text_of(fd, false, textp, NULL);
}

int proc_read(int dir_fd, const char *path, char **textp, size_t *len)
{
	return read_text(dir_fd, path, false, textp, len);
}

int proc_read_at_once(int dir_fd, const char *path, char **textp, size_t *len)
{
	return read_text(dir_fd, path, true, textp, len);
}

int proc_read_number(int dir_fd, const char *path, int64_t *value)
{
	_cleanup_free_ char *text = NULL;
	char *end;
	int err = proc_read_at_once(dir_fd, path, &text, NULL);

	if (err)
		return err;
	errno = 0;
	*value = strtoll(text, &end, 10);
	return errno || end == text ? -EBADMSG : 0;
}

static int read_of_thread(int proc_fd, pid_t tid, const char *name, bool at_once, char **textp, size_t *len)
{
	char path[64];

	if (tid)
		snprintf(path, sizeof(path), "task/%d/%s", tid, name);
	else
		snprintf(path, sizeof(path), "%s", name);
	return read_text(proc_fd, path, at_once, textp, len);
}

int proc_read_stat(int proc_fd, pid_t tid, struct proc_stat *out)
{
	_cleanup_free_ char *text = NULL;
	size_t len;
	int err = read_of_thread(proc_fd, tid, "stat", true, &text, &len);

	return err ?: proc_parse_stat(text, len, out);
}

int proc_read_status(int proc_fd, pid_t tid, struct arena *a, struct proc_status *out)
{
	_cleanup_free_ char *text = NULL;
	size_t len;
	int err = read_of_thread(proc_fd, tid, "status", true, &text, &len);

	return err ?: proc_parse_status(text, len, a, out);
}

int proc_read_children(int proc_fd, pid_t tid, struct arena *a, pid_t **pids, size_t *n)
{
	_cleanup_free_ char *text = NULL;
	size_t len;
	int err = read_of_thread(proc_fd, tid, "children", false, &text, &len);

	return err ?: proc_parse_pid_list(text, len, a, pids, n);
}

/* Appends the entries of a buffer that getdents64(2) has filled. */
static void take_numbers(const char *buf, size_t len, struct arena *a, int **numbers, size_t *n)
{
	const struct dirent64 *e;

	for (size_t at = 0; at < len; at += e->d_reclen) {
		char *end;
		long v;

		e = (const struct dirent64 *)(buf + at);
		v = isdigit((unsigned char)e->d_name[0]) ? strtol(e->d_name, &end, 10) : -1;
		if (v >= 0 && v <= INT_MAX && !*end)
			arena_push(a, numbers, n, (int)v);
	}
}

int proc_list_numbers(int dir_fd, const char *path, struct arena *a, int **numbers, size_t *n)
{
	_cleanup_close_ int fd = openat(dir_fd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_Alignas(struct dirent64) char buf[LIST_SIZE];
	long len;

	if (fd < 0)
		return -errno;
	do {
		len = syscall(SYS_getdents64, fd, buf, sizeof(buf));
		if (len < 0)
			return -errno;
		take_numbers(buf, (size_t)len, a, numbers, n);
	} while (len); /* not while there is room: a signal ends a call early */
	return 0;
}

int proc_read_threads(int proc_fd, struct arena *a, pid_t **tids, size_t *n)
{
	return proc_list_numbers(proc_fd, "task", a, tids, n);
}

/* ---- by pid ---- */

int proc_stat_of(pid_t pid, struct proc_stat *out)
{
	_cleanup_free_ char *text = NULL;
	char path[32];
	size_t len;
	int err;

	if (pid <= 0)
		return -ESRCH;
	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	err = proc_read_at_once(AT_FDCWD, path, &text, &len);
	return err ?: proc_parse_stat(text, len, out);
}

bool proc_is_exiting(pid_t pid)
{
	enum { EXITING = 0x4 }; /* PF_EXITING */
	struct proc_stat st;

	return !proc_stat_of(pid, &st) && st.flags & EXITING;
}

bool proc_alive(pid_t pid)
{
	struct proc_stat st;

	return proc_stat_of(pid, &st) == 0 && st.state != 'Z' && st.state != 'X';
}

uint64_t proc_start_time(pid_t pid)
{
	struct proc_stat st;

	return proc_stat_of(pid, &st) ? 0 : st.start_time;
}

pid_t proc_ppid(pid_t pid)
{
	struct proc_stat st;

	return proc_stat_of(pid, &st) ? 0 : st.ppid;
}

/* Not of stat, which takes the kernel three times as long: a dump looks at all processes of the machine. */
int proc_comm(pid_t pid, char *comm, size_t size)
{
	char path[32], text[80];
	_cleanup_close_ int fd = -1;
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/%d/comm", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
	if (n <= 0)
		return n ? -errno : -ESRCH;
	text[n - (text[n - 1] == '\n')] = '\0';
	snprintf(comm, size, "%s", text);
	return 0;
}

int proc_wait_gone(pid_t pid)
{
	_cleanup_close_ int fd = (int)syscall(SYS_pidfd_open, pid, 0);
	struct pollfd p = { .fd = fd, .events = POLLIN };
	int n;

	if (fd < 0)
		return errno == ESRCH ? 0 : -errno;
	do {
		n = poll(&p, 1, 10000);
	} while (n < 0 && errno == EINTR);
	if (n <= 0)
		return n ? -errno : -ETIMEDOUT;
	waitpid(pid, NULL, WNOHANG | __WALL);
	return 0;
}
