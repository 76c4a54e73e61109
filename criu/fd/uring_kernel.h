/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the kernel keeps of a ring of io_uring and shows nowhere: how it was set up, what was registered, and the
 * requests in flight. Read from its memory (lib/kernel_view.h) by the layouts it gives of its own structures.
 */
#ifndef CRIU_FD_URING_KERNEL_H
#define CRIU_FD_URING_KERNEL_H

#include <linux/io_uring.h>
#include <sys/uio.h>
#include <time.h>

#include "tree/dump.h"

struct uring_kernel;

/* A request in flight, as it can be submitted again. */
struct uring_flying {
	uint64_t at;   /* the kernel's own, to know it again */
	uint64_t task; /* whose request it is: a task_struct; 0: not known */
	uint64_t file; /* struct file, 0: none */
	uint8_t opcode;
	const char *why; /* it cannot be submitted again, or NULL */
	bool is_read;    /* of a file that may be a socket */
	uint64_t link;   /* the request that is to follow, or 0 */
	uint64_t head;   /* of a timeout of a link: the request that it ends */
	uint64_t vector; /* the kernel's copy (struct iov_iter) of a vector of the program's; 0: it has none */
	uint64_t name, control, control_len; /* of a message */
	bool has_time;
	struct timespec time; /* that sqe.addr has to point to */
	struct io_uring_sqe sqe;
};

/* A ring, at one instant. */
struct uring_state {
	uint64_t ctx, leader; /* struct io_ring_ctx; the task_struct of the process that it was read for, or 0 */
	uint32_t flags, submitted, completed, in_flight;
	uint32_t idle, cpu, sq_users; /* of the thread that polls; idle in the kernel's ticks */
	uint64_t submitter;           /* task_struct of IORING_SETUP_SINGLE_ISSUER, or 0 */
	uint64_t eventfd;             /* struct eventfd_ctx, or 0 */
	bool eventfd_async, restricted, has_personalities, has_buffer_groups, has_receive_queues, has_overflow;
	uint32_t n_files, n_buffers, alloc_start, alloc_end;
	uint64_t files_at, buffers_at; /* arrays of pointers to struct io_rsrc_node */
	struct uring_flying *flying;   /* fewer than in_flight: of the others nothing is known */
	size_t n_flying;
};

/* A place in a table of registered files or buffers. */
struct uring_place {
	uint64_t file; /* struct file; 0: empty */
	uint64_t addr, len, tag;
	bool odd;              /* a buffer that is the kernel's */
	uint64_t page, offset; /* struct page where the buffer begins, and how far into that; 0: not known */
};

/* NULL: not to be had, and *why tells (log_info has said so). What was opened lives as long as the dump. */
struct uring_kernel *uring_kernel(struct dump *d);

/* Of criu's own descriptor fd. 0; -EAGAIN: it changes; or another negative errno (none is logged). */
int uring_kernel_read(struct dump *d, struct uring_kernel *k, int fd, struct uring_state *s);

/* Place number i of the registered files, or buffers. */
int uring_kernel_file(struct uring_kernel *k, const struct uring_state *s, uint32_t i, struct uring_place *p);
int uring_kernel_buffer(struct uring_kernel *k, const struct uring_state *s, uint32_t i, struct uring_place *p);

/* The id of a task_struct in criu's pid namespace; 0 where it has none there. */
pid_t uring_kernel_tid(struct uring_kernel *k, uint64_t task);

/*
 * The task_struct of a thread that has used the ring: of the one with that id, or, tid 0, of any of the process; 0:
 * none.
 */
uint64_t uring_kernel_user(struct uring_kernel *k, const struct uring_state *s, pid_t tgid, pid_t tid);

/* The struct file that a thread has registered under a number (IORING_REGISTER_RING_FDS); 0: none. */
#define URING_REGISTERED_MAX 16U
uint64_t uring_kernel_registered(struct uring_kernel *k, uint64_t task, unsigned number);

/* The struct file behind a descriptor of a task; 0: none. With `deep`: its private_data. */
uint64_t uring_kernel_descriptor(struct uring_kernel *k, uint64_t task, uint32_t number, bool deep);

uint64_t uring_kernel_private(struct uring_kernel *k, uint64_t file);

/* The number of a descriptor of a task whose struct file (or, `deep`, whose private_data) is that; -ENOENT: none. */
int uring_kernel_find(struct uring_kernel *k, uint64_t task, uint64_t what, bool deep);

/* How long a thread polls that was set up with IORING_SETUP_SQPOLL and this idle time, in milliseconds. */
uint32_t uring_kernel_idle(struct dump *d, struct uring_kernel *k, uint32_t ticks);

/* Whether the kernel's copy of a vector is that of the n elements. */
bool uring_kernel_same_vector(struct uring_kernel *k, uint64_t iter, const struct iovec *v, size_t n);

/* A group of provided buffers: what IORING_REGISTER_PBUF_RING made. */
struct uring_group {
	uint16_t id, head;
	uint32_t entries;
	bool counts_bytes, odd; /* IOU_PBUF_RING_INC; handed over one by one, or with flags that are not known */
	uint64_t ring, pages;   /* as the kernel has its memory mapped, and its pages */
	raddr_t at;             /* in the process; 0: not found */
};

/* All of a ring's. 0 or a negative errno (not logged). */
int uring_kernel_groups(struct dump *d, struct uring_kernel *k, const struct uring_state *s,
                        struct uring_group **groups, size_t *n);
/* Whether the process has at p->addr still the page that was registered; -ENODATA: that cannot be seen. */
int uring_kernel_same_page(struct dump *d, struct uring_kernel *k, const struct task *t, const struct uring_place *p);
/* Finds where the process has the memory of a group: g->at. */
int uring_kernel_find_group(struct dump *d, struct uring_kernel *k, const struct task *t, struct uring_group *g);

#endif
