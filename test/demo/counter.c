/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What scripts/demo checkpoints: counts where it is told to (a file that stands for a terminal), and has a child at the
 * end of a pipe that adds up all numbers in memory of its own. Each line is written over, as progress on a terminal is.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static void adder(int from, int to)
{
	long sum = 0, n;

	while (read(from, &n, sizeof(n)) == sizeof(n)) {
		sum += n;
		if (write(to, &sum, sizeof(sum)) != sizeof(sum))
			break;
	}
	_exit(0);
}

int main(int argc, char **argv)
{
	int ask[2], answer[2], out;
	long sum = 0;

	if (argc < 2 || pipe(ask) || pipe(answer) || (out = open(argv[1], O_WRONLY | O_CREAT | O_APPEND, 0644)) < 0)
		return 1;
	switch (fork()) {
	case -1:
		return 1;
	case 0:
		close(ask[1]);
		adder(ask[0], answer[1]);
	}
	close(ask[0]);
	for (long n = 1;; n++) {
		if (write(ask[1], &n, sizeof(n)) != sizeof(n) || read(answer[0], &sum, sizeof(sum)) != sizeof(sum))
			return 1;
		dprintf(out, "pid %d counts %ld, its child's sum is %ld%s\n", (int)getpid(), n, sum,
		        sum == n * (n + 1) / 2 ? "" : " WHICH IS WRONG");
		nanosleep(&(struct timespec) { .tv_nsec = 150000000 }, NULL);
	}
}
