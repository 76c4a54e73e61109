/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * States of pseudo terminals beside their queues: locked, exclusive, settings that are locked, packet mode, EXTPROC,
 * owner and mode of the slave's name; a slave whose master is gone, a master whose slave is, one whose slave was never
 * open.
 *
 * zdtm: iters 2
 * zdtm: needs-root
 * zdtm: no-userns locks settings of a terminal
 */
#include <asm/termbits.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include "pty_high.h"

struct pair {
	int m, s;
};

static struct pair make(const char *ptmx)
{
	struct pair p;
	int unlock = 0;

	zdtm_must((p.m = open(ptmx, O_RDWR | O_NOCTTY)) >= 0 && !ioctl(p.m, TIOCSPTLCK, &unlock));
	zdtm_must((p.s = ioctl(p.m, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_NONBLOCK)) >= 0);
	return p;
}

static int events(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	return poll(&p, 1, 0) > 0 ? p.revents : 0;
}

static void set(struct pair *p)
{
	struct termios locked = { .c_lflag = ECHO, .c_cc = { [VINTR] = 1 } };
	struct termios2 t;
	struct winsize ws = { 11, 222, 3, 4 };
	char name[64];
	int on = 1, n;

	zdtm_must(!ioctl(p->s, TCGETS2, &t));
	t.c_lflag |= EXTPROC;
	t.c_lflag &= ~ECHO;
	t.c_cflag = (t.c_cflag & ~CBAUD) | BOTHER;
	t.c_ospeed = t.c_ispeed = 12345;
	t.c_cc[VINTR] = 9;
	zdtm_must(!ioctl(p->s, TCSETS2, &t) && !ioctl(p->s, TIOCSLCKTRMIOS, &locked) && !ioctl(p->s, TIOCSWINSZ, &ws));
	zdtm_must(!ioctl(p->m, TIOCPKT, &on) && !ioctl(p->s, TIOCEXCL) && !ioctl(p->m, TIOCGPTN, &n));
	snprintf(name, sizeof(name), "/dev/pts/%d", n);
	zdtm_must(!chown(name, 12, 34) && !chmod(name, 0642));
	zdtm_must(!ioctl(p->m, TIOCSPTLCK, &on));
}

static void look(struct pair *p, const char *name, int index)
{
	struct termios2 t;
	struct winsize ws;
	struct termios l;
	struct stat st;
	int v = 0, n = -1;

	zdtm_check(!ioctl(p->m, TIOCGPTN, &n) && n == index, "the terminal is number %d, was %d", n, index);
	zdtm_check(!ioctl(p->s, TCGETS2, &t) && (t.c_lflag & EXTPROC) && !(t.c_lflag & ECHO) && t.c_cc[VINTR] == 9 &&
	               t.c_ospeed == 12345,
	           "settings: %x %u", t.c_lflag, t.c_ospeed);
	zdtm_check(!ioctl(p->s, TIOCGLCKTRMIOS, &l) && l.c_lflag == ECHO && l.c_cc[VINTR] == 1, "locked: %x",
	           l.c_lflag);
	zdtm_check(!ioctl(p->s, TIOCGWINSZ, &ws) && ws.ws_row == 11 && ws.ws_col == 222 && ws.ws_ypixel == 4, "size");
	zdtm_check(!ioctl(p->m, TIOCGPKT, &v) && v, "packet mode: %d", v);
	zdtm_check(!ioctl(p->s, TIOCGEXCL, &v) && v, "exclusive: %d", v);
	zdtm_check(!ioctl(p->m, TIOCGPTLCK, &v) && v, "locked: %d", v);
	zdtm_check(!stat(name, &st) && st.st_uid == 12 && st.st_gid == 34 && (st.st_mode & 07777) == 0642,
	           "%s: %d:%d 0%o", name, st.st_uid, st.st_gid, st.st_mode);
	zdtm_check(open(name, O_RDWR | O_NOCTTY) == -1 && errno == EIO, "a locked terminal can be opened: %m");
}

static void look_gone(struct pair *hung, struct pair *gone, int never)
{
	struct termios t;
	char buf[16];

	zdtm_check(read(hung->s, buf, 1) == 0, "a slave without its master: %m");
	zdtm_check(write(hung->s, "x", 1) == -1 && errno == EIO, "a slave without its master can be written to: %m");
	zdtm_check(ioctl(hung->s, TCGETS, &t) == -1 && errno == EIO, "a slave without its master has settings");
	zdtm_check(events(gone->m) == (POLLIN | POLLHUP), "a master without its slave: %x", events(gone->m));
	zdtm_check(read(gone->m, buf, sizeof(buf)) == 5 && !memcmp(buf, "bye\r\n", 5), "what the slave had said");
	zdtm_check(read(gone->m, buf, 1) == -1 && errno == EIO, "the end of a master without its slave: %m");
	zdtm_check(!(events(never) & POLLHUP), "the slave that was never open is gone");
	zdtm_check(write(never, "x", 1) == 1, "a master whose slave was never open: %m");
}

int main(void)
{
	int never, index;
	struct pair busy, hung, gone;
	char name[64];

	zdtm_hold_low();
	busy = make("/dev/ptmx");
	hung = make("/dev/ptmx");
	gone = make("/dev/ptmx");
	set(&busy);
	zdtm_must(!ioctl(busy.m, TIOCGPTN, &index));
	snprintf(name, sizeof(name), "/dev/pts/%d", index);
	zdtm_must(write(gone.s, "bye\n", 4) == 4 && !close(gone.s) && !close(hung.m));
	zdtm_must((never = open("/dev/ptmx", O_RDWR | O_NOCTTY)) >= 0);
	zdtm_free_low();
	zdtm_ready();
	zdtm_wait();
	look(&busy, name, index);
	look_gone(&hung, &gone, never);
	zdtm_pass();
}
