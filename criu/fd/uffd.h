/* SPDX-License-Identifier: GPL-2.0-only */
/* A userfaultfd: whose memory it watches, which of it, and the pages there (userfaultfd(2), ioctl_userfaultfd(2)). */
#ifndef CRIU_FD_UFFD_H
#define CRIU_FD_UFFD_H

#include "tree/kind.h"
#include "uapi/userfaultfd_more.h"
#include "uffd.pb-c.h"

/* uffd_pages.state */
enum uffd_state { UFFD_PRESENT = 1, UFFD_WP = 2, UFFD_POISONED = 4 };

/* One that was dumped. */
struct uffd {
	UffdFileEntry *msg;
	const struct task *holder; /* that it was first met in, */
	int number;                /* under this number (-1: in flight) */
	int fd;                    /* ours */
	struct task *owner;        /* whose memory it watches; NULL: not known (yet) */
	struct uffd *next;
};

/*
 * Finds whose memory each watches, and which ranges. What cannot be told is refused, which is no error here. 0 or a
 * negative errno (logged).
 */
int uffd_find_ranges(struct dump *d, struct uffd *all);

/* Appends to u->msg->pages what the page table of its owner has in a range. 0 or a negative errno (logged). */
int uffd_scan(struct dump *d, struct uffd *u, const UffdRange *range);

/* Restore: what has come into memory that is to be missing goes, before it is watched. Logs its errors. */
int uffd_drop_missing(struct task *t, const UffdFileEntry *m);

/* Restore: the ranges of a userfaultfd that is open here, and the states of their pages. Logs its errors. */
int uffd_register(const UffdFileEntry *m, const struct task *t, int fd);

#endif
