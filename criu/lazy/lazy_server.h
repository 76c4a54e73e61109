/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Inside of lazy/: the daemon. It has one thread, and a *keeper*: a process with the same table of descriptors, so that
 * no userfaultfd is closed when the daemon is killed (the kernel then gives zeros for what is missing). The keeper has
 * a copy of the daemon's memory as it was when the keeper was born, and a log, shared, of all that has happened since;
 * when the daemon has gone without saying so, the keeper carries out the log and is the daemon. Messages of the kernel
 * are read right into the log, so that there is no instant at which one is lost.
 */
#ifndef CRIU_LAZY_LAZY_SERVER_H
#define CRIU_LAZY_LAZY_SERVER_H

#include "lazy/lazy_protocol.h"
#include "lazy/lazy_space.h"
#include "options/socket_file.h"

enum lazy_what { LAZY_TASK = 1, LAZY_MESSAGE, LAZY_CLOSED, LAZY_ENDS };

struct lazy_record {
	uint32_t what;
	int32_t vpid; /* LAZY_TASK */
	int32_t fd;   /* the userfaultfd; LAZY_ENDS: the connection, -1: it was cut */
	struct uffd_msg msg;
};

struct lazy_log {
	uint64_t n; /* of them are in force; one more where a message was read last */
	struct lazy_record v[];
};

/* Shared by the daemon and all its keepers. */
struct lazy_shared {
	uint32_t keeper; /* the number of the one that takes over */
	uint32_t ended;  /* the daemon needs none any more */
};

/* Connections; the first that sends a task is the restore. */
#define LAZY_PEERS 8
struct lazy_peer {
	int fd; /* -1: none */
	uint8_t got[4];
	size_t n_got;
	int32_t vpid; /* that has been sent, and whose descriptor comes; 0: none has */
	bool spoke;
};

struct lazy_server {
	struct socket_file *file; /* the name that it listens on */
	struct image_dir *dir;
	struct arena *arena;
	int listener, epoll;
	struct lazy_peer peers[LAZY_PEERS];
	int restore;                     /* the connection that has sent a task; -1: none (any more) */
	bool began, finished, committed; /* committed: the restore cannot fail any more */
	struct page_asker *asker;        /* who has the memory; NULL: it is in files here */
	struct lazy_space **by_fd;       /* from malloc */
	size_t n_by_fd, n_spaces, next;  /* next: whose turn it is */
	uint8_t *buf;                    /* LAZY_BUFFER */
	struct lazy_shared *shared;
	struct lazy_log *log; /* NULL: there is no keeper yet */
	pid_t keeper;
	int keeper_pidfd;
	pid_t owner; /* the process that own_pidfd is of: the daemon, or a keeper in its place */
	int own_pidfd;
	uint32_t keeper_number;
	int err; /* some pages could not be read, or the restore did not end well */
	uint64_t n_faults, n_filled, n_forks, n_retries; /* for the log */
};

/* All return 0 or a negative errno (logged). */

/* ---- lazy_loop.c ---- */

/* Serves until nothing is missing any more, or the restore has come to nothing. */
int lazy_loop(struct lazy_server *s);
int lazy_watch_fd(struct lazy_server *s, int fd);

/* ---- lazy_events.c ---- */

/* A task, or the child of one, with what is missing in it. fd is taken over. */
int lazy_add(struct lazy_server *s, vpid_t vpid, int fd);
void lazy_drop(struct lazy_server *s, struct lazy_space *space);

/* Reads what the kernel has to say of an address space, and serves faults. */
int lazy_read_messages(struct lazy_server *s, struct lazy_space *space);

/* Carries out a record of what a daemon that is gone has done. */
int lazy_replay(struct lazy_server *s, const struct lazy_record *r);

/* ---- lazy_peers.c ---- */

int lazy_accept(struct lazy_server *s);
int lazy_hear(struct lazy_server *s, struct lazy_peer *p);
void lazy_close_peers(struct lazy_server *s);

/* The restore's connection gets its answer: LAZY_HELD or LAZY_LOST. */
void lazy_answer(int sock, uint32_t word);

/* ---- lazy_keeper.c ---- */

/* Where the next message is read into: a record that counts when lazy_logged() was called. */
struct lazy_record *lazy_next_record(struct lazy_server *s);
void lazy_logged(struct lazy_server *s);
void lazy_note(struct lazy_server *s, enum lazy_what what, vpid_t vpid, int fd);

int lazy_keeper_start(struct lazy_server *s);
void lazy_keeper_end(struct lazy_server *s);

#endif
