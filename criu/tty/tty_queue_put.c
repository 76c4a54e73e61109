/* SPDX-License-Identifier: GPL-2.0-only */
/* Putting bytes back, so that they can be read at both ends of a pseudo terminal as before. */
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>

#include "tty/tty_queue.h"

/* Bytes at once: few enough that other values are left for the special characters. */
#define CHUNK   96
#define WAIT_MS 5000

static bool has_event(int fd, short event)
{
	struct pollfd p = { .fd = fd, .events = event };

	return poll(&p, 1, 0) > 0 && (p.revents & event);
}

/*
 * Written in the size that the kernel puts into one buffer (TTY_BUFFER_PAGE): so a terminal takes the most, and all
 * that it held before fits. poll(2) is not asked, since it denies that there is room when there still is some.
 */
#define WRITE_MAX 1792

static int write_tty(int fd, const uint8_t *buf, size_t n)
{
	for (unsigned tries = 0; n && tries < WAIT_MS * 5; tries++) {
		ssize_t done = write(fd, buf, MIN(n, WRITE_MAX));

		if (done < 0 && errno != EAGAIN)
			return -errno;
		if (done <= 0)
			usleep(200);
		buf += MAX(done, 0);
		n -= (size_t)MAX(done, 0);
	}
	return n ? -ETIMEDOUT : 0;
}

/* ---- the slave's ---- */

struct place_chunk {
	struct termios2 termios;
	uint8_t stop, start, eof, quote;
	uint8_t bytes[2 * CHUNK + 1];
	size_t n;
};

/* Four values that are neither among the bytes nor a newline nor 0, which disables a special character. */
static void pick_specials(struct place_chunk *c, const uint8_t *bytes, size_t n)
{
	uint8_t *const place[] = { &c->stop, &c->start, &c->eof, &c->quote };
	bool used[256] = { [0] = true, ['\n'] = true };
	unsigned v = 0;

	for (size_t i = 0; i < n; i++)
		used[bytes[i]] = true;
	for (size_t i = 0; i < ARRAY_SIZE(place); i++) {
		while (used[v])
			v++;
		*place[i] = (uint8_t)v++;
	}
}

static void set_termios(struct place_chunk *c, const struct tty_mode *m, bool canon, uint8_t eol)
{
	c->termios = m->termios;
	c->termios.c_iflag = IXON;
	c->termios.c_oflag = 0;
	c->termios.c_lflag = canon ? ICANON | IEXTEN : 0;
	memset(c->termios.c_cc, 0, sizeof(c->termios.c_cc));
	c->termios.c_cc[VMIN] = 1;
	c->termios.c_cc[VSTOP] = c->stop;
	c->termios.c_cc[VSTART] = c->start;
	c->termios.c_cc[VEOF] = c->eof;
	c->termios.c_cc[VLNEXT] = c->quote;
	c->termios.c_cc[VEOL] = eol;
}

/* The next places from `at` on: up to the first that needs an end-of-line character of its own. Returns how many. */
static size_t make_chunk(struct place_chunk *c, const struct tty_mode *m, const struct tty_queue *q, size_t at,
                         size_t end, bool canon)
{
	size_t n = 0;
	uint8_t eol = 0;

	while (n < CHUNK && at + n < end && !eol) {
		if (q->mark[at + n] == PLACE_EOL)
			eol = q->slave[at + n];
		n++;
	}
	pick_specials(c, q->slave + at, n);
	set_termios(c, m, canon, eol);
	c->n = 0;
	for (size_t i = at; i < at + n; i++) {
		enum place_mark mark = q->mark[i];

		if (canon && (mark == PLACE_LITERAL || (mark == PLACE_BYTE && eol && q->slave[i] == eol)))
			c->bytes[c->n++] = c->quote;
		if (mark != PLACE_EOF)
			c->bytes[c->n++] = q->slave[i];
		else if (canon)
			c->bytes[c->n++] = c->eof;
	}
	return n;
}

static int wait_writable(const struct tty_ends *e, bool writable)
{
	for (unsigned i = 0; i < WAIT_MS * 10; i++) {
		if (has_event(e->slave, POLLOUT) == writable)
			return 0;
		usleep(i < 100 ? 10 : 100);
	}
	return -ETIMEDOUT;
}

/*
 * The line discipline works in a thread of the kernel. The stop character is written last: when the slave's output is
 * stopped, all bytes before it have been processed.
 */
static int put_chunk(const struct tty_ends *e, struct place_chunk *c)
{
	int err = ioctl(e->slave, TCSETS2, &c->termios) ? -errno : 0;

	c->bytes[c->n] = c->stop;
	if (!err)
		err = write_tty(e->master, c->bytes, c->n + 1);
	if (!err)
		err = wait_writable(e, false);
	if (!err)
		err = write_tty(e->master, &c->start, 1);
	return err ?: wait_writable(e, true);
}

/*
 * The last chunk fills the queue, so that a stop character would not be processed any more. Nothing tells when the last
 * byte has arrived in a canonical queue.
 */
static int put_last(const struct tty_ends *e, struct place_chunk *c, bool canon)
{
	int err = ioctl(e->slave, TCSETS2, &c->termios) ? -errno : write_tty(e->master, c->bytes, c->n), n = 0;

	for (unsigned i = 0; !err && i < 50; i++) {
		if (!canon && (ioctl(e->slave, FIONREAD, &n) || n == TTY_LINE_MAX))
			break;
		usleep(1000);
	}
	return err;
}

