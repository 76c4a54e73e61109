/* SPDX-License-Identifier: GPL-2.0-only */
/* Connections read out of their sockets, many at a time, while the network is locked. */
#ifndef CRIU_SOCK_TCP_TCP_READ_H
#define CRIU_SOCK_TCP_TCP_READ_H

#include "tree/kind.h"
#include "sk-inet.pb-c.h"
#include "soccr.h"
#include "sock/tcp/tcp_ended.h"

/* A connection of the tree that is dumped. */
struct tcp_found {
	struct task *task;
	uint64_t start_time; /* of the task */
	int number;          /* of the descriptor in the task, or -1: in flight */
	const char *what;    /* as fd_info has it */
	int held;            /* our descriptor, where the socket is in flight: files_dump_in_flight() keeps it open */
	uint32_t id;
	InetSkEntry *m;
	const char *who;
	bool ended; /* when it was found: nothing to lock */
	enum tcp_bound bound;
	/* From the read to the write. */
	int fd, err;
	struct soccr_conn c;
};

/*
 * Fills the options of IP and TCP: all; where m has those of another connection that are the same, the ones that the
 * kernel changes by itself. Any thread may call them.
 */
struct tcp_dump_options {
	int (*all)(struct arena *a, const struct fd_info *info, InetSkEntry *m);
	int (*moving)(struct arena *a, const struct fd_info *info, InetSkEntry *m);
};

/* Reads them, and writes their entries (of kind) and queues. 0 or a negative errno; refusals are only logged. */
int tcp_read_all(struct dump *d, struct tcp_found *conns, size_t n, const struct fd_kind *kind,
                 const struct tcp_dump_options *options);

/* After the commit: puts them into repair, in which a socket says nothing to its peer when it is closed. */
void tcp_silence_all(struct tcp_found *conns, size_t n);

#endif
