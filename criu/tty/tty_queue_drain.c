/* SPDX-License-Identifier: GPL-2.0-only */
/* Taking out what can be read at both ends of a pseudo terminal. */
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>

#include "tty/tty_queue.h"

int tty_mode_read(const struct tty_ends *e, struct tty_mode *m)
{
	if (ioctl(e->slave, TCGETS2, &m->termios) || ioctl(e->slave, TIOCGLCKTRMIOS, &m->locked) ||
	    ioctl(e->master, TIOCGPKT, &m->packet))
		return -errno;
	return 0;
}

static int poll_events(int fd, short wanted)
{
	struct pollfd p = { .fd = fd, .events = wanted };

	return poll(&p, 1, 0) > 0 ? p.revents : 0;
}

/* ---- the master's ---- */

/* In packet mode a read gives the status first, alone, and then each time a byte before the data. */
static int drain_status(int fd, uint8_t *status)
{
	ssize_t n = 1;

	if (poll_events(fd, POLLPRI) & POLLPRI)
		n = read(fd, status, 1);
	return n < 0 ? -errno : 0;
}

/* poll(2) waits for bytes that are still on their way in the kernel. */
static int drain_master(int fd, struct tty_queue *q)
{
	int waiting = 0;
	ssize_t n;

	while (poll_events(fd, POLLIN) & POLLIN) {
		if (ioctl(fd, FIONREAD, &waiting))
			return -errno;
		if (!waiting)
			break;
		if (q->n_master == TTY_QUEUE_MAX)
			return -EOVERFLOW;
		n = read(fd, q->master + q->n_master, MIN((size_t)waiting, TTY_QUEUE_MAX - q->n_master));
		if (n <= 0)
			return n ? -errno : 0;
		q->n_master += (uint32_t)n;
	}
	return 0;
}

/* ---- the slave's ---- */

static int append_place(struct tty_queue *q, uint8_t byte, enum place_mark mark)
{
	if (q->n_slave == TTY_QUEUE_MAX)
		return -EOVERFLOW;
	q->slave[q->n_slave] = byte;
	q->mark[q->n_slave++] = mark;
	return 0;
}

static bool is_eol(const struct termios2 *t, uint8_t c)
{
	return c && (c == t->c_cc[VEOL] || (c == t->c_cc[VEOL2] && (t->c_lflag & IEXTEN)));
}

/* A line as read() gives it: without the end-of-file character that may have ended it. */
static int append_line(struct tty_queue *q, const struct termios2 *t, const uint8_t *line, size_t n)
{
	int err = 0;

	for (size_t i = 0; !err && i + 1 < n; i++)
		err = append_place(q, line[i], line[i] == '\n' ? PLACE_LITERAL : PLACE_BYTE);
	if (!err && n)
		err = append_place(q, line[n - 1], is_eol(t, line[n - 1]) ? PLACE_EOL : PLACE_BYTE);
	if (!err && (!n || (line[n - 1] != '\n' && !is_eol(t, line[n - 1]))))
		err = append_place(q, 0, PLACE_EOF);
	return err;
}

/* What was behind a full queue has not been through the line discipline: a newline in it is nothing special. */
static int drain_lines(int fd, const struct termios2 *t, struct tty_queue *q)
{
	uint8_t line[TTY_LINE_MAX + 1];
	int err = 0;

	while (!err) {
		ssize_t n = read(fd, line, sizeof(line));

		if (n < 0)
			return errno == EAGAIN ? 0 : -errno;
		err = append_line(q, t, line, (size_t)n);
	}
	return err;
}

/* literal: the bytes came in under canonical mode, and all newlines that end a line have been read. */
static int drain_raw(int fd, struct tty_queue *q, bool literal)
{
	uint8_t buf[TTY_LINE_MAX + 1];
	int err = 0;

	while (!err) {
		ssize_t n = read(fd, buf, sizeof(buf));

		if (n <= 0)
			return n && errno != EAGAIN ? -errno : 0;
		for (ssize_t i = 0; !err && i < n; i++)
			err = append_place(q, buf[i], literal && buf[i] == '\n' ? PLACE_LITERAL : PLACE_BYTE);
	}
	return err;
}

/*
 * Bytes behind a full queue come in while it is drained (or earlier, when only little is left in it). They must not be
 * translated or taken for signals, but they are echoed, which tells how many there were.
 */
static struct termios2 quiet_termios(const struct termios2 *t)
{
	struct termios2 q = *t;

	q.c_iflag &= IUTF8;
	q.c_oflag = 0;
	q.c_lflag = (q.c_lflag & (ICANON | EXTPROC)) | ECHO;
	memset(q.c_cc, 0, sizeof(q.c_cc));
	q.c_cc[VMIN] = 1;
	return q;
}

/* The queue of the master was empty. */
static int count_echo(const struct tty_ends *e, struct tty_queue *q)
{
	uint32_t before = q->n_master;
	int err = write(e->slave, "", 0) < 0 ? -errno : drain_master(e->master, q);

	q->n_done = q->n_slave - MIN(q->n_slave, q->n_master - before);
	q->n_master = before;
	return err;
}

/* An unfinished line can only be read after a change to raw mode, which makes the kernel forget where lines end. */
static int drain_slave(int fd, const struct termios2 *t, struct tty_queue *q)
{
	bool canon = (t->c_lflag & (ICANON | EXTPROC)) == ICANON;
	struct termios2 now = quiet_termios(t);
	int err = ioctl(fd, TCSETS2, &now) ? -errno : 0;

	if (!err && canon)
		err = drain_lines(fd, t, q);
	now.c_lflag &= ~(tcflag_t)(ICANON | EXTPROC);
	if (!err && canon && ioctl(fd, TCSETS2, &now))
		err = -errno;
	return err ?: drain_raw(fd, q, canon);
}

/* Echoes that were held back with the output come out, to be drained with the rest: nothing else would show them. */
static int start_output(const struct tty_ends *e, struct tty_queue *q)
{
	if (ioctl(e->slave, TCXONC, TCOOFF) || ioctl(e->slave, TCXONC, TCOON) || write(e->slave, "", 0) < 0)
		return -errno;
	return drain_master(e->master, q);
}

int tty_queue_drain(const struct tty_ends *e, const struct tty_mode *m, struct tty_queue *q)
{
	static const struct termios none;
	int off = 0, err = m->packet ? drain_status(e->master, &q->packet_status) : 0;

	/* Changes of settings would be noted for the master. */
	if (!err && m->packet && ioctl(e->master, TIOCPKT, &off))
		err = -errno;
	if (!err && memcmp(&m->locked, &none, sizeof(none)) && ioctl(e->slave, TIOCSLCKTRMIOS, &none))
		err = -errno;
	if (!err)
		err = drain_master(e->master, q);
	/* There is room for output now: if the slave still takes none, output is stopped. */
	q->stopped = !err && !(poll_events(e->slave, POLLOUT) & POLLOUT);
	if (!err && q->stopped)
		err = start_output(e, q);
	if (!err)
		err = drain_slave(e->slave, &m->termios, q);
	return err ?: count_echo(e, q);
}
