/* SPDX-License-Identifier: GPL-2.0-only */
/* One address space with missing pages, and its userfaultfd (ioctl_userfaultfd(2)). */
#ifndef CRIU_LAZY_LAZY_SPACE_H
#define CRIU_LAZY_LAZY_SPACE_H

#include "lazy/lazy_pieces.h"
#include "pages/pages_reader.h"

#define LAZY_CHUNK  (UINT64_C(1) << 20)      /* what is read and put in place at once */
#define LAZY_BUFFER (LAZY_CHUNK + PAGE_SIZE) /* with a page behind it that cannot be read */

struct lazy_space {
	int fd;
	vpid_t vpid; /* of the task of the checkpoint whose pages these are; forks have their parent's */
	struct pages_reader *reader;
	struct lazy_pieces pieces;
	raddr_t *waiting; /* faults that cannot be served before an event has been read; from malloc */
	size_t n_waiting, room_waiting;
	bool lost; /* pages cannot be read, and the kernel cannot poison them: who touches them waits */
	bool told; /* of want of memory */
	bool told_poisoned;
};

/*
 * All return 0, -ESRCH: the process has ended or has executed a program, -EAGAIN: the memory is being changed, and an
 * event that tells how has to be read first. buf: LAZY_BUFFER bytes. What cannot be read is poisoned, and logged:
 * -EIO then.
 */

/* The page at an address, which a thread waits for, with what is around it; a page of zeros where nothing is stored. */
int lazy_space_fault(struct lazy_space *s, raddr_t at, uint8_t *buf);

/* The first chunk that is missing. */
int lazy_space_fill_some(struct lazy_space *s, uint8_t *buf);

/* Whether the process is still there. */
int lazy_space_probe(const struct lazy_space *s, const uint8_t *buf);

/* Threads that wait have their faults again. */
void lazy_space_wake_all(const struct lazy_space *s);

/* Notes a fault for later. -ENOMEM. */
int lazy_space_wait(struct lazy_space *s, raddr_t at);

/* Closes the descriptor: what is missing from here on is zeros. */
void lazy_space_free(struct lazy_space *s);

#endif
