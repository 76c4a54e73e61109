/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * memfds with a program in them: the descriptor of memfd_create() writes, and yet the file can be executed, alone, with
 * copies in a child, mapped shared, sealed, or with only the mapping left; one that open(2) opened for writing as well
 * cannot (ETXTBSY), until that descriptor is closed.
 *
 * zdtm: iters 2
 * zdtm: restores 2
 */
#include <sys/mman.h>

#include "zdtm.h"

#define EXEC 0x10 /* MFD_EXEC */

enum { PLAIN, CHILD, MAPPED, SEALED, ONLY_MAPPED, REOPENED, N };

static int files[N], second;
static off_t places[N];

static int make(const char *name)
{
	int from = open("/bin/true", O_RDONLY | O_CLOEXEC);
	int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING | EXEC);
	static char buf[65536];
	ssize_t n;

	if (fd < 0)
		fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
	zdtm_must(fd >= 0 && from >= 0);
	while ((n = read(from, buf, sizeof(buf))) > 0)
		zdtm_must(write(fd, buf, (size_t)n) == n);
	close(from);
	return fd;
}

static int again(int fd, int flags)
{
	char path[40];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	fd = open(path, flags | O_CLOEXEC);
	zdtm_must(fd >= 0);
	return fd;
}

/* 0, or the errno of execve(). */
static int execute(int fd)
{
	char name[] = "true", *args[] = { name, NULL };
	pid_t pid = fork();
	int status;

	if (!pid) {
		fexecve(fd, args, environ);
		_exit(errno);
	}
	zdtm_must(pid > 0 && waitpid(pid, &status, 0) == pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void check(const char *who)
{
	for (int i = 0; i < N; i++) {
		int err = execute(files[i]), want = i == REOPENED ? ETXTBSY : 0;

		zdtm_check(err == want, "%s: file %d: %s", who, i, strerror(err));
		zdtm_check(lseek(files[i], 0, SEEK_CUR) == places[i], "%s: file %d is at %ld", who, i,
		           (long)lseek(files[i], 0, SEEK_CUR));
	}
	zdtm_check(fcntl(files[PLAIN], F_GETFL) & O_APPEND, "%s: O_APPEND is lost", who);
	zdtm_check(fcntl(files[MAPPED], F_GETFL) & O_NONBLOCK, "%s: O_NONBLOCK is lost", who);
}

int main(void)
{
	int status, only;
	pid_t pid;
	char *p;

	for (int i = 0; i < N; i++)
		files[i] = make("program");
	zdtm_must(!fcntl(files[PLAIN], F_SETFL, O_APPEND) && !fcntl(files[MAPPED], F_SETFL, O_NONBLOCK));
	p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, files[MAPPED], 0);
	zdtm_must(p != MAP_FAILED && !fcntl(files[SEALED], F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW));
	only = again(files[ONLY_MAPPED], O_RDONLY);
	zdtm_must(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, files[ONLY_MAPPED], 0) != MAP_FAILED);
	close(files[ONLY_MAPPED]);
	files[ONLY_MAPPED] = only;
	second = again(files[REOPENED], O_RDWR);
	for (int i = 0; i < N; i++)
		zdtm_must(lseek(files[i], 1000 + i, SEEK_SET) == (places[i] = 1000 + i));
	pid = fork();
	zdtm_must(pid >= 0);
	if (!pid) {
		zdtm_wait();
		check("child");
		close(second);
		_exit(0);
	}
	for (int i = 0; i < N; i++) {
		int err = execute(files[i]);

		zdtm_must(err == (i == REOPENED ? ETXTBSY : 0));
	}
	zdtm_ready();
	zdtm_wait();
	zdtm_check(waitpid(pid, &status, 0) == pid && !status, "the child: %x", status);
	check("parent");
	zdtm_check(p[0] == 0x7f && !strncmp(p + 1, "ELF", 3), "its mapping");
	zdtm_pass();
}
