/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Terminals that are devices: a virtual terminal that nobody uses, with settings of its own, the console, a serial
 * line; those of them that are there.
 *
 * zdtm: iters 2
 * zdtm: needs-root
 * zdtm: exclusive
 * zdtm: sole
 */
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <termios.h>

#include "zdtm.h"

static const char *const names[] = { "/dev/tty61", "/dev/console", "/dev/ttyS0" };
#define N 3

static int fds[N];
static struct termios before[N];

static void look(int i)
{
	struct termios t;
	struct stat a, b;

	zdtm_check(!fstat(fds[i], &a) && !stat(names[i], &b) && a.st_rdev == b.st_rdev, "%s is %x now", names[i],
	           (unsigned)a.st_rdev);
	zdtm_check(!tcgetattr(fds[i], &t) && !(i == 0 && (t.c_lflag & ECHO)) && (i || t.c_cc[VINTR] == 7),
	           "settings of %s: %x", names[i], t.c_lflag);
	zdtm_check(fcntl(fds[i], F_GETFL) & O_NONBLOCK, "flags of %s", names[i]);
}

int main(void)
{
	int n = 0;

	for (int i = 0; i < N; i++) {
		fds[i] = open(names[i], O_RDWR | O_NOCTTY | O_NONBLOCK);
		if (fds[i] >= 0 && tcgetattr(fds[i], &before[i])) {
			close(fds[i]);
			fds[i] = -1;
		}
		n += fds[i] >= 0;
	}
	if (!n)
		zdtm_skip("there is no terminal but pseudo ones");
	if (fds[0] >= 0) {
		struct termios t = before[0];

		t.c_lflag &= ~(unsigned)ECHO;
		t.c_cc[VINTR] = 7;
		zdtm_must(!tcsetattr(fds[0], TCSANOW, &t));
	}
	zdtm_ready();
	zdtm_wait();
	for (int i = 0; i < N; i++)
		if (fds[i] >= 0)
			look(i);
	if (fds[0] >= 0)
		tcsetattr(fds[0], TCSANOW, &before[0]);
	zdtm_pass();
}