static int put_slave(const struct tty_ends *e, const struct tty_mode *m, const struct tty_queue *q)
{
	bool canon = (m->termios.c_lflag & (ICANON | EXTPROC)) == ICANON;
	size_t end = MIN(q->n_done, TTY_LINE_MAX), at = 0;
	struct place_chunk c;
	int err = 0;

	while (!err && at < end) {
		at += make_chunk(&c, m, q, at, end, canon);
		err = at < TTY_LINE_MAX ? put_chunk(e, &c) : put_last(e, &c, canon);
	}
	return err;
}

static int put_master(const struct tty_ends *e, const struct tty_mode *m, const struct tty_queue *q)
{
	struct place_chunk c = { .n = 0 };

	if (!q->n_master)
		return 0;
	set_termios(&c, m, (m->termios.c_lflag & (ICANON | EXTPROC)) == ICANON, 0);
	if (ioctl(e->slave, TCSETS2, &c.termios))
		return -errno;
	return write_tty(e->slave, q->master, q->n_master);
}

/* ---- stopped output, packet mode ---- */

/* By the stop character where there is one: the user could not undo the other way with the start character. */
static int stop_output(const struct tty_ends *e, const struct tty_mode *m, const struct tty_queue *q)
{
	uint8_t c = m->termios.c_cc[VSTOP];
	int err;

	if (!(m->termios.c_iflag & IXON) || !c || q->n_slave >= TTY_LINE_MAX)
		return ioctl(e->slave, TCXONC, TCOOFF) ? -errno : 0;
	err = write_tty(e->master, &c, 1);
	if (!err)
		err = wait_writable(e, false);
	return err;
}

static int cause_flow_change(const struct tty_ends *e, const struct tty_mode *m)
{
	struct termios2 other = m->termios;
	uint8_t *cc = other.c_cc;

	if ((other.c_iflag & IXON) && cc[VSTOP] == 023 && cc[VSTART] == 021) {
		cc[VSTOP] = 0;
	} else {
		other.c_iflag |= IXON;
		cc[VSTOP] = 023;
		cc[VSTART] = 021;
	}
	if (ioctl(e->slave, TCSETS2, &other) || ioctl(e->slave, TCSETS2, &m->termios))
		return -errno;
	return 0;
}

/* A change from or to EXTPROC makes the kernel forget where lines end. */
static int cause_extproc_change(const struct tty_ends *e, const struct tty_mode *m, const struct tty_queue *q)
{
	struct termios2 other = m->termios;

	if (!q->n_slave)
		other.c_lflag |= EXTPROC;
	if (ioctl(e->slave, TCSETS2, &other) || ioctl(e->slave, TCSETS2, &m->termios))
		return -errno;
	return 0;
}

/*
 * The status that a master in packet mode reads first: each bit is caused again by what causes it. A flush and a change
 * of EXTPROC are made only while there is nothing that would be lost with them.
 */
static int put_status(const struct tty_ends *e, const struct tty_mode *m, const struct tty_queue *q)
{
	uint8_t s = q->packet_status, old;
	int fd = e->slave, err = 0;

	if (has_event(e->master, POLLPRI) && read(e->master, &old, 1) != 1)
		return -errno;
	if ((s & TIOCPKT_FLUSHREAD) && !q->n_slave && ioctl(fd, TCFLSH, TCIFLUSH))
		return -errno;
	if ((s & TIOCPKT_FLUSHWRITE) && !q->n_master && ioctl(fd, TCFLSH, TCOFLUSH))
		return -errno;
	if ((s & TIOCPKT_START) && !q->stopped && (ioctl(fd, TCXONC, TCOOFF) || ioctl(fd, TCXONC, TCOON)))
		return -errno;
	if (s & TIOCPKT_IOCTL)
		err = cause_extproc_change(e, m, q);
	if (!err && (s & (TIOCPKT_DOSTOP | TIOCPKT_NOSTOP)))
		err = cause_flow_change(e, m);
	return err;
}

static int set_tty_mode(const struct tty_ends *e, const struct tty_mode *m)
{
	static const struct termios none;

	if (ioctl(e->slave, TCSETS2, &m->termios))
		return -errno;
	if (memcmp(&m->locked, &none, sizeof(none)) && ioctl(e->slave, TIOCSLCKTRMIOS, &m->locked))
		return -errno;
	return 0;
}

/* Packet mode is set after the settings, whose changes it would report. STOP is reported when output stops after that.
 */
int tty_queue_put(const struct tty_ends *e, const struct tty_mode *m, const struct tty_queue *q)
{
	bool note_stop = q->packet_status & TIOCPKT_STOP;
	bool refill = q->n_slave || q->n_master;
	size_t done = MIN(q->n_done, TTY_LINE_MAX);
	int err = refill && ioctl(e->slave, TCXONC, TCOON) ? -errno : 0;

	if (!err)
		err = put_slave(e, m, q);
	if (!err)
		err = put_master(e, m, q);
	if (!err)
		err = set_tty_mode(e, m);
	if (!err && q->n_slave > done)
		err = write_tty(e->master, q->slave + done, q->n_slave - done);
	if (!err && q->stopped && !note_stop)
		err = stop_output(e, m, q);
	if (!err && m->packet && ioctl(e->master, TIOCPKT, &m->packet))
		err = -errno;
	if (!err && m->packet && q->packet_status)
		err = put_status(e, m, q);
	return err ?: q->stopped && note_stop ? stop_output(e, m, q) : 0;
}
