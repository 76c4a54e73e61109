/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What waits at both ends of pseudo terminals: lines, a part of a line, end-of-file characters, quoted ones, every byte
 * in raw mode, packet mode with a status, stopped output, more than fits. To look is to read, so each is made anew
 * after it.
 *
 * zdtm: victim points random
 * zdtm: iters 2
 * zdtm: exclusive
 * zdtm: flavour ns
 */
#include <asm/termbits.h>
#include <poll.h>
#include <sys/ioctl.h>

#include "pty_high.h"

struct pair {
	const char *name;
	void (*set)(struct pair *p);
	void (*look)(struct pair *p);
	int m, s;
};

/* ---- helpers ---- */

static void mode(struct pair *p, unsigned iflag, unsigned oflag, unsigned lflag)
{
	struct termios2 t;

	zdtm_must(!ioctl(p->s, TCGETS2, &t));
	t.c_iflag = iflag;
	t.c_oflag = oflag;
	t.c_lflag = lflag;
	t.c_cc[VEOL] = 'E';
	t.c_cc[VMIN] = 1;
	t.c_cc[VTIME] = 0;
	zdtm_must(!ioctl(p->s, TCSETS2, &t));
}

static int ready(int fd, short events)
{
	struct pollfd p = { .fd = fd, .events = events };

	return poll(&p, 1, 0) > 0 && (p.revents & events);
}

static void type(struct pair *p, const void *buf, size_t n)
{
	zdtm_must(write(p->m, buf, n) == (ssize_t)n);
}

static void print(struct pair *p, const void *buf, size_t n)
{
	zdtm_must(write(p->s, buf, n) == (ssize_t)n);
}

/* The kernel hands bytes over in a thread of its own. */
static void arrives(int fd, int n)
{
	for (int now = 0; now < n; zdtm_nap())
		zdtm_must(!ioctl(fd, FIONREAD, &now));
}

/* One read gives exactly this. */
static void gives(struct pair *p, int fd, const char *what, size_t n)
{
	char buf[8192];
	ssize_t got;

	ready(fd, POLLIN);
	got = read(fd, buf, sizeof(buf));
	zdtm_check(got == (ssize_t)n && !memcmp(buf, what, n), "%s: %s gives %zd bytes (%m) instead of %zu: %.*s",
	           p->name, fd == p->m ? "the master" : "the slave", got, n, got > 0 ? (int)got : 0, buf);
}

/* So many bytes come, in any number of reads, and no more. */
static void gives_all(struct pair *p, int fd, const void *what, size_t n)
{
	char buf[16384];
	size_t have = 0;
	ssize_t got;

	while (ready(fd, POLLIN) && (got = read(fd, buf + have, sizeof(buf) - have)) > 0)
		have += (size_t)got;
	zdtm_check(have == n && !memcmp(buf, what, n), "%s: %s gives %zu bytes in all instead of %zu", p->name,
	           fd == p->m ? "the master" : "the slave", have, n);
}

static void is_empty(struct pair *p)
{
	char c;

	zdtm_check(!ready(p->m, POLLIN) && !ready(p->s, POLLIN), "%s: there is more", p->name);
	zdtm_check(read(p->s, &c, 1) == -1 && errno == EAGAIN, "%s: the slave gives more", p->name);
}

/* ---- the pairs ---- */

#define ECHOED "one\r\ntwo^C\r\nthr"

static void set_lines(struct pair *p)
{
	mode(p, ICRNL, OPOST | ONLCR, ICANON | ECHO | ECHOCTL | IEXTEN);
	type(p, "one\rtwo\003\nthr", 12);
	arrives(p->m, (int)strlen(ECHOED));
}

static void look_lines(struct pair *p)
{
	gives_all(p, p->m, ECHOED, strlen(ECHOED));
	gives(p, p->s, "one\n", 4);
	gives(p, p->s, "two\003\n", 5);
	zdtm_check(!ready(p->s, POLLIN), "%s: the line ends too early", p->name);
	type(p, "ee\r", 3);
	arrives(p->s, 6);
	gives(p, p->s, "three\n", 6);
	gives_all(p, p->m, "ee\r\n", 4);
}

static void set_ends(struct pair *p)
{
	mode(p, 0, 0, ICANON | IEXTEN);
	type(p, "abc\004\004lineEq\026\nuote\n\026\004\n\004rest", 26);
	arrives(p->s, 17);
}

static void look_ends(struct pair *p)
{
	gives(p, p->s, "abc", 3);
	gives(p, p->s, "", 0);
	gives(p, p->s, "lineE", 5);
	gives(p, p->s, "q\nuote\n", 7);
	gives(p, p->s, "\004\n", 2);
	gives(p, p->s, "", 0);
	zdtm_check(!ready(p->s, POLLIN), "%s: the rest is no line", p->name);
	type(p, "\004", 1);
	while (!ready(p->s, POLLIN))
		zdtm_nap();
	gives(p, p->s, "rest", 4);
}

