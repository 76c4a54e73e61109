/* SPDX-License-Identifier: GPL-2.0-only */
/* Rings of io_uring: what lies in their memory, and the positions that the kernel keeps (io_uring(7)). */
#ifndef CRIU_FD_URING_H
#define CRIU_FD_URING_H

#include <linux/io_uring.h>

#include "tree/kind.h"
#include "tree/vma_kind.h"
#include "uapi/io_uring_more.h"
#include "uring.pb-c.h"

#define URING_LINK "anon_inode:[io_uring]"

/* What fdinfo says of a ring. */
struct uring_numbers {
	uint64_t sq_mask, cq_mask, submitted, completed, files, buffers;
	bool has_thread, has_overflow;
	char polls[64]; /* opcodes of the requests that wait for a file */
};

/* 0, or -EINVAL (not logged): they are not all there. */
int uring_read_numbers(const char *text, struct uring_numbers *n);

/* Each request has one completion, as long as a program does not ask for none, or for several. */
static inline bool uring_in_flight(const struct uring_numbers *n)
{
	return n->submitted != n->completed || *n->polls;
}

/* What makes a ring larger or smaller. */
#define URING_LAYOUT_FLAGS                                                                                             \
	(IORING_SETUP_SQE128 | IORING_SETUP_CQE32 | URING_SETUP_NO_SQARRAY | URING_SETUP_CQE_MIXED |                   \
	 URING_SETUP_SQE_MIXED)

struct agent;

/* A ring that criu has mapped. */
struct uring_view {
	int fd; /* the caller's */
	struct io_uring_params p;
	bool flags_known;    /* p.flags are those of the ring */
	struct agent *agent; /* of the only thread that may use the ring, as descriptor `number`; NULL: any may */
	int number;
	uint8_t *rings, *sqes; /* NULL: not mapped */
	size_t rings_len, sqes_len;
	bool no_array; /* shorter than a ring of today's: set up with IORING_SETUP_NO_SQARRAY */
};

static inline uint32_t *uring_word(const struct uring_view *v, uint32_t offset)
{
	return (uint32_t *)(void *)(v->rings + offset);
}

/* What a ring of that size is like, in p (flags: URING_LAYOUT_FLAGS). 0 or a negative errno (not logged). */
int uring_layout(uint32_t sq_entries, uint32_t cq_entries, uint32_t flags, struct io_uring_params *p);

/*
 * Maps a ring of the layout v->p. -EOPNOTSUPP: its flags are not known, and its entries are larger (SQE128, CQE32).
 * Negative errno, not logged.
 */
int uring_view_map(struct uring_view *v);
void uring_view_unmap(struct uring_view *v);

/* Writes a request to its place, and the tail behind it. */
void uring_view_put(const struct uring_view *v, uint32_t at, const struct io_uring_sqe *e);

/* Submits n entries, whose tail has been written, and sees that they are taken. 0 or a negative errno (not logged). */
int uring_view_submit(const struct uring_view *v, uint32_t head, uint32_t n);

/* Brings the positions of a new ring from 0 to there. 0 or a negative errno (not logged). */
int uring_advance(struct uring_view *v, uint32_t submitted, uint32_t completed);

/* Restore: puts the mappings of a ring, which the task has as descriptor `fd`, in their places. Logs its errors. */
int uring_map_all(struct restore *r, struct task *t, uint64_t inode, int fd);
bool uring_is_mapped(const struct task *t, uint64_t inode);

/* Dump: the mappings of rings of all tasks, as the row met them. */
struct uring_mapping {
	const struct task *task;
	uint64_t start, end, ino;
	struct uring_mapping *next;
};

const struct uring_mapping *uring_mappings(struct dump *d);

/* Dump: what the one thread that may use a ring (IORING_SETUP_SINGLE_ISSUER) was told about it. */
struct uring_told {
	const struct task *task;
	int number;
	bool has_eventfd, has_buffers;
	struct uring_told *next;
};

/* NULL: no thread of the task may, or any. */
const struct uring_told *uring_told(struct dump *d, const struct task *t, int number);

#endif
