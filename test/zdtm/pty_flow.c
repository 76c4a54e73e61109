/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Bytes that flow through pseudo terminals both ways while they are dumped: numbered lines, in raw and in canonical
 * mode, with more in the queues than they hold. None is lost, doubled or out of order.
 *
 * zdtm: frozen
 * zdtm: iters 3
 * zdtm: exclusive
 */
#include <poll.h>
#include <sys/ioctl.h>
#include <termios.h>

#include "pty_high.h"

#define PAIRS 2

struct stream {
	unsigned long sent, got;
	char out[32], in[32];
	size_t out_at, out_len, in_len;
};

struct pair {
	int m, s;
	struct stream to_slave, to_master;
};

static void send_some(struct stream *st, int fd)
{
	ssize_t n;

	if (st->out_at == st->out_len) {
		st->out_len = (size_t)snprintf(st->out, sizeof(st->out), "%lu\n", st->sent++);
		st->out_at = 0;
	}
	n = write(fd, st->out + st->out_at, st->out_len - st->out_at);
	if (n > 0)
		st->out_at += (size_t)n;
	else if (errno != EAGAIN)
		zdtm_check(0, "write: %m");
}

static int take(struct stream *st, char c, const char *which)
{
	unsigned long number;

	if (c != '\n') {
		if (st->in_len < sizeof(st->in) - 1)
			st->in[st->in_len++] = c;
		return 1;
	}
	st->in[st->in_len] = 0;
	st->in_len = 0;
	number = strtoul(st->in, NULL, 10);
	if (number == st->got++)
		return 1;
	zdtm_check(0, "%s: %s came instead of %lu", which, st->in, st->got - 1);
	return 0;
}

static int read_some(struct stream *st, int fd, const char *which)
{
	char buf[512];
	ssize_t n = read(fd, buf, sizeof(buf));

	if (n < 0 && errno != EAGAIN)
		return zdtm_check(0, "%s: read: %m", which);
	for (ssize_t i = 0; i < n; i++)
		if (!take(st, buf[i], which))
			return 0;
	return 1;
}

static void make(struct pair *p, int canonical)
{
	struct termios t;
	int unlock = 0;

	zdtm_must((p->m = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_NONBLOCK)) >= 0);
	zdtm_must(!ioctl(p->m, TIOCSPTLCK, &unlock));
	zdtm_must((p->s = ioctl(p->m, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_NONBLOCK)) >= 0 && !tcgetattr(p->s, &t));
	cfmakeraw(&t);
	if (canonical)
		t.c_lflag |= ICANON;
	zdtm_must(!tcsetattr(p->s, TCSANOW, &t));
}

/* Now one side is faster, now the other, so that queues are full and empty in turn. */
static int turn(struct pair *p, unsigned n)
{
	unsigned writes = n / 997 % 2 ? 3 : 40;

	for (unsigned i = 0; i < writes; i++) {
		send_some(&p->to_slave, p->m);
		send_some(&p->to_master, p->s);
	}
	return read_some(&p->to_slave, p->s, "to the slave") && read_some(&p->to_master, p->m, "to the master");
}

int main(void)
{
	static struct pair pairs[PAIRS];
	int ok = 1;

	zdtm_hold_low();
	for (int i = 0; i < PAIRS; i++)
		make(&pairs[i], i);
	zdtm_free_low();
	for (unsigned n = 0; ok && access(zdtm_path("verify"), F_OK); n++) {
		for (int i = 0; ok && i < PAIRS; i++)
			ok = turn(&pairs[i], n);
		if (n == 5000)
			zdtm_ready();
		if (n % 16 == 0)
			usleep(200);
	}
	for (int i = 0; i < PAIRS; i++)
		zdtm_check(pairs[i].to_slave.got > 100 && pairs[i].to_master.got > 100, "only %lu and %lu lines came",
		           pairs[i].to_slave.got, pairs[i].to_master.got);
	zdtm_pass();
}
