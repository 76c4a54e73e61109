/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * 50,000 descriptors in a tree of several tasks, each with less than its limit, the tree with more than the tool may
 * have: pairs of unix sockets of every type with something in them, and eventfds.
 *
 * zdtm: timeout 120
 */
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "zdtm.h"

#define TASKS 3
#define LEAST 16700 /* of 20,000, which is a common hard limit */

static int per_task(void)
{
	struct rlimit l;

	zdtm_must(!getrlimit(RLIMIT_NOFILE, &l));
	if (l.rlim_max > 20000)
		l.rlim_max = 20000;
	l.rlim_cur = l.rlim_max;
	zdtm_must(!setrlimit(RLIMIT_NOFILE, &l));
	return l.rlim_max < LEAST + 100 ? (int)l.rlim_max - 100 : LEAST;
}

#define TYPE(i) (types[(i) / 4 % 3] | SOCK_NONBLOCK)

static const int types[] = { SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET };

/* In fours: a pair with its number in it, an eventfd with it, and one end whose peer is gone. */
static void fill(int n)
{
	for (int i = 0; i < n; i += 4) {
		int p[2], gone[2];

		zdtm_must(!socketpair(AF_UNIX, TYPE(i), 0, p));
		zdtm_must(write(p[0], &i, sizeof(i)) == sizeof(i));
		zdtm_must(eventfd((unsigned)i, EFD_NONBLOCK) == p[1] + 1);
		zdtm_must(!socketpair(AF_UNIX, TYPE(i), 0, gone));
		zdtm_must(gone[0] == p[1] + 2 && !close(gone[1]));
	}
}

static int check(int first, int n)
{
	for (int i = 0; i < n; i += 4) {
		int got = -1, fd = first + i;
		uint64_t count = 0;

		if (read(fd + 1, &got, sizeof(got)) != sizeof(got) || got != i)
			return 1;
		if (write(fd + 1, &i, sizeof(i)) != sizeof(i) || read(fd, &got, sizeof(got)) != sizeof(got) || got != i)
			return 2;
		if (i && (read(fd + 2, &count, sizeof(count)) != sizeof(count) || count != (unsigned)i))
			return 3;
		if (send(fd + 3, &i, sizeof(i), MSG_NOSIGNAL) != -1 || (errno != EPIPE && errno != ECONNREFUSED))
			return 4;
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

	zdtm_must(!close_range(3, ~0U, 0)); /* numbers without gaps */
	zdtm_must(!pipe(answers));
	for (int i = 0; i < TASKS; i++) {
		zdtm_must(!pipe(orders[i]));
		pids[i] = fork();
		if (pids[i] == 0)
			child(orders[i][0], answers[1], n);
		zdtm_must(pids[i] > 0 && !close(orders[i][0]));
		zdtm_must(read(answers[0], &byte, 1) == 1 && byte == 'r');
	}
	zdtm_ready();
	zdtm_wait();
	for (int i = 0; i < TASKS; i++) {
		zdtm_check(write(orders[i][1], "", 1) == 1 && read(answers[0], &byte, 1) == 1, "task %d is gone", i);
		zdtm_check(byte == 0, "task %d: check %d fails", i, byte);
	}
	for (int i = 0; i < TASKS; i++)
		zdtm_must(!kill(pids[i], SIGKILL) && waitpid(pids[i], NULL, 0) == pids[i]);
	zdtm_pass();
}
