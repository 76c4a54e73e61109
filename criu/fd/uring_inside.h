/* SPDX-License-Identifier: GPL-2.0-only */
/* Between the files that read the kernel's own structures of io_uring: fd/uring_kernel.h has what comes of it. */
#ifndef CRIU_FD_URING_INSIDE_H
#define CRIU_FD_URING_INSIDE_H

#include "fd/uring_fields.h"
#include "fd/uring_kernel.h"
#include "lib/kernel_view.h"

enum uring_field {
#define URING_FIELD(id, path) URING_##id,
	URING_FIELDS(URING_FIELD, URING_FIELD)
#undef URING_FIELD
	    N_URING_FIELDS
};

struct uring_kernel {
	struct kernel_view *view;
	long at[N_URING_FIELDS]; /* negative: this kernel has no such member (of those that may be missing) */
	size_t ctx_size, req_size, bucket_size, upid_size, page_size;
	uint64_t monotonic, boottime; /* when the ring was read last */
	uint64_t self;                /* criu's task_struct */
	uint32_t ticks;               /* a second's; 0: not known yet */
};

/* A structure of the kernel's that has been read, and a number of it. */
struct uring_bytes {
	const uint8_t *at;
	size_t len;
};

uint64_t uring_bytes_number(const struct uring_kernel *k, struct uring_bytes b, enum uring_field f, size_t len);

/* Fills f from the request that lies there, as it has been read. Nothing is logged. */
int uring_request_read(struct uring_kernel *k, const struct uring_state *s, struct uring_bytes req,
                       struct uring_flying *f);

/* A number of a structure that lies there, or what lies there; 0 at an error, which sticks. */
uint64_t uring_number_at(struct uring_kernel *k, int *err, uint64_t base, enum uring_field f, size_t len);
uint64_t uring_pointer_at(struct uring_kernel *k, int *err, uint64_t base, enum uring_field f);
uint64_t uring_word_at(struct uring_kernel *k, int *err, uint64_t at);

#endif
