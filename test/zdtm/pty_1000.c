/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A thousand pseudo terminals, opened in no order, some of the indices between them free. Each has its index, and a
 * line in its queue.
 *
 * zdtm: exclusive
 */
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <termios.h>

#include "pty_high.h"

#define N 1000

static struct {
	int master, slave, index;
} ptys[N];

static void make(int i)
{
	char line[32];
	int n, unlock = 0;

	zdtm_must((ptys[i].master = open("/dev/ptmx", O_RDWR | O_NOCTTY)) >= 0);
	zdtm_must(!ioctl(ptys[i].master, TIOCSPTLCK, &unlock) && !ioctl(ptys[i].master, TIOCGPTN, &ptys[i].index));
	zdtm_must((ptys[i].slave = ioctl(ptys[i].master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_NONBLOCK)) >= 0);
	n = snprintf(line, sizeof(line), "line %d\n", i);
	zdtm_must(write(ptys[i].master, line, (size_t)n) == n);
}

static void look(int i)
{
	char line[32], buf[64];
	int index = -1, n = snprintf(line, sizeof(line), "line %d\n", i);

	zdtm_check(!ioctl(ptys[i].master, TIOCGPTN, &index) && index == ptys[i].index, "terminal %d is %d now",
	           ptys[i].index, index);
	zdtm_check(read(ptys[i].slave, buf, sizeof(buf)) == n && !memcmp(buf, line, (size_t)n), "the line of %d: %m",
	           i);
	zdtm_check(read(ptys[i].master, buf, sizeof(buf)) == n + 1, "the echo of %d", i);
}

int main(void)
{
	struct rlimit l = { 4096, 4096 };

	zdtm_must(!setrlimit(RLIMIT_NOFILE, &l));
	zdtm_hold_low();
	for (int i = 0; i < N; i++)
		make(i);
	/* Made anew, every third gets an index that one before it had. */
	for (int i = 0; i < N; i += 3) {
		close(ptys[i].slave);
		close(ptys[i].master);
	}
	for (int i = (N - 1) / 3 * 3; i > 30; i -= 3)
		make(i);
	zdtm_free_low();
	zdtm_ready();
	zdtm_wait();
	for (int i = 0; i < N; i++)
		if (i % 3 || i > 30)
			look(i);
	zdtm_pass();
}
