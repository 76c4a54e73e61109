/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Queues of pseudo terminals: two terminals get the same input, output and settings; the queues of one are drained and
 * put back; afterwards both must be the same to who reads them, call by call.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>

#include "tty/tty_queue.h"

struct twin {
	struct tty_ends e;
};

static unsigned seed;

static unsigned pick(unsigned n)
{
	seed = seed * 1103515245 + 12345;
	return (seed >> 8) % n;
}

static struct twin open_twin(void)
{
	struct twin t;
	int unlock = 0;

	t.e.master = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
	assert_true(t.e.master >= 0 && !ioctl(t.e.master, TIOCSPTLCK, &unlock));
	t.e.slave = ioctl(t.e.master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
	assert_true(t.e.slave >= 0);
	return t;
}

static void close_twin(struct twin *t)
{
	close(t->e.slave);
	close(t->e.master);
}

static bool can(int fd, short event)
{
	struct pollfd p = { .fd = fd, .events = event };

	return poll(&p, 1, 0) > 0 && (p.revents & event);
}

/* The kernel works on it in a thread of its own. */
static void settle(void)
{
	usleep(12000);
}

static void feed(struct twin *t, int which, const void *buf, size_t n)
{
	if (can(which ? t->e.master : t->e.slave, POLLOUT))
		assert_true(write(which ? t->e.master : t->e.slave, buf, n) == (ssize_t)n);
	settle();
}

static void set_mode(struct twin *t, const struct tty_mode *m)
{
	assert_int_equal(ioctl(t->e.slave, TCSETS2, &m->termios), 0);
	assert_int_equal(ioctl(t->e.slave, TIOCSLCKTRMIOS, &m->locked), 0);
	assert_int_equal(ioctl(t->e.master, TIOCPKT, &m->packet), 0);
}

/* Without echo: when it comes out differs from time to time, so that twins would too. */
static struct tty_mode random_mode(struct twin *t, bool extproc)
{
	static const tcflag_t i[] = { ICRNL, INLCR, IGNCR, ISTRIP, IXON, IXANY, IUTF8 };
	static const tcflag_t l[] = { ICANON, ECHOCTL, ISIG, IEXTEN, ECHOE, NOFLSH };
	struct tty_mode m;

