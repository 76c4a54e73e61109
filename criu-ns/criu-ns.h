/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * criu-ns runs criu in other pid and mount namespaces: a restore in new ones, a dump in those of the process. Three
 * processes: the front, which the caller sees; the keeper, which is the first process of new namespaces, and lives as
 * long as there is another one in them; and criu, in a process group of its own.
 */
#ifndef CRIU_NS_H
#define CRIU_NS_H

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

enum command { DUMP, RESTORE, CHECK };

struct request {
	enum command command;
	char **argv; /* of criu, NULL at its end; without what criu-ns does by itself */
	size_t argc;
	char **rest;            /* words that come after all others: "--" and a command, NULL at its end */
	pid_t tree;             /* of a dump, as the caller sees it */
	int target;             /* its pidfd */
	const char *images_dir; /* as given; NULL: the current one */
	const char *work_dir;   /* NULL: images_dir */
	int images_fd, work_fd; /* a dump gets them as descriptors */
	const char *pidfile;    /* NULL: none */
	int told_fd;            /* where criu writes the pid of the restored root task, which it sees; -1 */
	int cwd;
};

/* The command line; ends the program where it is wrong. */
void args_parse(int argc, char **argv, struct request *r);

/* What the keeper tells (ENDED, STOPPED), and what it is told (the others). */
enum news {
	ENDED,    /* value: the wait status */
	STOPPED,  /* value: by which signal */
	PASS,     /* value: a signal for criu */
	CONTINUE, /* the front goes on: so does criu; with the terminal, where the front has it */
	RELEASE,  /* what has ended may be waited for */
};

struct message {
	enum news news;
	int value;
	bool terminal; /* from the keeper: it is with criu or with the tree; to the keeper: it is for criu */
	bool empty;    /* ENDED: no other process is there */
};

/* The keeper; a new process, which does not return. sock: to the front, whose end means that criu has to end. */
_Noreturn void keeper_main(const struct request *r, int sock, bool terminal, const sigset_t *mask);

/* A line on standard error, with errno's words where err is not 0; 1. */
__attribute__((format(printf, 2, 3))) int complain(int err, const char *format, ...);

#endif
