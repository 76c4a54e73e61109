/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A pseudo terminal, master and slave both in the tree: a child whose controlling terminal it is, a second process
 * group in the foreground, window size, settings, packet mode off; bytes go through both ways.
 *
 * zdtm: restores 2
 * zdtm: exclusive
 * zdtm: flavour ns
 * zdtm: flavour pidns
 */
#include <sys/ioctl.h>
#include <termios.h>

#include "pty_high.h"

static volatile int winch;

static void on_winch(int sig)
{
	winch++;
}

static void child(const char *name)
{
	struct termios t;
	char buf[100];
	pid_t kid, fg;
	int fd, n;

	zdtm_must(setsid() > 0 && (fd = open(name, O_RDWR)) >= 0);
	dup2(fd, 0);
	dup2(fd, 1);
	dup2(fd, 2);
	close(fd);
	signal(SIGWINCH, on_winch);
	signal(SIGTTOU, SIG_IGN);
	zdtm_must(!tcgetattr(0, &t));
	t.c_lflag &= ~(ECHO | ICANON);
	t.c_cc[VMIN] = 1;
	t.c_cc[VTIME] = 0;
	t.c_cc[VINTR] = 7;
	zdtm_must(!tcsetattr(0, TCSANOW, &t));
	zdtm_must((kid = fork()) >= 0);
	if (!kid) {
		setpgid(0, 0);
		zdtm_must(!tcsetpgrp(0, getpid()));
		zdtm_touch("kid");
		zdtm_wait();
		zdtm_check(tcgetpgrp(0) == getpid(), "the foreground group is %d", tcgetpgrp(0));
		_exit(0);
	}
	while (access(zdtm_path("kid"), F_OK))
		zdtm_nap();
	fg = kid;
	zdtm_ready();
	zdtm_wait();
	zdtm_check(tcgetpgrp(0) == fg, "the foreground group was %d, is %d", fg, tcgetpgrp(0));
	waitpid(kid, NULL, 0);
	tcsetpgrp(0, getpid());
	zdtm_check(tcgetsid(0) == getpid(), "session of the terminal: %d", tcgetsid(0));
	zdtm_check(!tcgetattr(0, &t) && !(t.c_lflag & (ECHO | ICANON)) && t.c_cc[VINTR] == 7, "settings: %x",
	           t.c_lflag);
	zdtm_touch("child-looked");
	n = read(0, buf, sizeof(buf));
	zdtm_check(n == 4 && !memcmp(buf, "ping", 4), "from the master: %d", n);
	zdtm_check(write(1, "pong", 4) == 4, "to the master");
	while (!winch)
		zdtm_nap();
	_exit(0);
}

int main(void)
{
	struct winsize ws = { 33, 101, 7, 8 };
	int master, status, n;
	char buf[100];
	pid_t kid;

	zdtm_hold_low();
	zdtm_must((master = posix_openpt(O_RDWR | O_NOCTTY)) >= 0 && !grantpt(master) && !unlockpt(master));
	zdtm_free_low();
	zdtm_must(!ioctl(master, TIOCSWINSZ, &ws));
	zdtm_must((kid = fork()) >= 0);
	if (!kid) {
		char name[64];

		zdtm_must(!ptsname_r(master, name, sizeof(name)) && !close(master));
		child(name);
	}
	zdtm_wait();
	memset(&ws, 0, sizeof(ws));
	zdtm_check(!ioctl(master, TIOCGWINSZ, &ws) && ws.ws_row == 33 && ws.ws_col == 101 && ws.ws_xpixel == 7,
	           "window size %d %d", ws.ws_row, ws.ws_col);
	while (access("child-looked", F_OK) && waitpid(kid, &status, WNOHANG) == 0)
		zdtm_nap();
	zdtm_check(write(master, "ping", 4) == 4, "to the slave");
	n = read(master, buf, sizeof(buf));
	zdtm_check(n == 4 && !memcmp(buf, "pong", 4), "from the slave: %d", n);
	ws.ws_row = 34;
	ioctl(master, TIOCSWINSZ, &ws);
	zdtm_check(waitpid(kid, &status, 0) == kid && !status, "child: %x", status);
	zdtm_check(read(master, buf, 1) == -1 && errno == EIO, "the master sees no end");
	zdtm_pass();
}