	assert_int_equal(tty_mode_read(&t->e, &m), 0);
	m.termios.c_iflag = m.termios.c_lflag = 0;
	for (size_t k = 0; k < ARRAY_SIZE(i); k++)
		m.termios.c_iflag |= pick(2) ? i[k] : 0;
	for (size_t k = 0; k < ARRAY_SIZE(l); k++)
		m.termios.c_lflag |= pick(2) ? l[k] : 0;
	m.termios.c_lflag |= extproc ? EXTPROC : 0;
	/* A signal's flush races with what is on its way to the master: twins would differ. */
	m.termios.c_lflag |= m.termios.c_lflag & ISIG ? NOFLSH : 0;
	m.termios.c_oflag = pick(2) ? OPOST | ONLCR : 0;
	m.termios.c_cc[VEOL] = pick(3) ? 0 : (cc_t)('a' + pick(26));
	m.termios.c_cc[VEOL2] = pick(3) ? 0 : (cc_t)('a' + pick(26));
	m.termios.c_cc[VMIN] = (cc_t)pick(4);
	m.packet = (int)pick(2);
	if (!pick(4))
		m.locked.c_iflag = m.termios.c_iflag, m.locked.c_lflag = ECHO;
	return m;
}

static size_t random_bytes(uint8_t *buf, size_t max)
{
	static const uint8_t special[] = { '\n', '\r', 4, 22, 127, 21, 0, 255, 'x', '\n' };
	size_t n = pick((unsigned)max);
	unsigned kind = pick(3);

	for (size_t i = 0; i < n; i++)
		buf[i] = kind == 0              ? (uint8_t)('a' + pick(26))
		         : kind == 1 && pick(5) ? (uint8_t)('a' + pick(26))
		         : pick(2)              ? special[pick(sizeof(special))]
		                                : (uint8_t)(pick(256));
	/* A quoting character without its partner is not kept. */
	if (n && (buf[n - 1] & 127) == 22)
		buf[n - 1] = 'v';
	return n;
}

static int readable(int fd)
{
	int n = 0;

	return ioctl(fd, FIONREAD, &n) ? -1 : n;
}

/* What is on its way through a work queue of the kernel's takes as long as it takes: until both twins have as much. */
static void wait_alike(int fa, int fb)
{
	int alike = 0;

	for (int i = 0; i < 4000 && alike < 2; i++) {
		alike = readable(fa) == readable(fb) && can(fa, POLLIN) == can(fb, POLLIN) ? alike + 1 : 0;
		if (!alike || i)
			usleep(500);
	}
}

static void same_reads(struct twin *a, struct twin *b, int master)
{
	uint8_t x[2][5000];

	for (unsigned i = 0; i < 20000; i++) {
		size_t size = pick(4) ? 1 + pick(40) : 4999;
		int fa = master ? a->e.master : a->e.slave, fb = master ? b->e.master : b->e.slave;
		ssize_t na, nb;

		wait_alike(fa, fb);
		assert_int_equal(can(fa, POLLIN), can(fb, POLLIN));
		if (!can(fa, POLLIN))
			return;
		assert_int_equal(can(fa, POLLPRI), can(fb, POLLPRI));
		if (i < 40)
			settle(); /* what did not fit in moves up */
		na = read(fa, x[0], size);
		nb = read(fb, x[1], size);
		assert_int_equal(na, nb);
		if (na > 0)
			assert_memory_equal(x[0], x[1], (size_t)na);
		if (na < 0)
			return;
	}
	fail_msg("it does not end");
}

static void same_modes(struct twin *a, struct twin *b)
{
	struct tty_mode m[2];

	memset(m, 0, sizeof(m));
	assert_int_equal(tty_mode_read(&a->e, &m[0]), 0);
	assert_int_equal(tty_mode_read(&b->e, &m[1]), 0);
	assert_memory_equal(&m[0], &m[1], sizeof(m[0]));
	assert_int_equal(can(a->e.slave, POLLOUT), can(b->e.slave, POLLOUT));
}

/* The echo of what came in while output was stopped is let out by the drain, and else when output is started. */
static void start(struct twin *t)
{
	assert_int_equal(ioctl(t->e.slave, TCXONC, TCOOFF) | ioctl(t->e.slave, TCXONC, TCOON), 0);
	assert_int_equal(write(t->e.slave, "", 0), 0);
	settle();
}

/* All that was kept has been read: the rest of a line that was begun is still to come. */
static void go_on(struct twin *a, struct twin *b)
{
	for (int i = 0; i < 2; i++)
		feed(i ? b : a, 1, "go\non\n", 6);
}

static void one_round(unsigned round)
{
	static struct tty_queue q;
	struct twin t[2] = { open_twin(), open_twin() };
	struct tty_mode m[3];
	bool extproc;
	uint8_t buf[600];

	seed = round * 7919;
	extproc = !pick(10);
	for (size_t i = 0; i < ARRAY_SIZE(m); i++)
		m[i] = random_mode(&t[0], extproc);
	set_mode(&t[0], &m[0]);
	set_mode(&t[1], &m[0]);
	for (unsigned steps = pick(8); steps; steps--) {
		unsigned what = pick(4);
		size_t n = random_bytes(buf, pick(3) ? 20 : 500);

		for (int i = 0; i < 2; i++)
			if (what == 3)
				set_mode(&t[i], &m[steps % 3]);
			else
				feed(&t[i], what > 0, buf, n);
	}
	memset(&q, 0, sizeof(q));
	assert_int_equal(tty_mode_read(&t[0].e, &m[0]), 0);
	assert_int_equal(tty_queue_drain(&t[0].e, &m[0], &q), 0);
	assert_int_equal(tty_queue_put(&t[0].e, &m[0], &q), 0);
	settle();
	same_modes(&t[0], &t[1]);
	if (!can(t[1].e.slave, POLLOUT)) {
		start(&t[0]);
		start(&t[1]);
	}
	same_reads(&t[0], &t[1], 1);
	same_reads(&t[0], &t[1], 0);
	go_on(&t[0], &t[1]);
	same_reads(&t[0], &t[1], 0);
	same_reads(&t[0], &t[1], 1);
	close_twin(&t[0]);
	close_twin(&t[1]);
}

static void random_rounds(void **state)
{
	const char *n = getenv("TTY_ROUNDS"), *first = getenv("TTY_FIRST");
	unsigned rounds = n ? (unsigned)atoi(n) : 30, from = first ? (unsigned)atoi(first) : 0;

	for (unsigned i = from; i < from + rounds; i++) {
		if (n)
			print_message("round %u\n", i);
		one_round(i);
	}
}

/* More than the line discipline holds: the rest is translated and echoed when there is room. */
static void full(void **state)
{
	static struct tty_queue q;
	struct twin t[2] = { open_twin(), open_twin() };
	struct tty_mode m;

	for (int i = 0; i < 2; i++) {
		assert_int_equal(tty_mode_read(&t[i].e, &m), 0);
		m.termios.c_lflag &= ~(tcflag_t)ECHO;
		set_mode(&t[i], &m);
		for (unsigned k = 0; k < 100; k++)
			feed(&t[i], 1, "a line of sixty bytes that goes into a terminal's queue ... \r", 61);
		for (unsigned k = 0; k < 90; k++)
			feed(&t[i], 0, "a line of sixty bytes that goes out to who has the master .\n", 60);
	}
	memset(&q, 0, sizeof(q));
	assert_int_equal(tty_queue_drain(&t[0].e, &m, &q), 0);
	assert_true(q.n_slave == 6100 && q.n_master == 90 * 61);
	assert_int_equal(tty_queue_put(&t[0].e, &m, &q), 0);
	settle();
	same_modes(&t[0], &t[1]);
	same_reads(&t[0], &t[1], 0);
	same_reads(&t[0], &t[1], 1);
	close_twin(&t[0]);
	close_twin(&t[1]);
}

/* Through the image's message and back; and what no dump writes is refused. */
static void in_images(void **state)
{
	static struct tty_queue q, back;
	struct arena *a = arena_new();
	TtyDataEntry *m, *s;
	uint32_t far[] = { 3, 1 };

	for (unsigned i = 0; i < 500; i++) {
		q.master[i] = q.slave[i] = (uint8_t)pick(256);
		q.mark[i] = i < 400 ? (uint8_t)pick(4) : PLACE_BYTE;
		if (q.mark[i] == PLACE_EOF)
			q.slave[i] = 0;
	}
	q.n_master = q.n_slave = 500;
	for (q.n_done = 400; q.n_done <= 500; q.n_done += 100) {
		m = tty_queue_to_data(a, 1, &q, true);
		s = tty_queue_to_data(a, 2, &q, false);
		memset(&back, 0xff, sizeof(back));
		assert_int_equal(tty_queue_from_data(m, s, &back), 0);
		assert_true(back.n_master == 500 && back.n_slave == 500 && back.n_done == q.n_done);
		assert_memory_equal(back.master, q.master, 500);
		assert_memory_equal(back.slave, q.slave, 500);
		assert_memory_equal(back.mark, q.mark, 500);
	}
	assert_int_equal(tty_queue_from_data(NULL, NULL, &back), 0);
	assert_true(!back.n_master && !back.n_slave && !back.n_done);
	s->eol = far;
	s->n_eol = 2;
	assert_int_equal(tty_queue_from_data(m, s, &back), -EINVAL);
	m->data.len = TTY_QUEUE_MAX + 1;
	assert_int_equal(tty_queue_from_data(m, NULL, &back), -EINVAL);
	arena_free(a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(random_rounds),
		cmocka_unit_test(full),
		cmocka_unit_test(in_images),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
