/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Receive queues: what can be read at both ends of a pseudo terminal. Reading takes it out, so a dump drains the queues
 * and puts everything back at once; a restore puts it in with the same function.
 *
 * The slave's queue is more than bytes: in canonical mode the line discipline (drivers/tty/n_tty.c) knows where lines
 * end, and a line may be ended by an end-of-file character, which no reader gets to see. What is not kept: how an
 * unfinished line was edited (erased characters), and a quoting character (^V) whose partner was not typed yet.
 */
#ifndef CRIU_TTY_TTY_QUEUE_H
#define CRIU_TTY_TTY_QUEUE_H

#include <asm/termbits.h>

#include "tree/kind.h"
#include "tty.pb-c.h"

#define TTY_LINE_MAX  4095 /* what the line discipline holds */
#define TTY_QUEUE_MAX (24 << 10)

/* One place in the slave's queue. */
enum place_mark {
	PLACE_BYTE,
	PLACE_EOF,     /* an end-of-file character */
	PLACE_EOL,     /* a byte other than a newline that ends a line */
	PLACE_LITERAL, /* a newline that does not end a line */
};

struct tty_queue {
	uint32_t n_master, n_slave;
	uint32_t n_done; /* of the slave's, how many the line discipline has processed; the rest waits behind them as it
	                    was written, to be echoed and translated when there is room */
	bool stopped;    /* the slave's output: by ^S, or tcflow(TCOOFF) */
	uint8_t packet_status; /* TIOCPKT_* that the master has not read yet */
	uint8_t master[TTY_QUEUE_MAX];
	uint8_t slave[TTY_QUEUE_MAX];
	uint8_t mark[TTY_QUEUE_MAX];
};

/* Settings of the terminal, for when its queues are in place. */
struct tty_mode {
	struct termios2 termios;
	struct termios locked;
	int packet;
};

/* Both ends, with O_NONBLOCK while they are worked on. */
struct tty_ends {
	int master, slave;
};

/* Reads a terminal's mode. These three return 0 or a negative errno, not logged. */
int tty_mode_read(const struct tty_ends *e, struct tty_mode *m);

/*
 * Takes both queues out. The terminal's settings may differ from m afterwards, until tty_queue_put(). -EOVERFLOW: more
 * than a terminal can hold came (a process goes on writing).
 */
int tty_queue_drain(const struct tty_ends *e, const struct tty_mode *m, struct tty_queue *q);

/* Puts them into empty queues, without echo, signals or translation, and sets the mode. */
int tty_queue_put(const struct tty_ends *e, const struct tty_mode *m, const struct tty_queue *q);

/* Whether there is anything to keep beside the mode. */
static inline bool tty_queue_is_empty(const struct tty_queue *q)
{
	return !q->n_master && !q->n_slave && !q->stopped && !q->packet_status;
}

/* ---- in the images: bytes of tty-data.img, and what is known of them ---- */

/* Fills both queues of q; NULL: that one is empty. Negative errno (logged). */
int tty_queue_from_data(const TtyDataEntry *master, const TtyDataEntry *slave, struct tty_queue *q);

/* The message for one queue. */
TtyDataEntry *tty_queue_to_data(struct arena *a, uint32_t id, const struct tty_queue *q, bool master);

/* Dump, when pairs are known: copies the queues of all pairs into their messages. Negative errno (logged). */
int tty_queue_dump(struct dump *d);

#endif
