/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Prefetching the descriptors of a task: other threads duplicate them and read their fdinfo, and the names of regular
 * files, while the dumping thread is at earlier ones, and close the duplicates later. If prefetching fails, the slot
 * stays empty; the dumping thread then fetches it itself and reports the error.
 */
#ifndef CRIU_FILES_FILES_AHEAD_H
#define CRIU_FILES_FILES_AHEAD_H

#include <sys/stat.h>

#include "helper/foreign.h"
#include "tree/task.h"

struct files_ahead;

struct prefetched {
	int fd;                      /* a duplicate of ours, or -1; it may be taken over, or taken and put back */
	enum foreign_answer foreign; /* then there is no duplicate */
	bool has_st;
	struct stat st;
	size_t len;     /* of the text, 0: none */
	char text[500]; /* of /proc/PID/fdinfo, if it fits */
	char link[256]; /* of /proc/PID/fd; "": not read, or too long */
};

/* For descriptors `numbers` of a frozen task; the array must stay valid until files_ahead_end(). */
struct files_ahead *files_ahead_start(struct foreign *mounts, const struct task *t, const int *numbers, size_t n);

/* Descriptor numbers[i]; for 0, 1, 2, ... in this order. Valid until the next is asked for. */
struct prefetched *files_ahead_next(struct files_ahead *a, size_t i);

/* Closes what was not taken over. NULL is fine. */
void files_ahead_end(struct files_ahead *a);

#endif