static char every[512]; /* twice */

static void set_raw(struct pair *p)
{
	mode(p, 0, 0, 0);
	type(p, every, 256);
	arrives(p->s, 256);
	print(p, every, 512);
	arrives(p->m, 512);
}

static void look_raw(struct pair *p)
{
	gives_all(p, p->s, every, 256);
	gives_all(p, p->m, every, 512);
}

static void set_packet(struct pair *p)
{
	int on = 1;

	mode(p, 0, OPOST | ONLCR, ICANON);
	zdtm_must(!ioctl(p->m, TIOCPKT, &on));
	mode(p, IXON, OPOST | ONLCR, ICANON);
	print(p, "out\n", 4);
	type(p, "in\npart", 7);
	arrives(p->s, 3);
	arrives(p->m, 5);
}

static void look_packet(struct pair *p)
{
	char dostop = TIOCPKT_DOSTOP;

	gives(p, p->m, &dostop, 1);
	gives(p, p->m, "\0out\r\n", 6);
	gives(p, p->s, "in\n", 3);
	type(p, "\n", 1);
	arrives(p->s, 5);
	gives(p, p->s, "part\n", 5);
}

static void set_stopped(struct pair *p)
{
	mode(p, IXON, 0, ICANON);
	print(p, "before", 6);
	arrives(p->m, 6);
	type(p, "typed\n\023", 7);
	while (ready(p->s, POLLOUT))
		zdtm_nap();
}

static void look_stopped(struct pair *p)
{
	zdtm_check(!ready(p->s, POLLOUT), "%s: output goes on", p->name);
	gives(p, p->m, "before", 6);
	gives(p, p->s, "typed\n", 6);
	zdtm_check(write(p->s, "x", 1) == -1 && errno == EAGAIN, "%s: output is taken", p->name);
	type(p, "\021", 1);
	while (!ready(p->s, POLLOUT))
		zdtm_nap();
	print(p, "on", 2);
	arrives(p->m, 2);
	gives(p, p->m, "on", 2);
}

static void set_held(struct pair *p)
{
	mode(p, 0, 0, 0);
	type(p, "typed", 5);
	zdtm_must(!ioctl(p->s, TCXONC, TCOOFF));
}

static void look_held(struct pair *p)
{
	zdtm_check(!ready(p->s, POLLOUT), "%s: output goes on", p->name);
	gives_all(p, p->s, "typed", 5);
	zdtm_check(!ioctl(p->s, TCXONC, TCOON) && ready(p->s, POLLOUT), "%s: output does not go on", p->name);
}

#define LINE  "a line of sixty bytes that goes into a terminal's queue ... \n"
#define LINES 100 /* 6,000 bytes: the line discipline holds 4,095 */

static void set_full(struct pair *p)
{
	mode(p, 0, 0, ICANON);
	for (int i = 0; i < LINES; i++) {
		type(p, LINE, strlen(LINE));
		print(p, LINE, strlen(LINE));
	}
	arrives(p->m, 4095);
}

static void look_full(struct pair *p)
{
	char all[LINES * sizeof(LINE)] = "";

	for (int i = 0; i < LINES; i++)
		memcpy(all + i * strlen(LINE), LINE, strlen(LINE));
	gives_all(p, p->s, all, LINES * strlen(LINE));
	gives_all(p, p->m, all, LINES * strlen(LINE));
}

static struct pair pairs[] = {
	{ .name = "lines", .set = set_lines, .look = look_lines },
	{ .name = "ends of lines", .set = set_ends, .look = look_ends },
	{ .name = "raw", .set = set_raw, .look = look_raw },
	{ .name = "packet mode", .set = set_packet, .look = look_packet },
	{ .name = "stopped", .set = set_stopped, .look = look_stopped },
	{ .name = "held", .set = set_held, .look = look_held },
	{ .name = "full", .set = set_full, .look = look_full },
};

#define PAIRS (sizeof(pairs) / sizeof(pairs[0]))

static void make(struct pair *p)
{
	int unlock = 0;

	zdtm_must((p->m = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_NONBLOCK)) >= 0);
	zdtm_must(!ioctl(p->m, TIOCSPTLCK, &unlock));
	zdtm_must((p->s = ioctl(p->m, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_NONBLOCK)) >= 0);
	p->set(p);
}

static void look(struct pair *p)
{
	p->look(p);
	is_empty(p);
}

int main(void)
{
	for (int i = 0; i < 512; i++)
		every[i] = (char)i;
	zdtm_hold_low();
	for (size_t i = 0; i < PAIRS; i++)
		make(&pairs[i]);
	zdtm_free_low();
	zdtm_ready();
	while (zdtm_asked()) {
		for (size_t i = 0; i < PAIRS; i++) {
			look(&pairs[i]);
			pairs[i].set(&pairs[i]);
		}
		zdtm_answer();
	}
	for (size_t i = 0; i < PAIRS; i++)
		look(&pairs[i]);
	zdtm_pass();
}
