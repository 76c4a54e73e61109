/* SPDX-License-Identifier: GPL-2.0-only */
/* Rings of io_uring: the requests in flight, and what was registered, where criu can read what the kernel keeps. */
#ifndef CRIU_FD_URING_PARTS_H
#define CRIU_FD_URING_PARTS_H

#include "fd/uring.h"
#include "fd/uring_kernel.h"

/* ---- requests in flight: uring_again.c ---- */

/* Dump: the thread of the tree with that id, or NULL. */
const struct thread *uring_again_thread(struct dump *d, pid_t tid);

/* Dump: why it cannot be submitted again, or NULL. Makes it so that it can be, by a thread of the tree (NULL: the
 * ring's own). */
const char *uring_again_why(struct dump *d, const struct task *t, const struct uring_state *s, struct uring_flying *f,
                            const struct thread **by);
/* Whether all that is in flight can be; else a list of opcodes and reasons in text. */
bool uring_again_all(struct dump *d, const struct task *t, const struct uring_state *s, char *text, size_t size);
void uring_again_dump(struct dump *d, const struct task *t, const struct uring_state *s, UringFileEntry *m);

/* Restore: the rings that are to get their requests; state of uring_flight_part. */
struct again_ring;
struct uring_again_state {
	struct again_ring *rings;
};

/* Restore: whether the requests of an image make sense; notes a ring with some, in the last task part's hands. */
bool uring_again_check(const UringFileEntry *m);
void uring_again_later(struct restore *r, struct task *t, const UringFileEntry *m, const struct uring_view *v);
int uring_again_submit(struct restore *r, struct thread *th, struct batch *b);

/* ---- what was registered: uring_register.c ---- */

/* Dump: why it cannot come back, or NULL. */
const char *uring_register_dump(struct dump *d, const struct task *t, const struct uring_state *s, UringFileEntry *m);
/* Dump: what a thread has registered with itself and would lose, as a refusal says it; or NULL. */
const char *uring_register_lost(struct dump *d, const struct uring_state *s, const struct thread *th);
bool uring_register_check(const UringFileEntry *m);
int uring_register_restore(struct agent *a, const UringFileEntry *m, int number);

/* Restore: the ring, descriptor fd of the thread's, under the numbers that the thread had it. */
int uring_register_with(struct thread *th, const UringFileEntry *m, uint32_t fd);

/* ---- provided buffers: uring_buffers.c ---- */

/* Dump: why they cannot come back, or NULL. */
const char *uring_buffers_dump(struct dump *d, const struct task *t, const struct uring_state *s, UringFileEntry *m);
bool uring_buffers_check(const UringFileEntry *m);
/* Restore: how many places of requests it takes to use up those that were used up. */
uint32_t uring_buffers_requests(const UringFileEntry *m);
int uring_buffers_register(struct agent *a, const UringFileEntry *m, int number);
/* Uses them up, from position `at` on. 0 or a negative errno (not logged). */
int uring_buffers_restore(const struct uring_view *v, struct agent *a, pid_t pid, const UringFileEntry *m, uint32_t at);

#endif
