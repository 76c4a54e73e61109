/* SPDX-License-Identifier: LGPL-2.1-only */
/*
 * soccr: takes an established TCP connection out of one socket and puts it into another (TCP_REPAIR, tcp(7),
 * net/ipv4/tcp.c of Linux). It sends nothing on the wire but the segments of soccr_inject().
 *
 *	reading				building
 *	soccr_look(fd, &c)		soccr_open(fd, &c)	in repair, with an address and sequence numbers
 *	soccr_pause(fd, &c)		soccr_connect(fd, &c)	with a peer and what was agreed with it
 *	soccr_read(fd, &c)		soccr_fill(fd, &c)	queues, the part that was sent, and the window
 *	soccr_resume(fd, &c)		soccr_close_sides(fd, &c, ...)	FINs that were seen
 *	soccr_free(&c)			soccr_release(fd, &c)	leaves repair
 *					soccr_go_on(fd, &c, ...)	what was not sent yet
 *
 * The caller has to keep the peers' packets away, on all sockets that talk to each other: from before soccr_read()
 * until the original is gone or resumed, and from before soccr_open() until after soccr_go_on(). CAP_NET_ADMIN in the
 * network namespace is needed.
 *
 * Functions return 0 or a negative errno, and leave in soccr_conn.step which call failed. They share no state.
 */
#ifndef SOCCR_H
#define SOCCR_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

union soccr_addr {
	struct sockaddr any;
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
};

/* TCP_REPAIR_WINDOW, struct tcp_repair_window of linux/tcp.h */
struct soccr_window {
	uint32_t snd_wl1, snd_wnd, max_window, rcv_wnd, rcv_wup;
};

/*
 * A connection. Sequence numbers are the kernel's: of the next byte of that direction, FINs counted. Lengths are of
 * bytes, FINs not counted.
 */
struct soccr_conn {
	uint8_t state; /* TCP_ESTABLISHED, ... of netinet/tcp.h */
	union soccr_addr local, remote;
	uint32_t inq_seq, inq_len;             /* receive queue */
	uint32_t outq_seq, outq_len, unsq_len; /* send queue: not acknowledged, and of that not sent yet */
	void *inq, *outq;                      /* malloc()ed by soccr_read() */
	uint8_t options;                       /* TCPI_OPT_* */
	uint8_t snd_wscale, rcv_wscale;
	uint32_t mss_clamp;
	uint32_t timestamp; /* ours, where TCPI_OPT_TIMESTAMPS; as the kernel gives it */
	bool has_window;
	struct soccr_window window;
	bool reuseaddr;   /* SO_REUSEADDR: leaving repair clears it */
	int peek_off;     /* SO_PEEK_OFF, off while paused; -1: it was off */
	bool peek_moved;  /* SO_PEEK_OFF was used to read beyond what SIOCINQ counts */
	const char *step; /* "TCP_REPAIR_WINDOW": the last call, which failed where there is an error */
};

/* Which FINs the sequence numbers of a connection in this state count. */
bool soccr_fin_sent(uint8_t state);
bool soccr_fin_received(uint8_t state);

/* ---- reading ---- */

/* Reads what soccr_resume() puts back (reuseaddr, peek_off), to be kept in case the caller dies. Changes nothing. */
int soccr_look(int fd, struct soccr_conn *c);

/* Switches repair on and SO_PEEK_OFF off. Any state but LISTEN. soccr_look() was before. */
int soccr_pause(int fd, struct soccr_conn *c);

/*
 * Reads all of it; addresses where c has none (family 0) and the socket has. The socket stays as it is. -ENOMEM;
 * -EAGAIN: a packet came or went during the read, packets are not kept away; -ENODATA: an urgent byte waits, which
 * cannot be put back. Needs Linux 4.6.
 */
int soccr_read(int fd, struct soccr_conn *c);

/* Leaves repair without a probe, SO_REUSEADDR and SO_PEEK_OFF as they were. */
int soccr_resume(int fd, const struct soccr_conn *c);

void soccr_free(struct soccr_conn *c); /* the queues */

/* ---- building ---- */

/*
 * On a new socket of the right family: repair on, buffers large enough to be filled (the caller sets the final sizes
 * afterwards), sequence numbers, bind.
 */
int soccr_open(int fd, struct soccr_conn *c);

/*
 * Connect, options, timestamp; nothing is sent. -EADDRNOTAVAIL: another socket has these addresses; it may be
 * called again. State SYN_SENT: the connect() that sends the SYN again with its old number is left to soccr_go_on().
 */
int soccr_connect(int fd, struct soccr_conn *c);

/* Puts the receive queue, the part of the send queue that was sent, and the window. */
int soccr_fill(int fd, struct soccr_conn *c);

/*
 * Still in repair: brings the socket from ESTABLISHED into c->state as far as that is possible before the unsent bytes.
 * Segments carry the mark.
 */
int soccr_close_sides(int fd, struct soccr_conn *c, uint32_t mark);

/* Switches repair off, and SO_REUSEADDR on again: between these two calls no other socket can listen at the port. */
int soccr_release(int fd, struct soccr_conn *c);

/* Puts the unsent bytes (which stay unsent while packets are kept away) and the FIN behind them; SYN_SENT: connects. */
int soccr_go_on(int fd, struct soccr_conn *c, uint32_t mark);

/* When packets are let through again: unsent bytes go now, not when a timer expires. Queues may be freed before. */
void soccr_push(int fd, const struct soccr_conn *c);

#endif
