/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What waits to be read at both ends of a pseudo terminal. Reading it takes it out, so it is drained and put back at
 * once; a restore puts it in with the same function.
 *
 * The slave's queue is more than bytes: in canonical mode the line discipline (drivers/tty/n_tty.c) knows where lines
 * end, and a line may be ended by an end-of-file character, which no reader gets to see. What is not kept: how an
 * unfinished line was edited (erased characters), and a quoting character (^V) whose partner was not typed yet.
 */
#ifndef CRIU_TTY_QUEUE_H
#define CRIU_TTY_QUEUE_H

#include <asm/termbits.h>

#include "common.h"

#define LINE_MAX_TTY 4095 /* what the line discipline holds */
#define QUEUE_MAX    (24 << 10)

/* One place in the slave's queue. */
enum place_mark {
	PLACE_BYTE,
	PLACE_EOF,     /* an end-of-file character */
	PLACE_EOL,     /* a byte other than a newline that ends a line */
	PLACE_LITERAL, /* a newline that ends none */
};

struct tty_queue {
	uint32_t n_master, n_slave;
	uint32_t n_done; /* of the slave's, how many the line discipline has worked on; the rest waits behind them as it
	                    was written, to be echoed and translated when there is room */
	bool stopped;    /* the slave's output: by ^S, or tcflow(TCOOFF) */
	uint8_t packet_status; /* TIOCPKT_* that the master has not read yet */
	uint8_t master[QUEUE_MAX];
	uint8_t slave[QUEUE_MAX];
	uint8_t mark[QUEUE_MAX];
};

/* How the terminal is to be when its queues are in place. */
struct tty_mode {
	struct termios2 termios;
	struct termios locked;
	int packet;
};

/* Both ends, with O_NONBLOCK while they are worked on. */
struct tty_ends {
	int master, slave;
};

/* What a terminal's mode is. Negative errno, not logged; so all of these. */
int tty_mode_read(const struct tty_ends *e, struct tty_mode *m);

/*
 * Takes both queues out. The terminal's settings may differ from m afterwards, until queue_put(). -EOVERFLOW: more than
 * a terminal can hold came (somebody goes on writing).
 */
int queue_drain(const struct tty_ends *e, const struct tty_mode *m, struct tty_queue *q);

/* Puts them in, into empty ones, without echo, signals or translation, and sets the mode. */
int queue_put(const struct tty_ends *e, const struct tty_mode *m, const struct tty_queue *q);

/* Whether there is anything beside the mode. */
static inline bool queue_is_empty(const struct tty_queue *q)
{
	return !q->n_master && !q->n_slave && !q->stopped && !q->packet_status;
}

#endif
