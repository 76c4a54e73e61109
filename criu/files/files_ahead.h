/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Descriptors of a task, fetched and looked at by other threads while the one that dumps them is at those before. What
 * could not be had this way is simply not there: who dumps asks himself then, and tells what is wrong.
 */
#ifndef CRIU_FILES_FILES_AHEAD_H
#define CRIU_FILES_FILES_AHEAD_H

#include <sys/stat.h>

#include "tree/task.h"

struct files_ahead;

struct looked {
	int fd; /* a duplicate of ours, or -1; who takes it puts -1 here */
	bool has_st;
	struct stat st;
	size_t len;     /* of the text, 0: none */
	char text[500]; /* of /proc/PID/fdinfo, if it has place in here */
};

/* For descriptors `numbers` of a frozen task, which stay where they are until files_ahead_end(). */
struct files_ahead *files_ahead_start(const struct task *t, const int *numbers, size_t n);

/* Descriptor numbers[i]; for 0, 1, 2, ... in this order. Valid until the next is asked for. */
struct looked *files_ahead_next(struct files_ahead *a, size_t i);

/* Closes what was not taken. NULL is fine. */
void files_ahead_end(struct files_ahead *a);

#endif
