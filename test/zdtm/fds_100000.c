/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * 100,000 descriptors in a tree (as far as the hard limit lets one task have them), more than the tool may have itself:
 * files, pipes with a byte in each, and the same description under two numbers.
 *
 */
#include <sys/resource.h>
#include <sys/wait.h>

#include "zdtm.h"

#define TASKS 6
#define LEAST 16700 /* of 20,000, which is a common hard limit */

static int per_task(void)
{
	struct rlimit l;

	zdtm_must(!getrlimit(RLIMIT_NOFILE, &l));
	l.rlim_cur = l.rlim_max;
	zdtm_must(!setrlimit(RLIMIT_NOFILE, &l));
	return l.rlim_max < LEAST + 100 ? (int)l.rlim_max - 100 : LEAST;
}

/* In fours: a pipe with its number in it, a file, and a duplicate of the file. */
static void fill(int n)
{
	for (int i = 0; i < n; i += 4) {
		int p[2], fd;

		zdtm_must(!pipe(p) && write(p[1], &i, sizeof(i)) == sizeof(i));
		fd = open("/dev/zero", O_RDONLY);
		zdtm_must(fd >= 0 && dup(fd) == fd + 1);
	}
}

static int check(int first, int n)
{
	for (int i = 0; i < n; i += 4) {
		int got = -1, fd = first + i;

		if (read(fd, &got, sizeof(got)) != sizeof(got) || got != i || write(fd + 1, &i, sizeof(i)) != sizeof(i))
			return 1;
		if (fcntl(fd + 2, F_SETFL, O_NONBLOCK) || !(fcntl(fd + 3, F_GETFL) & O_NONBLOCK))
			return 2;
		if (fcntl(fd + 2, F_SETFL, 0))
			return 3;
	}
	return 0;
}

static void child(int order, int answer, int n)
{
	int first = dup(0);
	char byte;

	close(first);
	fill(n);
	byte = 'r';
	zdtm_must(write(answer, &byte, 1) == 1);
	while (read(order, &byte, 1) == 1) {
		byte = (char)check(first, n);
		if (write(answer, &byte, 1) != 1)
			break;
	}
	_exit(0);
}

int main(void)
{
	int orders[TASKS][2], answers[2], n = per_task();
	pid_t pids[TASKS];
	char byte;

	zdtm_must(!pipe(answers));
	for (int i = 0; i < TASKS; i++) {
		zdtm_must(!pipe(orders[i]));
		pids[i] = fork();
		if (pids[i] == 0)
			child(orders[i][0], answers[1], n);
	}
	for (int i = 0; i < TASKS; i++)
		zdtm_must(read(answers[0], &byte, 1) == 1);
	zdtm_ready();
	zdtm_wait();
	for (int i = 0; i < TASKS; i++)
		zdtm_must(write(orders[i][1], "c", 1) == 1);
	for (int i = 0; i < TASKS; i++) {
		zdtm_must(read(answers[0], &byte, 1) == 1);
		zdtm_check(byte == 0, "a task found its descriptors changed (%d)", byte);
	}
	for (int i = 0; i < TASKS; i++)
		zdtm_must(!kill(pids[i], SIGKILL) && waitpid(pids[i], NULL, 0) == pids[i]);
	zdtm_pass();
}
